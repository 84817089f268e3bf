/* What the programs of tests/pairs.rs share, in C and C++: a struct with holes, and what
 * stands in it. */
#ifndef READING_H
#define READING_H

#include <math.h>
#include <stdint.h>
#include <string.h>

struct reading {
    int8_t kind; /* 7 bytes follow that are nobody's */
    double grid[2][2];
    int64_t count;
    uint8_t text[5]; /* 3 more */
};

static struct reading reading_of(int64_t count)
{
    struct reading it;
    memset(&it, 0, sizeof it);
    it.kind = -7;
    it.grid[0][0] = 1.5;
    it.grid[0][1] = -0.0;
    it.grid[1][0] = (double)NAN;
    it.grid[1][1] = (double)INFINITY;
    it.count = count;
    memcpy(it.text, "gr\xC3\xB6t", 5);
    return it;
}

static int is_reading(const struct reading *it, int64_t count)
{
    return it->kind == -7 && it->grid[0][0] == 1.5 && it->grid[0][1] == 0.0 &&
           signbit(it->grid[0][1]) && isnan(it->grid[1][0]) && isinf(it->grid[1][1]) &&
           it->grid[1][1] > 0 && it->count == count && memcmp(it->text, "gr\xC3\xB6t", 5) == 0;
}

/* Needs more than 53 bits. */
#define LARGE (-4611686018427387903LL)

#endif
