/*
 * graph.c: the graph build as its caller sees it: rows in, phases in order, threads, memory or files,
 * neighbors out. Pure C; called by hnsw/, calls encode.c, cells.c, neighbors.c and link.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "quant/graph.h"

#define BUFFER_SIZE (1 << 20)

/* Reading and writing files is left to thousands of kB at once at most. */
#define IO_MAX ((size_t) 1 << 30)

void
graph_fail(VdistGraph *graph, VdistGraphStatus status)
{
	int			ok = VDIST_GRAPH_OK;
	int			saved = errno;

	if (__atomic_compare_exchange_n(&graph->status, &ok, (int) status, false, __ATOMIC_SEQ_CST,
									__ATOMIC_SEQ_CST))
		graph->failed_errno = saved;
}

bool
graph_stopped(const VdistGraph *graph)
{
	return __atomic_load_n(&graph->status, __ATOMIC_RELAXED) != VDIST_GRAPH_OK;
}

void
graph_poll(VdistGraph *graph)
{
	if (graph->params.interrupted && graph->params.interrupted(graph->params.arg))
		graph_fail(graph, VDIST_GRAPH_CANCELLED);
}

void *
graph_alloc(VdistGraph *graph, size_t count, size_t size)
{
	void	   *p = calloc(count ? count : 1, size);

	if (p == NULL)
		graph_fail(graph, VDIST_GRAPH_NO_MEMORY);
	return p;
}

