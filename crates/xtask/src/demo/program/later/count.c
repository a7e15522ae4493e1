/* How many numbers there are. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int count(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    size_t found;

    free(read_numbers(&found));
    printf("%zu\n", found);
    return 0;
}
