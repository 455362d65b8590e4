/*
 * probes.c: in how many cells a row's nearest rows have to be looked for, from a sample. Pure C; called by
 * neighbors.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/graph.h"

/* Rows whose nearest ones are sought, and the size of their records at most; among how many, at most. */
#define SAMPLE_ROWS 256
#define SAMPLE_BYTES ((size_t) 1 << 20)
#define SAMPLE_COLUMNS 32768

/* Of the nearest of all rows, that many are sought: as many of them as are in the sample. */
#define SAMPLE_NEAREST 10

/* The cells must be enough for all but one in so many of the rows found. */
#define FAR_SHARE 5

/* What one thread works with. */
typedef struct Sampler
{
	bool		ready;
	VdistColumns columns;
	uint8_t    *copy;			/* of CELL_MAX records, when they are on disk */
	int32_t    *sums;			/* of each row, as many as a chunk and 16 more */
	VdistKey   *nearest;		/* the k of each row, sorted */
} Sampler;

typedef struct Sample
{
	int			nrows;
	int			k;				/* nearest ones of each */
	int			chunk;			/* columns that are compared at once */
	uint32_t	ncolumns;
	uint32_t	step;			/* from one to the next, as positions */
	uint8_t    *records;		/* of the rows */
	uint32_t   *positions;
	Sampler    *samplers;		/* by thread */
} Sample;

static bool
prepare(VdistGraph *graph, const Sample *sample, Sampler *sampler)
{
	size_t		size = sizeof(VdistKey) * sample->nrows * sample->k;
	bool		ok = graph_alloc_columns(graph, &sampler->columns, sample->chunk);

	sampler->copy = graph_alloc(graph, graph->on_disk ? sample->chunk : 1, graph->record);
	sampler->sums = graph_alloc(graph, sample->nrows, sizeof(int32_t) * (sample->chunk + 16));
	sampler->nearest = graph_alloc(graph, 1, size);
	sampler->ready = ok && sampler->copy && sampler->sums && sampler->nearest;
	if (sampler->ready)
		memset(sampler->nearest, 0xFF, size);
	return sampler->ready;
}

static void
finish(Sampler *sampler)
{
	graph_free_columns(&sampler->columns);
	free(sampler->copy);
	free(sampler->sums);
	free(sampler->nearest);
}

static void
keep_nearest(VdistKey *nearest, int k, VdistKey key)
{
	int			at = k - 1;

	if (key >= nearest[at])
		return;
	for (; at > 0 && nearest[at - 1] > key; at--)
		nearest[at] = nearest[at - 1];
	nearest[at] = key;
}

/* Compare all rows with some of the columns. */
static void
compare(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	const Sample *sample = graph->work;
	Sampler    *sampler = &sample->samplers[thread];
	const uint8_t *bytes[SAMPLE_ROWS];
	uint16_t	which[SAMPLE_ROWS + 16];
	float		distance[SAMPLE_ROWS + 16];
	int			n = (int) (to - from);
	int			ld = sample->chunk + 16;

	if (!sampler->ready && !prepare(graph, sample, sampler))
		return;
	for (int i = 0; i < n; i++)
	{
		bytes[i] = graph_load(graph, (uint32_t) (from + i) * sample->step, 1,
							  sampler->copy + i * graph->record);
		if (bytes[i] == NULL)
			return;
	}
	graph_pack(graph, bytes, n, &sampler->columns);
	for (int i = 0; i < sample->nrows; i++)
		bytes[i] = graph_bytes(sample->records + i * graph->record);
	graph->blocks->sums(bytes, sample->nrows, sampler->columns.packed, n, graph->words, graph->l1,
						sampler->sums, ld);
	for (int i = 0; i < sample->nrows; i++)
	{
		VdistKey   *nearest = sampler->nearest + i * sample->k;
		VdistKey	last = nearest[sample->k - 1];
		float		bound = last == UINT64_MAX ? INFINITY :
			nextafterf(graph_key_distance(last), INFINITY);
		int			found = graph->blocks->pick(sampler->sums + (size_t) i * ld, n,
												graph_factors(sample->records + i * graph->record),
												graph->factor, &sampler->columns.factors, 0, bound,
												which, distance);

		for (int j = 0; j < found; j++)
		{
			uint32_t	position = (uint32_t) (from + which[j]) * sample->step;

			if (position != sample->positions[i])
				keep_nearest(nearest, sample->k, graph_key(distance[j], position));
		}
	}
}

