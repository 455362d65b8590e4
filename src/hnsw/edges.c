/*
 * edges.c: edges back to a new row from its neighbors. Calls ways.c, read.c, write.c and quant/;
 * called by insert.c.
 *
 * Every edge is a page changed, and once a checkpoint a page in the WAL: that is most of what an insert
 * costs. So only those are made that keep the new row, and they are planned before the row is written:
 * what a list gives up for it may go into its own list, which costs nothing until then.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"

/* A change of a list of neighbors, and of what it was then. */
typedef struct Edge
{
	const HnswCandidate *owner;
	uint32	   *neighbors;
	int			n;
	int			nkept;
	int			slot;			/* the new row's; n: one more */
	bool		kept;			/* the new row is to be kept */
	bool		relies;			/* on the lists of other rows to lead to the one that goes */
	bool		demoted[HNSW_MAX_SLOTS];	/* neighbors that are to be kept no more */
} Edge;

struct HnswEdges
{
	int			nowners;		/* neighbors of the new row before it took over any */
	bool		held[HNSW_MAX_SLOTS];	/* the new row's neighbors that lists count on */
	int			n;
	Edge		edges[FLEXIBLE_ARRAY_MEMBER];
};

/* ---- ways to what a list gives up ---- */

static bool
is_live(HnswInsert *insert, uint32 number)
{
	HnswRead   *read = &insert->search.read;
	const HnswRow *row = hnsw_read(read, insert->search.index, &insert->meta, number);
	bool		live = HnswRowStateOf(row) == HNSW_ROW_LIVE;

	hnsw_read_unlock(read);
	return live;
}

/*
 * Let the new row lead to one that a list is to give up. If it does not yet, that takes the code of the other
 * one, and room: false when all of its neighbors are kept, or lists count on them. A dead row
 * needs no way to it, and must not get a new one: vacuum may already be past the new row.
 */
static bool
take_over(HnswInsert *insert, HnswEdges *edges, uint32 passed, const char *code)
{
	const HnswMeta *meta = &insert->meta;
	HnswRow    *image = insert->image;
	int			at = 0;

	while (at < image->nneighbors && image->neighbors[at] != passed)
		at++;
	if (edges == NULL || at < image->nkept)
		return at < image->nneighbors;
	if (at == image->nneighbors)
	{
		if (code == NULL)
			return false;
		if (at == meta->slots)
			do
				at--;			/* in place of the farthest */
			while (at >= image->nkept && edges->held[at]);
		if (at < image->nkept)
			return false;
		if (!is_live(insert, passed))
			return true;
		image->nneighbors = Max(image->nneighbors, at + 1);
		image->neighbors[at] = passed;
		memcpy(HnswRowCodes(meta, image) + at * meta->code_size, code, meta->code_size);
	}
	edges->held[at] = true;
	return true;
}

/* ---- planning ---- */

/* An owner's list while an edge is planned. */
typedef struct OwnerList
{
	const HnswCandidate *owner;
	int			n;
	int			nkept;
	float		from_owner[HNSW_MAX_SLOTS];
	float		from_new[HNSW_MAX_SLOTS];
	bool		tried[HNSW_MAX_SLOTS];	/* may not go */
	bool		relies;			/* as in Edge */
} OwnerList;

static void
measure(HnswInsert *insert, const HnswRow *row, OwnerList *list)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	const HnswCandidate *owner = list->owner;
	const char *codes = HnswRowCodes(meta, row);

	list->n = row->nneighbors;
	list->nkept = row->nkept;
	if (!hnsw_compare_decoded(meta))
	{
		vdist_quant_estimate(search->own, codes, meta->code_size, list->n, list->from_owner);
		vdist_quant_estimate(search->code, codes, meta->code_size, list->n, list->from_new);
		return;
	}
	for (int i = 0; i < list->n; i++)
	{
		hnsw_decode(insert, false, codes + i * meta->code_size, insert->decoded);
		list->from_owner[i] = hnsw_code_distance(meta, owner->x, insert->decoded);
		list->from_new[i] = hnsw_code_distance(meta, insert->x, insert->decoded);
	}
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
 * Which of a full list's neighbors, of those not tried, is to make room: the farthest that the new row is in front
 * of, else the farthest that only fills a slot, else the farthest, which must be farther than the new row
 * unless that needs an edge. -1: none.
 */
