/* Sorts numbers: the smallest first. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

static void order(double *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i; j > 0 && numbers[j - 1] > numbers[j]; j--) {
            double number = numbers[j];
            numbers[j] = numbers[j - 1];
            numbers[j - 1] = number;
        }
    }
}

int sort(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t count;
    double *numbers = read_numbers(&count);

    order(numbers, count);
    for (size_t i = 0; i < count; i++) {
        printf("%.10g\n", numbers[i]);
    }
    free(numbers);
    return 0;
}
