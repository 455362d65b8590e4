/*
 * insert.c: a heap row into the graph: search, choose neighbors, write the row, link back. Calls
 * graph.c, layout.c and quant/; called by core through handler.c and by build.c.
 *
 * Locks: the whole insert holds LockPage(metapage, ShareLock), which vacuum takes exclusively
 * before it frees rows. Buffer locks are held on one row at a time.
 */
#include "compat.h"

#include <math.h>

#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "hnsw/hnsw.h"

/* Effort of the search for an equal vector when core says that the indexed value did not change. */
#define EF_UNCHANGED 8

/* Where more is dead, no more rows are looked at. */
#define MOST_PER_LIVE 4

/* Is it a live row of the same vector as insert->image? */
bool
hnsw_is_equal(const HnswInsert *insert, const HnswRow *row)
{
	return HnswRowStateOf(row) == HNSW_ROW_LIVE && row->hash == insert->image->hash &&
		memcmp(HnswRowOwn(&insert->meta, row), HnswRowOwn(&insert->meta, insert->image),
			   insert->meta.own_size) == 0;
}

static void
collect(HnswSearch *search, uint32 number, const HnswRow *row)
{
	HnswInsert *insert = search->visit_arg;

	if (HnswRowStateOf(row) != HNSW_ROW_LIVE || number == insert->self)
		return;
	if (hnsw_is_equal(insert, row))
		insert->equal = number;
	hnsw_candidate_add(insert, number, row);
}

/* ---- heap rows of an equal vector ---- */

/*
 * Append to a row of TIDs; false when it is full or not a row of this owner. *more is the next row
 * of the chain.
 */
static bool
append_tid(Relation index, const HnswMeta *meta, uint32 number, uint32 owner, ItemPointer tid,
		   uint32 *more)
{
	HnswWrite	write;
	HnswTids   *tids;

	hnsw_write_begin(&write, index, meta, number);
	tids = (HnswTids *) write.row;
	*more = HNSW_NO_ROW;
	if (tids->state == HNSW_ROW_TIDS && tids->owner == owner)
	{
		if (tids->count < HNSW_TIDS_ROOM(meta))
		{
			tids->tids[tids->count++] = *tid;
			hnsw_write_end(&write);
			return true;
		}
		*more = tids->more;
	}
	hnsw_write_abort(&write);
	return false;
}

/* Put the TID where vacuum has made room in the chain, or into the first row of it. */
static bool
append_to_chain(Relation index, const HnswMeta *meta, uint32 owner, uint32 first, bool all,
				ItemPointer tid)
{
	HnswChain	chain = {0};
	uint32		number = first;

	while (number != HNSW_NO_ROW)
	{
		CHECK_FOR_INTERRUPTS();
		if (!hnsw_chain_step(&chain, number))
			hnsw_page_corrupted(index, HnswRowBlock(meta, number));
		if (append_tid(index, meta, number, owner, tid, &number))
			return true;
		if (!all)
			break;
	}
	return false;
}

/*
 * Add a heap row to the row of an equal vector. False when that row is gone. What does not fit in
 * the row goes to a chain of HNSW_ROW_TIDS rows, newest first. Rows of the chain are freed only
 * together with their owner, so a scan can follow it without a lock.
 */
