/*
 * layout.c: pages and rows of a vdist_hnsw index: sizes, checks, allocating. Calls the buffer
 * manager and the free space map; called by every other file of the folder.
 */
#include "compat.h"

#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"

#include "hnsw/hnsw.h"

/* Free space recorded for a page that has room for a row; what it says is only "yes". */
#define SPACE_FOR_ROW (BLCKSZ / 2)

/* Of projections: see index/README.md. */
#define PROJECTED_OWN_BITS 4
#define PROJECTED_SLOTS(m) (3 * (m) / 2)

/*
 * What is left of 2 m slots where that makes room for one row more: on a page that would have
 * FEW_ROWS of them or less it is a quarter of the size or more.
 */
#define FEWER_SLOTS(m) (2 * (m) - (m) / 4)
#define FEW_ROWS 3

/*
 * Short codes: 1 bit of the first components alone, as many as leave seven eighths of the slots.
 * With own codes of 8 bits they must be so many per cent of all, else with 6 bits, which costs more
 * reading of exact vectors.
 */
#define SHORT_PERCENT_8 40
#define SHORT_PERCENT_6 33

/*
 * An index of large vectors should be no larger than a graph of vectors, others not twice as large.
 * Beside its vector each row has links there, and so many other bytes. Down to LEAST_SLOTS slots
 * are left out for that, else there are fewer bits.
 */
#define VECTOR_ROW_SIZE(dim, m) (sizeof(float) * (dim) + 2 * (m) * sizeof(ItemPointerData) + 96)
#define LEAST_SLOTS(m) (2 * (m) - (m) / 2)

/* Bytes of a row with these numbers of bits and slots. */
static Size
row_size(const HnswMeta *meta, int own_bits, int slots)
{
	return offsetof(HnswRow, neighbors) + hnsw_code_size(meta, own_bits) +
		slots * (sizeof(uint32) + meta->code_size);
}

/* What does not depend on codes. */
static void
init_meta(HnswMeta *meta, const VdistIndexMetric *metric, int m, int ef_construction)
{
	memset(meta, 0, sizeof(*meta));
	meta->magic = HNSW_MAGIC;
	meta->version = HNSW_VERSION;
	meta->metric = metric->code_metric;
	meta->dim = metric->code_dim;
	meta->m = m;
	meta->ef_construction = ef_construction;
	meta->routing_block = InvalidBlockNumber;
	meta->mean_block = InvalidBlockNumber;
	meta->ef_factor = metric->projected ? HNSW_PROJECTED_EF : 1;
}

/*
 * Choose own_bits, slots and code_size for short codes with which a page has room for one row more
 * than for vectors. Returns the number of components they are of; 0 if there is no such choice.
 */
static int
choose_short(HnswMeta *meta)
{
	int			rows = HNSW_PAGE_ROOM / (sizeof(float) * meta->dim) + 1;
	VdistQuant	quant;

	vdist_quant_init(&quant, vdist_metric_quant((VdistMetric) meta->metric), meta->dim, 1, NULL, 0);
	meta->code_size = 0;
	meta->slots = FEWER_SLOTS(meta->m);
	for (meta->own_bits = 8; meta->own_bits >= 6; meta->own_bits -= 2)
	{
		int			room;
		int			coded;

		room = (int) TYPEALIGN_DOWN(4, HNSW_PAGE_ROOM / rows) -
			(int) row_size(meta, meta->own_bits, meta->slots);
		coded = room / meta->slots < quant.head ? 0 : (room / meta->slots - quant.head) / 4 * 32;
		if (coded < meta->dim &&
			coded * 100 >= meta->dim * (meta->own_bits == 8 ? SHORT_PERCENT_8 : SHORT_PERCENT_6))
		{
			vdist_quant_shorten(&quant, coded);
			meta->code_size = quant.code_size;
			return coded;
		}
	}
	return 0;
}

/*
 * Rows of many dimensions are larger than vectors, and two of them, or a single one, leave much of
 * a page unused. Returns of how many components the codes must be so that one more fits; 0 if there
 * is no need or no way. Whether such codes suffice, a trial says.
 */
