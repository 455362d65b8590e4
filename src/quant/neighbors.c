/*
 * neighbors.c: finds every row's nearest rows and chooses its neighbors among them. Pure C; called by
 * graph.c.
 *
 * Cell by cell: the rows of a cell are compared with all rows of the cells near it, each with those
 * of its own PROBES nearest cells, by block kernels that read a near cell once for all of them. A
 * pair of rows meets at most once, so no list has duplicates and no lock is needed.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/graph.h"

/* Cells that a thread can hold in memory, however little of it there is. */
#define COPIES_MIN 32

/* A copy of a cell's records, when they are on disk. */
typedef struct Copy
{
	uint8_t    *records;		/* NULL: not in memory */
	uint32_t	step;			/* the last step that used it */
} Copy;

/* What one thread works with. */
typedef struct Finder
{
	bool		ready;
	int			room;			/* keys per row: candidates and a cell more */
	VdistKey   *near;			/* cells by their distance from the current one */
	const uint8_t **bytes;		/* of as many rows as there are cells */
	int32_t    *near_sums;
	VdistColumns near_columns;
	VdistColumns columns;		/* of the cell compared with */
	int32_t    *sums;
	uint8_t    *members;		/* NEAR_CELLS * CELL_MAX: rows that probe a near cell */
	VdistKey   *keys;			/* CELL_MAX * room */
	int		   *nkeys;
	float	   *bound;

	/* where candidates' records are: the near cells, by position */
	const uint8_t *cell_records[NEAR_CELLS];
	uint32_t	cell_number[NEAR_CELLS];
	int			ncells;

	/* on disk: copies of cells, up to a share of the budget */
	Copy	   *copies;			/* by cell */
	uint32_t   *copied;			/* the cells that have one */
	uint32_t	ncopied;
	uint32_t	hand;			/* of the clock that chooses whom to forget */
	size_t		used;
	size_t		limit;
	uint32_t	step;
	uint8_t    *lists;			/* of the current cell, to be written */

	/* choosing */
	const uint8_t *candidate[CANDIDATES_MAX];
	VdistRowFactors factors[CANDIDATES_MAX];
	float		distance[CANDIDATES_MAX];
	int32_t		choose_sums[CANDIDATES_MAX];
} Finder;

/* About what a thread works with, beside copies of cells. */
static size_t
finder_size(const VdistGraph *graph)
{
	size_t		room = (size_t) graph->candidates + CELL_MAX / 2 + CELL_MAX + 16;

	return CELL_MAX * room * sizeof(VdistKey) + CELL_MAX * (CELL_MAX + 16) * sizeof(int32_t) +
		(NEAR_CELLS + CELL_MAX) * graph->record + NEAR_CELLS * CELL_MAX +
		CELL_MAX * 8 * (size_t) graph->params.slots;
}

/* Bytes of copies that each of so many threads may hold. */
static size_t
copies_room(const VdistGraph *graph, int threads)
{
	size_t		room = graph_room(graph) / threads;
	size_t		least = COPIES_MIN * CELL_ROWS * graph->record;

	return room > finder_size(graph) + least ? room - finder_size(graph) : least;
}

/* As many threads as there is memory for: one that cannot hold the near cells misses neighbors. */
static int
disk_threads(const VdistGraph *graph)
{
	size_t		each = finder_size(graph) + COPIES_MIN * CELL_ROWS * graph->record;
	int			threads = graph->params.threads;

	while (threads > 1 && each * threads > graph_room(graph))
		threads--;
	return threads;
}

