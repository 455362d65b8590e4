/*
 * link.c: completes the graph: edges that pruning kept lead both ways, slots left over are filled,
 * and every row can be reached from the entries. Pure C; called by graph.c.
 */
#include <stdlib.h>
#include <string.h>

#include "quant/graph.h"

#define CHUNK 256

/* Rounds of repairs of reachability before the rest become entries. */
#define REPAIRS 4

/* An edge that another row kept to this one. */
typedef struct Edge
{
	uint32_t	from;
	float		distance;
} Edge;

/* A stretch of positions whose incoming edges are in memory. */
typedef struct Stretch
{
	uint32_t	first;
	uint32_t	end;
	uint64_t   *edge_start;		/* end - first + 1 */
	Edge	   *edges;
	uint8_t    *nkept;			/* of all rows, after linking */
	uint8_t    *nfilled;
} Stretch;

/* Where the finished lists begin in file 1, behind the records. */
static uint64_t
finished_offset(const VdistGraph *graph, uint64_t position)
{
	return (uint64_t) graph->n * graph->record + position * 4 * (uint64_t) graph->params.slots;
}

/* The lists of up to CHUNK rows, ids then distances of each row, on disk. */
static bool
read_lists(VdistGraph *graph, uint32_t first, uint32_t count, uint8_t *buffer)
{
	size_t		size = 8 * (size_t) graph->params.slots;

	return graph_read(graph, 0, buffer, count * size, first * (uint64_t) size);
}

/* Call for every kept edge, in order: count it, or store it as an edge into the stretch. */
static bool
scan_edges(VdistGraph *graph, uint32_t *count, const Stretch *stretch, uint64_t *cursor)
{
	size_t		slots = (size_t) graph->params.slots;
	uint8_t    *buffer = graph->on_disk ? graph_alloc(graph, CHUNK, 8 * slots) : NULL;

	if (graph->on_disk && buffer == NULL)
		return false;
	for (uint32_t p = 0; p < graph->n; p++)
	{
		const uint32_t *ids;
		const float *distances;

		if (p % (64 * CHUNK) == 0)
			graph_poll(graph);
		if (graph_stopped(graph))
			break;
		if (graph->on_disk)
		{
			uint32_t	m = graph->n - p < CHUNK ? graph->n - p : CHUNK;

			if (p % CHUNK == 0 && !read_lists(graph, p, m, buffer))
				break;
			ids = (const uint32_t *) (buffer + p % CHUNK * 8 * slots);
			distances = (const float *) (ids + slots);
		}
		else
		{
			ids = graph->ids + p * slots;
			distances = graph->distances + p * slots;
		}
		for (int i = 0; i < graph->nkept[p]; i++)
		{
			if (count)
				count[ids[i]]++;
			else if (ids[i] >= stretch->first && ids[i] < stretch->end)
			{
				Edge	   *edge = &stretch->edges[cursor[ids[i] - stretch->first]++];

				edge->from = p;
				edge->distance = distances[i];
			}
		}
	}
	free(buffer);
	return !graph_stopped(graph);
}

static bool
contains(const uint32_t *ids, int n, uint32_t id)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * One row's final list: the nearest of what it kept and what kept it, then what filled its own list.
 * Choosing among them by pruning again brought nothing (README).
 */
static void
link_row(const VdistGraph *graph, Stretch *stretch, uint32_t position, const uint32_t *ids,
		 const float *distances, VdistKey *keys, uint32_t *out)
{
	int			slots = graph->params.slots;
	int			nown = graph->nkept[position];
	uint64_t	from = stretch->edge_start[position - stretch->first];
	uint64_t	to = stretch->edge_start[position - stretch->first + 1];
	int			n = nown;
	int			kept;
	int			filled;

	for (int i = 0; i < nown; i++)
		keys[i] = graph_key(distances[i], ids[i]);
	for (uint64_t e = from; e < to; e++)
		if (!contains(ids, nown, stretch->edges[e].from))
			keys[n++] = graph_key(stretch->edges[e].distance, stretch->edges[e].from);
	kept = n < slots ? n : slots;
	if (n > kept)
		graph_smallest(keys, n, kept);
	graph_sort(keys, kept);
	for (int i = 0; i < kept; i++)
		out[i] = (uint32_t) keys[i];
	filled = kept;
	for (int i = nown; i < graph->nfilled[position] && filled < slots; i++)
		if (!contains(out, kept, ids[i]))
			out[filled++] = ids[i];
	stretch->nkept[position] = (uint8_t) kept;
	stretch->nfilled[position] = (uint8_t) filled;
}

