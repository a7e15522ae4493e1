/* The sum of a number's digits. */
#include "tally.h"

#include <stdio.h>

int digits(int argc, char **argv)
{
    const char *text = argc > 1 ? argv[1] : "";
    long total = 0;

    for (; *text; text++) {
        if (*text >= '0' && *text <= '9') {
            total += *text - '0';
        }
    }
    printf("%ld\n", total);
    return 0;
}
