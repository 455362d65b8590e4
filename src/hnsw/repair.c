/*
 * repair.c: a list of neighbors without dead ones. Calls layout.c, write.c and what insert.c
 * chooses neighbors with; called by vacuum.c, once or twice for every row that lists a dead one.
 *
 * With a tenth of the rows dead nearly every row lists one, so a repair must cost what is dead and
 * not what is alive. Live neighbors stay, with the codes that the list has; the neighbors of the
 * dead take the free slots, and only of those that do the row itself is read.
 */
#include "compat.h"

#include "miscadmin.h"

#include "hnsw/hnsw.h"
#include "kernel/kernel.h"

/*
 * For every neighbor that died, that many rows found through dead ones are remembered, the nearest.
 */
#define FOUND 8

/* A row that may get a slot. */
typedef struct Choice
{
	uint64		key;			/* estimated distance and number, see hnsw_key */
	int			slot;			/* where it is in the list, or -1 */
	bool		kept;
	char	   *own;			/* its own code, once it was read */
	float	   *x;				/* that, decoded */
	float		distance;		/* by the own codes */
} Choice;

typedef struct Repair
{
	HnswInsert *insert;
	uint32		number;
	HnswRow    *old;
	const uint8 *dead;
	uint64		nrows;
	bool		anchors;		/* dead ones whose anchor the edge is go, too */
	float		distances[HNSW_MAX_SLOTS];	/* to the neighbors in old */
	uint64	   *found;			/* ascending */
	int			nfound;
	int			size;
	Choice	   *kept[HNSW_MAX_SLOTS];
	int			nkept;
	Choice	   *newly[HNSW_MAX_SLOTS];	/* kept in place of one that died */
	int			nnewly;
	Choice	   *at[HNSW_MAX_SLOTS]; /* the new list, by slot */
	int			n;
} Repair;

static inline bool
is_dead(const Repair *repair, uint32 number)
{
	return hnsw_bit(repair->dead, repair->nrows, number);
}

/* Is a neighbor to go? */
static inline bool
goes(const Repair *repair, int slot)
{
	return is_dead(repair, HnswNeighbor(repair->old, slot)) &&
		(repair->anchors || !HnswIsAnchor(repair->old, slot));
}

/* ---- rows found through the dead ---- */

/* Distances, as the graph sees them, of the row that is repaired from neighbors of a row. */
static void
slot_distances(HnswInsert *insert, const HnswRow *row, float *distance)
{
	const HnswMeta *meta = &insert->meta;
	const char *codes = HnswRowCodes(meta, row);

	if (!hnsw_compare_decoded(meta))
	{
		vdist_quant_estimate(insert->search.code, codes, meta->code_size, row->nneighbors, distance);
		return;
	}
	for (int i = 0; i < row->nneighbors; i++)
	{
		hnsw_decode(insert, false, codes + i * meta->code_size, insert->decoded);
		distance[i] = hnsw_code_distance(meta, insert->x, insert->decoded);
	}
}