static bool
prepare(VdistGraph *graph, Finder *finder)
{
	bool		ok;

	finder->room = graph->candidates + CELL_MAX / 2 + CELL_MAX + 16;
	finder->near = graph_alloc(graph, graph->ncells, sizeof(VdistKey));
	finder->bytes = graph_alloc(graph, graph->ncells, sizeof(uint8_t *));
	finder->near_sums = graph_alloc(graph, graph->ncells, sizeof(int32_t));
	ok = graph_alloc_columns(graph, &finder->near_columns, NEAR_CELLS);
	ok = graph_alloc_columns(graph, &finder->columns, CELL_MAX) && ok;
	finder->sums = graph_alloc(graph, CELL_MAX, sizeof(int32_t) * (CELL_MAX + 16));
	finder->members = graph_alloc(graph, NEAR_CELLS, CELL_MAX);
	finder->keys = graph_alloc(graph, CELL_MAX, sizeof(VdistKey) * finder->room);
	finder->nkeys = graph_alloc(graph, CELL_MAX, sizeof(int));
	finder->bound = graph_alloc(graph, CELL_MAX, sizeof(float));
	ok = ok && finder->near && finder->bytes && finder->near_sums && finder->sums &&
		finder->members && finder->keys && finder->nkeys && finder->bound;
	if (graph->on_disk)
	{
		finder->copies = graph_alloc(graph, graph->ncells, sizeof(Copy));
		finder->copied = graph_alloc(graph, graph->ncells, sizeof(uint32_t));
		finder->lists = graph_alloc(graph, CELL_MAX, 8 * (size_t) graph->params.slots);
		finder->limit = copies_room(graph, graph->params.threads);
		ok = ok && finder->copies && finder->copied && finder->lists;
	}
	finder->ready = ok;
	return ok;
}

static void
finish(VdistGraph *graph, Finder *finder)
{
	free(finder->near);
	free(finder->bytes);
	free(finder->near_sums);
	graph_free_columns(&finder->near_columns);
	graph_free_columns(&finder->columns);
	free(finder->sums);
	free(finder->members);
	free(finder->keys);
	free(finder->nkeys);
	free(finder->bound);
	for (uint32_t i = 0; finder->copies && i < graph->ncells; i++)
		free(finder->copies[i].records);
	free(finder->copies);
	free(finder->copied);
	free(finder->lists);
}

static uint32_t
cell_rows(const VdistGraph *graph, uint32_t cell)
{
	return graph->cell_start[cell + 1] - graph->cell_start[cell];
}

/*
 * A cell's records. On disk they stay in memory until the space is needed, but never during the step
 * that uses them; NULL when this step's cells alone fill the space (or on failure).
 */
static const uint8_t *
load_cell(VdistGraph *graph, Finder *finder, uint32_t cell)
{
	size_t		size = cell_rows(graph, cell) * graph->record;
	Copy	   *copy;
	uint32_t	spared = 0;

	if (!graph->on_disk)
		return graph->records + graph->cell_start[cell] * (uint64_t) graph->record;

	copy = &finder->copies[cell];
	if (copy->records == NULL)
	{
		while (finder->used + size > finder->limit && spared < finder->ncopied)
		{
			uint32_t   *place = &finder->copied[finder->hand % finder->ncopied];
			Copy	   *old = &finder->copies[*place];

			if (old->step == finder->step)
			{
				finder->hand++;
				spared++;
				continue;
			}
			free(old->records);
			old->records = NULL;
			finder->used -= cell_rows(graph, *place) * graph->record;
			*place = finder->copied[--finder->ncopied];
		}
		/* the cell's own rows and those of a few near ones are always there */
		if (finder->used + size > finder->limit && finder->ncells >= COPIES_MIN / 2)
			return NULL;
		copy->records = graph_alloc(graph, 1, size);
		if (copy->records == NULL)
			return NULL;
		finder->copied[finder->ncopied++] = cell;
		finder->used += size;
		if (!graph_read(graph, 1, copy->records, size,
						graph->cell_start[cell] * (uint64_t) graph->record))
			return NULL;
	}
	copy->step = finder->step;
	return copy->records;
}

