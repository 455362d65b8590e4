/*
 * edges.c: edges back to a new row from its neighbors. Calls read.c, write.c and quant/; called by insert.c
 * and, for distances, by repair.c.
 *
 * Every edge is a page changed, and once a checkpoint a page in the WAL: that is most of what an insert
 * costs. So only those are made that keep the new row, and they are planned before the row is written:
 * what a list gives up for it goes into its own list, which costs nothing until then.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* Nearest kept neighbors of a row that are asked for another way to one that it gives up. */
#define KIN 3

/* A row that is not kept takes a slot when one in so many that fill slots are nearer, at most. */
#define FILL_SHARE 2

/* How hard an edge must be tried for. */
typedef enum EdgeMode
{
	EDGE_IF_BETTER,				/* take the new row if the list is better for it */
	EDGE_KEPT,					/* as a kept neighbor, whatever the directions of the others */
	EDGE_ALWAYS					/* and at any price */
} EdgeMode;

/* A change of a list of neighbors, and of what it was then. */
typedef struct Edge
{
	const HnswCandidate *owner;
	EdgeMode	mode;
	int			n;
	int			nkept;
	int			slot;			/* the new row's; n: one more */
	uint32		gone;			/* what is in it, or HNSW_NO_ROW */
	bool		promote;		/* the new row is to be kept */
} Edge;

struct HnswEdges
{
	int			nowners;		/* neighbors of the new row before it took over any */
	int			nheld;			/* filling neighbors of the new row that lists count on */
	int			n;
	Edge		edges[FLEXIBLE_ARRAY_MEMBER];
};

/*
 * Distances, as the graph sees them, from a decoded code, of which `query` was made, to a row's
 * neighbors in the slots from `first` to `end` - 1.
 */
void
hnsw_slot_distances(HnswInsert *insert, const float *x, const VdistQuantQuery *query,
					const HnswRow *row, int first, int end, float *distance)
{
	const HnswMeta *meta = &insert->meta;
	const char *codes = HnswRowCodes(meta, row) + first * meta->code_size;

	distance += first;
	if (!hnsw_compare_decoded(meta))
	{
		vdist_quant_estimate(query, codes, meta->code_size, end - first, distance);
		return;
	}
	for (int i = 0; i < end - first; i++)
	{
		hnsw_decode(insert, false, codes + i * meta->code_size, insert->decoded);
		distance[i] = hnsw_code_distance(meta, x, insert->decoded);
	}
}

/* ---- planning ---- */

/* Whether one of these rows leads to another. */
static bool
leads(HnswInsert *insert, int n, const uint32 *rows, uint32 number)
{
	HnswRead   *read = &insert->search.read;
	bool		found = false;

	for (int i = 0; i < n && !found; i++)
	{
		const HnswRow *row = hnsw_read(read, insert->search.index, &insert->meta, rows[i]);

		found = HnswRowStateOf(row) == HNSW_ROW_LIVE && hnsw_lists(row, number);
		hnsw_read_unlock(read);
	}
	return found;
}

/* The farthest of a full list's neighbors that may make room; -1 if none may. */
static int
choose_victim(int n, int nkept, const float *from_owner, const float *from_new, EdgeMode mode)
{
	int			victim = -1;

	for (int i = nkept < n ? nkept : 0; i < n; i++)
	{
		/* a kept one only if the new row takes over its direction */
		if (i < nkept && from_new[i] >= from_owner[i] && mode != EDGE_ALWAYS)
			continue;
		if (victim < 0 || from_owner[i] > from_owner[victim])
			victim = i;
	}
	return victim;
}

/*
 * Let the new row lead to one that a list is to give up, as a kept neighbor if `keep` says so or it is
 * not among its neighbors yet. False when there is no room for it: all others are kept, or filling
 * ones that other lists count on; these come first among the filling ones. A dead row needs no way
 * to it, and must not get a new one: vacuum may already be past the new row.
 */