int
hnsw_short_code(const VdistIndexMetric *metric, int m)
{
	HnswMeta	meta;
	int			vectors = HNSW_PAGE_ROOM / (sizeof(float) * metric->code_dim);

	if (metric->projected || vdist_metric_quant(metric->code_metric) != VDIST_QUANT_L2 ||
		metric->code_metric == VDIST_METRIC_HAMMING || !hnsw_is_large(metric->code_dim))
		return 0;
	hnsw_layout(&meta, metric, m, 0, 1, 0, 0);
	if (meta.span == 1 && meta.rows_per_page > vectors)
		return 0;
	return choose_short(&meta);
}

/*
 * Of few rows a page would have, make one more fit, with fewer slots or, if need be, own codes of 6
 * bits.
 */
static void
fit_one_more(HnswMeta *meta)
{
	int			rows = HNSW_PAGE_ROOM / TYPEALIGN(4, row_size(meta, meta->own_bits, meta->slots)) + 1;
	int			slots = FEWER_SLOTS(meta->m);
	int			least = meta->metric == VDIST_METRIC_L1 ? 8 : 6;

	if (rows > FEW_ROWS + 1)
		return;
	for (int own_bits = 8; own_bits >= least; own_bits -= 2)
	{
		if (TYPEALIGN(4, row_size(meta, own_bits, slots)) * rows > HNSW_PAGE_ROOM)
			continue;
		meta->own_bits = own_bits;
		meta->slots = slots;
		return;
	}
}

/* Is an index of rows of this size as small as it should be? */
static bool
is_small(const HnswMeta *meta, Size size)
{
	Size		vector = VECTOR_ROW_SIZE(meta->dim, meta->m);
	int			vectors = HNSW_PAGE_ROOM / vector;
	int			rows = HNSW_PAGE_ROOM / TYPEALIGN(4, size);

	/* whole pages: as many as the vectors alone take */
	if (vectors == 0)
		return (size + HNSW_PAGE_ROOM - 1) / HNSW_PAGE_ROOM <=
			(sizeof(float) * meta->dim + HNSW_PAGE_ROOM - 1) / HNSW_PAGE_ROOM;
	if (hnsw_is_large(meta->dim))
		return rows >= vectors;
	return 2 * rows >= vectors;
}

/*
 * Where rows are larger than they should be, leave out slots and, if need be, take own codes of 6
 * bits.
 */
static void
fit_small(HnswMeta *meta)
{
	int			least = meta->metric == VDIST_METRIC_L1 ? 8 : 6;

	if (is_small(meta, row_size(meta, meta->own_bits, meta->slots)))
		return;
	for (int slots = FEWER_SLOTS(meta->m); slots >= LEAST_SLOTS(meta->m);
		 slots -= FEWER_SLOTS(meta->m) - LEAST_SLOTS(meta->m))
		for (int own_bits = 8; own_bits >= least; own_bits -= 2)
		{
			if (!is_small(meta, row_size(meta, own_bits, slots)))
				continue;
			meta->own_bits = own_bits;
			meta->slots = slots;
			return;
		}
}

/* The most bits with which an index is as small as it should be; 1 if there is none. */
int
hnsw_most_bits(const VdistIndexMetric *metric, int m)
{
	int			bits = 4;

	for (; bits > 1; bits /= 2)
	{
		HnswMeta	meta;

		/* codes about centres are longer */
		hnsw_layout(&meta, metric, m, 0, bits, 0, 1);
		if (is_small(&meta, meta.row_size))
			break;
	}
	return bits;
}

/*
 * Fill in a metapage's sizes. Where 6 bits instead of 8 make room for one more row on a page, own
 * codes get them, unless leaving out one slot in 16 does so, too: own codes of 8 bits save reading
 * exact vectors. Slots beyond 2 m fill what a page would otherwise waste.
 *
 * Values that are projected are mostly small, so rows must be: no bound comes from their own codes,
 * which only choose neighbors, and fewer slots do, as a search looks at more rows.
 */
