/*
 * vacuum.c: removes dead heap rows and repairs the graph. Calls layout.c, write.c, repair.c,
 * relink.c and anchor.c; called by core through handler.c.
 *
 * Passes over the pages: take out dead TIDs and mark rows that lose their last one as dead; wait
 * for the inserts that may have linked to them; give every row that lists dead ones a new list,
 * from its live neighbors and those of the dead, but leave it the dead whose anchors it has until
 * all live rows have anchors in lists of live ones; free the dead. Memory: four bits a row, and
 * four bytes for each row on the way while anchors are followed.
 */
#include "compat.h"

#include "access/genam.h"
#include "commands/vacuum.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

typedef struct Vacuum
{
	Relation	index;
	BufferAccessStrategy strategy;
	HnswMeta	meta;
	IndexBulkDeleteResult *stats;
	IndexBulkDeleteCallback callback;
	void	   *callback_state;

	uint8	   *dead;			/* a bit a row */
	uint64		dead_rows;		/* bits there are */
	int64		ndead;
	uint32	   *owners;			/* rows with a chain of heap rows that lost some */
	int64		nowners;
	int64		owners_size;

	HnswInsert *insert;
	MemoryContext row_context;
	uint32		routing_stride; /* one row in that many becomes a routing row; 0 none */
} Vacuum;

static inline bool
is_dead(const Vacuum *vacuum, uint32 number)
{
	return hnsw_bit(vacuum->dead, vacuum->dead_rows, number);
}

static void
set_dead(Vacuum *vacuum, uint32 number)
{
	if (number >= vacuum->dead_rows)
	{
		uint64		rows = Max((uint64) number + 1, vacuum->dead_rows * 2);
		Size		size = rows / 8 + 1;
		Size		old = vacuum->dead_rows / 8 + 1;

		vacuum->dead = repalloc_huge(vacuum->dead, size);
		memset(vacuum->dead + old, 0, size - old);
		vacuum->dead_rows = size * 8;
	}
	if (!is_dead(vacuum, number))
		vacuum->ndead++;
	vacuum->dead[number / 8] |= 1 << number % 8;
}

/* Once for all rows of a chain, as far as they follow each other. */
static void
add_owner(Vacuum *vacuum, uint32 number)
{
	if (vacuum->nowners > 0 && vacuum->owners[vacuum->nowners - 1] == number)
		return;
	if (vacuum->nowners == vacuum->owners_size)
	{
		vacuum->owners_size *= 2;
		vacuum->owners = repalloc_huge(vacuum->owners, sizeof(uint32) * vacuum->owners_size);
	}
	vacuum->owners[vacuum->nowners++] = number;
}

/* The locked page of rows in a buffer, or NULL if it is of another kind. */
static Page
graph_page(const Vacuum *vacuum, Buffer buffer)
{
	Page		page = BufferGetPage(buffer);

	return hnsw_page_is(page, HnswRowKind(&vacuum->meta)) ? page : NULL;
}

static HnswRow *
page_row(const Vacuum *vacuum, Page page, int slot)
{
	return (HnswRow *) ((char *) page + HnswRowOffset(&vacuum->meta, slot));
}

/* ---- first pass: heap rows ---- */

/* The TIDs of a row, and how many; NULL if it has none. */
static ItemPointer
row_tids(HnswRow *row, int *n)
{
	HnswTids   *tids = (HnswTids *) row;

	switch (HnswRowStateOf(row))
	{
		case HNSW_ROW_LIVE:
			*n = row->ntids;
			return row->tids;
		case HNSW_ROW_TIDS:
			*n = tids->count;
			return tids->tids;
		default:
			*n = 0;
			return NULL;
	}
}