/* The record of a candidate, whose cell was loaded in this step. */
static const uint8_t *
find_record(const VdistGraph *graph, const Finder *finder, uint32_t position)
{
	if (!graph->on_disk)
		return graph->records + position * (uint64_t) graph->record;
	for (int i = 0; i < finder->ncells; i++)
	{
		uint32_t	cell = finder->cell_number[i];

		if (position >= graph->cell_start[cell] && position < graph->cell_start[cell + 1])
			return finder->cell_records[i] +
				(position - graph->cell_start[cell]) * graph->record;
	}
	return NULL;
}

/*
 * Choose up to `slots` of n candidates, which are sorted by distance: first those that no chosen one
 * is nearer to than the row itself (the relative neighborhood graph, alpha = 1), nearest first; their
 * number is returned. Then the same among those left over, and so on: every layer leads in
 * all directions again, where the nearest left-over ones may all lie in one crowd.
 */
static int
choose(const VdistGraph *graph, Finder *finder, const VdistKey *keys, int n, uint32_t *ids,
	   float *distances, int *nfilled)
{
	int			slots = graph->params.slots;
	int			chosen = 0;
	int			nkept = 0;
	int			left[CANDIDATES_MAX];
	int			nleft = n;
	bool		first = true;

	for (int i = 0; i < n; i++)
	{
		const uint8_t *record = find_record(graph, finder, (uint32_t) keys[i]);

		finder->candidate[i] = graph_bytes(record);
		finder->factors[i] = graph_factors(record);
		finder->distance[i] = graph_key_distance(keys[i]);
		left[i] = i;
	}
	while (nleft > 0 && chosen < slots)
	{
		int			layer[CANDIDATES_MAX];
		bool		dropped[CANDIDATES_MAX];
		const uint8_t *bytes[CANDIDATES_MAX];
		int			nlayer = nleft;
		int			n2 = 0;

		memcpy(layer, left, sizeof(int) * nleft);
		memset(dropped, 0, sizeof(bool) * n);
		while (nlayer > 0 && chosen < slots)
		{
			int			c = layer[0];
			int			stay = 0;

			ids[chosen] = (uint32_t) keys[c];
			distances[chosen++] = finder->distance[c];
			for (int i = 1; i < nlayer; i++)
				bytes[i - 1] = finder->candidate[layer[i]];
			if (nlayer > 1)
				graph->blocks->sums_list(finder->candidate[c], bytes, nlayer - 1, graph->words,
										 graph->l1, finder->choose_sums);

			/* no branches: which candidates stay is as good as random */
			for (int i = 1; i < nlayer; i++)
			{
				int			other = layer[i];
				bool		drop = graph_distance(graph, finder->factors[c], finder->factors[other], finder->choose_sums[i - 1]) <
				finder->distance[other];

				dropped[other] = drop;
				layer[stay] = other;
				stay += !drop;
			}
			nlayer = stay;
		}
		if (first)
			nkept = chosen;
		first = false;
		for (int i = 0; i < nleft; i++)
		{
			left[n2] = left[i];
			n2 += dropped[left[i]];
		}
		nleft = n2;
	}
	*nfilled = chosen;
	return nkept;
}

/* Compare rows of the current cell with all rows of another and keep the nearest. */
static void
compare(VdistGraph *graph, Finder *finder, const uint8_t *own, uint32_t first,
		const uint8_t *members, int nmembers, const uint8_t *other, uint32_t other_first, int nother)
{
	const uint8_t *bytes[CELL_MAX];
	uint16_t	which[CELL_MAX + 16];
	float		distance[CELL_MAX + 16];
	int			ld = CELL_MAX + 16;

	for (int i = 0; i < nother; i++)
		bytes[i] = other + i * graph->record;
	graph_pack(graph, bytes, nother, &finder->columns);
	for (int i = 0; i < nmembers; i++)
		bytes[i] = graph_bytes(own + members[i] * graph->record);
	graph->blocks->sums(bytes, nmembers, finder->columns.packed, nother, graph->words, graph->l1,
						finder->sums, ld);

	for (int i = 0; i < nmembers; i++)
	{
		int			m = members[i];
		VdistKey   *keys = finder->keys + (size_t) m * finder->room;
		int			n = finder->nkeys[m];
		int			found = graph->blocks->pick(finder->sums + (size_t) i * ld, nother,
												graph_factors(own + m * graph->record),
												graph->factor, &finder->columns.factors, 0,
												finder->bound[m], which, distance);

		for (int k = 0; k < found; k++)
			if (other_first + which[k] != first + (uint32_t) m)
				keys[n++] = graph_key(distance[k], other_first + which[k]);
		if (n > graph->candidates + CELL_MAX / 2)
			n = graph_shrink(keys, n, graph->candidates, &finder->bound[m]);
		finder->nkeys[m] = n;
	}
}