static bool
take_over(HnswInsert *insert, HnswEdges *edges, uint32 passed, bool keep, const char *code)
{
	const HnswMeta *meta = &insert->meta;
	HnswRow    *image = insert->image;
	char	   *codes = HnswRowCodes(meta, image);
	int			held;
	int			to = image->nkept;
	int			at = 0;

	if (edges == NULL)
		return !keep && hnsw_lists(image, passed);
	held = image->nkept + edges->nheld;
	while (at < image->nneighbors && image->neighbors[at] != passed)
		at++;
	if (at < (keep ? image->nkept : held))
		return true;
	if (at == image->nneighbors)
	{
		bool		live;

		if (held == meta->slots)
			return false;
		live = HnswRowStateOf(hnsw_read(&insert->search.read, insert->search.index, meta,
										passed)) == HNSW_ROW_LIVE;
		hnsw_read_unlock(&insert->search.read);
		if (!live)
			return true;
		if (at == meta->slots)
			at--;				/* in place of the farthest */
		else
			image->nneighbors++;
		image->nkept++;
	}
	else if (keep)
	{
		image->nkept++;
		edges->nheld -= at < held;
	}
	else
	{
		to = held;
		edges->nheld++;
	}
	memmove(&image->neighbors[to + 1], &image->neighbors[to], sizeof(uint32) * (at - to));
	memmove(codes + (to + 1) * meta->code_size, codes + to * meta->code_size,
			meta->code_size * (at - to));
	image->neighbors[to] = passed;
	memcpy(codes + to * meta->code_size, code, meta->code_size);
	return true;
}

/*
 * Plan an edge to the new row if the neighbor's list is better for it, or as mode says; false if there
 * is to be none. Once the row is written it takes over no others: edges is NULL then.
 *
 * The new row is kept when no kept neighbor nearer to the owner is closer to it than the owner is. It
 * takes the place of the farthest neighbor that only fills a slot. Kept ones may be the only way to a
 * row: they make room only for one that leads their way and keeps them itself. So edges that are kept
 * lead to every row that they ever led to. A filling one may be somebody's only way, too: it goes only
 * if the new row, or one of the nearest kept ones of this list, leads to it; else the new row keeps
 * it. A row that is not kept gets a slot where one is free, or when it is among the nearer half of
 * those that fill slots.
 */
static bool
plan_edge(HnswInsert *insert, HnswEdges *edges, const HnswCandidate *owner, EdgeMode mode,
		  Edge *edge)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	HnswRead   *read = &search->read;
	float	   *from_owner = search->estimates;
	float		from_new[HNSW_MAX_SLOTS];
	const HnswRow *row;
	char	   *code = NULL;	/* of the one that goes */
	uint32		kin[KIN];
	int			nkin = 0;
	int			nearer = 0;
	bool		kept = true;
	int			n;
	int			nkept;
	int			slot;

	if (!hnsw_compare_decoded(meta))
	{
		const HnswCodes *codes = hnsw_codes(search->index, meta);

		vdist_quant_query_code(&codes->own, owner->own, &codes->code, search->own,
							   search->scratch);
	}

	row = hnsw_read(read, search->index, meta, owner->number);
	n = row->nneighbors;
	nkept = row->nkept;
	hnsw_slot_distances(insert, owner->x, search->own, row, 0, nkept, from_owner);
	hnsw_slot_distances(insert, insert->x, search->code, row, 0, nkept, from_new);
	for (int i = 0; i < nkept && kept && mode == EDGE_IF_BETTER; i++)
		kept = from_owner[i] > owner->distance || from_new[i] >= owner->distance;
	hnsw_slot_distances(insert, owner->x, search->own, row, nkept, n, from_owner);
	for (int i = nkept; i < n && !kept; i++)
		nearer += from_owner[i] <= owner->distance;
	if (HnswRowStateOf(row) != HNSW_ROW_LIVE ||
		(!kept && n == meta->slots && FILL_SHARE * nearer >= n - nkept))
	{
		hnsw_read_unlock(read);
		return false;
	}

	/* slots of wide rows are not moved, so one that must be kept takes the first slot that may go */
	edge->promote = kept && (meta->span == 1 || mode != EDGE_IF_BETTER || n == nkept);
	slot = edge->promote && meta->span > 1 ? nkept : n;
	if (slot == meta->slots)
		slot = choose_victim(n, nkept, from_owner, from_new, mode);
	edge->owner = owner;
	edge->mode = mode;
	edge->n = n;
	edge->nkept = nkept;
	edge->slot = slot;
	edge->gone = slot >= 0 && slot < n ? row->neighbors[slot] : HNSW_NO_ROW;
	if (edge->gone != HNSW_NO_ROW)
	{
		code = palloc(meta->code_size);
		memcpy(code, HnswRowCodes(meta, row) + slot * meta->code_size, meta->code_size);
		nkin = slot < nkept || hnsw_lists(insert->image, edge->gone) ? 0 : Min(KIN, nkept);
		memcpy(kin, row->neighbors, sizeof(uint32) * nkin);
	}
	hnsw_read_unlock(read);

	/* its slot here may be the only way to the one that goes: be sure of another first */
	return slot >= 0 &&
		(edge->gone == HNSW_NO_ROW || leads(insert, nkin, kin, edge->gone) ||
		 take_over(insert, edges, edge->gone, slot < nkept, code));
}

