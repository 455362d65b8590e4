/*
 * cache.c: what a backend remembers of a vdist_hnsw index. Calls layout.c and code.c; called by
 * whoever searches or changes an index.
 */
#include "compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/* Copy what the metapage begins with. */
static void
read_head(Relation index, Size size, void *to)
{
	Buffer		buffer = ReadBuffer(index, HNSW_META_BLOCK);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	hnsw_page_check(index, buffer, HNSW_PAGE_META);
	memcpy(to, HnswPageMeta(BufferGetPage(buffer)), size);
	UnlockReleaseBuffer(buffer);
}

/* Copy floats that lie on consecutive pages: the mean or the centres. */
static void
read_floats(Relation index, BlockNumber block, Size n, float *out)
{
	Size		left = sizeof(float) * n;
	char	   *to = (char *) out;

	for (; left > 0; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);
		Size		part = Min(left, HNSW_PAGE_ROOM);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		hnsw_page_check(index, buffer, HNSW_PAGE_MEAN);
		memcpy(to, (char *) BufferGetPage(buffer) + HNSW_PAGE_START, part);
		UnlockReleaseBuffer(buffer);
		to += part;
		left -= part;
	}
}

/* The mean of an index that has a graph; head is what the metapage holds. */
static void
read_mean(Relation index, const HnswMeta *head, float *mean)
{
	if (head->version < HNSW_VERSION_HEAD)
		read_floats(index, HNSW_FIRST_BLOCK, head->dim, mean);
	else if (BlockNumberIsValid(head->mean_block))
		read_floats(index, head->mean_block, head->dim, mean);
	else
		vdist_kernel->half_to_float(head->dim, HnswMean(head), mean);
}

/* Copy so many routing entries. */
static void
copy_entries(const HnswMeta *meta, const char *from, uint32 count, uint32 *rows, char *codes)
{
	for (uint32 i = 0; i < count; i++)
	{
		memcpy(&rows[i], from, sizeof(uint32));
		memcpy(codes + i * (Size) meta->code_size, from + sizeof(uint32), meta->code_size);
		from += HNSW_ROUTING_ENTRY(meta);
	}
}

/*
 * Copy the routing entries, at most as many as the metapage says there are; returns how many there
 * were.
 */
static int
read_routing(Relation index, const HnswMeta *meta, uint32 *rows, char *codes)
{
	BlockNumber block = meta->routing_block;
	HnswChain	chain = {0};
	uint32		n = Min(meta->routing_here, meta->routing_count);

	copy_entries(meta, HnswRoutingHere(meta), n, rows, codes);
	while (BlockNumberIsValid(block))
	{
		Buffer		buffer = ReadBuffer(index, block);
		HnswRouting *routing;
		uint32		count;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		hnsw_page_check(index, buffer, HNSW_PAGE_ROUTING);
		routing = HnswPageRouting(BufferGetPage(buffer));
		if (routing->count > HNSW_ROUTING_ROOM(meta) || !hnsw_chain_step(&chain, block))
			hnsw_page_corrupted(index, block);

		/* others may come and go meanwhile */
		count = Min(routing->count, meta->routing_count - n);
		copy_entries(meta, (char *) (routing + 1), count, rows + n,
					 codes + n * (Size) meta->code_size);
		n += count;
		block = routing->next;
		UnlockReleaseBuffer(buffer);
	}
	return n;
}

/* Put long routing rows behind the others, which stay in order. */
static void
put_long_last(HnswCache *cache)
{
	const HnswMeta *meta = &cache->meta;
	Size		size = meta->code_size;
	float	   *mean = palloc(sizeof(float) * meta->dim);
	float	   *x = palloc(sizeof(float) * meta->dim);
	uint32	   *rows = palloc_extended(sizeof(uint32) * Max(cache->nrouting, 1), MCXT_ALLOC_HUGE);
	char	   *codes = palloc_extended(size * Max(cache->nrouting, 1), MCXT_ALLOC_HUGE);
	int			n = 0;

	memcpy(mean, cache->mean, sizeof(float) * meta->dim);
	vdist_quant_rotate(meta->dim, mean);
	for (int i = 0; i < cache->nrouting; i++)
	{
		const char *code = cache->routing_codes + i * size;
		bool		is_long = hnsw_is_long(meta, hnsw_code_norm2(&cache->codes,
																 &cache->codes.code, code, mean, x));
		int			to = is_long ? cache->nlong++ : n++;

		if (is_long)
		{
			rows[to] = cache->routing[i];
			memcpy(codes + to * size, code, size);
		}
		else if (to < i)
		{
			cache->routing[to] = cache->routing[i];
			memcpy(cache->routing_codes + to * size, code, size);
		}
	}
	memcpy(cache->routing + n, rows, sizeof(uint32) * cache->nlong);
	memcpy(cache->routing_codes + n * size, codes, size * cache->nlong);
	pfree(mean);
	pfree(x);
	pfree(rows);
	pfree(codes);
}