bool
graph_read(VdistGraph *graph, int file, void *p, size_t size, uint64_t offset)
{
	while (size > 0)
	{
		ssize_t		got = pread(graph->files[file], p, size < IO_MAX ? size : IO_MAX,
								(off_t) offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
		{
			if (got == 0)
				errno = EIO;
			graph_fail(graph, VDIST_GRAPH_IO_ERROR);
			return false;
		}
		p = (char *) p + got;
		size -= (size_t) got;
		offset += (uint64_t) got;
	}
	return true;
}

bool
graph_write(VdistGraph *graph, int file, const void *p, size_t size, uint64_t offset)
{
	while (size > 0)
	{
		ssize_t		put = pwrite(graph->files[file], p, size < IO_MAX ? size : IO_MAX,
								 (off_t) offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
		{
			if (put == 0)
				errno = ENOSPC;
			graph_fail(graph, VDIST_GRAPH_IO_ERROR);
			return false;
		}
		p = (const char *) p + put;
		size -= (size_t) put;
		offset += (uint64_t) put;
	}
	return true;
}

bool
graph_extend(VdistGraph *graph, int file, uint64_t size)
{
	if (size > graph->file_size[file])
	{
		graph->files[file] = graph->params.file(graph->params.arg, file, size);
		if (graph->files[file] < 0)
			graph_fail(graph, VDIST_GRAPH_IO_ERROR);
		graph->file_size[file] = size;
	}
	return !graph_stopped(graph);
}

/* ---- threads and memory ---- */

typedef struct Phase
{
	VdistGraph *graph;
	void		(*body) (VdistGraph *graph, int thread, uint64_t from, uint64_t to);
} Phase;

static bool
run_phase(void *arg, int thread, uint64_t from, uint64_t to)
{
	const Phase *phase = arg;
	VdistGraph *graph = phase->graph;
	const VdistGraphParams *params = &graph->params;

	phase->body(graph, thread, from, to);
	if (thread == 0)
	{
		graph_poll(graph);
		if (params->progress)
			params->progress(params->arg, __atomic_load_n(&graph->done, __ATOMIC_RELAXED),
							 graph->n);
	}
	return !graph_stopped(graph);
}

bool
graph_run(VdistGraph *graph, uint64_t total, int step,
		  void (*body) (VdistGraph *graph, int thread, uint64_t from, uint64_t to))
{
	Phase		phase = {graph, body};

	if (graph_stopped(graph))
		return false;
	vdist_team_run(graph->params.threads, total, step, run_phase, &phase);
	return !graph_stopped(graph);
}

/*
 * Give freed memory back to the system. The C library keeps more of it the larger the pieces were that
 * were freed before, and each phase would come on top of what the one before it had.
 */
void
graph_trim(const VdistGraph *graph)
{
#ifdef __GLIBC__
	if (graph->on_disk)
		malloc_trim(0);
#else
	(void) graph;
#endif
}

size_t
graph_room(const VdistGraph *graph)
{
	/* a few arrays of four bytes a row, the centroids, and lists of cells in each thread */
	size_t		fixed = graph->n * (16 + graph->record / (CELL_ROWS / 2) +
									(size_t) graph->params.threads / 2);
	size_t		budget = graph->params.budget;

	return budget > fixed + ROOM_MIN ? budget - fixed : ROOM_MIN;
}

/* ---- rows in ---- */

VdistGraph *
vdist_graph_create(const VdistGraphParams *params)
{
	VdistGraph *graph = calloc(1, sizeof(VdistGraph));
	int			dim = params->dim;

	if (graph == NULL)
		return NULL;
	graph->params = *params;
	if (graph->params.threads > VDIST_TEAM_MAX)
		graph->params.threads = VDIST_TEAM_MAX;
	graph->l1 = params->metric == VDIST_QUANT_L1;
	graph->factor = graph->l1 ? 2.0f : -2.0f;
	graph->wide = params->wide;
	graph->blocks = graph->wide ? vdist_wide_blocks : vdist_blocks;
	graph->words = graph->wide ? dim : (dim + 3) / 4;
	graph->record = sizeof(VdistRowFactors) + 4 * (size_t) graph->words;
	graph->candidates = 2 * params->ef_construction;
	if (graph->candidates < params->slots)
		graph->candidates = params->slots;
	if (graph->candidates > CANDIDATES_MAX)
		graph->candidates = CANDIDATES_MAX;
	graph->mean = malloc(sizeof(float) * dim);
	if (graph->mean == NULL)
	{
		vdist_graph_free(graph);
		return NULL;
	}
	memcpy(graph->mean, params->mean, sizeof(float) * dim);
	return graph;
}

void
vdist_graph_free(VdistGraph *graph)
{
	if (graph == NULL)
		return;
	free(graph->mean);
	free(graph->records);
	free(graph->buffer);
	free(graph->cell_start);
	free(graph->centroids);
	free(graph->medoids);
	free(graph->order);
	free(graph->ids);
	free(graph->distances);
	free(graph->nkept);
	free(graph->nfilled);
	free(graph->entries);
	free(graph);
}

/*
 * Memory that a row takes at the peak: twice its record while rows are put in order, later its record,
 * its list with distances, and the edges that lead to it.
 */
static size_t
row_cost(const VdistGraph *graph)
{
	size_t		slots = (size_t) graph->params.slots;
	size_t		ordering = 2 * graph->record;
	size_t		linking = graph->record + 8 * slots + 6 * slots;

	return (ordering > linking ? ordering : linking) + 16;
}

static bool
spill(VdistGraph *graph)
{
	graph->buffer = malloc(BUFFER_SIZE + graph->record);
	if (graph->buffer == NULL)
	{
		graph_fail(graph, VDIST_GRAPH_NO_MEMORY);
		return false;
	}
	if (!graph_extend(graph, 0, graph->n * graph->record) ||
		!graph_write(graph, 0, graph->records, graph->n * graph->record, 0))
		return false;
	free(graph->records);
	graph->records = NULL;
	graph->on_disk = true;
	return true;
}

static bool
flush(VdistGraph *graph)
{
	uint64_t	end = (uint64_t) graph->n * graph->record;

	if (!graph_extend(graph, 0, end) ||
		!graph_write(graph, 0, graph->buffer, graph->buffered, end - graph->buffered))
		return false;
	graph->buffered = 0;
	return true;
}

size_t
vdist_graph_record_size(const VdistGraph *graph)
{
	return graph->record;
}

void
vdist_graph_encode(const VdistGraph *graph, const float *x, void *record, float *scratch)
{
	graph_encode(graph, x, record, scratch);
}

VdistGraphStatus
vdist_graph_add(VdistGraph *graph, const void *record)
{
	if (!graph->on_disk && graph->n >= graph->capacity)
	{
		uint64_t	more = (uint64_t) graph->capacity + graph->capacity / 2 + 1024;
		uint8_t    *records;

		if (graph->params.file != NULL &&
			(uint64_t) graph->n * row_cost(graph) >= graph->params.budget)
		{
			if (!spill(graph))
				return graph->status;
		}
		else
		{
			/* ask at the budget's end, not beyond it */
			if (graph->params.file != NULL &&
				more > graph->params.budget / row_cost(graph) + 1)
				more = graph->params.budget / row_cost(graph) + 1;
			if (more <= graph->n)
				more = (uint64_t) graph->n + 1;
			records = realloc(graph->records, more * graph->record);
			if (records == NULL)
			{
				graph_fail(graph, VDIST_GRAPH_NO_MEMORY);
				return graph->status;
			}
			graph->records = records;
			graph->capacity = more;
		}
	}
	if (graph->on_disk)
	{
		memcpy(graph->buffer + graph->buffered, record, graph->record);
		graph->buffered += graph->record;
		graph->n++;
		if (graph->buffered >= BUFFER_SIZE && !flush(graph))
			return graph->status;
	}
	else
		memcpy(graph->records + graph->n++ * graph->record, record, graph->record);
	return VDIST_GRAPH_OK;
}

/* ---- build, and neighbors out ---- */

VdistGraphStatus
vdist_graph_build(VdistGraph *graph, size_t budget)
{
	graph->params.budget = budget;
	if (graph->on_disk)
	{
		flush(graph);
		free(graph->buffer);
		graph->buffer = NULL;
		graph_trim(graph);
	}
	if (graph->n == 0 || graph_stopped(graph))
		return graph->status;
	if (!graph_make_cells(graph) || !graph_find_neighbors(graph) || !graph_link(graph) ||
		!graph_reach(graph))
		errno = graph->failed_errno;
	return graph->status;
}

uint32_t
vdist_graph_count(const VdistGraph *graph)
{
	return graph->n;
}

const uint32_t *
vdist_graph_order(const VdistGraph *graph)
{
	return graph->order;
}

VdistGraphStatus
vdist_graph_neighbors(VdistGraph *graph, uint32_t position, uint32_t *neighbors, int *nneighbors,
					  int *nkept)
{
	size_t		slots = (size_t) graph->params.slots;

	*nneighbors = graph->nfilled[position];
	*nkept = graph->nkept[position];
	if (graph->ids)
		memcpy(neighbors, graph->ids + position * slots, sizeof(uint32_t) * *nneighbors);
	else if (!graph_read(graph, 1, neighbors, sizeof(uint32_t) * *nneighbors,
						 (uint64_t) graph->n * graph->record + 4 * slots * (uint64_t) position))
		return graph->status;
	return VDIST_GRAPH_OK;
}

uint32_t
vdist_graph_entries(const VdistGraph *graph, const uint32_t **entries)
{
	*entries = graph->entries;
	return graph->nentries;
}
