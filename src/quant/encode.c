/*
 * encode.c: the graph build's own records of rows: 7 bits a dimension (8 for L1), one scale a row; or
 * floats, where bytes cannot tell rows apart. Pure C; called by graph.c and cells.c.
 */
#include <math.h>
#include <string.h>

#include "quant/graph.h"
#include "quant/variants.h"

#define OFFSET 64
#define LIMIT 63

/* x is centred (and for L2 rotated). */
void
graph_to_record(const VdistGraph *graph, const float *x, uint8_t *record)
{
	int			dim = graph->params.dim;
	int			size = 4 * graph->words;
	uint8_t    *bytes = record + sizeof(VdistRowFactors);
	VdistRowFactors f = {0};

	if (graph->wide)
		memcpy(bytes, x, sizeof(float) * dim);
	else if (graph->l1)
	{
		/* scale * scale * 2 is the step of a level: see VdistBlocks.pick */
		f.norm = 0.0f;
		f.scale = sqrtf(graph->params.range / 255.0f);
		f.shift = 0;
		for (int i = 0; i < dim; i++)
			bytes[i] = (uint8_t) vdist_quant_level(x[i], graph->params.range);
		memset(bytes + dim, 0, size - dim);
	}
	else
	{
		const VdistQuantPasses *passes = vdist_quant_variant->passes;
		float		peak = passes->peak(dim, x);
		float		inverse = peak > 0.0f ? LIMIT / peak : 0.0f;
		int32_t		squares;
		int32_t		sum;

		if (!isfinite(inverse))
			inverse = 0.0f;
		passes->round_to_bytes(dim, x, inverse, LIMIT, (int8_t *) bytes, &sum, &squares);
		for (int i = 0; i < dim; i++)
			bytes[i] = (uint8_t) (bytes[i] + OFFSET);
		memset(bytes + dim, OFFSET, size - dim);

		/* the length of what the bytes say, so that a row is at distance 0 from itself */
		f.scale = peak / LIMIT;
		f.norm = f.scale * f.scale * (float) squares;
		if (!isfinite(f.norm))
			f.norm = f.scale = 0.0f;

		/* <a + 64, b + 64> = <a, b> + 64 (sum a + sum b) + 64^2 size: half of the rest a row */
		f.shift = OFFSET * sum + OFFSET * OFFSET / 2 * size;
	}
	memcpy(record, &f, sizeof(f));
}

void
graph_encode(const VdistGraph *graph, const float *x, uint8_t *record, float *scratch)
{
	int			dim = graph->params.dim;

	vdist_quant_variant->passes->subtract(dim, x, graph->mean, scratch);
	if (!graph->l1 && !graph->wide)
		vdist_quant_variant->rotate(dim, scratch);
	graph_to_record(graph, scratch, record);
}

/* Add the vector that a record stands for to sum. */
void
graph_add_record(const VdistGraph *graph, const uint8_t *record, float *sum)
{
	int			dim = graph->params.dim;
	const uint8_t *bytes = graph_bytes(record);
	float		scale = graph_factors(record).scale;

	if (graph->wide)
	{
		const float *x = (const float *) bytes;

		for (int i = 0; i < dim; i++)
			sum[i] += x[i];
	}
	else if (graph->l1)
	{
		float		step = graph->params.range / 127.5f;

		for (int i = 0; i < dim; i++)
			sum[i] += step * (float) bytes[i] - graph->params.range;
	}
	else
	{
		for (int i = 0; i < dim; i++)
			sum[i] += scale * (float) ((int) bytes[i] - OFFSET);
	}
}