/*
 * Plan the edges to the new row from its neighbors, which may change its own list. The nearest that can
 * keeps it, so that no later row takes its only edge away.
 */
HnswEdges *
hnsw_plan_edges(HnswInsert *insert)
{
	int			nowners = insert->image->nneighbors;
	HnswEdges  *edges = palloc(offsetof(HnswEdges, edges) + sizeof(Edge) * nowners);

	edges->nowners = nowners;
	edges->nheld = 0;
	edges->n = 0;
	for (int i = 0; i < nowners; i++)
		edges->n += plan_edge(insert, edges, insert->chosen[i],
							  edges->n > 0 ? EDGE_IF_BETTER : EDGE_KEPT, &edges->edges[edges->n]);
	for (int i = 0; i < nowners && edges->n == 0; i++)
		edges->n += plan_edge(insert, edges, insert->chosen[i], EDGE_ALWAYS, edges->edges);
	hnsw_read_end(&insert->search.read);
	return edges;
}

/* ---- making ---- */

static void
set_slot(HnswInsert *insert, HnswWrite *write, int slot, uint32 number, const char *code)
{
	const HnswMeta *meta = &insert->meta;

	write->row->neighbors[slot] = number;
	hnsw_write_bytes(write, HNSW_ROW_HEADER(meta) + meta->own_size + slot * meta->code_size,
					 code, meta->code_size);
}

/* Copy one slot over another; rows of one page only. */
static void
move_slot(HnswInsert *insert, HnswWrite *write, int from, int to)
{
	const HnswMeta *meta = &insert->meta;
	char	   *codes = HnswRowCodes(meta, write->row);

	if (from == to)
		return;
	write->row->neighbors[to] = write->row->neighbors[from];
	memcpy(codes + to * meta->code_size, codes + from * meta->code_size, meta->code_size);
}

/* False when another insert changed the list since. */
static bool
make_edge(HnswInsert *insert, const Edge *edge, uint32 number)
{
	HnswWrite	write;
	int			slot = edge->slot;

	hnsw_write_begin(&write, insert->search.index, &insert->meta, edge->owner->number);
	if (HnswRowStateOf(write.row) != HNSW_ROW_LIVE || write.row->nneighbors != edge->n ||
		write.row->nkept != edge->nkept ||
		(edge->gone != HNSW_NO_ROW && write.row->neighbors[slot] != edge->gone))
	{
		hnsw_write_abort(&write);
		return false;
	}
	if (slot == edge->n)
		write.row->nneighbors++;
	if (edge->promote && slot >= edge->nkept)
	{
		if (insert->meta.span == 1)
			move_slot(insert, &write, edge->nkept, slot);
		slot = edge->nkept;
		write.row->nkept++;
	}
	set_slot(insert, &write, slot, number, insert->new_code);
	hnsw_write_end(&write);
	return true;
}

/* Make the planned edges to the row, now written; false when nothing leads to it. */
bool
hnsw_make_edges(HnswInsert *insert, const HnswEdges *edges, uint32 number)
{
	bool		linked = false;
	Edge		edge;

	for (int i = 0; i < edges->n; i++)
		linked |= make_edge(insert, &edges->edges[i], number);
	for (int i = 0; i < edges->nowners && !linked; i++)
		while (!linked && plan_edge(insert, NULL, insert->chosen[i], EDGE_KEPT, &edge))
			linked = make_edge(insert, &edge, number);
	hnsw_read_end(&insert->search.read);
	return linked;
}