/* Estimates are functions of the row: one met again has the same key. */
static void
found_add(Repair *repair, uint64 key)
{
	uint64	   *found = repair->found;
	int			low = 0;
	int			high = repair->nfound;

	if (repair->nfound == repair->size && key >= found[repair->nfound - 1])
		return;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (found[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < repair->nfound && found[low] == key)
		return;
	if (repair->nfound < repair->size)
		repair->nfound++;
	memmove(found + low + 1, found + low, sizeof(uint64) * (repair->nfound - 1 - low));
	found[low] = key;
}

static void
look_behind(Repair *repair, uint32 dead)
{
	HnswInsert *insert = repair->insert;
	HnswSearch *search = &insert->search;
	const HnswRow *row = hnsw_read(&search->read, search->index, &insert->meta, dead);

	if (HnswRowStateOf(row) == HNSW_ROW_DEAD)
	{
		slot_distances(insert, row, search->estimates);
		for (int i = 0; i < row->nneighbors; i++)
		{
			uint32		to = HnswNeighbor(row, i);

			if (to != repair->number && !is_dead(repair, to) && !hnsw_lists(repair->old, to))
				found_add(repair, hnsw_key(search->estimates[i], to));
		}
	}
	hnsw_read_unlock(&search->read);
}

/* ---- choosing ---- */

/* Read a row's own code; false when it is no row of the graph any more. */
static bool
choice_read(Repair *repair, Choice *choice)
{
	HnswInsert *insert = repair->insert;
	const HnswMeta *meta = &insert->meta;
	HnswRead   *read = &insert->search.read;
	const HnswRow *row;
	bool		live;

	if (choice->own != NULL)
		return true;
	row = hnsw_read(read, insert->search.index, meta, HnswKeyRow(choice->key));
	live = HnswRowStateOf(row) == HNSW_ROW_LIVE;
	if (live)
	{
		choice->own = palloc(meta->own_size);
		memcpy(choice->own, HnswRowOwn(meta, row), meta->own_size);
	}
	hnsw_read_unlock(read);
	return live;
}

static bool
choice_decode(Repair *repair, Choice *choice)
{
	HnswInsert *insert = repair->insert;

	if (choice->x != NULL)
		return true;
	if (!choice_read(repair, choice))
		return false;
	choice->x = palloc(sizeof(float) * hnsw_decoded_dim(&insert->meta));
	hnsw_decode(insert, true, choice->own, choice->x);
	choice->distance = hnsw_code_distance(&insert->meta, insert->x, choice->x);
	return true;
}

/* Keep it if no kept one is closer to it than the row is (alpha = 1). */
static void
try_keep(Repair *repair, Choice *choice)
{
	if (!choice_decode(repair, choice))
		return;
	for (int i = 0; i < repair->nkept; i++)
		if (choice_decode(repair, repair->kept[i]) &&
			hnsw_code_distance(&repair->insert->meta, choice->x,
							   repair->kept[i]->x) < choice->distance)
			return;
	choice->kept = true;
	repair->kept[repair->nkept++] = choice;
	repair->newly[repair->nnewly++] = choice;
}

static int
compare_choices(const void *a, const void *b)
{
	const Choice *x = a;
	const Choice *y = b;

	if (x->kept != y->kept)
		return x->kept ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Close the holes below n by what is last; returns how many are left. */
static int
close_holes(Repair *repair, int n)
{
	Choice	  **at = repair->at;

	for (int i = 0; i < n; i++)
	{
		if (at[i] != NULL)
			continue;
		while (n > i && at[n - 1] == NULL)
			n--;
		if (n > i)
		{
			at[i] = at[--n];
			at[n] = NULL;
		}
	}
	return n;
}

/*
 * Give every slot its row. What stays, stays where it is; a hole that a kept one left goes to a
 * newly kept one, the others to the nearest found.
 */
static void
place(Repair *repair, Choice *choices, int n)
{
	const HnswMeta *meta = &repair->insert->meta;
	const HnswRow *old = repair->old;
	Choice	  **at = repair->at;
	Choice	   *next = choices;
	int			newly = 0;

	memset(at, 0, sizeof(repair->at));
	for (int i = 0; i < n; i++)
		if (choices[i].slot >= 0)
			at[choices[i].slot] = &choices[i];
	for (int i = 0; i < old->nkept && newly < repair->nnewly; i++)
	{
		Choice	   *choice = repair->newly[newly];

		if (at[i] != NULL)
			continue;
		if (choice->slot >= 0)
			at[choice->slot] = NULL;
		at[i] = choice;
		newly++;
	}
	/* slots of a wide row change one at a time: there, others may count as kept */
	repair->nkept = meta->span == 1 ? close_holes(repair, old->nkept) : old->nkept;

	repair->n = old->nneighbors;
	for (int i = 0; i < meta->slots; i++)
	{
		if (at[i] != NULL)
			continue;
		while (next < choices + n &&
			   (next->slot >= 0 || next->kept || !choice_read(repair, next)))
			next++;
		if (next == choices + n)
			break;
		at[i] = next++;
		repair->n = Max(repair->n, i + 1);
	}
	repair->n = close_holes(repair, repair->n);
	repair->nkept = Min(repair->nkept, repair->n);
}

/*
 * Choose from the live neighbors and what was found. Neighbors that were kept stay so; for each
 * that died, the nearest row that points in a direction of its own is kept.
 */
static void
choose(Repair *repair)
{
	const HnswMeta *meta = &repair->insert->meta;
	const HnswRow *old = repair->old;
	Choice	   *choices = palloc0(sizeof(Choice) * (old->nneighbors + repair->nfound));
	int			ndied = 0;
	int			n = 0;

	for (int i = 0; i < old->nneighbors; i++)
	{
		if (goes(repair, i))
		{
			ndied += i < old->nkept;
			continue;
		}
		choices[n].key = hnsw_key(repair->distances[i], HnswNeighbor(old, i));
		choices[n].slot = i;
		choices[n++].kept = i < old->nkept;
	}
	for (int i = 0; i < repair->nfound; i++)
	{
		choices[n].key = repair->found[i];
		choices[n++].slot = -1;
	}
	qsort(choices, n, sizeof(Choice), compare_choices);

	repair->nkept = 0;
	repair->nnewly = 0;
	for (int i = 0; i < n && repair->nnewly < ndied; i++)
	{
		if (choices[i].kept)
			repair->kept[repair->nkept++] = &choices[i];
		else if (choices[i].slot < 0 || meta->span == 1)
			try_keep(repair, &choices[i]);
	}
	place(repair, choices, n);
}

/* ---- the row ---- */

/* Change one slot. */
static void
write_slot(Repair *repair, HnswWrite *write, int slot)
{
	HnswInsert *insert = repair->insert;
	const HnswMeta *meta = &insert->meta;
	const Choice *choice = repair->at[slot];
	const char *code = insert->new_code;
	uint32		neighbor = HnswKeyRow(choice->key);

	if (choice->slot >= 0)
	{
		neighbor = repair->old->neighbors[choice->slot];
		code = HnswRowCodes(meta, repair->old) + choice->slot * meta->code_size;
	}
	else
		hnsw_recode(hnsw_codes(insert->search.index, meta), choice->own, insert->new_code,
					insert->search.scratch);
	write->row->neighbors[slot] = neighbor;
	hnsw_write_bytes(write, HNSW_ROW_HEADER(meta) + meta->own_size + slot * meta->code_size, code,
					 meta->code_size);
}

/*
 * Write the new list, unless the row changed since it was read. A slot of a wide row is a record;
 * there is no row in two slots between them: nothing moves but from the end, which goes with it.
 */
static bool
write_list(Repair *repair)
{
	const HnswMeta *meta = &repair->insert->meta;
	const HnswRow *old = repair->old;
	Relation	index = repair->insert->search.index;
	HnswWrite	write;

	hnsw_write_begin(&write, index, meta, repair->number);
	if (!hnsw_list_is(write.row, old->nneighbors, old->nkept, old->neighbors))
	{
		hnsw_write_abort(&write);
		return false;
	}
	for (int i = 0; i < repair->n; i++)
	{
		int			from = repair->at[i]->slot;

		if (from == i)
			continue;
		write_slot(repair, &write, i);
		if (meta->span == 1)
			continue;
		write.row->nneighbors = from >= 0 ? from : Max(write.row->nneighbors, i + 1);
		write.row->nkept = Min(write.row->nkept, write.row->nneighbors);
		hnsw_write_end(&write);
		hnsw_write_begin(&write, index, meta, repair->number);
	}
	write.row->nneighbors = repair->n;
	write.row->nkept = repair->nkept;
	hnsw_write_end(&write);
	return true;
}

/*
 * Give a row a list without those whose bit is set in dead, but dead ones whose anchor is in it
 * only if `anchors`. Allocates in the current memory context and leaves insert->x and new_code
 * changed.
 */
void
hnsw_repair_row(HnswInsert *insert, uint32 number, const uint8 *dead, uint64 nrows,
				bool anchors)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	Repair		repair = {insert, number};

	repair.dead = dead;
	repair.nrows = nrows;
	repair.anchors = anchors;
	repair.old = palloc(meta->row_size);
	repair.found = palloc(sizeof(uint64) * FOUND * meta->slots);
	for (;;)
	{
		const HnswRow *row;

		CHECK_FOR_INTERRUPTS();
		row = hnsw_read(&search->read, search->index, meta, number);
		memcpy(repair.old, row, meta->row_size);
		hnsw_read_unlock(&search->read);
		if (HnswRowStateOf(repair.old) != HNSW_ROW_LIVE)
			break;
		hnsw_decode(insert, true, HnswRowOwn(meta, repair.old), insert->x);
		if (!hnsw_compare_decoded(meta))
		{
			const HnswCodes *codes = hnsw_codes(search->index, meta);

			vdist_quant_query_code(&codes->own, HnswRowOwn(meta, repair.old), &codes->code,
								   search->code, search->scratch);
		}
		slot_distances(insert, repair.old, repair.distances);

		repair.nfound = 0;
		repair.size = meta->slots - repair.old->nneighbors;
		for (int i = 0; i < repair.old->nneighbors; i++)
			repair.size += goes(&repair, i);
		repair.size *= FOUND;
		for (int i = 0; i < repair.old->nneighbors; i++)
			if (goes(&repair, i))
				look_behind(&repair, HnswNeighbor(repair.old, i));
		choose(&repair);
		hnsw_read_end(&search->read);
		if (write_list(&repair))
			break;
	}
	hnsw_read_end(&search->read);
}