void
hnsw_layout(HnswMeta *meta, const VdistIndexMetric *metric, int m, int ef_construction,
			int code_bits, int coded, int ncentres)
{
	Size		size;
	Size		room;

	init_meta(meta, metric, m, ef_construction);
	meta->ncentres = ncentres;
	meta->code_bits = code_bits;
	meta->code_size = hnsw_code_size(meta, code_bits);
	meta->own_bits = metric->projected ? Max(code_bits, PROJECTED_OWN_BITS) : 8;
	meta->slots = metric->projected ? PROJECTED_SLOTS(m) : 2 * m;

	size = row_size(meta, 6, meta->slots);
	if (coded > 0)
		choose_short(meta);
	else if (!metric->projected && metric->code_metric != VDIST_METRIC_L1 &&
			 HNSW_PAGE_ROOM / size > HNSW_PAGE_ROOM / row_size(meta, 8, meta->slots))
	{
		meta->slots -= meta->slots / 16;
		if (HNSW_PAGE_ROOM / size > HNSW_PAGE_ROOM / row_size(meta, 8, meta->slots))
		{
			meta->own_bits = 6;
			meta->slots = 2 * m;
		}
	}
	if (coded == 0 && !metric->projected)
	{
		fit_one_more(meta);
		fit_small(meta);
	}
	size = row_size(meta, meta->own_bits, meta->slots);
	meta->rows_per_page = Max(HNSW_PAGE_ROOM / TYPEALIGN(4, size), 1);
	meta->span = (size + HNSW_PAGE_ROOM - 1) / HNSW_PAGE_ROOM;
	room = TYPEALIGN_DOWN(4, HNSW_PAGE_ROOM * (Size) meta->span / meta->rows_per_page);
	while (meta->slots < Min(HNSW_MAX_SLOTS, 4 * m) &&
		   row_size(meta, meta->own_bits, meta->slots + 1) <= room)
		meta->slots++;
	meta->row_size = TYPEALIGN(4, row_size(meta, meta->own_bits, meta->slots));
	meta->own_size = hnsw_code_size(meta, meta->own_bits);
}

/* The same for an index that has no graph yet. */
void
hnsw_layout_flat(HnswMeta *meta, const VdistIndexMetric *metric, int m, int ef_construction)
{
	init_meta(meta, metric, m, ef_construction);
	meta->own_bits = 32;
	meta->own_size = sizeof(float) * meta->dim;
	meta->row_size = offsetof(HnswRow, neighbors) + meta->own_size;
	meta->rows_per_page = Max(HNSW_PAGE_ROOM / meta->row_size, 1);
	meta->span = (meta->row_size + HNSW_PAGE_ROOM - 1) / HNSW_PAGE_ROOM;
}

pg_crc32c
hnsw_meta_crc(const HnswMeta *meta)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, meta, offsetof(HnswMeta, crc));
	FIN_CRC32C(crc);
	return crc;
}

pg_crc32c
hnsw_centres_crc(const HnswMeta *meta)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &meta->ncentres, offsetof(HnswMeta, crc_centres) - offsetof(HnswMeta, ncentres));
	FIN_CRC32C(crc);
	return crc;
}

/* Of mean_block, of the mean if it is on the metapage, and of ef_factor. */
pg_crc32c
hnsw_mean_crc(const HnswMeta *meta, const VdistHalf *here)
{
	uint32		ef_factor = meta->ef_factor;
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &meta->mean_block, sizeof(meta->mean_block));
	COMP_CRC32C(crc, here, HnswMeanHere(meta));
	if (meta->version >= HNSW_VERSION_STRETCH)
		COMP_CRC32C(crc, &ef_factor, sizeof(ef_factor));
	FIN_CRC32C(crc);
	return crc;
}

/* Does the metapage have room for the mean, as halves that lose nothing of it? */
bool
hnsw_mean_fits(const HnswMeta *meta, const float *mean)
{
	if (HnswHeadSize(meta) + sizeof(VdistHalf) * meta->dim > HNSW_PAGE_ROOM)
		return false;
	for (int i = 0; i < meta->dim; i++)
		if (vdist_half_to_float(vdist_float_to_half(mean[i])) != mean[i])
			return false;
	return true;
}

/* Routing rows that the metapage has room for. */
uint32
hnsw_routing_room(const HnswMeta *meta)
{
	Size		taken = HnswHeadSize(meta) + HnswMeanHere(meta);

	if (meta->version < HNSW_VERSION_HEAD || HnswIsFlat(meta) || taken > HNSW_PAGE_ROOM)
		return 0;
	return (HNSW_PAGE_ROOM - taken) / HNSW_ROUTING_ENTRY(meta);
}

/*
 * How many routing rows there are at most, without need. Where about as many rows fit on a page as
 * vectors would, it is as many as fit on the metapage: fewer cost a search a hop or two, pages of
 * their own make the index larger than one of vectors.
 */
