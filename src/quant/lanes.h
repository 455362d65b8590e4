/*
 * lanes.h: vectors of eight lanes in the compiler's own notation. A body written with them, and
 * inlined into functions for several targets, is one source for all SIMD widths. Nobody outside
 * quant/ includes this.
 */
#ifndef VDIST_LANES_H
#define VDIST_LANES_H

#include <stdint.h>

#define LANES 8

typedef float Block __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t IntBlock __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t UintBlock __attribute__((vector_size(32), aligned(4), may_alias));
typedef int8_t ByteBlock __attribute__((vector_size(8), aligned(1), may_alias));

#endif							/* VDIST_LANES_H */
