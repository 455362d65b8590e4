/*
 * pages.c: the last phase of CREATE INDEX: pages from the finished graph. Calls spool.c, layout.c
 * and the buffer manager; called by build.c.
 *
 * The index is written without WAL and logged as a whole at the end: until the transaction commits,
 * nobody else sees it.
 */
#include "compat.h"

#include "access/xloginsert.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "hnsw/build.h"

/* Rows whose codes as neighbors are made together. */
#define CODE_BATCH 4096

typedef struct Writer
{
	HnswBuild  *build;
	uint32		first;			/* number of the first row */
	uint32		next_tids;		/* number of the next row of TIDs */
	BlockNumber nblocks;		/* of the file, from now on appended to */
	Buffer		buffer;
	bool		in_place;		/* beside pages in use: each page is logged by itself */
	HnswMeta   *head;			/* what the metapage will hold: HNSW_PAGE_ROOM bytes */

	/* heap rows of equal vectors by position of their row, then in the order of the table */
	Tuplesortstate *sort;
	int64		position;		/* of the next one; -1: none is left */
	int64		duplicate;		/* which it is */
} Writer;

/* ---- pages ---- */

/* Append a page to a fork; exclusively locked, logged only where nothing else will. */
static Buffer
append_page(Relation index, ForkNumber fork, HnswPageKind kind)
{
	Buffer		buffer;

	LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	UnlockRelationForExtension(index, ExclusiveLock);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	hnsw_page_init(BufferGetPage(buffer), kind);
	return buffer;
}

