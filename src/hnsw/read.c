/*
 * read.c: reading rows of the graph, and pages in general, where they were last found. Calls the buffer
 * manager; called by whoever reads rows, in the hottest of all loops.
 */
#include "compat.h"

#include "pgstat.h"
#include "storage/buf_internals.h"

#include "hnsw/hnsw.h"

/* Copy a wide row whose first page is locked. */
static void
read_wide(HnswRead *read, Relation index, const HnswMeta *meta, uint32 number)
{
	Size		left = meta->row_size;
	char	   *to = read->copy;

	for (int i = 0; left > 0; i++)
	{
		Size		part = Min(left, HNSW_PAGE_ROOM);
		Buffer		buffer = read->buffer;

		if (i > 0)
		{
			buffer = ReadBuffer(index, HnswRowBlock(meta, number) + i);
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			hnsw_page_check(index, buffer, HNSW_PAGE_REST);
		}
		memcpy(to, (char *) BufferGetPage(buffer) + HNSW_PAGE_START, part);
		if (i > 0)
			UnlockReleaseBuffer(buffer);
		to += part;
		left -= part;
	}
	read->row = (const HnswRow *) read->copy;
}

/* Does the replacement clock know that this page is in use? Read without a lock: it is a guess. */
static inline bool
is_warm(Buffer buffer)
{
	return BufferIsLocal(buffer) ||
		BUF_STATE_GET_USAGECOUNT(pg_atomic_read_u32(&GetBufferDescriptor(buffer - 1)->state)) > 1;
}

/*
 * Pin a block, looking first in the buffer where it was last found: that spares the shared hash table,
 * whose misses are a third of a hop. The table is asked all the same when the page has been used
 * little, because only that tells the replacement clock that it is in use. True when it was there.
 */
static inline bool
read_hinted(Relation relation, BlockNumber block, Buffer hint, Buffer *buffer)
{
	if (likely(BufferIsValid(hint)) && is_warm(hint) &&
		ReadRecentBuffer(vdist_relation_locator(relation), MAIN_FORKNUM, block, hint))
	{
		pgstat_count_buffer_read(relation);
		pgstat_count_buffer_hit(relation);
		*buffer = hint;
		return true;
	}
	*buffer = ReadBuffer(relation, block);
	return false;
}

/* A block that was not there when the cache was made: a broken number, or the index has grown. */
static void
check_block(Relation index, BlockNumber block)
{
	if (block >= RelationGetNumberOfBlocks(index))
		hnsw_page_corrupted(index, block);
}

/* Pin a graph page. */
Buffer
hnsw_read_block(Relation index, BlockNumber block)
{
	HnswCache  *cache = index->rd_amcache;
	Buffer		buffer;

	if (cache == NULL || block >= cache->nhints)
	{
		check_block(index, block);
		return ReadBuffer(index, block);
	}
	read_hinted(index, block, cache->hints[block], &buffer);
	return buffer;
}

/* Pin a page of the table that the index belongs to. */
Buffer
hnsw_read_heap(Relation index, Relation heap, BlockNumber block)
{
	HnswCache  *cache = index->rd_amcache;
	Buffer	   *hint;
	Buffer		buffer;

	if (cache == NULL)
		return ReadBuffer(heap, block);
	hint = &cache->heap_hints[block & cache->heap_mask];
	if (!read_hinted(heap, block, *hint, &buffer))
		*hint = buffer;
	return buffer;
}

/* Where the memory of a page of the table may be; NULL if unknown. Nothing holds it there. */
Page
hnsw_guess_heap(Relation index, BlockNumber block)
{
	HnswCache  *cache = index->rd_amcache;
	Buffer		hint = cache == NULL ? InvalidBuffer : cache->heap_hints[block & cache->heap_mask];

	if (!BufferIsValid(hint) || BufferIsLocal(hint))
		return NULL;
	__builtin_prefetch(GetBufferDescriptor(hint - 1));
	return BufferGetPage(hint);
}

/* Longer rows are left to the processor's own prefetching, once their beginning is read. */
#define PREFETCH_MAX (32 * HNSW_CACHE_LINE)

/* Ask for the memory of a row that will be read soon, if it is known where it may be. */
void
hnsw_prefetch(Relation index, const HnswMeta *meta, uint32 number)
{
	HnswCache  *cache = index->rd_amcache;
	BlockNumber block = HnswRowBlock(meta, number);
	Buffer		buffer;
	char	   *row;
	Size		size;

	if (cache == NULL || block >= cache->nhints)
		return;
	buffer = cache->hints[block];
	if (!BufferIsValid(buffer) || BufferIsLocal(buffer))
		return;
	row = (char *) BufferGetPage(buffer) + HnswRowOffset(meta, number);
	size = Min(Min(meta->row_size, HNSW_PAGE_ROOM), PREFETCH_MAX);
	__builtin_prefetch(GetBufferDescriptor(buffer - 1));
	for (Size i = 0; i < size; i += HNSW_CACHE_LINE)
		__builtin_prefetch(row + i, 0, 2);
}

/*
 * Pin and share-lock a row's page and return the row. For a wide row, read->copy must have row_size
 * bytes. End with hnsw_read_unlock; the pin stays for the next row, which is often on the same page. A
 * page that was read before is not checked again: that would be two cache misses more.
 */
const HnswRow *
hnsw_read(HnswRead *read, Relation index, const HnswMeta *meta, uint32 number)
{
	BlockNumber block = HnswRowBlock(meta, number);
	HnswCache  *cache = index->rd_amcache;
	Buffer	   *hint = NULL;
	bool		known = true;

	if (!BufferIsValid(read->buffer) || read->block != block)
	{
		if (BufferIsValid(read->buffer))
			ReleaseBuffer(read->buffer);
		read->buffer = InvalidBuffer;
		if (likely(cache != NULL && block < cache->nhints))
			hint = &cache->hints[block];
		else
			check_block(index, block);
		known = read_hinted(index, block, hint == NULL ? InvalidBuffer : *hint, &read->buffer);
		read->block = block;
	}
	LockBuffer(read->buffer, BUFFER_LOCK_SHARE);
	if (!known)
	{
		hnsw_page_check(index, read->buffer, HnswRowKind(meta));
		if (hint != NULL)
			*hint = read->buffer;
	}
	read->row = (const HnswRow *) ((char *) BufferGetPage(read->buffer) +
								   HnswRowOffset(meta, number));
	if (unlikely(HnswRowStateOf(read->row) != HNSW_ROW_TIDS &&
				 read->row->nneighbors > meta->slots))
		hnsw_page_corrupted(index, block);
	if (meta->span > 1 && HnswRowStateOf(read->row) != HNSW_ROW_TIDS)
		read_wide(read, index, meta, number);
	return read->row;
}

void
hnsw_read_unlock(HnswRead *read)
{
	LockBuffer(read->buffer, BUFFER_LOCK_UNLOCK);
}

/* Give up the pin. */
void
hnsw_read_end(HnswRead *read)
{
	if (BufferIsValid(read->buffer))
		ReleaseBuffer(read->buffer);
	read->buffer = InvalidBuffer;
}