static uint32_t
cell_of(const VdistGraph *graph, uint32_t position)
{
	uint32_t	low = 0;
	uint32_t	high = graph->ncells - 1;

	while (low < high)
	{
		uint32_t	middle = (low + high + 1) / 2;

		if (graph->cell_start[middle] <= position)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* Count how many cells are nearer to each row than those of its nearest rows. */
static int
count_cells(VdistGraph *graph, const Sample *sample, VdistKey *ranks)
{
	const uint8_t **bytes = graph_alloc(graph, graph->ncells, sizeof(uint8_t *));
	int32_t    *sums = graph_alloc(graph, graph->ncells, sizeof(int32_t));
	float	   *distance = graph_alloc(graph, graph->ncells, sizeof(float));
	int			n = 0;

	for (uint32_t c = 0; bytes && c < graph->ncells; c++)
		bytes[c] = graph_bytes(graph->centroids + c * graph->record);
	for (int i = 0; i < sample->nrows && bytes && sums && distance; i++)
	{
		const uint8_t *record = sample->records + i * graph->record;

		graph->blocks->sums_list(graph_bytes(record), bytes, (int) graph->ncells, graph->words,
								 graph->l1, sums);
		for (uint32_t c = 0; c < graph->ncells; c++)
			distance[c] = graph_distance(graph, graph_factors(record),
										 graph_factors(graph->centroids + c * graph->record),
										 sums[c]);
		for (int j = 0; j < sample->k; j++)
		{
			VdistKey	best = UINT64_MAX;
			float		bound;
			int			rank = 0;

			for (int t = 0; t < VDIST_TEAM_MAX; t++)
			{
				Sampler    *sampler = &sample->samplers[t];

				if (sampler->ready && sampler->nearest[i * sample->k] < best)
					best = sampler->nearest[i * sample->k];
			}
			if (best == UINT64_MAX)
				break;

			/* take it from the thread that has it */
			for (int t = 0; t < VDIST_TEAM_MAX; t++)
			{
				VdistKey   *nearest = sample->samplers[t].nearest + i * sample->k;

				if (!sample->samplers[t].ready || nearest[0] != best)
					continue;
				memmove(nearest, nearest + 1, sizeof(VdistKey) * (sample->k - 1));
				nearest[sample->k - 1] = UINT64_MAX;
			}
			bound = distance[cell_of(graph, (uint32_t) best)];
			for (uint32_t c = 0; c < graph->ncells; c++)
				rank += distance[c] < bound;
			ranks[n++] = (VdistKey) rank;
		}
	}
	free(bytes);
	free(sums);
	free(distance);
	return n;
}

/*
 * The number of cells that each row looks through: PROBES, or as many more, up to PROBES_MAX, as the nearest
 * rows are scattered over. That depends on how many dimensions the data really has.
 */
int
graph_choose_probes(VdistGraph *graph)
{
	Sample		sample = {0};
	VdistKey   *ranks = graph_alloc(graph, SAMPLE_ROWS * SAMPLE_NEAREST, sizeof(VdistKey));
	int			probes = PROBES;

	if (graph->ncells <= PROBES)
	{
		free(ranks);
		return PROBES;
	}
	sample.nrows = SAMPLE_BYTES / graph->record < SAMPLE_ROWS ?
		(int) (SAMPLE_BYTES / graph->record) : SAMPLE_ROWS;
	sample.chunk = sample.nrows;
	sample.step = (graph->n + SAMPLE_COLUMNS - 1) / SAMPLE_COLUMNS;
	sample.ncolumns = (graph->n + sample.step - 1) / sample.step;
	sample.k = (int) ((SAMPLE_NEAREST + sample.step - 1) / sample.step);
	sample.records = graph_alloc(graph, SAMPLE_ROWS, graph->record);
	sample.positions = graph_alloc(graph, SAMPLE_ROWS, sizeof(uint32_t));
	sample.samplers = graph_alloc(graph, VDIST_TEAM_MAX, sizeof(Sampler));
	if (ranks && sample.records && sample.positions && sample.samplers)
	{
		bool		ok = true;

		for (int i = 0; i < sample.nrows && ok; i++)
		{
			const uint8_t *record;

			sample.positions[i] = (uint32_t) ((i + 0.5) * graph->n / sample.nrows);
			record = graph_load(graph, sample.positions[i], 1,
								sample.records + i * graph->record);
			ok = record != NULL;
			if (ok && record != sample.records + i * graph->record)
				memcpy(sample.records + i * graph->record, record, graph->record);
		}
		graph->work = &sample;
		if (ok && graph_run(graph, sample.ncolumns, sample.chunk, compare))
		{
			int			n = count_cells(graph, &sample, ranks);

			graph_sort(ranks, n);
			if (n > 0)
				probes = (int) ranks[n - 1 - n / FAR_SHARE] + 1;
		}
	}
	for (int t = 0; sample.samplers && t < VDIST_TEAM_MAX; t++)
		finish(&sample.samplers[t]);
	free(sample.samplers);
	free(sample.positions);
	free(sample.records);
	free(ranks);
	return probes < PROBES ? PROBES : probes > PROBES_MAX ? PROBES_MAX : probes;
}
