/*
 * edges.c: edges back to a row from its neighbors. Calls read.c, write.c and quant/; called by
 * insert.c, relink.c and anchor.c.
 *
 * Every edge is a page changed, and once a checkpoint a page in the WAL: that is most of what an
 * insert costs. So only those are made that keep the new row. The first one made is its anchor, and
 * no list gives up an anchor; so whatever else inserts do, and wherever they end, a way leads to
 * every row.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/*
 * Lists have an anchor each on average. Where one in so many slots is one, another list is to have
 * the next.
 */
#define MANY_ANCHORS 8

/* A change of a list of neighbors, and of what it was then. */
typedef struct Edge
{
	const HnswCandidate *owner;
	uint32	   *neighbors;
	int			n;
	int			nkept;
	int			nanchors;
	int			slot;			/* the new row's; n: one more */
	bool		kept;			/* the new row is to be kept */
	bool		demoted[HNSW_MAX_SLOTS];	/* neighbors that are to be kept no more */
} Edge;

struct HnswEdges
{
	int			nowners;		/* neighbors of the new row */
	int			n;
	Edge		edges[FLEXIBLE_ARRAY_MEMBER];
};

/* ---- planning ---- */

/* An owner's list while an edge is planned. */
typedef struct OwnerList
{
	const HnswCandidate *owner;
	int			n;
	int			nkept;
	float		from_owner[HNSW_MAX_SLOTS];
	float		from_new[HNSW_MAX_SLOTS];
	bool		anchor[HNSW_MAX_SLOTS]; /* may not go */
} OwnerList;

/*
 * Distances of a list's neighbors from the owner and the new row. Between candidates they are those
 * of own codes, from others what the list's codes say: rough ones do not tell which of two
 * neighbors is in front.
 */
static void
measure(HnswInsert *insert, const HnswRow *row, OwnerList *list)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	const HnswCandidate *owner = list->owner;
	const char *codes = HnswRowCodes(meta, row);
	const void *views[HNSW_MAX_SLOTS];
	float		distances[HNSW_MAX_SLOTS];
	int			known[HNSW_MAX_SLOTS];
	int			nknown = 0;

	list->n = row->nneighbors;
	list->nkept = row->nkept;
	if (!hnsw_compare_decoded(meta))
	{
		vdist_quant_estimate(search->own, codes, meta->code_size, list->n, list->from_owner);
		vdist_quant_estimate(search->code, codes, meta->code_size, list->n, list->from_new);
	}
	for (int i = 0; i < list->n; i++)
	{
		const HnswCandidate *candidate = hnsw_candidate_find(&insert->candidates,
															 HnswNeighbor(row, i));

		list->anchor[i] = HnswIsAnchor(row, i);
		if (candidate != NULL)
		{
			list->from_new[i] = candidate->distance;
			views[nknown] = candidate->view;
			known[nknown++] = i;
		}
		else if (hnsw_compare_decoded(meta))
		{
			hnsw_decode(insert, false, codes + i * meta->code_size, insert->decoded);
			list->from_owner[i] = hnsw_code_distance(meta, owner->view, insert->decoded);
			list->from_new[i] = hnsw_code_distance(meta, insert->x, insert->decoded);
		}
	}
	hnsw_view_distances(insert, owner->view, views, nknown, distances);
	for (int i = 0; i < nknown; i++)
		list->from_owner[known[i]] = distances[i];
}

/* Is a row, at distances from the owner and from a third one, behind this third one? */
static inline bool
is_occluded(float from_owner, float from_other, float other_from_owner)
{
	return other_from_owner < from_owner && from_other < from_owner;
}

/* Is no neighbor that the owner keeps nearer to it, and nearer to the new row than it is? */
static bool
owner_keeps(const OwnerList *list)
{
	for (int i = 0; i < list->nkept; i++)
		if (is_occluded(list->owner->distance, list->from_new[i], list->from_owner[i]))
			return false;
	return true;
}

static inline bool
new_occludes(const OwnerList *list, int i)
{
	return is_occluded(list->from_owner[i], list->from_new[i], list->owner->distance);
}

/*
 * Which of a full list's neighbors, but anchors, is to make room: the farthest that the new row is
 * in front of, else the farthest that only fills a slot, else the farthest, which must be farther
 * than the new row unless that needs an edge. -1: none.
 */
static int
choose_victim(const OwnerList *list, bool needed)
{
	int			victim = -1;
	int			best = 0;

	for (int i = 0; i < list->n; i++)
	{
		int			rank = new_occludes(list, i) ? 2 : i >= list->nkept ? 1 : 0;

		if (list->anchor[i] || rank < best ||
			(rank == 0 && !needed && list->from_owner[i] <= list->owner->distance))
			continue;
		if (victim < 0 || rank > best || list->from_owner[i] > list->from_owner[victim])
			victim = i;
		best = rank;
	}
	return victim;
}