/* The cells nearest to one cell, itself first; how many. */
static int
near_cells(VdistGraph *graph, Finder *finder, uint32_t cell)
{
	const uint8_t *centroid = graph->centroids + cell * graph->record;
	int			n = (int) graph->ncells;
	int			wanted = n < NEAR_CELLS ? n : NEAR_CELLS;

	for (int c = 0; c < n; c++)
		finder->bytes[c] = graph_bytes(graph->centroids + c * graph->record);
	graph->blocks->sums_list(graph_bytes(centroid), finder->bytes, n, graph->words, graph->l1,
							 finder->near_sums);
	for (int c = 0; c < n; c++)
		finder->near[c] = graph_key(graph_distance(graph, graph_factors(centroid),
												   graph_factors(graph->centroids +
																 c * graph->record), finder->near_sums[c]),
									(uint32_t) c);
	finder->near[cell] = cell;
	graph_smallest(finder->near, n, wanted);
	graph_sort(finder->near, wanted);

	/* another cell may have distance 0, too */
	for (int i = 1; i < wanted; i++)
	{
		if (finder->near[i] == cell)
		{
			finder->near[i] = finder->near[0];
			finder->near[0] = cell;
		}
	}
	return wanted;
}

/* Which rows of the cell look through which of the near cells. */
static void
assign_probes(VdistGraph *graph, Finder *finder, const uint8_t *own, int nown, int nnear,
			  int *nmembers)
{
	const uint8_t *bytes[CELL_MAX];
	int			ld = CELL_MAX + 16;
	int			probes = nnear < graph->probes ? nnear : graph->probes;

	for (int i = 0; i < nnear; i++)
	{
		bytes[i] = graph->centroids + (uint32_t) finder->near[i] * graph->record;
		nmembers[i] = 0;
	}
	graph_pack(graph, bytes, nnear, &finder->near_columns);
	for (int i = 0; i < nown; i++)
		bytes[i] = graph_bytes(own + i * graph->record);
	graph->blocks->sums(bytes, nown, finder->near_columns.packed, nnear, graph->words, graph->l1,
						finder->sums, ld);
	for (int i = 0; i < nown; i++)
	{
		uint16_t	which[NEAR_CELLS + 16];
		float		distance[NEAR_CELLS + 16];
		VdistKey	keys[NEAR_CELLS];
		int			found = graph->blocks->pick(finder->sums + (size_t) i * ld, nnear,
												graph_factors(own + i * graph->record),
												graph->factor, &finder->near_columns.factors, 0,
												INFINITY, which, distance);

		for (int k = 0; k < found; k++)
			keys[k] = graph_key(distance[k], which[k]);
		if (found > probes)
		{
			graph_smallest(keys, found, probes);
			found = probes;
		}
		finder->members[nmembers[0]++] = (uint8_t) i;
		for (int k = 0; k < found; k++)
		{
			uint32_t	c = (uint32_t) keys[k];

			if (c != 0)
				finder->members[c * CELL_MAX + nmembers[c]++] = (uint8_t) i;
		}
	}
}