/* Are there dead TIDs on the page? Counts live TIDs, notes rows that were dead before. */
static bool
page_has_dead(Vacuum *vacuum, Page page, BlockNumber block, int64 *live)
{
	bool		found = false;

	*live = 0;
	for (int i = 0; i < vacuum->meta.rows_per_page; i++)
	{
		HnswRow    *row = page_row(vacuum, page, i);
		int			n;
		ItemPointer tids = row_tids(row, &n);

		if (HnswRowStateOf(row) == HNSW_ROW_LIVE ? n > HNSW_ROW_TIDS_INLINE :
			(uint32) n > HNSW_TIDS_ROOM(&vacuum->meta))
			hnsw_page_corrupted(vacuum->index, block);
		if (HnswRowStateOf(row) == HNSW_ROW_DEAD)
			set_dead(vacuum, block * vacuum->meta.rows_per_page + i);
		for (int j = 0; j < n; j++)
		{
			if (!HnswTidIsValid(&tids[j]))
				hnsw_page_corrupted(vacuum->index, block);
			if (vacuum->callback(&tids[j], vacuum->callback_state))
				found = true;
			else
				(*live)++;
		}
	}
	return found;
}

static void
remove_tids(Vacuum *vacuum, Page page, BlockNumber block)
{
	for (int i = 0; i < vacuum->meta.rows_per_page; i++)
	{
		HnswRow    *row = page_row(vacuum, page, i);
		uint32		number = block * vacuum->meta.rows_per_page + i;
		int			n;
		int			left = 0;
		ItemPointer tids = row_tids(row, &n);

		if (tids == NULL)
			continue;
		for (int j = 0; j < n; j++)
		{
			if (vacuum->callback(&tids[j], vacuum->callback_state))
				vacuum->stats->tuples_removed++;
			else
				tids[left++] = tids[j];
		}
		if (HnswRowStateOf(row) == HNSW_ROW_TIDS)
		{
			((HnswTids *) row)->count = left;
			if (left < n)
				add_owner(vacuum, ((HnswTids *) row)->owner);
			continue;
		}
		row->ntids = left;
		if (row->more != HNSW_NO_ROW)
		{
			if (left < n)
				add_owner(vacuum, number);
		}
		else if (left == 0)
		{
			row->state = HNSW_ROW_DEAD;
			set_dead(vacuum, number);
		}
	}
}

static void
remove_pass(Vacuum *vacuum)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(vacuum->index);

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;
		int64		live;

		vdist_vacuum_delay_point();
		buffer = ReadBufferExtended(vacuum->index, MAIN_FORKNUM, block, RBM_NORMAL,
									vacuum->strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = graph_page(vacuum, buffer);
		if (page != NULL)
		{
			bool		found = page_has_dead(vacuum, page, block, &live);

			vacuum->stats->num_index_tuples += live;
			if (found)
			{
				GenericXLogState *xlog;

				LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
				LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
				xlog = GenericXLogStart(vacuum->index);
				page = GenericXLogRegisterBuffer(xlog, buffer, 0);
				remove_tids(vacuum, page, block);
				GenericXLogFinish(xlog);
			}
		}
		UnlockReleaseBuffer(buffer);
	}
}

/* Is there a heap row left in a chain? */
static bool
chain_has_rows(Vacuum *vacuum, HnswRead *read, uint32 owner, uint32 more)
{
	HnswChain	chain = {0};
	bool		found = false;

	while (!found && more != HNSW_NO_ROW)
	{
		const HnswTids *tids = (const HnswTids *)
		hnsw_read(read, vacuum->index, &vacuum->meta, more);

		if (!hnsw_chain_step(&chain, more))
			hnsw_page_corrupted(vacuum->index, HnswRowBlock(&vacuum->meta, more));
		more = HNSW_NO_ROW;
		if (tids->state == HNSW_ROW_TIDS && tids->owner == owner)
		{
			found = tids->count > 0;
			more = tids->more;
		}
		hnsw_read_unlock(read);
	}
	return found;
}

/*
 * Rows whose chain lost heap rows die when none is left, else inserts may use the room. Inserts
 * append to chains without a lock on their owner, so they must stand aside for each row.
 */
