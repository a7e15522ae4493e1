/* Reads the input. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

double *read_numbers(size_t *count)
{
    size_t room = 16;
    double *numbers = malloc(room * sizeof *numbers);
    double number;

    *count = 0;
    while (numbers && scanf("%lf", &number) == 1) {
        if (*count == room) {
            room *= 2;
            numbers = realloc(numbers, room * sizeof *numbers);
            if (!numbers) {
                break;
            }
        }
        numbers[(*count)++] = number;
    }
    if (!numbers) {
        fprintf(stderr, "tally: out of memory\n");
        exit(1);
    }
    return numbers;
}
