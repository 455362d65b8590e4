/*
 * flat.c: an index without a graph: rows with the vectors themselves, all of which a scan looks at.
 * Calls layout.c, write.c and the making of a graph in build.c; called by insert.c, scan.c and
 * build.c.
 *
 * The centre of all codes and their bits can only be chosen well when there are rows to choose
 * from. An index on an empty or a small table therefore begins flat; the insert that finds it full
 * makes the graph of what is there.
 */
#include "compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/* A graph is made when so many rows, as CREATE INDEX tries codes on, or so many bytes are full. */
#define FLAT_ROWS 2000
#define FLAT_BYTES (8 * 1024 * 1024)
#define FLAT_ROWS_MIN 256

/* Rows from which on an index has a graph. */
int
hnsw_flat_limit(int dim)
{
	return Max(Min(FLAT_BYTES / (int) sizeof(float) / dim, FLAT_ROWS), FLAT_ROWS_MIN);
}

/* The further pages of a row whose first page is locked; false when they are not there any more. */
static bool
read_rest(Relation index, const HnswMeta *meta, BlockNumber block, char *copy)
{
	bool		found = true;

	for (int i = 1; i < meta->span && found; i++)
	{
		Buffer		buffer = ReadBuffer(index, block + i);
		Size		offset = i * HNSW_PAGE_ROOM;
		Page		page = BufferGetPage(buffer);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		found = hnsw_page_is(page, HNSW_PAGE_REST);
		if (found)
			memcpy(copy + offset, (char *) page + HNSW_PAGE_START,
				   Min(HNSW_PAGE_ROOM, meta->row_size - offset));
		UnlockReleaseBuffer(buffer);
	}
	return found;
}

/*
 * Call visit for every row, its page locked. Who holds no LockPage must look at the metapage once
 * more when it is done: pages may have been put to other use since the graph was made.
 */
void
hnsw_flat_each(Relation index, const HnswMeta *meta, HnswFlatVisit visit, void *arg)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);
	char	   *copy = meta->span > 1 ? palloc(meta->row_size) : NULL;

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);
		Page		page = BufferGetPage(buffer);

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (hnsw_page_is(page, HNSW_PAGE_FLAT))
			for (int i = 0; i < meta->rows_per_page; i++)
			{
				const HnswRow *row = (HnswRow *) ((char *) page + HnswRowOffset(meta, i));

				if (HnswRowStateOf(row) != HNSW_ROW_LIVE)
					continue;
				if (meta->span > 1)
				{
					memcpy(copy, row, HNSW_PAGE_ROOM);
					if (!read_rest(index, meta, block, copy))
						continue;
					row = (const HnswRow *) copy;
				}
				visit(arg, block * meta->rows_per_page + i, row);
			}
		UnlockReleaseBuffer(buffer);
	}
	if (copy != NULL)
		pfree(copy);
}

/* ---- insert ---- */

static void
remember(HnswInsert *insert, uint32 hash, uint32 number)
{
	if (insert->nflat == insert->flat_size)
	{
		insert->flat_size *= 2;
		insert->flat = repalloc(insert->flat, sizeof(HnswFlatRow) * insert->flat_size);
	}
	insert->flat[insert->nflat].hash = hash;
	insert->flat[insert->nflat++].number = number;
}

static void
remember_row(void *arg, uint32 number, const HnswRow *row)
{
	remember(arg, row->hash, number);
}

/* Add a heap row to a row of an equal vector, if that is what it is and there is room in it. */
static bool
add_to_row(HnswInsert *insert, uint32 number, ItemPointer tid)
{
	HnswSearch *search = &insert->search;
	HnswWrite	write;
	bool		equal = hnsw_is_equal(insert, hnsw_read(&search->read, search->index,
														&insert->meta, number));

	hnsw_read_unlock(&search->read);
	hnsw_read_end(&search->read);
	if (!equal)
		return false;
	hnsw_write_begin(&write, search->index, &insert->meta, number);
	if (HnswRowStateOf(write.row) != HNSW_ROW_LIVE ||
		write.row->hash != insert->image->hash || write.row->ntids == HNSW_ROW_TIDS_INLINE)
	{
		hnsw_write_abort(&write);
		return false;
	}
	write.row->tids[write.row->ntids++] = *tid;
	hnsw_write_end(&write);
	return true;
}

/*
 * Insert the row in insert->image; false when the index is full and not to grow. There are no
 * chains of heap rows here: more than fit in a row are rows of their own until there is a graph.
 */
bool
hnsw_flat_insert(HnswInsert *insert, ItemPointer tid, bool grow)
{
	Relation	index = insert->search.index;
	const HnswMeta *meta = &insert->meta;
	MemoryContext old;
	uint32		number;

	if (insert->flat == NULL)
	{
		old = MemoryContextSwitchTo(GetMemoryChunkContext(insert));
		insert->flat_size = 256;
		insert->flat = palloc(sizeof(HnswFlatRow) * insert->flat_size);
		hnsw_flat_each(index, meta, remember_row, insert);
		MemoryContextSwitchTo(old);
	}
	for (int i = insert->nflat - 1; i >= 0; i--)
		if (insert->flat[i].hash == insert->image->hash &&
			add_to_row(insert, insert->flat[i].number, tid))
			return true;

	if (!grow &&
		(uint64) RelationGetNumberOfBlocks(index) / meta->span * meta->rows_per_page >=
		(uint64) hnsw_flat_limit(meta->dim) && !hnsw_has_room(index))
		return false;
	number = hnsw_row_new(index, meta, insert->image);
	remember(insert, insert->image->hash, number);
	return true;
}
