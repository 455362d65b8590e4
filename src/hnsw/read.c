/*
 * read.c: reading rows of the graph, and pages in general, where they were last found. Calls the
 * buffer manager; called by whoever reads rows, in the hottest of all loops.
 */
#include "compat.h"

#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/buf_internals.h"
#include "utils/spccache.h"

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

/* So often must guesses have been right, at most, for one to be believed again. */
#define TRUST_MAX 8

/* Does the replacement clock know that this page is in use? Read without a lock: it is a guess. */
static inline bool
is_warm(Buffer buffer)
{
	return BufferIsLocal(buffer) ||
		BUF_STATE_GET_USAGECOUNT(pg_atomic_read_u32(&GetBufferDescriptor(buffer - 1)->state)) > 1;
}

/*
 * Where a page may be that this backend has not read yet. Pages that came into memory one after the
 * other, as CREATE INDEX, COPY and pg_prewarm read or write them, are in buffers that follow each
 * other; so the page that was looked up last tells where the others are, as long as that turns out
 * right.
 */
static inline Buffer
guess(const HnswHints *hints, BlockNumber block)
{
	int64		buffer = (int64) block + hints->shift;

	return hints->trust > 0 && buffer > 0 && buffer <= NBuffers ? (Buffer) buffer : InvalidBuffer;
}

/* What is said here without a lock is a guess, too. */
static inline bool
holds_block(Buffer buffer, BlockNumber block)
{
	return GetBufferDescriptor(buffer - 1)->tag.blockNum == block;
}

static void
learn(HnswHints *hints, BlockNumber block, Buffer buffer)
{
	int			shift = buffer - (int32) block;

	if (BufferIsLocal(buffer))
		return;
	hints->trust = shift == hints->shift ? Min(hints->trust + 1, TRUST_MAX) :
		Max(hints->trust - 1, -TRUST_MAX);
	hints->shift = shift;
}

/*
 * A page that takes longer, in microseconds, comes from the disk and not from the system's cache.
 */
#define SLOW_READ 30.0

/* Pages in a row that must be there at once before no wait is expected any more. */
#define WAITS_MAX 32

/* Look a page up in the shared hash table, and see whether the disk is waited for. */
static Buffer
look_up(Relation relation, BlockNumber block, HnswHints *hints)
{
	int64		reads = pgBufferUsage.shared_blks_read;
	instr_time	begin;
	instr_time	end;
	Buffer		buffer;

	INSTR_TIME_SET_CURRENT(begin);
	buffer = ReadBuffer(relation, block);
	if (hints->waits > 0)
		hints->waits--;
	if (pgBufferUsage.shared_blks_read != reads)
	{
		INSTR_TIME_SET_CURRENT(end);
		INSTR_TIME_SUBTRACT(end, begin);
		if (INSTR_TIME_GET_MICROSEC(end) > SLOW_READ)
			hints->waits = WAITS_MAX;
	}
	return buffer;
}

/*
 * Pin a block, looking first in the buffer where it was last found, or may be: that spares the
 * shared hash table, whose misses are a third of a hop. The table is asked all the same when the
 * page has been used little, because only that tells the replacement clock that it is in use. True
 * when it was found before, and there.
 */
static inline bool
read_hinted(Relation relation, BlockNumber block, HnswHints *hints, Buffer *hint, Buffer *buffer)
{
	bool		known = BufferIsValid(*hint);
	Buffer		at = likely(known) ? *hint : guess(hints, block);

	if (likely(BufferIsValid(at)) && (known || holds_block(at, block)) && is_warm(at) &&
		ReadRecentBuffer(vdist_relation_locator(relation), MAIN_FORKNUM, block, at))
	{
		pgstat_count_buffer_read(relation);
		pgstat_count_buffer_hit(relation);
		*buffer = at;
		return known;
	}
	*buffer = look_up(relation, block, hints);
	learn(hints, block, *buffer);
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
	Buffer		hint;
	Buffer		buffer;

	if (cache == NULL || block >= cache->nhints)
	{
		check_block(index, block);
		return ReadBuffer(index, block);
	}
	hint = cache->hints.buffers[block];
	read_hinted(index, block, &cache->hints, &hint, &buffer);
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
	hint = &cache->heap_hints.buffers[block & cache->heap_mask];
	if (!read_hinted(heap, block, &cache->heap_hints, hint, &buffer))
		*hint = buffer;
	return buffer;
}

/* Is it of use to ask for pages ahead: were they waited for lately, and is that allowed? */
bool
hnsw_waits(Relation index)
{
	HnswCache  *cache = index->rd_amcache;

	return cache != NULL && unlikely(cache->hints.waits > 0 || cache->heap_hints.waits > 0) &&
		get_tablespace_io_concurrency(index->rd_rel->reltablespace) > 0;
}

/* Have a page read from the disk that will be needed soon. It may be any number. */
void
hnsw_ask(Relation relation, BlockNumber block)
{
	if (block < RelationGetNumberOfBlocks(relation))
		PrefetchBuffer(relation, MAIN_FORKNUM, block);
}

/* Where the memory of a page of the table may be; NULL if unknown. Nothing holds it there. */
Page
hnsw_guess_heap(Relation index, BlockNumber block)
{
	HnswCache  *cache = index->rd_amcache;
	Buffer		hint;

	if (cache == NULL)
		return NULL;
	hint = cache->heap_hints.buffers[block & cache->heap_mask];
	if (!BufferIsValid(hint))
	{
		hint = guess(&cache->heap_hints, block);
		if (!BufferIsValid(hint) || !holds_block(hint, block))
			return NULL;
	}
	if (BufferIsLocal(hint))
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
	buffer = cache->hints.buffers[block];
	if (!BufferIsValid(buffer))
	{
		buffer = guess(&cache->hints, block);
		if (!BufferIsValid(buffer))
			return;
		/* it will be looked at whether it is a page of the graph */
		__builtin_prefetch(BufferGetPage(buffer));
		__builtin_prefetch(BufferGetPage(buffer) + BLCKSZ - sizeof(HnswSpecial));
	}
	if (BufferIsLocal(buffer))
		return;
	row = (char *) BufferGetPage(buffer) + HnswRowOffset(meta, number);
	size = Min(Min(meta->row_size, HNSW_PAGE_ROOM), PREFETCH_MAX);
	__builtin_prefetch(GetBufferDescriptor(buffer - 1));
	for (Size i = 0; i < size; i += HNSW_CACHE_LINE)
		__builtin_prefetch(row + i, 0, 2);
}

/*
 * Pin and share-lock a row's page and return the row. For a wide row, read->copy must have row_size
 * bytes. End with hnsw_read_unlock; the pin stays for the next row, which is often on the same
 * page. A page that was read before is not checked again: that would be two cache misses more.
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
		{
			hint = &cache->hints.buffers[block];
			known = read_hinted(index, block, &cache->hints, hint, &read->buffer);
		}
		else
		{
			check_block(index, block);
			known = false;
			read->buffer = ReadBuffer(index, block);
		}
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
