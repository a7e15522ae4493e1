/* Counts words. */
#include "tally.h"

#include <stdio.h>

int words(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    long count = 0;
    int inside = 0;
    int c;

    while ((c = getchar()) != EOF) {
        int blank = c == ' ' || c == '\n';
        if (inside && blank) {
            count++;
        }
        inside = !blank;
    }
    printf("%ld\n", count + inside);
    return 0;
}
