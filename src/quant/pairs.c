/*
 * pairs.c: distances between two codes. Pure C; calls code.c and the kernels of the graph build;
 * called by the access methods, who choose neighbors for a row among rows of which they have the codes.
 *
 * Levels are bytes, of 8 bits the upper 7, so a product of two codes is one of integers (blocks.h). A
 * distance is that of what the bytes say: between rows with the same bytes and the same length it is 0.
 */
#include "quant/blocks.h"
#include "quant/variants.h"

/* Codes that are compared with one at a time. */
#define GROUP 16

/* Levels that are added up in 16 bits. */
#define SUMMED 256

typedef struct Record
{
	float		norm;			/* square of the length */
	float		scale;			/* what one level is */
	int32_t		sum;			/* of the levels */
	uint8_t		level[];		/* padded to whole words by zeros */
} Record;

static int
words_of(int dim)
{
	return (dim + 3) / 4;
}

size_t
vdist_quant_record_size(int dim)
{
	return sizeof(Record) + 4 * (size_t) words_of(dim);
}

/* Of L1 all 8 bits are compared; what was cut off is not. The first bit tells zero from one. */
static inline int
bits_of(const VdistQuant *quant)
{
	if (quant->binary)
		return 1;
	return quant->bits == 8 && quant->metric != VDIST_QUANT_L1 ? 7 : quant->bits;
}

VDIST_QUANT_VECTORIZE void
vdist_quant_record(const VdistQuant *quant, const void *code, void *out)
{
	Record	   *record = out;
	uint8_t    *level = record->level;
	int			dim = quant->dim;
	int			shift = quant->bits - bits_of(quant);
	int64_t		most = (1 << bits_of(quant)) - 1;
	const uint8_t *row = level;
	int32_t		sum = 0;
	int32_t		squares;
	float		add;

	vdist_quant_levels(quant, code, 0, dim, level);
	memset(level + dim, 0, 4 * words_of(dim) - dim);
	for (int first = 0; first < dim; first += SUMMED)
	{
		int			end = dim - first < SUMMED ? dim : first + SUMMED;
		uint16_t	part = 0;

		for (int i = first; i < end; i++)
		{
			level[i] >>= shift;
			part += level[i];
		}
		sum += part;
	}
	record->sum = sum;
	if (quant->metric == VDIST_QUANT_L1)
	{
		record->norm = 0.0f;
		record->scale = quant->range * 2.0f / (float) (quant->bits == 8 ? 255 : 1 << quant->bits);
		return;
	}
	vdist_quant_factors(quant->metric, quant->head, code, &add, &record->scale);
	if (quant->head == HEAD_SHORT)
		record->scale *= vdist_quant_unit(dim, quant->bits);
	record->scale = quant->binary ? 1.0f : record->scale * (float) (1 << shift);
	vdist_blocks->sums_list(row, &row, 1, words_of(dim), false, &squares);
	record->norm = record->scale * record->scale * 0.25f *
		(float) (4 * (int64_t) squares - 4 * most * sum + most * most * dim);
}

void
vdist_quant_between(const VdistQuant *quant, const void *one, const void *const *records, int n,
					float *distance)
{
	const Record *a = one;
	int			dim = quant->dim;
	int64_t		most = (1 << bits_of(quant)) - 1;
	bool		l1 = quant->metric == VDIST_QUANT_L1;

	for (int first = 0; first < n; first += GROUP)
	{
		const uint8_t *rows[GROUP];
		int32_t		sums[GROUP];
		int			count = n - first < GROUP ? n - first : GROUP;

		for (int i = 0; i < count; i++)
			rows[i] = ((const Record *) records[first + i])->level;
		vdist_blocks->sums_list(a->level, rows, count, words_of(dim), l1, sums);
		for (int i = 0; i < count; i++)
		{
			const Record *b = records[first + i];

			/* four times the product of the levels less their middle, which is most / 2 */
			int64_t		product = 4 * (int64_t) sums[i] - 2 * most * ((int64_t) a->sum + b->sum) +
			most * most * dim;

			distance[first + i] = l1 ? a->scale * (float) sums[i] :
				(a->norm + b->norm) - 0.5f * a->scale * b->scale * (float) product;
		}
	}
}
