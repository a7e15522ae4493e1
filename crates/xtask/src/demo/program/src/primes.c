/* Counts the primes below a bound. */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

static int is_prime(long number)
{
    if (number < 2) {
        return 0;
    }
    for (long divisor = 2; divisor * divisor <= number; divisor++) {
        if (number % divisor == 0) {
            return 0;
        }
    }
    return 1;
}

int primes(int argc, char **argv)
{
    long bound = argc > 1 ? atol(argv[1]) : 100;
    long count = 0;

    for (long number = 0; number < bound; number++) {
        count += is_prime(number);
    }
    printf("%ld\n", count);
    return 0;
}
