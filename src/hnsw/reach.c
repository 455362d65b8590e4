/*
 * reach.c: which rows the graph leads to. Calls layout.c; called by check.c.
 */
#include "compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/*
 * A bit for every row that can be reached from the routing rows, or by anchors alone, of *nrows
 * rows. Takes a bit and at most four bytes a row in the current memory context. Changes under way
 * may make reached rows look unreached, never the other way round.
 */
uint8 *
hnsw_reach(Relation index, bool anchors, uint64 *nrows)
{
	const HnswCache *cache = hnsw_cache(index);
	HnswMeta	meta = cache->meta;
	uint64		n = (uint64) RelationGetNumberOfBlocks(index) * meta.rows_per_page;
	uint8	   *reached = MemoryContextAllocExtended(CurrentMemoryContext, n / 8 + 1,
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	uint64		size = Max(cache->nrouting, 1024);
	uint32	   *stack = palloc(sizeof(uint32) * size);
	uint64		depth = 0;
	HnswRead	read = {InvalidBuffer};

	if (meta.span > 1)
		read.copy = palloc(meta.row_size);
	for (int i = 0; i < cache->nrouting; i++)
	{
		uint32		to = cache->routing[i];

		if (to >= n || (reached[to / 8] & (1 << to % 8)) != 0)
			continue;
		reached[to / 8] |= 1 << to % 8;
		stack[depth++] = to;
	}
	while (depth > 0)
	{
		const HnswRow *row;
		HnswRowState state;

		CHECK_FOR_INTERRUPTS();
		if (depth + HNSW_MAX_SLOTS > size)
		{
			size *= 2;
			stack = repalloc_huge(stack, sizeof(uint32) * size);
		}
		row = hnsw_read(&read, index, &meta, stack[--depth]);
		state = HnswRowStateOf(row);
		for (int i = 0; (state == HNSW_ROW_LIVE || state == HNSW_ROW_DEAD) &&
			 i < row->nneighbors; i++)
		{
			uint32		to = HnswNeighbor(row, i);

			if ((anchors && !HnswIsAnchor(row, i)) || to >= n ||
				(reached[to / 8] & (1 << to % 8)) != 0)
				continue;
			reached[to / 8] |= 1 << to % 8;
			stack[depth++] = to;
		}
		hnsw_read_unlock(&read);
	}
	hnsw_read_end(&read);
	pfree(stack);
	if (read.copy)
		pfree(read.copy);
	*nrows = n;
	return reached;
}
