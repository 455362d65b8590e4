/*
 * anchor.c: every row gets an anchor, an edge that no insert drops: in a new graph, and where
 * VACUUM is about to take away the dead rows that had one. Calls read.c, write.c and the graph
 * core; called by pages.c and vacuum.c.
 *
 * The README says what anchors are for. Searches do not follow them: the tree may be of any shape,
 * but no list should have many, since they are never replaced by nearer rows.
 */
#include "compat.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/build.h"

/* As long as that leads everywhere, a list has so many anchors at most. */
#define FEW_ANCHORS 2

/* ---- of a new graph ---- */

/*
 * By position: the row in whose list is its anchor; itself for an entry of the graph. Kept edges
 * lead from the entries to every row.
 */
uint32 *
hnsw_build_anchors(HnswBuild *build)
{
	uint32		n = build->n;
	uint32	   *parent = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) n);
	uint32	   *queue = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) n);
	uint32	   *list = palloc(sizeof(uint32) * build->meta.slots);
	uint32		tail = 0;
	const uint32_t *entries;
	int			nentries = vdist_graph_entries(build->graph, &entries);

	memset(parent, 0xFF, sizeof(uint32) * (Size) n);
	for (int i = 0; i < nentries; i++)
	{
		if (parent[entries[i]] == PG_UINT32_MAX)
			queue[tail++] = entries[i];
		parent[entries[i]] = entries[i];
	}
	for (int few = 1; few >= 0 && tail < n; few--)
		for (uint32 head = 0; head < tail; head++)
		{
			int			anchors = 0;
			int			nneighbors;
			int			nkept;

			if (head % 1024 == 0)
				CHECK_FOR_INTERRUPTS();
			hnsw_build_check(build, vdist_graph_neighbors(build->graph, queue[head], list,
														  &nneighbors, &nkept));
			for (int i = 0; i < nkept && (!few || anchors < FEW_ANCHORS); i++)
			{
				if (parent[list[i]] != PG_UINT32_MAX)
					continue;
				parent[list[i]] = queue[head];
				queue[tail++] = list[i];
				anchors++;
			}
		}
	if (tail < n)
		elog(ERROR, "%u rows of a graph cannot be reached", n - tail);
	pfree(queue);
	pfree(list);
	return parent;
}

/* ---- in place of those in dead rows ---- */

/* What a row may be given an anchor for, in the order in which it is tried. */
typedef enum Pass
{
	PASS_FEW,					/* it has none; and the list has few */
	PASS_NONE,					/* it has none */
	PASS_ANY,					/* it has one in the list of a row that hangs on it */
	PASS_ROUTING				/* not: searches are to begin at it */
} Pass;

typedef struct Mend
{
	HnswInsert *insert;
	Relation	index;
	HnswMeta	meta;
	BufferAccessStrategy strategy;
	uint64		n;				/* bits in the following */
	uint8	   *live;			/* rows there are; inserts see to the anchors of those they add */
	uint8	   *anchored;		/* have an anchor in the list of a live row */
	uint8	   *reached;		/* by such anchors, from a live routing row */
	bool		walking;		/* along anchors there are; no new ones yet */
	Pass		pass;
	uint32	   *stack;			/* reached rows; with HNSW_ANCHOR beside those to give anchors from */
	uint64		depth;
	uint64		size;
} Mend;

static inline bool
is_unreached(const Mend *mend, uint32 number)
{
	return hnsw_bit(mend->live, mend->n, number) && !hnsw_bit(mend->reached, mend->n, number);
}

/* Is a row to get an anchor now? */
static inline bool
is_wanted(const Mend *mend, uint32 number)
{
	return is_unreached(mend, number) &&
		(mend->pass >= PASS_ANY || !hnsw_bit(mend->anchored, mend->n, number));
}

static void
push(Mend *mend, uint32 entry)
{
	if (mend->depth == mend->size)
	{
		mend->size *= 2;
		mend->stack = repalloc_huge(mend->stack, sizeof(uint32) * mend->size);
	}
	mend->stack[mend->depth++] = entry;
}

