/* Draws each number as a bar. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int report(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t count;
    double *numbers = read_numbers(&count);

    for (size_t i = 0; i < count; i++) {
        int width = (int)(scale(numbers[i], 0, 100) * 20);
        for (int column = 0; column < width; column++) {
            putchar('#');
        }
        putchar('\n');
    }
    free(numbers);
    return 0;
}
