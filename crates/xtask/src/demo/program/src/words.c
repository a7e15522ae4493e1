/* Counts words. */
#include "tally.h"

#include <stdio.h>

int words(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    long count = 0;
    int before = ' ';
    int c;

    while ((c = getchar()) != EOF) {
        if (c == '\n' && before != '\n' && before != ' ') {
            count++;
        }
        if (c == ' ' && before != ' ' && before != '\n') {
            count++;
        }
        before = c;
    }
    printf("%ld\n", count);
    return 0;
}
