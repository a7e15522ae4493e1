/* How far apart numbers are: the largest gap between two that follow one another. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int spread(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t count;
    double *numbers = read_numbers(&count);
    double widest = 0;

    for (size_t i = 1; i < count; i++) {
        double gap = numbers[i] - numbers[i - 1];
        if (gap < 0) {
            gap = -gap;
        }
        if (gap > widest) {
            widest = gap;
        }
    }
    printf("%.10g\n", widest);
    free(numbers);
    return 0;
}