static void
chain_pass(Vacuum *vacuum)
{
	HnswRead	read = {InvalidBuffer};

	for (int64 i = 0; i < vacuum->nowners; i++)
	{
		HnswWrite	write;
		uint32		number = vacuum->owners[i];

		vdist_vacuum_delay_point();
		LockPage(vacuum->index, HNSW_META_BLOCK, ExclusiveLock);
		hnsw_write_begin(&write, vacuum->index, &vacuum->meta, number);
		if (HnswRowStateOf(write.row) == HNSW_ROW_LIVE && write.row->more != HNSW_NO_ROW)
		{
			uint32		more = write.row->more;
			bool		live = write.row->ntids > 0;

			hnsw_write_abort(&write);
			live = live || chain_has_rows(vacuum, &read, number, more);
			hnsw_read_end(&read);
			hnsw_write_begin(&write, vacuum->index, &vacuum->meta, number);
			write.row->state |= HNSW_ROW_ROOM;
			if (!live)
			{
				write.row->state = HNSW_ROW_DEAD;
				set_dead(vacuum, number);
			}
			hnsw_write_end(&write);
		}
		else
			hnsw_write_abort(&write);
		UnlockPage(vacuum->index, HNSW_META_BLOCK, ExclusiveLock);
	}
}

/* ---- second pass: edges ---- */

/* Where more than one in so many of a list is dead, the row gets neighbors as if it was new. */
#define MANY_DEAD 3

/*
 * Dead neighbors whose anchor is in a list go from it only if `anchors`: others may hang on them.
 */
static void
repair_pass(Vacuum *vacuum, bool anchors)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(vacuum->index);
	uint32	   *todo = palloc(sizeof(uint32) * vacuum->meta.rows_per_page);
	bool	   *anew = palloc(sizeof(bool) * vacuum->meta.rows_per_page);

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;
		int			ntodo = 0;

		vdist_vacuum_delay_point();
		buffer = ReadBufferExtended(vacuum->index, MAIN_FORKNUM, block, RBM_NORMAL,
									vacuum->strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = graph_page(vacuum, buffer);
		for (int i = 0; page != NULL && i < vacuum->meta.rows_per_page; i++)
		{
			HnswRow    *row = page_row(vacuum, page, i);
			uint32		number = block * vacuum->meta.rows_per_page + i;
			int			n = Min(row->nneighbors, vacuum->meta.slots);
			int			ndead = 0;

			if (HnswRowStateOf(row) != HNSW_ROW_LIVE)
				continue;
			for (int j = 0; j < n; j++)
				ndead += (anchors || !HnswIsAnchor(row, j)) && is_dead(vacuum, HnswNeighbor(row, j));
			if (ndead == 0)
				continue;
			anew[ntodo] = !anchors && vacuum->meta.span == 1 && ndead * MANY_DEAD > n;
			todo[ntodo++] = number;
		}
		UnlockReleaseBuffer(buffer);
		for (int i = 0; i < ntodo; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(vacuum->row_context);

			if (!anew[i] || !hnsw_relink_row(vacuum->insert, todo[i]))
				hnsw_repair_row(vacuum->insert, todo[i], vacuum->dead, vacuum->dead_rows, anchors);
			MemoryContextSwitchTo(old);
			MemoryContextReset(vacuum->row_context);
		}
	}
}

/* ---- third pass: routing and free rows ---- */

/* Take dead rows out of routing entries; returns how many are left. */
static uint32
clean_entries(const Vacuum *vacuum, char *entries, uint32 count)
{
	Size		entry = HNSW_ROUTING_ENTRY(&vacuum->meta);
	uint32		left = 0;

	for (uint32 i = 0; i < count; i++)
	{
		uint32		number;

		memcpy(&number, entries + i * entry, sizeof(number));
		if (is_dead(vacuum, number))
			continue;
		memmove(entries + left * entry, entries + i * entry, entry);
		left++;
	}
	return left;
}