int
hnsw_routing_limit(const HnswMeta *meta)
{
	int			room = hnsw_routing_room(meta);
	int			vectors = HNSW_PAGE_ROOM / (sizeof(float) * meta->dim);

	if (room >= HNSW_MIN_ROUTING && meta->span == 1 && meta->rows_per_page <= vectors &&
		vectors <= meta->rows_per_page + 2)
		return Min(room, HNSW_MAX_ROUTING);
	return HNSW_MAX_ROUTING;
}

void
hnsw_page_init(Page page, HnswPageKind kind)
{
	PageInit(page, BLCKSZ, sizeof(HnswSpecial));
	HnswPageSpecial(page)->magic = HNSW_MAGIC;
	HnswPageSpecial(page)->kind = kind;
	HnswPageSpecial(page)->version = 1;
	if (kind != HNSW_PAGE_GRAPH && kind != HNSW_PAGE_FLAT)
		((PageHeader) page)->pd_lower = HNSW_PAGE_START + HNSW_PAGE_ROOM;
}

void
hnsw_page_corrupted(Relation index, BlockNumber block)
{
	ereport(ERROR,
			(errcode(ERRCODE_INDEX_CORRUPTED),
			 errmsg("index \"%s\" contains an unexpected page at block %u",
					RelationGetRelationName(index), block),
			 errhint("Please REINDEX it.")));
}

/* Is the page of this kind? A new page is of none. */
bool
hnsw_page_is(Page page, HnswPageKind kind)
{
	return likely(PageGetSpecialSize(page) == MAXALIGN(sizeof(HnswSpecial)) &&
				  HnswPageSpecial(page)->magic == HNSW_MAGIC &&
				  HnswPageSpecial(page)->kind == kind);
}

/* Error unless the page in buffer is of this kind. */
void
hnsw_page_check(Relation index, Buffer buffer, HnswPageKind kind)
{
	if (unlikely(!hnsw_page_is(BufferGetPage(buffer), kind)))
		hnsw_page_corrupted(index, BufferGetBlockNumber(buffer));
}

/* Error unless it is a metapage's content, all of it. */
void
hnsw_meta_check(Relation index, const HnswMeta *meta)
{
	/* what is checked lies elsewhere in another version */
	if (unlikely(meta->magic == HNSW_MAGIC &&
				 (meta->version < 1 || meta->version > HNSW_VERSION)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("index \"%s\" has format version %u, this vdist reads versions 1 to %u",
						RelationGetRelationName(index), meta->version, HNSW_VERSION),
				 errhint("Please REINDEX it.")));
	if (unlikely(meta->magic != HNSW_MAGIC || meta->crc != hnsw_meta_crc(meta) ||
				 (meta->version > 1 && meta->crc_centres != hnsw_centres_crc(meta)) ||
				 (meta->version >= HNSW_VERSION_HEAD &&
				  (HnswHeadSize(meta) + HnswMeanHere(meta) > HNSW_PAGE_ROOM ||
				   meta->crc_mean != hnsw_mean_crc(meta, HnswMean(meta)) ||
				   meta->routing_here > hnsw_routing_room(meta)))))
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" has a corrupted metapage at block %u",
						RelationGetRelationName(index), HNSW_META_BLOCK),
				 errhint("Please REINDEX it.")));
}

/* ---- allocating ---- */

/* A free row on a graph page, or -1; sets *last when it is the only one. */
static int
free_slot(const HnswMeta *meta, Page page, bool *last)
{
	int			found = -1;

	*last = true;
	for (int i = 0; i < meta->rows_per_page; i++)
	{
		HnswRow    *row = (HnswRow *) ((char *) page + HnswRowOffset(meta, i));

		if (HnswRowStateOf(row) != HNSW_ROW_FREE)
			continue;
		if (found >= 0)
		{
			*last = false;
			break;
		}
		found = i;
	}
	return found;
}

/*
 * Is the page of no use: new, or left from the time when the index had no graph? The further pages
 * of wide rows can be told from those of that time only where there are none now.
 */
bool
hnsw_page_unused(const HnswMeta *meta, Page page)
{
	if (PageIsNew(page))
		return true;
	return !HnswIsFlat(meta) &&
		(hnsw_page_is(page, HNSW_PAGE_FLAT) ||
		 (meta->span == 1 && hnsw_page_is(page, HNSW_PAGE_REST)));
}