static bool
add_tid(HnswInsert *insert, uint32 number, ItemPointer tid)
{
	Relation	index = insert->search.index;
	const HnswMeta *meta = &insert->meta;

	for (;;)
	{
		HnswWrite	write;
		HnswTids   *more;
		uint32		old;
		uint32		new;
		bool		room;

		hnsw_write_begin(&write, index, meta, number);
		if (HnswRowStateOf(write.row) != HNSW_ROW_LIVE)
		{
			hnsw_write_abort(&write);
			return false;
		}
		if (write.row->ntids < HNSW_ROW_TIDS_INLINE)
		{
			write.row->tids[write.row->ntids++] = *tid;
			hnsw_write_end(&write);
			return true;
		}
		old = write.row->more;
		room = (write.row->state & HNSW_ROW_ROOM) != 0;
		hnsw_write_abort(&write);

		if (append_to_chain(index, meta, number, old, room, tid))
			return true;

		more = palloc0(meta->row_size);
		more->state = HNSW_ROW_TIDS;
		more->owner = number;
		more->count = 1;
		more->more = old;
		more->tids[0] = *tid;
		new = hnsw_row_new(index, meta, (HnswRow *) more);
		pfree(more);

		hnsw_write_begin(&write, index, meta, number);
		if (HnswRowStateOf(write.row) == HNSW_ROW_LIVE && write.row->more == old)
		{
			write.row->more = new;
			write.row->state &= ~HNSW_ROW_ROOM;
			hnsw_write_end(&write);
			return true;
		}
		hnsw_write_abort(&write);

		/* another insert extended the chain: give the row back and look again */
		hnsw_write_begin(&write, index, meta, new);
		write.row->state = HNSW_ROW_FREE;
		hnsw_write_end(&write);
	}
}

/* ---- routing rows ---- */

/*
 * Make the row one that searches begin at, as long as the index wants more of them, or always when
 * nothing else leads to it.
 */
void
hnsw_routing_add(Relation index, const HnswMeta *meta, uint32 number, const char *code,
				 bool always)
{
	uint64		rows = (uint64) RelationGetNumberOfBlocks(index) / meta->span * meta->rows_per_page;
	uint32		target = Min(hnsw_routing_limit(meta), 16 + rows / 32);
	Buffer		meta_buffer;
	Buffer		buffer = InvalidBuffer;
	GenericXLogState *xlog;
	HnswMeta   *head;
	HnswRouting *routing = NULL;
	char	   *to;

	meta_buffer = ReadBuffer(index, HNSW_META_BLOCK);
	LockBuffer(meta_buffer, BUFFER_LOCK_EXCLUSIVE);
	if (HnswPageMeta(BufferGetPage(meta_buffer))->routing_count >= target &&
		!always)
	{
		UnlockReleaseBuffer(meta_buffer);
		return;
	}
	xlog = GenericXLogStart(index);
	head = HnswPageMeta(GenericXLogRegisterBuffer(xlog, meta_buffer, 0));

	/* vacuum may have made room on any page */
	if (head->routing_here < hnsw_routing_room(head))
		to = HnswRoutingHere(head) + head->routing_here++ * HNSW_ROUTING_ENTRY(meta);
	else
	{
		for (BlockNumber block = head->routing_block;
			 routing == NULL && BlockNumberIsValid(block);)
		{
			buffer = ReadBuffer(index, block);
			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			hnsw_page_check(index, buffer, HNSW_PAGE_ROUTING);
			block = HnswPageRouting(BufferGetPage(buffer))->next;
			if (HnswPageRouting(BufferGetPage(buffer))->count < HNSW_ROUTING_ROOM(meta))
				routing = HnswPageRouting(GenericXLogRegisterBuffer(xlog, buffer, 0));
			else
				UnlockReleaseBuffer(buffer);
		}
		if (routing == NULL)
		{
			Page		page;

			LockRelationForExtension(index, ExclusiveLock);
			buffer = ReadBuffer(index, P_NEW);
			UnlockRelationForExtension(index, ExclusiveLock);
			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
			hnsw_page_init(page, HNSW_PAGE_ROUTING);
			routing = HnswPageRouting(page);
			routing->next = head->routing_block;
			routing->count = 0;
			head->routing_block = BufferGetBlockNumber(buffer);
		}
		to = (char *) (routing + 1) + routing->count++ * HNSW_ROUTING_ENTRY(meta);
	}
	memcpy(to, &number, sizeof(uint32));
	memcpy(to + sizeof(uint32), code, meta->code_size);
	head->routing_count++;
	head->routing_version++;
	GenericXLogFinish(xlog);
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(meta_buffer);
}

/* ---- the insert ---- */