static void
link_rows(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	Stretch    *stretch = graph->work;
	size_t		slots = (size_t) graph->params.slots;
	uint32_t	first = stretch->first + (uint32_t) from;
	uint32_t	n = (uint32_t) (to - from);
	uint64_t	most = 0;
	uint8_t    *lists = graph->on_disk ? graph_alloc(graph, n, 8 * slots) : NULL;
	uint32_t   *out = graph_alloc(graph, n, sizeof(uint32_t) * slots);
	VdistKey   *keys;

	(void) thread;
	for (uint64_t i = from; i < to; i++)
		if (stretch->edge_start[i + 1] - stretch->edge_start[i] > most)
			most = stretch->edge_start[i + 1] - stretch->edge_start[i];
	keys = graph_alloc(graph, most + slots, sizeof(VdistKey));
	if (out && keys && (lists || !graph->on_disk) &&
		(!graph->on_disk || read_lists(graph, first, n, lists)))
	{
		for (uint32_t i = 0; i < n; i++)
		{
			const uint32_t *ids = graph->on_disk ? (uint32_t *) (lists + i * 8 * slots) :
				graph->ids + (first + i) * slots;
			const float *distances = graph->on_disk ? (float *) (ids + slots) :
				graph->distances + (first + i) * slots;

			link_row(graph, stretch, first + i, ids, distances, keys, out + i * slots);
		}

		/* in memory there is one stretch, whose edges are all collected: lists may be overwritten */
		if (graph->on_disk)
			graph_write(graph, 1, out, n * 4 * slots, finished_offset(graph, first));
		else
			memcpy(graph->ids + first * slots, out, n * 4 * slots);
	}
	free(lists);
	free(out);
	free(keys);
}

bool
graph_link(VdistGraph *graph)
{
	Stretch		stretch = {0};
	uint32_t   *incoming = graph_alloc(graph, graph->n, sizeof(uint32_t));
	uint64_t	room = graph->on_disk ? graph_room(graph) / 2 / sizeof(Edge) : UINT64_MAX;
	bool		ok;

	stretch.nkept = graph_alloc(graph, graph->n, 1);
	stretch.nfilled = graph_alloc(graph, graph->n, 1);
	ok = incoming && stretch.nkept && stretch.nfilled && scan_edges(graph, incoming, NULL, NULL);
	while (ok && stretch.first < graph->n)
	{
		uint64_t	nedges = 0;
		uint64_t   *cursor;
		uint32_t	n;

		stretch.end = stretch.first;
		while (stretch.end < graph->n &&
			   (stretch.end == stretch.first || nedges + incoming[stretch.end] <= room))
			nedges += incoming[stretch.end++];
		n = stretch.end - stretch.first;

		stretch.edges = graph_alloc(graph, nedges, sizeof(Edge));
		stretch.edge_start = graph_alloc(graph, (size_t) n + 1, sizeof(uint64_t));
		cursor = graph_alloc(graph, n, sizeof(uint64_t));
		ok = stretch.edges && stretch.edge_start && cursor;
		for (uint32_t i = 0; ok && i < n; i++)
		{
			cursor[i] = stretch.edge_start[i];
			stretch.edge_start[i + 1] = stretch.edge_start[i] + incoming[stretch.first + i];
		}
		ok = ok && scan_edges(graph, NULL, &stretch, cursor);
		graph->work = &stretch;
		ok = ok && graph_run(graph, n, CHUNK, link_rows);
		free(stretch.edges);
		free(stretch.edge_start);
		free(cursor);
		graph_trim(graph);
		stretch.first = stretch.end;
	}
	free(incoming);
	free(graph->nkept);
	free(graph->nfilled);
	graph->nkept = stretch.nkept;
	graph->nfilled = stretch.nfilled;
	free(graph->distances);
	graph->distances = NULL;
	if (!graph->on_disk)
	{
		free(graph->records);
		graph->records = NULL;
	}
	return ok;
}

/* ---- entries and reachability ---- */

typedef struct Walk
{
	uint8_t    *seen;			/* by position */
	uint32_t   *stack;
	uint32_t   *list;			/* one row's neighbors */
	uint32_t   *other;			/* another's */
} Walk;

/* Mark all that can be reached from a row by kept edges: others may make room for later rows. */
static bool
walk(VdistGraph *graph, Walk *w, uint32_t start)
{
	uint32_t	depth = 0;

	if (w->seen[start])
		return true;
	w->seen[start] = 1;
	w->stack[depth++] = start;
	while (depth > 0)
	{
		int			nneighbors;
		int			nkept;

		if (vdist_graph_neighbors(graph, w->stack[--depth], w->list, &nneighbors, &nkept) !=
			VDIST_GRAPH_OK)
			return false;
		for (int i = 0; i < nkept; i++)
		{
			if (!w->seen[w->list[i]])
			{
				w->seen[w->list[i]] = 1;
				w->stack[depth++] = w->list[i];
			}
		}
	}
	return true;
}

