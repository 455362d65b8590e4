/*
 * equal.c: which rows of a build have equal vectors: equal hash and equal own code. Calls spool.c;
 * called by build.c.
 *
 * The table of hashes grows to a share of the memory; then it forgets. A vector that comes often is
 * found all the same, and one that is not found costs a row of its own, nothing else.
 */
#include "compat.h"

#include "utils/memutils.h"

#include "hnsw/build.h"

#define FIRST_HASHES 4096

/* Entries looked at before one is overwritten. */
#define PROBES 64

/* The table's share of the memory. */
#define SHARE 8

static HnswBuildHash *
make_table(HnswBuild *build, uint64 n)
{
	return MemoryContextAllocExtended(build->context, n * sizeof(HnswBuildHash),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
hnsw_equal_begin(HnswBuild *build)
{
	build->nhashes = FIRST_HASHES;
	build->hashes = make_table(build, build->nhashes);
}

static void
grow(HnswBuild *build)
{
	HnswBuildHash *old = build->hashes;
	uint64		nold = build->nhashes;

	build->nhashes *= 2;
	build->hashes = make_table(build, build->nhashes);
	for (uint64 i = 0; i < nold; i++)
	{
		uint64		at = old[i].hash & (build->nhashes - 1);

		if (old[i].row == 0)
			continue;
		while (build->hashes[at].row != 0)
			at = (at + 1) & (build->nhashes - 1);
		build->hashes[at] = old[i];
	}
	pfree(old);
}

uint32
hnsw_equal_find(HnswBuild *build, uint32 hash, const char *own, uint32 row)
{
	HnswBuildHash *entry = NULL;
	uint64		mask;

	if (row * UINT64CONST(2) >= build->nhashes &&
		build->nhashes * 2 * sizeof(HnswBuildHash) <= build->memory / SHARE)
		grow(build);
	mask = build->nhashes - 1;
	for (uint64 i = 0; i < PROBES; i++)
	{
		entry = &build->hashes[(hash + i) & mask];
		if (entry->row == 0)
			break;
		if (entry->hash == hash)
		{
			const HnswBuildRow *other = hnsw_spool_get(build->rows, entry->row - 1);

			if (memcmp(other->own, own, build->meta.own_size) == 0)
				return entry->row - 1;
		}
	}
	if (entry->row != 0)
		entry = &build->hashes[(hash + (hash >> 16) % PROBES) & mask];
	entry->hash = hash;
	entry->row = row + 1;
	return HNSW_NO_ROW;
}

void
hnsw_equal_end(HnswBuild *build)
{
	pfree(build->hashes);
	build->hashes = NULL;
}
