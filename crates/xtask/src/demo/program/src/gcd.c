/* The greatest common divisor of two numbers. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

int gcd(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: tally gcd A B\n");
        return 2;
    }
    long a = labs(atol(argv[1]));
    long b = labs(atol(argv[2]));

    while (b != 0) {
        long rest = a % b;
        a = b;
        b = rest;
    }
    printf("%ld\n", a);
    return 0;
}
