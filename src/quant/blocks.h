/*
 * blocks.h: kernels over many short codes at once, for the graph build. Nobody outside quant/ includes
 * this.
 *
 * The build works on bytes: 7-bit numbers (1 to 127) for L2, 8-bit ones for L1, `words` groups of
 * four a row. A kernel's sum over two rows is their product, or for L1 the sum of absolute
 * differences. 7 bits keep the products of two neighbouring bytes within 16 bits, so that AVX2 needs
 * no more than AVX-512 VNNI to get the same integers.
 *
 * Columns come packed: blocks of 16 rows, in a block word k of all 16 rows, then word k + 1.
 */
#ifndef VDIST_BLOCKS_H
#define VDIST_BLOCKS_H

#include "quant/quant.h"

/* What turns a sum into a distance, beside every row's bytes. */
typedef struct VdistRowFactors
{
	float		norm;			/* square of its length */
	float		scale;			/* what one unit of its bytes stands for */
	int32_t		shift;			/* corrects the sum for the bytes' offset of 64 */
} VdistRowFactors;

/* The same for columns, each an array. */
typedef struct VdistColumnFactors
{
	float	   *norm;
	float	   *scale;
	int32_t    *shift;
} VdistColumnFactors;

typedef struct VdistBlocks
{
	/* Pack n rows; out holds n rounded up to 16 rows, the missing ones repeat some row. */
	void		(*pack) (const uint8_t *const *rows, int n, int words, uint8_t *out);

	/* out[i * ld + j] = sum over row i and column j; writes columns up to a multiple of 16. */
	void		(*sums) (const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns,
						 int words, bool l1, int32_t *out, int ld);

	/* out[i] = sum over a and row i */
	void		(*sums_list) (const uint8_t *a, const uint8_t *const *rows, int n, int words,
							  bool l1, int32_t *out);

	/*
	 * Of n sums of one row, those whose distance is below the bound: their places and distances.
	 * factor is -2 for L2 and +2 for L1; see vdist_row_distance. Writes up to 16 entries too many.
	 */
	int			(*pick) (const int32_t *sums, int n, VdistRowFactors row, float factor,
						 const VdistColumnFactors *columns, int first, float bound,
						 uint16_t *which, float *distance);
} VdistBlocks;

extern const VdistBlocks *vdist_blocks;
extern const VdistBlocks vdist_blocks_scalar;

/* The same for records of floats, `words` of them: a sum is a distance, in the bits of a float (wide.c). */
extern const VdistBlocks *vdist_wide_blocks;
extern const VdistBlocks vdist_wide_blocks_scalar;

#if defined(__x86_64__)
extern const VdistBlocks vdist_blocks_avx2;
extern const VdistBlocks vdist_blocks_avx512;
extern const VdistBlocks vdist_wide_blocks_avx2;
#endif

/* The distance of two rows from the sum over them; the kernels compute it in this order. */
static inline float
vdist_row_distance(VdistRowFactors a, VdistRowFactors b, float factor, int32_t sum)
{
	return (a.norm + b.norm) + ((factor * a.scale) * b.scale) * (float) ((sum - a.shift) - b.shift);
}

#endif							/* VDIST_BLOCKS_H */
