/* Every command of tally: reads standard input, prints one line, returns the exit code. */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

/* Reads numbers until the end of the input; the caller frees them. */
double *read_numbers(size_t *count);

/* Brings a value from the range low..high into 0..1. */
double scale(double value, double low, double high);

int digits(int argc, char **argv);
int gcd(int argc, char **argv);
int mean(int argc, char **argv);
int primes(int argc, char **argv);
int range(int argc, char **argv);
int report(int argc, char **argv);
int sort(int argc, char **argv);
int spread(int argc, char **argv);
int sum(int argc, char **argv);
int words(int argc, char **argv);

#endif