/* Overwrite a page, in a WAL record of its own. */
void
hnsw_page_replace(Relation index, BlockNumber block, HnswPageKind kind, const void *content,
				  Size size)
{
	Buffer		buffer = ReadBuffer(index, block);
	GenericXLogState *xlog;
	Page		page;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);
	hnsw_page_init(page, kind);
	memcpy((char *) page + HNSW_PAGE_START, content, size);
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}

/* Write the further pages of a wide row; nothing points to them yet. */
static void
write_rest(Relation index, const HnswMeta *meta, BlockNumber first, const char *image)
{
	for (int i = 1; i < meta->span; i++)
	{
		Size		offset = i * HNSW_PAGE_ROOM;

		hnsw_page_replace(index, first + i, HNSW_PAGE_REST, image + offset,
						  Min(HNSW_PAGE_ROOM, meta->row_size - offset));
	}
}

/* Let inserts know of a page that has room for a row. */
void
hnsw_space_found(Relation index, BlockNumber block)
{
	RecordPageWithFreeSpace(index, block, SPACE_FOR_ROW);
	FreeSpaceMapVacuumRange(index, block, block + 1);
}

/* Is there a page known that has room for a row? */
bool
hnsw_has_room(Relation index)
{
	return BlockNumberIsValid(GetPageWithFreeSpace(index, SPACE_FOR_ROW));
}

/* Try to put the row on a page; HNSW_NO_ROW when that page has no room. */
static uint32
place_row(Relation index, const HnswMeta *meta, BlockNumber block, const HnswRow *image)
{
	Buffer		buffer = ReadBuffer(index, block);
	GenericXLogState *xlog;
	Page		page;
	bool		new;
	bool		last = meta->rows_per_page == 1;
	int			slot = 0;
	Size		offset;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	new = hnsw_page_unused(meta, page);
	if (!new)
		slot = hnsw_page_is(page, HnswRowKind(meta)) ? free_slot(meta, page, &last) : -1;
	if (slot < 0)
	{
		UnlockReleaseBuffer(buffer);
		return HNSW_NO_ROW;
	}

	/* only now: the further pages of a row in use must stay as they are */
	if (meta->span > 1)
		write_rest(index, meta, block, (const char *) image);
	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, new ? GENERIC_XLOG_FULL_IMAGE : 0);
	if (new)
		hnsw_page_init(page, HnswRowKind(meta));
	offset = HnswRowOffset(meta, slot);
	memcpy((char *) page + offset, image, Min(meta->row_size, HNSW_PAGE_ROOM));
	if (((PageHeader) page)->pd_lower < offset + Min(meta->row_size, HNSW_PAGE_ROOM))
		((PageHeader) page)->pd_lower = offset + Min(meta->row_size, HNSW_PAGE_ROOM);
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	if (new && !last)
		hnsw_space_found(index, block);
	else if (last && !new)
		RecordPageWithFreeSpace(index, block, 0);
	return block * meta->rows_per_page + slot;
}

/* Write a row (row_size bytes) where there is room, and return its number. */
uint32
hnsw_row_new(Relation index, const HnswMeta *meta, const HnswRow *image)
{
	BlockNumber block = GetPageWithFreeSpace(index, SPACE_FOR_ROW);
	uint32		number;

	while (BlockNumberIsValid(block))
	{
		number = place_row(index, meta, block, image);
		if (number != HNSW_NO_ROW)
			return number;
		block = RecordAndGetPageWithFreeSpace(index, block, 0, SPACE_FOR_ROW);
	}

	do
	{
		LockRelationForExtension(index, ExclusiveLock);
		for (int i = 0; i < meta->span; i++)
		{
			Buffer		buffer = ReadBuffer(index, P_NEW);

			if (i == 0)
				block = BufferGetBlockNumber(buffer);
			ReleaseBuffer(buffer);
		}
		UnlockRelationForExtension(index, ExclusiveLock);
		if ((uint64) (block + 1) * meta->rows_per_page >= HNSW_NO_ROW)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("index \"%s\" has reached its maximum of %u rows",
							RelationGetRelationName(index), HNSW_NO_ROW)));
		number = place_row(index, meta, block, image);
	} while (number == HNSW_NO_ROW);
	return number;
}