/*
 * Plan an edge to the new row; false if there is to be none.
 *
 * A row must be worth a page changed: the owner is to keep it. So it does when the new row keeps
 * the owner, or is in front of no neighbor kept, or `needed`, since nothing else leads to it yet.
 * Kept neighbors that the new row is in front of only fill slots from then on, and rows that fill
 * slots make room.
 */
static bool
plan_edge(HnswInsert *insert, const HnswCandidate *owner, bool mutual, bool needed, Edge *edge)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	HnswRead   *read = &search->read;
	OwnerList	list = {owner};
	const HnswRow *row;

	if (!hnsw_compare_decoded(meta))
	{
		const HnswCodes *codes = hnsw_codes(search->index, meta);

		vdist_quant_query_code(&codes->own, owner->own, &codes->code, search->own,
							   search->scratch);
	}

	row = hnsw_read(read, search->index, meta, owner->number);
	measure(insert, row, &list);
	edge->kept = mutual || needed || owner_keeps(&list);
	edge->slot = list.n < meta->slots ? list.n : edge->kept ? choose_victim(&list, needed) : -1;
	if (HnswRowStateOf(row) != HNSW_ROW_LIVE || edge->slot < 0)
	{
		hnsw_read_unlock(read);
		return false;
	}
	edge->owner = owner;
	edge->n = list.n;
	edge->nkept = list.nkept;
	edge->neighbors = palloc(sizeof(uint32) * meta->slots);
	memcpy(edge->neighbors, row->neighbors, sizeof(uint32) * list.n);
	hnsw_read_unlock(read);

	edge->nanchors = 0;
	for (int i = 0; i < list.n; i++)
		edge->nanchors += list.anchor[i];
	for (int i = 0; i < list.nkept; i++)
		edge->demoted[i] = edge->kept && meta->span == 1 && new_occludes(&list, i);
	return true;
}

/*
 * Begin with the edge that is to be the anchor: the first from a list that has few of them, or the
 * fewest.
 */
static void
choose_anchor(const HnswMeta *meta, HnswEdges *edges)
{
	int			best = 0;
	Edge		first;

	for (int i = 1; i < edges->n && edges->edges[best].nanchors > meta->slots / MANY_ANCHORS; i++)
		if (edges->edges[i].nanchors < edges->edges[best].nanchors)
			best = i;
	if (best == 0)
		return;
	first = edges->edges[0];
	edges->edges[0] = edges->edges[best];
	edges->edges[best] = first;
}

/* Plan the edges to the new row from its neighbors. */
HnswEdges *
hnsw_plan_edges(HnswInsert *insert)
{
	int			nowners = insert->image->nneighbors;
	HnswEdges  *edges = palloc0(offsetof(HnswEdges, edges) + sizeof(Edge) * nowners);

	edges->nowners = nowners;
	for (int i = 0; i < nowners; i++)
		edges->n += plan_edge(insert, insert->chosen[i], i < insert->image->nkept, edges->n == 0,
							  &edges->edges[edges->n]);
	choose_anchor(&insert->meta, edges);
	hnsw_read_end(&insert->search.read);
	return edges;
}

/* ---- making ---- */