static int
choose_victim(const OwnerList *list, bool needed)
{
	int			victim = -1;
	int			best = 0;

	for (int i = 0; i < list->n; i++)
	{
		int			rank = new_occludes(list, i) ? 2 : i >= list->nkept ? 1 : 0;

		if (list->tried[i] || rank < best ||
			(rank == 0 && !needed && list->from_owner[i] <= list->owner->distance))
			continue;
		if (victim < 0 || rank > best || list->from_owner[i] > list->from_owner[victim])
			victim = i;
		best = rank;
	}
	return victim;
}

/*
 * A slot of a full list for the new row, which may be the only way to the one in it: there must be another. Best is
 * one that can be had for nothing, else the new row takes over the first; `code` is that one's. -1: none.
 */
static int
make_room(HnswInsert *insert, HnswEdges *edges, OwnerList *list, const uint32 *neighbors,
		  bool needed, int first, const char *code)
{
	for (int i = first; i >= 0; i = choose_victim(list, needed))
	{
		list->tried[i] = true;
		list->relies = hnsw_ways_drop(&insert->ways, list->owner->order, neighbors[i]);
		if (list->relies || take_over(insert, edges, neighbors[i], NULL))
			return i;
	}
	return first >= 0 && take_over(insert, edges, neighbors[first], code) ? first : -1;
}

/*
 * Plan an edge to the new row; false if there is to be none. Once the row is written it takes over no
 * others: edges is NULL then.
 *
 * A row must be worth a page changed: the owner is to keep it. So it does when the new row keeps the owner, or
 * is in front of no neighbor kept, or `needed`, since nothing else leads to it yet. Kept neighbors that the
 * new row is in front of only fill slots from then on, and rows that fill slots make room.
 */
static bool
plan_edge(HnswInsert *insert, HnswEdges *edges, const HnswCandidate *owner, bool mutual,
		  bool needed, Edge *edge)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	HnswRead   *read = &search->read;
	OwnerList	list = {owner};
	const HnswRow *row;
	char	   *code = NULL;
	bool		full;

	if (!hnsw_compare_decoded(meta))
	{
		const HnswCodes *codes = hnsw_codes(search->index, meta);

		vdist_quant_query_code(&codes->own, owner->own, &codes->code, search->own,
							   search->scratch);
	}

	row = hnsw_read(read, search->index, meta, owner->number);
	measure(insert, row, &list);
	full = list.n == meta->slots;
	edge->kept = mutual || needed || owner_keeps(&list);
	if (HnswRowStateOf(row) != HNSW_ROW_LIVE || (!edge->kept && full))
	{
		hnsw_read_unlock(read);
		return false;
	}
	edge->owner = owner;
	edge->n = list.n;
	edge->nkept = list.nkept;
	edge->neighbors = palloc(sizeof(uint32) * meta->slots);
	memcpy(edge->neighbors, row->neighbors, sizeof(uint32) * list.n);
	edge->slot = full ? choose_victim(&list, needed) : list.n;
	if (full && edge->slot >= 0)
	{
		code = palloc(meta->code_size);
		memcpy(code, HnswRowCodes(meta, row) + edge->slot * meta->code_size, meta->code_size);
	}
	hnsw_read_unlock(read);

	for (int i = 0; i < list.nkept; i++)
		edge->demoted[i] = edge->kept && meta->span == 1 && new_occludes(&list, i);
	if (full)
		edge->slot = make_room(insert, edges, &list, edge->neighbors, needed, edge->slot, code);
	edge->relies = list.relies;
	return edge->slot >= 0;
}