/* How many a search for neighbors looks at. */
static int
candidates_wanted(const HnswMeta *meta, double per_live)
{
	int			wanted = meta->ef_construction;

	/* as in a build, where estimates from codes of 1 bit say which those are */
	if (meta->code_bits == 1)
		wanted *= 2;
	return ceil(wanted * Min(per_live, MOST_PER_LIVE));
}

/*
 * Allocate in the current memory context. For every live row of the graph there are per_live, 1 or
 * more: searches for neighbors look at dead ones, too, but choose among the live.
 */
HnswInsert *
hnsw_insert_begin(Relation index, double per_live)
{
	HnswInsert *insert = palloc0(sizeof(HnswInsert));
	const HnswCache *cache;

	vdist_index_metric(index, &insert->metric);
	cache = hnsw_cache(index);
	insert->meta = cache->meta;
	vdist_index_set_dim(index, &insert->metric, insert->meta.dim);
	insert->rotated_mean = palloc(sizeof(float) * insert->meta.dim);
	memcpy(insert->rotated_mean, cache->mean, sizeof(float) * insert->meta.dim);
	vdist_quant_rotate(insert->meta.dim, insert->rotated_mean);
	insert->wanted = candidates_wanted(&insert->meta, per_live);
	hnsw_search_init(&insert->search, index, &insert->meta, Max(insert->wanted, EF_UNCHANGED),
					 collect, insert);
	insert->image = palloc(insert->meta.row_size);
	insert->new_code = palloc(insert->meta.code_size);
	insert->spare = palloc(insert->meta.code_size);
	insert->x = palloc(sizeof(float) * hnsw_decoded_dim(&insert->meta));
	insert->decoded = palloc(sizeof(float) * hnsw_decoded_dim(&insert->meta));
	insert->view = hnsw_compare_decoded(&insert->meta) ? (void *) insert->x :
		palloc(hnsw_view_size(&insert->meta));
	hnsw_candidates_init(&insert->candidates, &insert->meta, insert->search.ef);
	insert->chosen = palloc(sizeof(HnswCandidate *) * insert->meta.slots);
	insert->row_context = AllocSetContextCreate(CurrentMemoryContext, "vdist_hnsw insert",
												ALLOCSET_DEFAULT_SIZES);
	return insert;
}

/*
 * Collect the live rows that a search for x, prepared, expands, but insert->self, as candidates. It
 * begins at the neighbors of `near`, or, when that is NULL, at routing rows.
 */
void
hnsw_search_neighbors(HnswInsert *insert, const float *x, int ef, const HnswRow *near)
{
	HnswSearch *search = &insert->search;
	const HnswCache *cache = hnsw_cache(search->index);

	search->ef = ef;
	insert->candidates.n = 0;
	insert->equal = HNSW_NO_ROW;
	if (near != NULL)
		hnsw_search_set_near(search, cache, x, near);
	else
		hnsw_search_set(search, cache, x);
	hnsw_search_run(search);
}

/* The own code of x, of which `prepared` was made: in a flat index x itself. */
void
hnsw_own_code(HnswInsert *insert, const float *x, const float *prepared, char *own)
{
	if (HnswIsFlat(&insert->meta))
		memcpy(own, x, insert->meta.own_size);
	else
		hnsw_encode(hnsw_codes(insert->search.index, &insert->meta), prepared, own,
					insert->search.scratch);
}

/*
 * Make insert->image of an indexed value, without neighbors. Returns its vector, prepared, in the
 * current memory context.
 */