static void
set_slot(HnswInsert *insert, HnswWrite *write, int slot, uint32 neighbor, const char *code)
{
	const HnswMeta *meta = &insert->meta;

	write->row->neighbors[slot] = neighbor;
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

/* Rows of one page only. */
static void
swap_slots(HnswInsert *insert, HnswWrite *write, int a, int b)
{
	const HnswMeta *meta = &insert->meta;
	char	   *codes = HnswRowCodes(meta, write->row);
	uint32		neighbor = write->row->neighbors[a];
	char	   *code = insert->spare;

	memcpy(code, codes + a * meta->code_size, meta->code_size);
	move_slot(insert, write, b, a);
	write->row->neighbors[b] = neighbor;
	memcpy(codes + b * meta->code_size, code, meta->code_size);
}

/*
 * Is there such an edge? VACUUM may link the row of an insert that is under way, which then links
 * it itself. It becomes an anchor if it is to be one.
 */
static bool
is_there(HnswRow *row, uint32 neighbor)
{
	for (int i = 0; HnswRowStateOf(row) == HNSW_ROW_LIVE && i < row->nneighbors; i++)
	{
		if (HnswNeighbor(row, i) != (neighbor & ~HNSW_ANCHOR))
			continue;
		row->neighbors[i] |= neighbor & HNSW_ANCHOR;
		return true;
	}
	return false;
}

/* To a row's number, with or without HNSW_ANCHOR. False when the list changed since. */
static bool
make_edge(HnswInsert *insert, const Edge *edge, uint32 neighbor)
{
	HnswWrite	write;
	int			slot = edge->slot;

	hnsw_write_begin(&write, insert->search.index, &insert->meta, edge->owner->number);
	if (is_there(write.row, neighbor))
	{
		hnsw_write_end(&write);
		return true;
	}
	if (!hnsw_list_is(write.row, edge->n, edge->nkept, edge->neighbors))
	{
		hnsw_write_abort(&write);
		return false;
	}
	for (int i = edge->nkept - 1; i >= 0; i--)
	{
		int			last = write.row->nkept - 1;

		if (!edge->demoted[i])
			continue;
		swap_slots(insert, &write, i, last);
		slot = slot == i ? last : slot == last ? i : slot;
		write.row->nkept--;
	}
	if (slot == edge->n)
		write.row->nneighbors++;
	if (edge->kept && slot >= write.row->nkept && (insert->meta.span == 1 || slot == write.row->nkept))
	{
		move_slot(insert, &write, write.row->nkept, slot);
		slot = write.row->nkept++;
	}
	set_slot(insert, &write, slot, neighbor, insert->new_code);
	hnsw_write_end(&write);
	return true;
}

/* Make the planned edges to the row, now written; false when nothing leads to it. */
bool
hnsw_make_edges(HnswInsert *insert, HnswEdges *edges, uint32 number)
{
	bool		linked = false;
	Edge		edge;

	for (int i = 0; i < edges->n; i++)
		linked |= make_edge(insert, &edges->edges[i], linked ? number : number | HNSW_ANCHOR);
	for (int i = 0; i < edges->nowners && !linked; i++)
		while (!linked && plan_edge(insert, insert->chosen[i], false, true, &edge))
			linked = make_edge(insert, &edge, number | HNSW_ANCHOR);
	hnsw_read_end(&insert->search.read);
	return linked;
}

/*
 * Make edges to a row of the graph from those of its neighbors, just chosen, that do not list it.
 */
void
hnsw_add_edges(HnswInsert *insert, uint32 number)
{
	HnswRead   *read = &insert->search.read;
	int			nchosen = insert->image->nneighbors;
	Edge		edge;

	for (int i = 0; i < nchosen; i++)
	{
		const HnswCandidate *owner = insert->chosen[i];
		bool		listed = hnsw_lists(hnsw_read(read, insert->search.index, &insert->meta,
												  owner->number), number);

		hnsw_read_unlock(read);
		if (!listed && plan_edge(insert, owner, i < insert->image->nkept, false, &edge))
			make_edge(insert, &edge, number);
	}
	hnsw_read_end(read);
}

/*
 * Make edges to a row of the graph that no anchors lead to, as if it was new: from those of its
 * neighbors whose bit is set in `reached`, of nrows. False when there is none. Allocates in the
 * current memory context.
 */
bool
hnsw_link_row(HnswInsert *insert, uint32 number, const uint8 *reached, uint64 nrows)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	HnswRead   *read = &search->read;
	HnswRow    *image = insert->image;
	const HnswCodes *codes = hnsw_codes(search->index, meta);
	uint32	   *neighbors = palloc(sizeof(uint32) * meta->slots);
	int			n;
	bool		live;

	memcpy(image, hnsw_read(read, search->index, meta, number), meta->row_size);
	hnsw_read_unlock(read);
	live = HnswRowStateOf(image) == HNSW_ROW_LIVE;
	n = live ? Min(image->nneighbors, meta->slots) : 0;
	for (int i = 0; i < n; i++)
		neighbors[i] = HnswNeighbor(image, i);

	insert->candidates.n = 0;
	for (int i = 0; i < n; i++)
	{
		const HnswRow *row;

		if (neighbors[i] == number || !hnsw_bit(reached, nrows, neighbors[i]))
			continue;
		row = hnsw_read(read, search->index, meta, neighbors[i]);
		if (HnswRowStateOf(row) == HNSW_ROW_LIVE)
			hnsw_candidate_add(insert, neighbors[i], row);
		hnsw_read_unlock(read);
	}
	hnsw_read_end(read);
	if (insert->candidates.n == 0)
		return false;

	hnsw_recode(codes, HnswRowOwn(meta, image), insert->new_code, search->scratch);
	hnsw_view(insert, HnswRowOwn(meta, image), insert->view);
	if (!hnsw_compare_decoded(meta))
		vdist_quant_query_code(&codes->own, HnswRowOwn(meta, image), &codes->code, search->code,
							   search->scratch);
	hnsw_choose_neighbors(insert);
	return hnsw_make_edges(insert, hnsw_plan_edges(insert), number);
}
