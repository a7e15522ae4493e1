/* The smallest and the largest number. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int range(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t count;
    double *numbers = read_numbers(&count);
    double low = count ? numbers[0] : 0;
    double high = low;

    for (size_t i = 1; i < count; i++) {
        if (numbers[i] < low) {
            low = numbers[i];
        }
        if (numbers[i] > high) {
            high = numbers[i];
        }
    }
    printf("%.10g %.10g\n", low, high);
    free(numbers);
    return 0;
}
