/* Finds the command and runs it. */
#include "tally.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"digits", digits},
    {"gcd", gcd},
    {"mean", mean},
    {"primes", primes},
    {"range", range},
    {"report", report},
    {"sort", sort},
    {"spread", spread},
    {"sum", sum},
    {"words", words},
};

static int usage(void)
{
    fprintf(stderr, "usage: tally COMMAND\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return usage();
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return usage();
}
