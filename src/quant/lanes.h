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

/* What a file makes of its body for a target: instances(name, attributes). */
#if defined(__x86_64__)
#define FOR_EVERY_TARGET(instances) \
	instances(scalar, ); \
	instances(avx2, __attribute__((target("avx2"))));
#else
#define FOR_EVERY_TARGET(instances) instances(scalar, );
#endif

#endif							/* VDIST_LANES_H */