static void
reach(Mend *mend, uint32 number)
{
	mend->reached[number / 8] |= 1 << number % 8;
	push(mend, number);
}

static bool
lists_wanted(const Mend *mend, const HnswRow *row)
{
	for (int i = 0; i < Min(row->nneighbors, mend->meta.slots); i++)
		if (is_wanted(mend, HnswNeighbor(row, i)))
			return true;
	return false;
}

/* Make anchors of a reached row's edges, where they are wanted. */
static void
give_anchors(Mend *mend, uint32 number)
{
	HnswRead   *read = &mend->insert->search.read;
	const HnswRow *row = hnsw_read(read, mend->index, &mend->meta, number);
	bool		wanted = lists_wanted(mend, row);
	int			anchors = 0;
	HnswWrite	write;

	hnsw_read_unlock(read);
	hnsw_read_end(read);
	if (!wanted)
		return;
	hnsw_write_begin(&write, mend->index, &mend->meta, number);
	for (int i = 0; i < write.row->nneighbors; i++)
		anchors += HnswIsAnchor(write.row, i);
	for (int i = 0; i < write.row->nneighbors; i++)
	{
		uint32		to = HnswNeighbor(write.row, i);
		bool		anchor = HnswIsAnchor(write.row, i);

		if (!(anchor ? is_unreached(mend, to) : is_wanted(mend, to)) ||
			(!anchor && mend->pass == PASS_FEW && anchors >= FEW_ANCHORS))
			continue;
		write.row->neighbors[i] |= HNSW_ANCHOR;
		anchors += !anchor;
		reach(mend, to);
	}
	hnsw_write_end(&write);
}

/* From the rows on the stack along anchors; once there are new ones to give, from every row met. */
static void
follow(Mend *mend)
{
	HnswRead   *read = &mend->insert->search.read;

	while (mend->depth > 0)
	{
		uint32		number = mend->stack[--mend->depth];
		const HnswRow *row;

		vdist_vacuum_delay_point();
		if ((number & HNSW_ANCHOR) != 0)
		{
			give_anchors(mend, number & ~HNSW_ANCHOR);
			continue;
		}
		row = hnsw_read(read, mend->index, &mend->meta, number);
		if (!mend->walking)
			push(mend, number | HNSW_ANCHOR);
		for (int i = 0; HnswRowStateOf(row) == HNSW_ROW_LIVE && i < row->nneighbors; i++)
			if (HnswIsAnchor(row, i) && is_unreached(mend, HnswNeighbor(row, i)))
				reach(mend, HnswNeighbor(row, i));
		hnsw_read_unlock(read);
	}
	hnsw_read_end(read);
}

/* Make a row a routing row if more are wanted, or always. */
void
hnsw_make_routing(HnswInsert *insert, uint32 number, bool always)
{
	HnswSearch *search = &insert->search;
	const HnswRow *row = hnsw_read(&search->read, search->index, &insert->meta, number);
	bool		live = HnswRowStateOf(row) == HNSW_ROW_LIVE;

	if (live)
		hnsw_recode(hnsw_codes(search->index, &insert->meta), HnswRowOwn(&insert->meta, row),
					insert->new_code, search->scratch);
	hnsw_read_unlock(&search->read);
	hnsw_read_end(&search->read);
	if (live)
		hnsw_routing_add(search->index, &insert->meta, number, insert->new_code, always);
}

/* What a live row has to do with a scan over the pages. */
typedef bool (*RowVisit) (Mend *mend, uint32 number, const HnswRow *row);

/* Note which rows there are, and which have an anchor. */
static bool
note_row(Mend *mend, uint32 number, const HnswRow *row)
{
	mend->live[number / 8] |= 1 << number % 8;
	for (int i = 0; i < Min(row->nneighbors, mend->meta.slots); i++)
	{
		uint32		to = HnswNeighbor(row, i);

		if (HnswIsAnchor(row, i) && to < mend->n)
			mend->anchored[to / 8] |= 1 << to % 8;
	}
	return false;
}