/* The metapage of a flat index. */
void
hnsw_write_flat(Relation index, ForkNumber fork, HnswMeta *meta)
{
	Buffer		buffer = append_page(index, fork, HNSW_PAGE_META);

	meta->crc = hnsw_meta_crc(meta);
	meta->crc_centres = hnsw_centres_crc(meta);
	meta->crc_mean = hnsw_mean_crc(meta, NULL);
	START_CRIT_SECTION();
	*HnswPageMeta(BufferGetPage(buffer)) = *meta;
	MarkBufferDirty(buffer);
	if (fork == INIT_FORKNUM || RelationNeedsWAL(index))
		log_newpage_buffer(buffer, false);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/*
 * Make room for the graph's rows at once: page by page, each would be written twice. As in a new
 * hash index, only the last page is written now.
 */
static void
extend(Writer *writer)
{
	const HnswMeta *meta = &writer->build->meta;
	Relation	index = writer->build->index;
	int64		nrows = writer->build->n;
	BlockNumber nblocks = (nrows + meta->rows_per_page - 1) / meta->rows_per_page * meta->span;

	writer->nblocks = RelationGetNumberOfBlocks(index);
	if (nblocks == 0 || writer->in_place)
		return;
	LockRelationForExtension(index, ExclusiveLock);
	vdist_extend(index, writer->nblocks, nblocks);
	UnlockRelationForExtension(index, ExclusiveLock);
	writer->nblocks += nblocks;
}

/* A new page at a block that is the next one or that extend() made room for. */
static Buffer
new_page(Writer *writer, BlockNumber block, HnswPageKind kind)
{
	Buffer		buffer;

	if (block >= writer->nblocks)
		buffer = append_page(writer->build->index, MAIN_FORKNUM, kind);
	else
	{
		buffer = ReadBufferExtended(writer->build->index, MAIN_FORKNUM, block,
									RBM_ZERO_AND_LOCK, NULL);
		hnsw_page_init(BufferGetPage(buffer), kind);
	}
	if (BufferGetBlockNumber(buffer) != block)
		elog(ERROR, "block %u got to %u", block, BufferGetBlockNumber(buffer));
	return buffer;
}

/* A page is complete. */
static void
finish_page(Writer *writer, Buffer buffer)
{
	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (writer->in_place && RelationNeedsWAL(writer->build->index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* Write a row's bytes to its pages; rows come in the order of their numbers. */
static void
put_row(Writer *writer, uint32 number, const HnswRow *image)
{
	const HnswMeta *meta = &writer->build->meta;
	BlockNumber block = HnswRowBlock(meta, number);
	Size		offset = HnswRowOffset(meta, number);
	Size		part = Min(meta->row_size, HNSW_PAGE_ROOM);
	Page		page;

	if (number % meta->rows_per_page == 0)
	{
		if (BufferIsValid(writer->buffer))
			finish_page(writer, writer->buffer);
		writer->buffer = InvalidBuffer;
		CHECK_FOR_INTERRUPTS();
		writer->buffer = new_page(writer, block, HNSW_PAGE_GRAPH);
	}
	page = BufferGetPage(writer->buffer);
	memcpy((char *) page + offset, image, part);
	((PageHeader) page)->pd_lower = offset + part;
	for (int i = 1; i < meta->span; i++)
	{
		Buffer		rest = new_page(writer, block + i, HNSW_PAGE_REST);

		memcpy((char *) BufferGetPage(rest) + HNSW_PAGE_START,
			   (const char *) image + i * HNSW_PAGE_ROOM,
			   Min(HNSW_PAGE_ROOM, meta->row_size - i * HNSW_PAGE_ROOM));
		finish_page(writer, rest);
	}
}

static uint32
row_number(const Writer *writer, uint32 position)
{
	return writer->first + position * writer->build->meta.span;
}

/* ---- heap rows of equal vectors ---- */

/* Go on to the next one. */
static void
next_duplicate(Writer *writer)
{
	Datum		value;
	bool		isnull;

	if (!vdist_tuplesort_getdatum(writer->sort, &value, &isnull))
		writer->position = -1;
	else
	{
		writer->position = DatumGetInt64(value) >> 32;
		writer->duplicate = DatumGetInt64(value) & 0xFFFFFFFF;
	}
}

static ItemPointerData
duplicate_tid(Writer *writer)
{
	const HnswBuildDuplicate *duplicate = hnsw_spool_get(writer->build->duplicates,
														 writer->duplicate);

	return duplicate->tid;
}

static void
sort_duplicates(Writer *writer)
{
	HnswBuild  *build = writer->build;
	const uint32 *order = vdist_graph_order(build->graph);
	uint32	   *position;

	writer->position = -1;
	if (build->nduplicates == 0)
		return;
	position = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * build->n);
	for (int64 p = 0; p < build->n; p++)
		position[order[p]] = p;
	writer->sort = tuplesort_begin_datum(INT8OID, Int8LessOperator, InvalidOid, false,
										 Max(build->memory / 8 / 1024, 64), NULL,
										 TUPLESORT_RANDOMACCESS);
	for (int64 i = 0; i < build->nduplicates; i++)
	{
		const HnswBuildDuplicate *duplicate = hnsw_spool_get(build->duplicates, i);

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		tuplesort_putdatum(writer->sort,
						   Int64GetDatum((int64) position[duplicate->row] << 32 | i), false);
	}
	pfree(position);
	tuplesort_performsort(writer->sort);
	next_duplicate(writer);
}

/* Rows of TIDs for so many that do not fit into their row. */
static int64
chain_length(const HnswMeta *meta, int64 ntids)
{
	int64		room = HNSW_TIDS_ROOM(meta);

	return (ntids + room - 1) / room;
}

/* ---- rows ---- */

static void
write_graph_rows(Writer *writer)
{
	HnswBuild  *build = writer->build;
	const HnswMeta *meta = &build->meta;
	HnswRow    *image = palloc(meta->row_size);
	uint32	   *positions = palloc(sizeof(uint32) * meta->slots);
	uint32	   *parent = hnsw_build_anchors(build);

	for (int64 p = 0; p < build->n; p++)
	{
		const HnswBuildRow *row = hnsw_spool_get(build->rows, p);
		int64		rest = 0;
		char	   *codes;
		int			nkept;
		int			n;

		memset(image, 0, meta->row_size);
		image->state = HNSW_ROW_LIVE | (row->unordered ? HNSW_ROW_UNORDERED : 0);
		image->hash = row->hash;
		memcpy(HnswRowOwn(meta, image), row->own, meta->own_size);
		image->tids[image->ntids++] = row->tid;
		for (; writer->position == p; next_duplicate(writer))
		{
			if (image->ntids < HNSW_ROW_TIDS_INLINE)
				image->tids[image->ntids++] = duplicate_tid(writer);
			else
				rest++;
		}
		image->more = HNSW_NO_ROW;
		if (rest > 0)
		{
			image->more = writer->next_tids;
			writer->next_tids += chain_length(meta, rest) * meta->span;
		}

		hnsw_build_check(build, vdist_graph_neighbors(build->graph, p, positions, &n, &nkept));
		image->nneighbors = n;
		image->nkept = nkept;
		codes = HnswRowCodes(meta, image);
		for (int i = 0; i < n; i++)
		{
			image->neighbors[i] = row_number(writer, positions[i]) |
				(parent[positions[i]] == p ? HNSW_ANCHOR : 0);
			memcpy(codes + i * meta->code_size, hnsw_spool_get(build->codes, positions[i]),
				   meta->code_size);
		}
		put_row(writer, row_number(writer, p), image);
		if (p % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, p);
	}
	pfree(parent);
	pfree(positions);
	pfree(image);
}

/*
 * Behind the graph's rows: heap rows that do not fit into theirs, in the order they were numbered.
 */
static void
write_tids_rows(Writer *writer, uint32 number)
{
	const HnswMeta *meta = &writer->build->meta;
	HnswTids   *image = palloc(meta->row_size);
	int			room = HNSW_TIDS_ROOM(meta);

	if (writer->sort != NULL)
	{
		tuplesort_rescan(writer->sort);
		next_duplicate(writer);
	}
	while (writer->position >= 0)
	{
		int64		position = writer->position;

		for (int i = 0; i < HNSW_ROW_TIDS_INLINE - 1 && writer->position == position; i++)
			next_duplicate(writer);
		while (writer->position == position)
		{
			memset(image, 0, meta->row_size);
			image->state = HNSW_ROW_TIDS;
			image->owner = row_number(writer, position);
			for (; writer->position == position && (int) image->count < room;
				 next_duplicate(writer))
				image->tids[image->count++] = duplicate_tid(writer);
			image->more = writer->position == position ? number + meta->span : HNSW_NO_ROW;
			put_row(writer, number, (HnswRow *) image);
			number += meta->span;
		}
	}
	if (writer->sort != NULL)
		tuplesort_end(writer->sort);
	if (BufferIsValid(writer->buffer))
	{
		BlockNumber block = BufferGetBlockNumber(writer->buffer);

		finish_page(writer, writer->buffer);

		/* what is free behind the last row */
		if (number % meta->rows_per_page != 0)
			hnsw_space_found(writer->build->index, block);
	}
	pfree(image);
}

/* ---- codes ---- */

typedef struct Recode
{
	const HnswBuild *build;
	const char *own;
	char	   *codes;
	float	   *scratch;
} Recode;

/* In a thread. */
static bool
recode(void *arg, int thread, uint64_t from, uint64_t to)
{
	const Recode *recode = arg;
	const HnswBuild *build = recode->build;
	float	   *scratch = recode->scratch + thread * HNSW_SCRATCH(build->meta.dim);

	for (uint64_t i = from; i < to; i++)
		hnsw_recode(&build->coding, recode->own + i * build->meta.own_size,
					recode->codes + i * build->meta.code_size, scratch);
	return true;
}

/* Every row's code as a neighbor, by position. */
static void
make_codes(HnswBuild *build)
{
	const HnswMeta *meta = &build->meta;
	int64		batch = Min(CODE_BATCH,
							build->memory / 16 / (meta->own_size + meta->code_size) + 1);
	char	   *own = palloc(batch * meta->own_size);
	char	   *codes = palloc(batch * meta->code_size);
	Recode		arg = {build, own, codes};

	arg.scratch = palloc(sizeof(float) * HNSW_SCRATCH(meta->dim) * build->threads);
	build->codes = hnsw_spool_begin(meta->code_size, build->memory / 8 * 3, build->memory / 8 * 3);
	for (int64 p = 0; p < build->n; p += batch)
	{
		int64		n = Min(batch, build->n - p);

		CHECK_FOR_INTERRUPTS();
		for (int64 i = 0; i < n; i++)
		{
			const HnswBuildRow *row = hnsw_spool_get(build->rows, p + i);

			memcpy(own + i * meta->own_size, row->own, meta->own_size);
		}
		vdist_team_run(build->threads, n, 64, recode, &arg);
		for (int64 i = 0; i < n; i++)
			hnsw_spool_add(build->codes, codes + i * meta->code_size);
	}
	pfree(own);
	pfree(codes);
	pfree(arg.scratch);
}

/* Write routing entries, those of the rows at so many positions. */
static void
put_entries(Writer *writer, const uint32 *positions, int n, char *to)
{
	HnswBuild  *build = writer->build;

	for (int i = 0; i < n; i++)
	{
		uint32		number = row_number(writer, positions[i]);

		memcpy(to, &number, sizeof(number));
		memcpy(to + sizeof(number), hnsw_spool_get(build->codes, positions[i]),
			   build->meta.code_size);
		to += HNSW_ROUTING_ENTRY(&build->meta);
	}
}

/*
 * On the metapage, and on pages of their own what it has no room for: the last first, as they are
 * read in order.
 */
static void
write_routing(Writer *writer)
{
	HnswBuild  *build = writer->build;
	HnswMeta   *head = writer->head;
	int			n;
	uint32	   *positions = hnsw_choose_routing(build, writer->first, &n, head);
	int			room = HNSW_ROUTING_ROOM(head);
	int			first;

	head->routing_count = n;
	head->routing_here = Min(n, hnsw_routing_room(head));
	put_entries(writer, positions, head->routing_here, HnswRoutingHere(head));
	for (int end = n; end > (int) head->routing_here; end = first)
	{
		Buffer		buffer = append_page(build->index, MAIN_FORKNUM, HNSW_PAGE_ROUTING);
		HnswRouting *routing = HnswPageRouting(BufferGetPage(buffer));

		first = head->routing_here + (end - 1 - head->routing_here) / room * room;
		routing->next = head->routing_block;
		routing->count = end - first;
		put_entries(writer, positions + first, routing->count, (char *) (routing + 1));
		head->routing_block = BufferGetBlockNumber(buffer);
		finish_page(writer, buffer);
	}
}

/* Write floats to adjacent pages, as nobody else appends any now; returns where they begin. */
static BlockNumber
write_floats(Writer *writer, const float *x, Size n)
{
	Relation	index = writer->build->index;
	Size		size = sizeof(float) * n;
	BlockNumber first = RelationGetNumberOfBlocks(index);
	BlockNumber block = first;

	for (Size done = 0; done < size; done += HNSW_PAGE_ROOM)
	{
		Buffer		buffer = append_page(index, MAIN_FORKNUM, HNSW_PAGE_MEAN);

		if (BufferGetBlockNumber(buffer) != block++)
			elog(ERROR, "mean or centres got to block %u", BufferGetBlockNumber(buffer));
		memcpy((char *) BufferGetPage(buffer) + HNSW_PAGE_START, (const char *) x + done,
			   Min(size - done, HNSW_PAGE_ROOM));
		finish_page(writer, buffer);
	}
	return first;
}

/* What codes are about. */
static void
write_centres(Writer *writer)
{
	HnswBuild  *build = writer->build;
	HnswMeta   *head = writer->head;
	VdistHalf  *here = HnswMean(head);

	if (HnswMeanHere(head) > 0)
		vdist_kernel->float_to_half(head->dim, build->mean, here);
	else
		head->mean_block = write_floats(writer, build->mean, head->dim);
	head->crc_mean = hnsw_mean_crc(head, here);
	if (head->ncentres > 0)
		head->centre_block = write_floats(writer, build->centres, HNSW_CENTRE_FLOATS(head->dim) *
										  (Size) head->ncentres);
	head->crc_centres = hnsw_centres_crc(head);
}

/* Everything but the metapage. */
static void
write_graph(Writer *writer)
{
	HnswBuild  *build = writer->build;

	build->meta.crc = hnsw_meta_crc(&build->meta);
	writer->head = palloc0(HNSW_PAGE_ROOM);
	*writer->head = build->meta;
	write_centres(writer);
	if (build->n == 0)
		return;
	hnsw_spool_arrange(build->rows, vdist_graph_order(build->graph));
	make_codes(build);
	sort_duplicates(writer);
	writer->first = RelationGetNumberOfBlocks(build->index) * build->meta.rows_per_page;
	writer->next_tids = row_number(writer, build->n);
	extend(writer);
	write_graph_rows(writer);
	write_tids_rows(writer, row_number(writer, build->n));
	write_routing(writer);
}

void
hnsw_write_pages(HnswBuild *build)
{
	Relation	index = build->index;
	Writer		writer = {build};
	Buffer		buffer;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, HNSW_PROGRESS_WRITE);
	finish_page(&writer, append_page(index, MAIN_FORKNUM, HNSW_PAGE_META));
	write_graph(&writer);
	buffer = ReadBuffer(index, HNSW_META_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	memcpy(HnswPageMeta(BufferGetPage(buffer)), writer.head, HNSW_PAGE_ROOM);
	finish_page(&writer, buffer);
	if (RelationNeedsWAL(index))
		log_newpage_range(index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(index), true);
}

/* ---- in place of a flat index's pages ---- */

/*
 * Pages of a graph that was not finished before a crash: nothing leads there, but they look like
 * it.
 */
static void
remove_leftovers(Relation index)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);

	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);
		Page		page = BufferGetPage(buffer);
		bool		left;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		left = hnsw_page_is(page, HNSW_PAGE_GRAPH) || hnsw_page_is(page, HNSW_PAGE_ROUTING) ||
			hnsw_page_is(page, HNSW_PAGE_MEAN);
		UnlockReleaseBuffer(buffer);
		if (left)
			hnsw_page_replace(index, block, HNSW_PAGE_FLAT, "", 0);
	}
}

/* Let inserts use the pages that a flat index had; those of wide rows where they are as many. */
static void
release_flat(Relation index, const HnswMeta *meta, const HnswMeta *flat, BlockNumber nblocks)
{
	for (BlockNumber block = HNSW_FIRST_BLOCK; block < nblocks && flat->span >= meta->span; block++)
	{
		Buffer		buffer = ReadBuffer(index, block);
		bool		unused;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		unused = !PageIsNew(BufferGetPage(buffer)) &&
			hnsw_page_unused(meta, BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		if (unused)
			hnsw_space_found(index, block);
	}
}

void
hnsw_replace_pages(HnswBuild *build, const HnswMeta *flat)
{
	Relation	index = build->index;
	Writer		writer = {build};
	BlockNumber nblocks = RelationGetNumberOfBlocks(index);

	remove_leftovers(index);
	writer.in_place = true;
	write_graph(&writer);
	writer.head->routing_version = flat->routing_version + 1;
	hnsw_page_replace(index, HNSW_META_BLOCK, HNSW_PAGE_META, writer.head, HNSW_PAGE_ROOM);
	release_flat(index, &build->meta, flat, nblocks);
}