/* Plan the edges to the new row from its neighbors, which may change its own list. */
HnswEdges *
hnsw_plan_edges(HnswInsert *insert)
{
	int			nowners = insert->image->nneighbors;
	HnswEdges  *edges = palloc0(offsetof(HnswEdges, edges) + sizeof(Edge) * nowners);

	edges->nowners = nowners;
	for (int i = 0; i < nowners; i++)
		edges->n += plan_edge(insert, edges, insert->chosen[i], i < insert->image->nkept,
							  edges->n == 0, &edges->edges[edges->n]);
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

/* Rows of one page only. */
static void
swap_slots(HnswInsert *insert, HnswWrite *write, int a, int b)
{
	const HnswMeta *meta = &insert->meta;
	char	   *codes = HnswRowCodes(meta, write->row);
	uint32		number = write->row->neighbors[a];
	char	   *code = insert->spare;

	memcpy(code, codes + a * meta->code_size, meta->code_size);
	move_slot(insert, write, b, a);
	write->row->neighbors[b] = number;
	memcpy(codes + b * meta->code_size, code, meta->code_size);
}

/* Is the list what it was when the edge was planned? */
static bool
is_unchanged(const Edge *edge, const HnswRow *row)
{
	return HnswRowStateOf(row) == HNSW_ROW_LIVE && row->nneighbors == edge->n &&
		row->nkept == edge->nkept &&
		memcmp(row->neighbors, edge->neighbors, sizeof(uint32) * edge->n) == 0;
}

/* False when another insert changed the list since. */
static bool
make_edge(HnswInsert *insert, const Edge *edge, uint32 number)
{
	HnswWrite	write;
	int			slot = edge->slot;

	hnsw_write_begin(&write, insert->search.index, &insert->meta, edge->owner->number);
	if (!is_unchanged(edge, write.row))
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
	set_slot(insert, &write, slot, number, insert->new_code);
	hnsw_write_end(&write);
	return true;
}

/*
 * A list gave up a row because others lead to it. Another insert may have counted on the list, and taken the row out
 * of one of those: whoever writes last sees that here, and makes the row a beginning of searches.
 */
static void
check_way(HnswInsert *insert, const Edge *edge)
{
	const HnswMeta *meta = &insert->meta;
	Relation	index = insert->search.index;
	HnswRead   *read = &insert->search.read;
	uint32		number = edge->neighbors[edge->slot];
	const HnswRow *row;
	bool		found = hnsw_lists(insert->image, number);

	for (int i = 0; i < insert->ncandidates && !found; i++)
	{
		const HnswCandidate *candidate = &insert->candidates[i];

		if (!hnsw_ways_leads(&insert->ways, candidate->order, number))
			continue;
		row = hnsw_read(read, index, meta, candidate->number);
		found = HnswRowStateOf(row) == HNSW_ROW_LIVE && hnsw_lists(row, number);
		hnsw_read_unlock(read);
	}
	if (found)
		return;
	row = hnsw_read(read, index, meta, number);
	found = HnswRowStateOf(row) != HNSW_ROW_LIVE;
	if (!found)
		hnsw_recode(hnsw_codes(index, meta), HnswRowOwn(meta, row), insert->spare,
					insert->search.scratch);
	hnsw_read_unlock(read);
	hnsw_read_end(read);
	if (!found)
		hnsw_routing_add(index, meta, number, insert->spare, true);
}

/* Make the planned edges to the row, now written; false when nothing leads to it. */
bool
hnsw_make_edges(HnswInsert *insert, HnswEdges *edges, uint32 number)
{
	bool		linked = false;
	Edge		edge;

	for (int i = 0; i < edges->n; i++)
	{
		bool		made = make_edge(insert, &edges->edges[i], number);

		edges->edges[i].relies &= made;
		linked |= made;
	}
	for (int i = 0; i < edges->nowners && !linked; i++)
		while (!linked && plan_edge(insert, NULL, insert->chosen[i], false, true, &edge))
		{
			linked = make_edge(insert, &edge, number);
			if (linked && edge.relies)
				check_way(insert, &edge);
		}
	for (int i = 0; i < edges->n; i++)
		if (edges->edges[i].relies)
			check_way(insert, &edges->edges[i]);
	hnsw_read_end(&insert->search.read);
	return linked;
}
