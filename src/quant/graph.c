/*
 * graph.c: the graph build as its caller sees it: rows in, phases in order, threads, memory or files,
 * neighbors out. Pure C; called by hnsw/, calls encode.c, cells.c, neighbors.c and link.c.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
		ssize_t		got = pread(graph->params.files[file], p, size < IO_MAX ? size : IO_MAX,
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
		ssize_t		put = pwrite(graph->params.files[file], p, size < IO_MAX ? size : IO_MAX,
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

/* ---- threads ---- */

typedef struct Team
{
	VdistGraph *graph;
	uint64_t	total;
	int			step;
	void		(*body) (VdistGraph *graph, int thread, uint64_t from, uint64_t to);
} Team;

typedef struct Member
{
	const Team *team;
	int			number;
} Member;

static void
work(const Team *team, int thread)
{
	VdistGraph *graph = team->graph;
	const VdistGraphParams *params = &graph->params;

	while (!graph_stopped(graph))
	{
		uint64_t	from = __atomic_fetch_add(&graph->next, (uint64_t) team->step,
											  __ATOMIC_RELAXED);
		uint64_t	to = from + (uint64_t) team->step;

		if (from >= team->total)
			break;
		team->body(graph, thread, from, to < team->total ? to : team->total);
		if (thread != 0)
			continue;
		graph_poll(graph);
		if (params->progress)
			params->progress(params->arg, __atomic_load_n(&graph->done, __ATOMIC_RELAXED),
							 graph->n);
	}
}

static void *
member_main(void *arg)
{
	const Member *member = arg;

	work(member->team, member->number);
	return NULL;
}

bool
graph_run(VdistGraph *graph, uint64_t total, int step,
		  void (*body) (VdistGraph *graph, int thread, uint64_t from, uint64_t to))
{
	Team		team = {graph, total, step, body};
	Member		members[MAX_THREADS];
	pthread_t	threads[MAX_THREADS];
	int			started = 1;
	sigset_t	all;
	sigset_t	saved;

	if (graph_stopped(graph))
		return false;
	graph->next = 0;

	/* signals are the calling thread's business */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	for (; started < graph->params.threads && (uint64_t) started * step < total; started++)
	{
		members[started].team = &team;
		members[started].number = started;
		if (pthread_create(&threads[started], NULL, member_main, &members[started]) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);

	work(&team, 0);
	for (int i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	return !graph_stopped(graph);
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
	if (graph->params.threads > MAX_THREADS)
		graph->params.threads = MAX_THREADS;
	graph->l1 = params->metric == VDIST_QUANT_L1;
	graph->factor = graph->l1 ? 2.0f : -2.0f;
	graph->words = (dim + 3) / 4;
	graph->record = sizeof(VdistRowFactors) + 4 * (size_t) graph->words;
	graph->candidates = 2 * params->ef_construction;
	if (graph->candidates < params->slots)
		graph->candidates = params->slots;
	if (graph->candidates > CANDIDATES_MAX)
		graph->candidates = CANDIDATES_MAX;
	graph->mean = malloc(sizeof(float) * dim);
	graph->scratch = malloc(sizeof(float) * dim);
	if (graph->mean == NULL || graph->scratch == NULL)
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
	free(graph->scratch);
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
	if (!graph_write(graph, 0, graph->records, graph->n * graph->record, 0))
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

	if (!graph_write(graph, 0, graph->buffer, graph->buffered, end - graph->buffered))
		return false;
	graph->buffered = 0;
	return true;
}

VdistGraphStatus
vdist_graph_add(VdistGraph *graph, const float *x)
{
	if (!graph->on_disk && graph->n >= graph->capacity)
	{
		uint64_t	more = (uint64_t) graph->capacity + graph->capacity / 2 + 1024;
		uint8_t    *records;

		if (graph->params.files[0] >= 0 &&
			(uint64_t) graph->n * row_cost(graph) >= graph->params.budget)
		{
			if (!spill(graph))
				return graph->status;
		}
		else
		{
			/* ask at the budget's end, not beyond it */
			if (graph->params.files[0] >= 0 &&
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
		graph_encode(graph, x, graph->buffer + graph->buffered, graph->scratch);
		graph->buffered += graph->record;
		graph->n++;
		if (graph->buffered >= BUFFER_SIZE && !flush(graph))
			return graph->status;
	}
	else
	{
		graph_encode(graph, x, graph->records + graph->n * graph->record, graph->scratch);
		graph->n++;
	}
	return VDIST_GRAPH_OK;
}

/* ---- build, and neighbors out ---- */

VdistGraphStatus
vdist_graph_build(VdistGraph *graph)
{
	if (graph->on_disk)
	{
		flush(graph);
		free(graph->buffer);
		graph->buffer = NULL;
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

uint32_t
vdist_graph_row(const VdistGraph *graph, uint32_t position)
{
	return graph->order[position];
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
