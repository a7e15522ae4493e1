/* The mean of numbers. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int mean(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t count;
    double *numbers = read_numbers(&count);
    double total = 0;

    for (size_t i = 0; i < count; i++) {
        total += numbers[i];
    }
    printf("%.10g\n", total / count);
    free(numbers);
    return 0;
}