/* Store what was chosen for a row, as number i of the current cell. */
static void
choose_row(VdistGraph *graph, Finder *finder, uint32_t first, int i)
{
	size_t		slots = (size_t) graph->params.slots;
	uint32_t	position = first + (uint32_t) i;
	VdistKey   *keys = finder->keys + (size_t) i * finder->room;
	int			n = finder->nkeys[i];
	int			nfilled;
	uint32_t   *ids;
	float	   *distances;

	if (n > graph->candidates)
	{
		graph_smallest(keys, n, graph->candidates);
		n = graph->candidates;
	}
	graph_sort(keys, n);
	if (graph->on_disk)
	{
		ids = (uint32_t *) (finder->lists + i * 8 * slots);
		distances = (float *) (ids + slots);
	}
	else
	{
		ids = graph->ids + position * slots;
		distances = graph->distances + position * slots;
	}
	graph->nkept[position] = (uint8_t) choose(graph, finder, keys, n, ids, distances, &nfilled);
	graph->nfilled[position] = (uint8_t) nfilled;
}

static void
find_in_cell(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	Finder	   *finder = (Finder *) graph->work + thread;

	if (!finder->ready && !prepare(graph, finder))
		return;
	for (uint32_t cell = (uint32_t) from; cell < to; cell++)
	{
		uint32_t	first = graph->cell_start[cell];
		int			nown = (int) cell_rows(graph, cell);
		int			nmembers[NEAR_CELLS];
		int			nnear = near_cells(graph, finder, cell);
		const uint8_t *own;

		finder->step++;
		finder->ncells = 0;
		own = load_cell(graph, finder, cell);
		if (own == NULL)
			return;
		assign_probes(graph, finder, own, nown, nnear, nmembers);
		for (int i = 0; i < nown; i++)
		{
			finder->nkeys[i] = 0;
			finder->bound[i] = INFINITY;
		}
		for (int i = 0; i < nnear && !graph_stopped(graph); i++)
		{
			uint32_t	other = (uint32_t) finder->near[i];
			const uint8_t *records;

			if (nmembers[i] == 0)
				continue;
			records = load_cell(graph, finder, other);
			if (records == NULL)
				break;
			finder->cell_number[finder->ncells] = other;
			finder->cell_records[finder->ncells++] = records;
			compare(graph, finder, own, first, finder->members + i * CELL_MAX, nmembers[i],
					records, graph->cell_start[other], (int) cell_rows(graph, other));
		}
		if (graph_stopped(graph))
			return;
		for (int i = 0; i < nown; i++)
			choose_row(graph, finder, first, i);
		if (graph->on_disk &&
			!graph_write(graph, 0, finder->lists, nown * 8 * (size_t) graph->params.slots,
						 first * 8 * (uint64_t) graph->params.slots))
			return;
		__atomic_fetch_add(&graph->done, (uint64_t) nown, __ATOMIC_RELAXED);
	}
}

bool
graph_find_neighbors(VdistGraph *graph)
{
	size_t		n = graph->n;
	size_t		slots = (size_t) graph->params.slots;
	Finder	   *finders = graph_alloc(graph, VDIST_TEAM_MAX, sizeof(Finder));
	int			threads = graph->params.threads;
	bool		ok = true;

	graph->probes = graph_choose_probes(graph);
	graph->nkept = graph_alloc(graph, n, 1);
	graph->nfilled = graph_alloc(graph, n, 1);
	if (!graph->on_disk)
	{
		graph->ids = graph_alloc(graph, n * slots, sizeof(uint32_t));
		graph->distances = graph_alloc(graph, n * slots, sizeof(float));
	}
	else
	{
		graph->params.threads = disk_threads(graph);
		ok = graph_extend(graph, 0, n * 8 * slots);
	}
	graph->work = finders;
	ok = ok && !graph_stopped(graph) && graph_run(graph, graph->ncells, 1, find_in_cell);
	graph->params.threads = threads;
	for (int t = 0; finders && t < VDIST_TEAM_MAX; t++)
		finish(graph, &finders[t]);
	free(finders);
	graph_trim(graph);
	return ok;
}