static bool
set_neighbor(VdistGraph *graph, uint32_t position, int slot, uint32_t neighbor)
{
	size_t		slots = (size_t) graph->params.slots;

	if (graph->ids)
	{
		graph->ids[position * slots + slot] = neighbor;
		return true;
	}
	return graph_write(graph, 1, &neighbor, sizeof(neighbor),
					   finished_offset(graph, position) + 4 * (uint64_t) slot);
}

/*
 * Keep an edge to a row that no kept one leads to, from one of its own neighbors that can be reached
 * and has a slot that pruning does not need; a row gives one slot a round. False: there is none.
 */
static bool
adopt(VdistGraph *graph, Walk *w, uint8_t *gave, uint32_t orphan)
{
	int			slots = graph->params.slots;
	int			nneighbors;
	int			nkept;

	if (vdist_graph_neighbors(graph, orphan, w->list, &nneighbors, &nkept) != VDIST_GRAPH_OK)
		return false;
	for (int i = 0; i < nneighbors; i++)
	{
		uint32_t	parent = w->list[i];
		int			n;
		int			kept;
		int			slot = 0;

		if (!w->seen[parent] || gave[parent] || graph->nkept[parent] >= slots)
			continue;
		if (vdist_graph_neighbors(graph, parent, w->other, &n, &kept) != VDIST_GRAPH_OK)
			return false;
		gave[parent] = 1;
		while (slot < n && w->other[slot] != orphan)
			slot++;
		if (slot == slots)
			slot--;

		/*
		 * the first that only fills a slot goes where the orphan was, or there is room, or to the
		 * last
		 */
		if ((slot != kept && !set_neighbor(graph, parent, slot, w->other[kept])) ||
			!set_neighbor(graph, parent, kept, orphan))
			return false;
		if (slot == n)
			graph->nfilled[parent] = (uint8_t) (n + 1);
		graph->nkept[parent] = (uint8_t) (kept + 1);
		return true;
	}
	return false;
}

bool
graph_reach(VdistGraph *graph)
{
	uint32_t	n = graph->n;
	uint32_t	capacity = (uint32_t) graph->params.entries;
	uint32_t	step = (graph->ncells + capacity - 1) / capacity;
	Walk		w;
	uint8_t    *gave = graph_alloc(graph, n, 1);
	bool		ok;

	w.seen = graph_alloc(graph, n, 1);
	w.stack = graph_alloc(graph, n, sizeof(uint32_t));
	w.list = graph_alloc(graph, graph->params.slots, sizeof(uint32_t));
	w.other = graph_alloc(graph, graph->params.slots, sizeof(uint32_t));
	graph->entries = graph_alloc(graph, capacity, sizeof(uint32_t));
	ok = gave && w.seen && w.stack && w.list && w.other && graph->entries;
	for (uint32_t c = 0; ok && c < graph->ncells; c += step)
		graph->entries[graph->nentries++] = graph->medoids[c];

	/* a slot given away may have been the only way to some other row: look again */
	for (int round = 0; ok && round <= REPAIRS; round++)
	{
		bool		found = false;

		memset(w.seen, 0, n);
		memset(gave, 0, n);
		for (uint32_t i = 0; ok && i < graph->nentries; i++)
		{
			graph_poll(graph);
			ok = walk(graph, &w, graph->entries[i]) && !graph_stopped(graph);
		}
		for (uint32_t p = 0; ok && p < n; p++)
		{
			if (w.seen[p])
				continue;
			found = true;
			if (round == REPAIRS || !adopt(graph, &w, gave, p))
			{
				if (graph->nentries == capacity)
				{
					uint32_t   *more = realloc(graph->entries, sizeof(uint32_t) * capacity * 2);

					if (more == NULL)
					{
						graph_fail(graph, VDIST_GRAPH_NO_MEMORY);
						ok = false;
						break;
					}
					graph->entries = more;
					capacity *= 2;
				}
				graph->entries[graph->nentries++] = p;
			}
			ok = walk(graph, &w, p);
		}
		if (!found)
			break;
		ok = ok && !graph_stopped(graph);
	}
	free(gave);
	free(w.seen);
	free(w.stack);
	free(w.list);
	free(w.other);

	/* of no use any more, while the caller may want the memory */
	free(graph->centroids);
	free(graph->medoids);
	free(graph->cell_start);
	graph->centroids = NULL;
	graph->medoids = NULL;
	graph->cell_start = NULL;
	graph_trim(graph);
	return ok;
}
