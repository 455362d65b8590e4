/*
 * variants.h: the kernel tables that dispatch.c chooses from, and what they share. Nobody outside
 * kernel/ and its unit tests includes this.
 */
#ifndef VDIST_VARIANTS_H
#define VDIST_VARIANTS_H

#include "kernel/kernel.h"

/* Lanes of the canonical summation: four AVX2 registers, or two of AVX-512. */
#define VDIST_KERNEL_LANES 32

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define VDIST_KERNEL_X86
#endif

extern const VdistKernel vdist_kernel_scalar;

#ifdef VDIST_KERNEL_X86
extern const VdistKernel vdist_kernel_avx2;
extern const VdistKernel vdist_kernel_avx512;

/* In avx2.c; as good for AVX-512, where they wait for memory or for one counter. */
extern void vdist_half_to_float_f16c(int n, const VdistHalf *x, float *out);
extern void vdist_float_to_half_f16c(int n, const float *x, VdistHalf *out);
extern uint64_t vdist_bit_hamming_popcnt(size_t bytes, const uint8_t *a, const uint8_t *b);
extern void vdist_bit_overlap_popcnt(size_t bytes, const uint8_t *a, const uint8_t *b,
									 uint64_t *both, uint64_t *either);
#endif

/*
 * Bits are counted alike everywhere; what differs is the instruction that the compiler may use.
 */
#define VDIST_BIT_INLINE static inline __attribute__((always_inline))

/* The bytes left, at most eight, zeros behind them. */
VDIST_BIT_INLINE uint64_t
vdist_bit_word(size_t bytes, const uint8_t *p)
{
	uint64_t	word = 0;

	if (bytes >= sizeof(word))
		memcpy(&word, p, sizeof(word));
	else
		for (size_t i = 0; i < bytes; i++)
			word |= (uint64_t) p[i] << 8 * i;
	return word;
}

VDIST_BIT_INLINE uint64_t
vdist_bit_hamming(size_t bytes, const uint8_t *a, const uint8_t *b)
{
	uint64_t	count = 0;

	for (size_t i = 0; i < bytes; i += 8)
		count += (uint64_t) __builtin_popcountll(vdist_bit_word(bytes - i, a + i) ^
												 vdist_bit_word(bytes - i, b + i));
	return count;
}

VDIST_BIT_INLINE void
vdist_bit_overlap(size_t bytes, const uint8_t *a, const uint8_t *b, uint64_t *both, uint64_t *either)
{
	uint64_t	in_both = 0;
	uint64_t	in_either = 0;

	for (size_t i = 0; i < bytes; i += 8)
	{
		uint64_t	x = vdist_bit_word(bytes - i, a + i);
		uint64_t	y = vdist_bit_word(bytes - i, b + i);

		in_both += (uint64_t) __builtin_popcountll(x & y);
		in_either += (uint64_t) __builtin_popcountll(x | y);
	}
	*both = in_both;
	*either = in_either;
}

#endif							/* VDIST_VARIANTS_H */