/* So many routing entries are gone: in the same WAL record as they. */
static void
count_routing(HnswMeta *meta, uint32 gone)
{
	meta->routing_count -= gone;
	meta->routing_sorted -= Min(meta->routing_sorted, gone);
	meta->routing_version++;
}

/* Take dead rows out of the metapage and the routing pages; returns how many are left. */
static uint32
clean_routing(Vacuum *vacuum)
{
	Relation	index = vacuum->index;
	Buffer		meta_buffer = ReadBuffer(index, HNSW_META_BLOCK);
	GenericXLogState *xlog = GenericXLogStart(index);
	HnswChain	chain = {0};
	HnswMeta   *meta;
	BlockNumber block;
	uint32		left;

	LockBuffer(meta_buffer, BUFFER_LOCK_EXCLUSIVE);
	meta = HnswPageMeta(GenericXLogRegisterBuffer(xlog, meta_buffer, 0));
	if (meta->routing_here > hnsw_routing_room(meta))
		hnsw_page_corrupted(index, HNSW_META_BLOCK);
	left = clean_entries(vacuum, HnswRoutingHere(meta), meta->routing_here);
	block = meta->routing_block;
	if (left < meta->routing_here)
	{
		count_routing(meta, meta->routing_here - left);
		meta->routing_here = left;
		GenericXLogFinish(xlog);
	}
	else
		GenericXLogAbort(xlog);

	while (BlockNumberIsValid(block))
	{
		Buffer		buffer = ReadBuffer(index, block);
		HnswRouting *routing;

		xlog = GenericXLogStart(index);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		hnsw_page_check(index, buffer, HNSW_PAGE_ROUTING);
		routing = HnswPageRouting(GenericXLogRegisterBuffer(xlog, buffer, 0));
		if (routing->count > HNSW_ROUTING_ROOM(&vacuum->meta) || !hnsw_chain_step(&chain, block))
			hnsw_page_corrupted(index, block);
		left = clean_entries(vacuum, (char *) (routing + 1), routing->count);
		block = routing->next;
		if (left < routing->count)
		{
			count_routing(HnswPageMeta(GenericXLogRegisterBuffer(xlog, meta_buffer, 0)),
						  routing->count - left);
			routing->count = left;
			GenericXLogFinish(xlog);
		}
		else
			GenericXLogAbort(xlog);
		UnlockReleaseBuffer(buffer);
	}
	left = HnswPageMeta(BufferGetPage(meta_buffer))->routing_count;
	UnlockReleaseBuffer(meta_buffer);
	return left;
}

static void
free_pass(Vacuum *vacuum)
{
	const HnswMeta *meta = &vacuum->meta;
	BlockNumber nblocks = RelationGetNumberOfBlocks(vacuum->index);

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;
		bool		found = false;
		bool		space = false;
		uint32		routing = HNSW_NO_ROW;

		vdist_vacuum_delay_point();
		buffer = ReadBufferExtended(vacuum->index, MAIN_FORKNUM, block, RBM_NORMAL,
									vacuum->strategy);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		space = meta->span == 1 && hnsw_page_unused(meta, BufferGetPage(buffer));
		page = graph_page(vacuum, buffer);
		for (int pass = 0; page != NULL && pass < 2; pass++)
		{
			GenericXLogState *xlog = NULL;

			if (pass == 1)
			{
				if (!found)
					break;
				xlog = GenericXLogStart(vacuum->index);
				page = GenericXLogRegisterBuffer(xlog, buffer, 0);
			}
			for (int i = 0; i < meta->rows_per_page; i++)
			{
				HnswRow    *row = page_row(vacuum, page, i);
				uint32		number = block * meta->rows_per_page + i;
				HnswRowState state = HnswRowStateOf(row);

				if ((state == HNSW_ROW_DEAD && is_dead(vacuum, number)) ||
					(state == HNSW_ROW_TIDS && is_dead(vacuum, ((HnswTids *) row)->owner)))
				{
					found = true;
					space = true;
					if (pass == 1)
						row->state = HNSW_ROW_FREE;
				}
				else if (state == HNSW_ROW_FREE)
					space = true;
				else if (state == HNSW_ROW_LIVE && vacuum->routing_stride > 0 &&
						 murmurhash32(number) % vacuum->routing_stride == 0)
					routing = number;
			}
			if (xlog != NULL)
				GenericXLogFinish(xlog);
		}
		UnlockReleaseBuffer(buffer);
		if (space)
			RecordPageWithFreeSpace(vacuum->index, block, BLCKSZ / 2);
		if (routing != HNSW_NO_ROW)
			hnsw_make_routing(vacuum->insert, routing, false);
	}
	IndexFreeSpaceMapVacuum(vacuum->index);
}