const float *
hnsw_make_image(HnswInsert *insert, Datum datum, ItemPointer tid)
{
	const HnswMeta *meta = &insert->meta;
	HnswRow    *image = insert->image;
	float	   *x = palloc(sizeof(float) * meta->dim);
	struct varlena *value = vdist_detoast(datum);
	int			dim = vdist_value_dim(insert->metric.type, value);
	const Vector *v;
	bool		ordered;

	if (dim != insert->metric.dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", insert->metric.dim, dim)));
	v = vdist_index_vector(&insert->metric, value);
	ordered = vdist_metric_prepare((VdistMetric) meta->metric, meta->dim, v->x, x);
	memset(image, 0, meta->row_size);
	image->state = HNSW_ROW_LIVE | (ordered ? 0 : HNSW_ROW_UNORDERED);
	image->hash = vdist_index_hash(&insert->metric, value, v);
	image->more = HNSW_NO_ROW;
	image->tids[image->ntids++] = *tid;
	hnsw_own_code(insert, v->x, x, HnswRowOwn(meta, image));
	return x;
}

/* Insert the image into the graph; x is its vector, prepared. */
static void
insert_row(HnswInsert *insert, const float *x, ItemPointer tid, bool unchanged)
{
	Relation	index = insert->search.index;
	const HnswMeta *meta = &insert->meta;
	HnswRow    *image = insert->image;
	uint32		number;
	HnswEdges  *edges;
	bool		always;

	hnsw_recode(hnsw_codes(index, meta), HnswRowOwn(meta, image), insert->new_code,
				insert->search.scratch);
	hnsw_view(insert, HnswRowOwn(meta, image), insert->view);

	insert->equal = HNSW_NO_ROW;
	if (unchanged)
		hnsw_search_neighbors(insert, x, EF_UNCHANGED, NULL);
	if (insert->equal == HNSW_NO_ROW)
		hnsw_search_neighbors(insert, x, insert->wanted, NULL);
	if (insert->equal != HNSW_NO_ROW && add_tid(insert, insert->equal, tid))
		return;

	hnsw_choose_neighbors(insert);
	edges = hnsw_plan_edges(insert);
	number = hnsw_row_new(index, meta, image);

	/* a row that nothing leads to must be a beginning itself, and so must a long one */
	always = !hnsw_make_edges(insert, edges, number) ||
		(hnsw_is_long(meta, vdist_kernel->inner_product(meta->dim, x, x)) &&
		 hnsw_cache(index)->nlong < HNSW_MAX_LONG);
	hnsw_routing_add(index, meta, number, insert->new_code, always);
}

/*
 * The statement's state, anew when the index got its graph since it was made. Keeps LockPage: who
 * holds that must not wait for other locks (before PostgreSQL 17 no deadlock would be seen), so
 * catalogs are looked up before.
 */
static HnswInsert *
lock_index(Relation index, IndexInfo *info)
{
	HnswInsert *insert = info->ii_AmCache;

	for (;;)
	{
		if (insert == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(info->ii_Context);

			insert = hnsw_insert_begin(index, 1);
			info->ii_AmCache = insert;
			MemoryContextSwitchTo(old);
		}
		LockPage(index, HNSW_META_BLOCK, ShareLock);
		if (hnsw_cache(index)->meta.crc == insert->meta.crc)
			break;
		UnlockPage(index, HNSW_META_BLOCK, ShareLock);
		insert = NULL;
	}
	insert->search.index = index;
	return insert;
}

bool
hnsw_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
			IndexUniqueCheck check, bool unchanged, IndexInfo *info)
{
	bool		done = false;
	Datum		value;

	if (isnull[0])
		return false;
	/* before LockPage: it locks the TOAST table */
	value = PointerGetDatum(vdist_detoast(values[0]));
	while (!done)
	{
		HnswInsert *insert = lock_index(index, info);
		MemoryContext old = MemoryContextSwitchTo(insert->row_context);
		const float *x = hnsw_make_image(insert, value, tid);

		done = !HnswIsFlat(&insert->meta) || hnsw_flat_insert(insert, tid, false);
		if (!HnswIsFlat(&insert->meta))
			insert_row(insert, x, tid, unchanged);
		UnlockPage(index, HNSW_META_BLOCK, ShareLock);
		if (!done)
			hnsw_build_graph(index);
		MemoryContextSwitchTo(old);
		MemoryContextReset(insert->row_context);
	}
	return false;
}
