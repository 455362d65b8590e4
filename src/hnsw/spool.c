/*
 * spool.c: many records of one size, in memory or, beyond a budget, in a temporary file that counts
 * towards temp_file_limit. Called by the other files of CREATE INDEX.
 */
#include "compat.h"

#include "commands/tablespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "hnsw/build.h"

#define NO_BLOCK (-1)

/*
 * In the file, records lie in blocks of whole pages. The last block, which still grows, is in
 * `tail`; others are read through a cache with one place for each of every nplaces blocks: those
 * asked for lie near each other.
 */
struct HnswSpool
{
	MemoryContext context;
	Size		record;
	Size		memory;
	int64		n;
	const uint32 *order;		/* in memory: arranged is to be looked up */

	/* in memory */
	char	   *records;		/* NULL: in the file */
	int64		size;			/* records there is room for */

	/* in the file */
	File		file;
	int			per_block;
	Size		block_size;
	char	   *tail;
	char	   *cache;
	int64	   *cached;			/* which block is in a place */
	int			nplaces;
};

HnswSpool *
hnsw_spool_begin(Size record, Size memory, Size cache)
{
	HnswSpool  *spool = palloc0(sizeof(HnswSpool));

	spool->context = CurrentMemoryContext;
	spool->record = record;
	spool->memory = memory;
	spool->block_size = (record + BLCKSZ - 1) / BLCKSZ * BLCKSZ;
	spool->per_block = spool->block_size / record;
	spool->nplaces = Max(cache / spool->block_size, 2);
	spool->size = Max(Min(memory / record, 1024), 1);
	spool->records = palloc(spool->size * record);
	return spool;
}

static void
write_block(HnswSpool *spool, int64 block, const char *content)
{
	int			size = (int) spool->block_size;
	int			written;

	errno = 0;
	written = FileWrite(spool->file, (char *) content, size, block * (off_t) spool->block_size,
						WAIT_EVENT_BUFFILE_WRITE);
	if (written == size)
		return;
	if (written >= 0 || errno == 0)
		errno = ENOSPC;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not write to file \"%s\": %m", FilePathName(spool->file))));
}

static void
read_block(HnswSpool *spool, int64 block, char *content)
{
	int			size = (int) spool->block_size;
	int			got = FileRead(spool->file, content, size, block * (off_t) spool->block_size,
							   WAIT_EVENT_BUFFILE_READ);

	if (got < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", FilePathName(spool->file))));
	if (got != size)
		elog(ERROR, "temporary file \"%s\" ends within block " INT64_FORMAT,
			 FilePathName(spool->file), block);
}

/* Append to the file; n is not counted here. */
static void
add_to_file(HnswSpool *spool, int64 number, const void *record)
{
	int			within = number % spool->per_block;

	memcpy(spool->tail + within * spool->record, record, spool->record);
	if (within == spool->per_block - 1)
		write_block(spool, number / spool->per_block, spool->tail);
}

/* From memory to a file. */
static void
spill(HnswSpool *spool)
{
	PrepareTempTablespaces();
	spool->file = OpenTemporaryFile(false);
	spool->tail = MemoryContextAllocZero(spool->context, spool->block_size);
	for (int64 i = 0; i < spool->n; i++)
		add_to_file(spool, i, spool->records + i * spool->record);
	pfree(spool->records);
	spool->records = NULL;
	spool->cache = MemoryContextAllocHuge(spool->context, spool->nplaces * spool->block_size);
	spool->cached = MemoryContextAlloc(spool->context, sizeof(int64) * spool->nplaces);
	for (int i = 0; i < spool->nplaces; i++)
		spool->cached[i] = NO_BLOCK;
}

void
hnsw_spool_add(HnswSpool *spool, const void *record)
{
	Assert(spool->order == NULL);
	if (spool->records != NULL && spool->n == spool->size)
	{
		if (spool->size * spool->record >= spool->memory)
			spill(spool);
		else
		{
			spool->size = Min(spool->size * 2, (int64) (spool->memory / spool->record) + 1);
			spool->records = repalloc_huge(spool->records, spool->size * spool->record);
		}
	}
	if (spool->records != NULL)
		memcpy(spool->records + spool->n * spool->record, record, spool->record);
	else
		add_to_file(spool, spool->n, record);
	spool->n++;
}

const void *
hnsw_spool_get(HnswSpool *spool, int64 number)
{
	int64		block;
	int			within;
	int			place;
	char	   *content;

	Assert(number >= 0 && number < spool->n);
	if (spool->records != NULL)
		return spool->records + (spool->order ? spool->order[number] : number) * spool->record;
	block = number / spool->per_block;
	within = number % spool->per_block;
	if (block == spool->n / spool->per_block)
		return spool->tail + within * spool->record;
	place = block % spool->nplaces;
	content = spool->cache + place * spool->block_size;
	if (spool->cached[place] != block)
	{
		spool->cached[place] = NO_BLOCK;
		read_block(spool, block, content);
		spool->cached[place] = block;
	}
	return content + within * spool->record;
}

/* Bytes that it holds. */
Size
hnsw_spool_memory(const HnswSpool *spool)
{
	if (spool->records != NULL)
		return spool->size * spool->record;
	return (spool->nplaces + 1) * spool->block_size;
}

/*
 * A file is read from end to end for every stretch of places that fits into memory: places would
 * otherwise be filled by as many reads as there are records, all over the file.
 */
void
hnsw_spool_arrange(HnswSpool *spool, const uint32 *order)
{
	HnswSpool	arranged = *spool;
	int64		room = Max(spool->memory / spool->record, 1);
	uint32	   *place;
	char	   *stretch;

	if (spool->records != NULL)
	{
		spool->order = order;
		return;
	}
	room = Min(room, Max(spool->n, 1));
	place = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * Max(spool->n, 1));
	stretch = MemoryContextAllocHuge(CurrentMemoryContext, room * spool->record);
	for (int64 i = 0; i < spool->n; i++)
		place[order[i]] = i;

	PrepareTempTablespaces();
	arranged.file = OpenTemporaryFile(false);
	arranged.tail = MemoryContextAllocZero(spool->context, spool->block_size);
	for (int64 first = 0; first < spool->n; first += room)
	{
		int64		end = Min(first + room, spool->n);

		for (int64 i = 0; i < spool->n; i++)
		{
			if (i % 1024 == 0)
				CHECK_FOR_INTERRUPTS();
			if (place[i] >= first && place[i] < end)
				memcpy(stretch + (place[i] - first) * spool->record, hnsw_spool_get(spool, i),
					   spool->record);
		}
		for (int64 i = first; i < end; i++)
			add_to_file(&arranged, i, stretch + (i - first) * spool->record);
	}
	FileClose(spool->file);
	pfree(spool->tail);
	pfree(place);
	pfree(stretch);
	*spool = arranged;
	for (int i = 0; i < spool->nplaces; i++)
		spool->cached[i] = NO_BLOCK;
}

void
hnsw_spool_end(HnswSpool *spool)
{
	if (spool->records != NULL)
		pfree(spool->records);
	else
	{
		FileClose(spool->file);
		pfree(spool->tail);
		pfree(spool->cache);
		pfree(spool->cached);
	}
	pfree(spool);
}