/*
 * The index's constants and routing rows. The result may vanish whenever invalidations are
 * processed: use it before the next lock is taken on any relation, or copy it.
 */
const HnswCache *
hnsw_cache(Relation index)
{
	HnswCache  *cache = (HnswCache *) index->rd_amcache;
	HnswMeta   *head;
	HnswMeta	meta;
	Size		rows;
	Size		codes;
	Size		mean;
	Size		centres;
	Size		centres_size;
	Size		hints;
	Size		heap_hints;
	Size		nhints;
	Size		heap_nhints = 1024;
	float	   *old = NULL;

	read_head(index, sizeof(meta), &meta);
	if (cache != NULL && cache->meta.crc == meta.crc &&
		cache->meta.routing_block == meta.routing_block &&
		cache->meta.routing_version == meta.routing_version)
		return cache;

	/* all of it at once: the routing rows may be other ones by now */
	head = palloc(HNSW_PAGE_ROOM);
	read_head(index, HNSW_PAGE_ROOM, head);
	hnsw_meta_check(index, head);
	meta = *head;
	if (meta.version < HNSW_VERSION_STRETCH)
		meta.stretch = meta.stretch_slope = 0;
	nhints = RelationGetNumberOfBlocks(index);
	if (meta.routing_count > (uint64) nhints * meta.rows_per_page)
		hnsw_page_corrupted(index, HNSW_META_BLOCK);
	centres_size = sizeof(float) * HNSW_CENTRE_FLOATS(meta.dim) * (Size) meta.ncentres;

	/*
	 * where only the routing rows changed, the centres, which are the larger part, are as they
	 * were
	 */
	if (cache != NULL && cache->meta.crc == meta.crc && centres_size > 0)
	{
		old = palloc_extended(centres_size, MCXT_ALLOC_HUGE);
		memcpy(old, cache->centres, centres_size);
	}
	if (cache != NULL)
	{
		index->rd_amcache = NULL;
		pfree(cache);
	}

	mean = MAXALIGN(sizeof(HnswCache));
	centres = mean + MAXALIGN(sizeof(float) * meta.dim);
	rows = centres + MAXALIGN(centres_size);
	codes = rows + MAXALIGN(sizeof(uint32) * (Size) meta.routing_count);
	hints = codes + MAXALIGN(meta.code_size * (Size) meta.routing_count);
	nhints += nhints / 4;
	while (heap_nhints < nhints)
		heap_nhints *= 2;
	heap_hints = hints + MAXALIGN(sizeof(Buffer) * nhints);
	cache = MemoryContextAllocHuge(index->rd_indexcxt,
								   heap_hints + sizeof(Buffer) * heap_nhints);
	cache->meta = meta;
	memset(&cache->hints, 0, sizeof(HnswHints));
	memset(&cache->heap_hints, 0, sizeof(HnswHints));
	cache->hints.buffers = (Buffer *) ((char *) cache + hints);
	cache->nhints = nhints;
	cache->heap_hints.buffers = (Buffer *) ((char *) cache + heap_hints);
	cache->heap_mask = heap_nhints - 1;
	memset((char *) cache + hints, 0, heap_hints - hints + sizeof(Buffer) * heap_nhints);
	cache->mean = (float *) ((char *) cache + mean);
	cache->centres = (float *) ((char *) cache + centres);
	cache->routing = (uint32 *) ((char *) cache + rows);
	cache->routing_codes = (char *) cache + codes;
	if (HnswIsFlat(&meta))
		memset(cache->mean, 0, sizeof(float) * meta.dim);
	else
		read_mean(index, head, cache->mean);
	if (old != NULL)
	{
		memcpy(cache->centres, old, centres_size);
		pfree(old);
	}
	else if (centres_size > 0)
		read_floats(index, meta.centre_block, centres_size / sizeof(float), cache->centres);
	cache->nrouting = read_routing(index, head, cache->routing, cache->routing_codes);
	pfree(head);
	cache->nlong = 0;
	if (!HnswIsFlat(&meta))
		hnsw_codes_init(&cache->codes, &meta, cache->mean, cache->centres);
	if (meta.metric == VDIST_METRIC_IP && !HnswIsFlat(&meta))
		put_long_last(cache);
	cache->rank_all = hnsw_rank_all(cache->nrouting - cache->nlong, meta.routing_sorted);
	index->rd_amcache = cache;
	return cache;
}
