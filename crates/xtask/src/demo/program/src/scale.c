/* Brings values into 0..1. */
#include "tally.h"

double scale(double value, double low, double high)
{
    if (high <= low) {
        return 0;
    }
    return (value - low) / (high - low);
}