IndexBulkDeleteResult *
hnsw_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				 IndexBulkDeleteCallback callback, void *state)
{
	Vacuum		vacuum = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw vacuum",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	bool		flat = false;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;

	old = MemoryContextSwitchTo(context);
	vacuum.index = info->index;
	vacuum.strategy = info->strategy;
	vacuum.meta = hnsw_cache(info->index)->meta;
	vacuum.stats = stats;
	vacuum.callback = callback;
	vacuum.callback_state = state;
	vacuum.dead_rows = (uint64) RelationGetNumberOfBlocks(info->index) *
		vacuum.meta.rows_per_page + 8;
	vacuum.dead = MemoryContextAllocExtended(context, vacuum.dead_rows / 8 + 1,
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	vacuum.owners_size = 64;
	vacuum.owners = palloc(sizeof(uint32) * vacuum.owners_size);
	vacuum.row_context = AllocSetContextCreate(context, "vdist_hnsw vacuum row",
											   ALLOCSET_DEFAULT_SIZES);

	/* a graph is not made meanwhile: rows would go where this has been already */
	if (HnswIsFlat(&vacuum.meta))
	{
		LockPage(info->index, HNSW_META_BLOCK, ExclusiveLock);
		vacuum.meta = hnsw_cache(info->index)->meta;
		flat = HnswIsFlat(&vacuum.meta);
		if (!flat)
			UnlockPage(info->index, HNSW_META_BLOCK, ExclusiveLock);
	}
	remove_pass(&vacuum);
	if (flat && vacuum.ndead > 0)
		free_pass(&vacuum);
	if (flat)
		UnlockPage(info->index, HNSW_META_BLOCK, ExclusiveLock);
	chain_pass(&vacuum);
	if (!flat && vacuum.ndead > 0)
	{
		uint32		routing;

		/* inserts that began before the dead were marked may link to them until here */
		LockPage(info->index, HNSW_META_BLOCK, ExclusiveLock);
		UnlockPage(info->index, HNSW_META_BLOCK, ExclusiveLock);

		/* heap rows, of which more than one may be a row of the graph: the share is rough */
		vacuum.insert = hnsw_insert_begin(info->index, 1 + vacuum.ndead /
										  Max(stats->num_index_tuples, 1));

		/* without anchors, rows may hang on any edge to a dead one */
		if (vacuum.meta.version < HNSW_VERSION_ANCHORS)
			hnsw_mend_anchors(vacuum.insert, vacuum.strategy);
		repair_pass(&vacuum, false);
		hnsw_mend_anchors(vacuum.insert, vacuum.strategy);
		repair_pass(&vacuum, true);
		routing = clean_routing(&vacuum);
		if (routing < vacuum.meta.routing_count)
			vacuum.routing_stride = Max(stats->num_index_tuples /
										hnsw_routing_limit(&vacuum.meta), 1);
		free_pass(&vacuum);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return stats;
}

IndexBulkDeleteResult *
hnsw_vacuum_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = info->estimated_count;
	}
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	hnsw_stretch_again(info->index, info->strategy, stats->num_index_tuples);
	return stats;
}