/* Is there something to be done about the row? */
static bool
look_at_row(Mend *mend, uint32 number, const HnswRow *row)
{
	if (hnsw_bit(mend->reached, mend->n, number))
		return lists_wanted(mend, row);
	return mend->pass == PASS_ROUTING && is_unreached(mend, number);
}

/* Do what there is to be done about it. */
static void
mend_row(Mend *mend, uint32 number)
{
	if (hnsw_bit(mend->reached, mend->n, number))
		push(mend, number | HNSW_ANCHOR);
	else
	{
		MemoryContext old = MemoryContextSwitchTo(mend->insert->row_context);

		if (!hnsw_link_row(mend->insert, number, mend->reached, mend->n))
			hnsw_make_routing(mend->insert, number, true);
		MemoryContextSwitchTo(old);
		MemoryContextReset(mend->insert->row_context);
		reach(mend, number);
	}
	follow(mend);
}

/*
 * Look at all live rows, their pages locked, and then mend those for which `visit` returned true.
 */
static void
scan_pages(Mend *mend, RowVisit visit)
{
	const HnswMeta *meta = &mend->meta;
	uint32	   *todo = palloc(sizeof(uint32) * meta->rows_per_page);

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < mend->n / meta->rows_per_page; block++)
	{
		Buffer		buffer;
		Page		page;
		int			ntodo = 0;

		vdist_vacuum_delay_point();
		buffer = ReadBufferExtended(mend->index, MAIN_FORKNUM, block, RBM_NORMAL, mend->strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		for (int i = 0; hnsw_page_is(page, HNSW_PAGE_GRAPH) && i < meta->rows_per_page; i++)
		{
			const HnswRow *row = (HnswRow *) ((char *) page + HnswRowOffset(meta, i));
			uint32		number = block * meta->rows_per_page + i;

			if (HnswRowStateOf(row) == HNSW_ROW_LIVE && visit(mend, number, row))
				todo[ntodo++] = number;
		}
		UnlockReleaseBuffer(buffer);
		for (int i = 0; i < ntodo; i++)
			mend_row(mend, todo[i]);
	}
	pfree(todo);
}

/* Is there a row that was not reached yet? */
static bool
is_left(const Mend *mend)
{
	for (uint64 i = 0; i < mend->n / 8 + 1; i++)
		if ((mend->live[i] & ~mend->reached[i]) != 0)
			return true;
	return false;
}

static uint8 *
bits(uint64 n)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, n / 8 + 1,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/*
 * See that anchors in the lists of live rows lead from live routing rows to every live row, so that
 * those in the lists of dead ones are of no use any more. Takes three bits and at most four bytes a
 * row in the current memory context. Inserts may be at work: they change no anchor, and see to
 * those of their own rows.
 */
void
hnsw_mend_anchors(HnswInsert *insert, BufferAccessStrategy strategy)
{
	Relation	index = insert->search.index;
	const HnswCache *cache;
	Mend		mend = {insert, index, insert->meta, strategy};

	mend.n = (uint64) RelationGetNumberOfBlocks(index) * mend.meta.rows_per_page;
	mend.live = bits(mend.n);
	mend.anchored = bits(mend.n);
	mend.reached = bits(mend.n);
	mend.size = 1024;
	mend.stack = palloc(sizeof(uint32) * mend.size);
	scan_pages(&mend, note_row);

	cache = hnsw_cache(index);
	mend.walking = true;
	for (int i = 0; i < cache->nrouting; i++)
		if (is_unreached(&mend, cache->routing[i]))
			reach(&mend, cache->routing[i]);
	follow(&mend);
	mend.walking = false;
	for (mend.pass = PASS_FEW; mend.pass <= PASS_ROUTING && is_left(&mend); mend.pass++)
		scan_pages(&mend, look_at_row);
	pfree(mend.stack);
	pfree(mend.reached);
	pfree(mend.anchored);
	pfree(mend.live);
}
