/*
 * hnsw.h: the vdist_hnsw access method. On-page layout first, then prototypes grouped by file; the
 * README says why it is so. Calls index/ and quant/; called by core through handler.c and by the
 * roof.
 */
#ifndef VDIST_HNSW_H
#define VDIST_HNSW_H

#include "compat.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/rel.h"

#include "index/index.h"
#include "quant/quant.h"

/* ---- layout ---- */

#define HNSW_MAGIC 0x57534E48
#define HNSW_VERSION 5
#define HNSW_VERSION_HEAD 4		/* from then on the metapage has more than constants */
#define HNSW_VERSION_STRETCH 5	/* from then on it has stretch and ef_factor */
#define HNSW_VERSION_ANCHORS 5	/* from then on every row has an anchor; VACUUM gives older ones */
#define HNSW_META_BLOCK 0
#define HNSW_FIRST_BLOCK 1		/* behind it; before version 4 the mean begins here */

/*
 * Row numbers take 31 bits: a search keeps a flag beside them, lists of neighbors another
 * (HNSW_ANCHOR).
 */
#define HNSW_NO_ROW 0x7FFFFFFF

#define HNSW_DEFAULT_M 16
#define HNSW_MIN_M 2
#define HNSW_MAX_M 100
#define HNSW_DEFAULT_EF_CONSTRUCTION 64
#define HNSW_MIN_EF_CONSTRUCTION 4
#define HNSW_MAX_EF_CONSTRUCTION 1000
#define HNSW_DEFAULT_EF_SEARCH 40
#define HNSW_MIN_EF_SEARCH 1
#define HNSW_MAX_EF_SEARCH 10000
#define HNSW_LEAST_EF 20		/* a search looks at no fewer rows: twice a usual LIMIT */
#define HNSW_MAX_SLOTS 255
/*
 * Routing rows: at least, where the metapage has no room for more; at most, without need, and with
 * (routing.c).
 */
#define HNSW_MIN_ROUTING 16
#define HNSW_MAX_ROUTING 1024
#define HNSW_MOST_ROUTING 16384

/* Of so many routing rows in order, that one is ranked first (hnsw_rank_all). */
#define HNSW_ROUTING_STEP 8
#define HNSW_ROUTING_FIRST (HNSW_ROUTING_STEP / 2)

/*
 * With inner products, a row so many times longer than those that the graph is made for (hnsw_lift)
 * is among the nearest of queries in directions that no neighbors of it lie in. Searches begin at
 * such rows, too, if they are no more than so many.
 */
#define HNSW_LONG 2.0f
#define HNSW_MAX_LONG 1024

#define HNSW_MAX_CENTRES 1024

/*
 * Of projections, whose estimates are rough, a search looks at so many times the rows of the
 * setting.
 */
#define HNSW_PROJECTED_EF 4

typedef enum HnswPageKind
{
	HNSW_PAGE_META = 1,
	HNSW_PAGE_MEAN,				/* float[]: the centre of all codes, or centres */
	HNSW_PAGE_ROUTING,			/* where searches begin, beside those on the metapage */
	HNSW_PAGE_GRAPH,			/* rows, or the beginning of one wide row */
	HNSW_PAGE_REST,				/* a further page of a wide row */
	HNSW_PAGE_FLAT				/* rows without a graph, or the beginning of one */
} HnswPageKind;

typedef struct HnswSpecial
{
	uint32		magic;
	uint16		kind;
	uint16		version;
} HnswSpecial;

#define HnswPageSpecial(page) ((HnswSpecial *) PageGetSpecialPointer(page))

/* Content starts here on every page, and is as long on every page. */
#define HNSW_PAGE_START MAXALIGN(SizeOfPageHeaderData)
#define HNSW_PAGE_ROOM (BLCKSZ - HNSW_PAGE_START - MAXALIGN(sizeof(HnswSpecial)))

typedef struct HnswMeta
{
	uint32		magic;
	uint32		version;
	uint16		metric;			/* VdistMetric of the vectors that codes are made of */
	uint16		dim;			/* theirs */
	uint16		m;
	uint16		ef_construction;
	uint8		code_bits;		/* of the neighbors' codes */
	uint8		own_bits;		/* of a row's own code */
	uint16		slots;			/* neighbors a row has room for, about 2 m or more; 0: flat */
	uint16		rows_per_page;	/* 1 when a row takes a page or more */
	uint16		span;			/* pages a row */
	uint32		row_size;		/* bytes, a multiple of 4 */
	uint32		own_size;		/* bytes of an own code */
	uint32		code_size;		/* bytes of a neighbor's code */
	float		range;			/* for L1's codes; inner product: the norm for hnsw_lift */
	pg_crc32c	crc;			/* of all above */
	uint32		routing_block;	/* first routing page, or InvalidBlockNumber */
	uint32		routing_count;	/* of all routing rows */
	uint32		routing_version;	/* changes when the routing rows do */
	uint32		ncentres;		/* 0: the mean is the only one. A constant like crc_centres */
	uint32		centre_block;	/* where they begin, on adjacent pages */
	pg_crc32c	crc_centres;	/* of these two */
	/* from here on since version 4, zeros before */
	uint32		mean_block;		/* where it begins; InvalidBlockNumber: behind this, as halves */
	pg_crc32c	crc_mean;		/* of the block's number, and of the mean if it is here */
	uint32		routing_here;	/* routing rows on this page, behind all that */
	uint32		routing_sorted; /* see hnsw_rank_all */
	/* from here on since version 5 */
	float		stretch;		/* see stretch.c; <= 0: a search expands all of its pool */
	float		stretch_slope;
	uint16		ef_factor;		/* searches look at so many times ef_search rows. A constant, as
								 * crc_mean knows */
	uint16		stretch_scale;	/* how many rows there were when the stretch was measured */
} HnswMeta;

/* Bytes of that on the metapage. */
#define HnswHeadSize(meta) \
	((meta)->version < HNSW_VERSION_STRETCH ? offsetof(HnswMeta, stretch) : sizeof(HnswMeta))

/* The mean, where it lies behind that. */
#define HnswMean(meta) ((VdistHalf *) ((char *) (meta) + HnswHeadSize(meta)))

/* How many times ef_search rows do searches look at? */
static inline int
hnsw_ef_factor(const VdistIndexMetric *metric, const HnswMeta *meta)
{
	if (meta->version >= HNSW_VERSION_STRETCH)
		return meta->ef_factor;
	return metric->projected ? HNSW_PROJECTED_EF : 1;
}

/* Has the index no graph yet? Then a row's own code is the vector itself. */
#define HnswIsFlat(meta) ((meta)->slots == 0)
#define HnswRowKind(meta) (HnswIsFlat(meta) ? HNSW_PAGE_FLAT : HNSW_PAGE_GRAPH)

/* Bytes that the mean takes on the metapage. */
#define HnswMeanHere(meta) \
	(BlockNumberIsValid((meta)->mean_block) || HnswIsFlat(meta) ? 0 : \
	 sizeof(VdistHalf) * (Size) (meta)->dim)

/* Floats of a centre: its components, rotated but for L1, and L1's range. */
#define HNSW_CENTRE_FLOATS(dim) ((dim) + 1)

#define HnswPageMeta(page) ((HnswMeta *) ((char *) (page) + HNSW_PAGE_START))

/*
 * Routing rows are entries {uint32 row; code of code_size bytes}, on the metapage and on these
 * pages, behind this.
 */
typedef struct HnswRouting
{
	uint32		next;			/* block number */
	uint32		count;
} HnswRouting;

#define HnswPageRouting(page) ((HnswRouting *) ((char *) (page) + HNSW_PAGE_START))
#define HNSW_ROUTING_ENTRY(meta) (sizeof(uint32) + (meta)->code_size)
#define HNSW_ROUTING_ROOM(meta) \
	((HNSW_PAGE_ROOM - sizeof(HnswRouting)) / HNSW_ROUTING_ENTRY(meta))

/* On the metapage, given where it has its HnswMeta. */
#define HnswRoutingHere(meta) ((char *) (meta) + HnswHeadSize(meta) + HnswMeanHere(meta))

typedef enum HnswRowState
{
	HNSW_ROW_FREE = 0,
	HNSW_ROW_LIVE = 1,
	HNSW_ROW_DEAD = 2,			/* no heap row left; still a way through the graph */
	HNSW_ROW_TIDS = 3			/* not a row of the graph: more heap rows of a live one */
} HnswRowState;

#define HNSW_ROW_TIDS_INLINE 4

/*
 * A row of the graph. Behind the fields here: own code (own_size bytes), then the codes of the
 * neighbors (code_size bytes each). All rows of an index have the same size.
 */
typedef struct HnswRow
{
	uint8		state;			/* HnswRowState, and HNSW_ROW_UNORDERED */
	uint8		nkept;			/* the first of neighbors[] that point in different directions */
	uint8		ntids;			/* in tids[] */
	uint8		nneighbors;		/* in neighbors[]; those behind nkept fill the room */
	uint32		hash;			/* of the vector, to recognise an equal one */
	uint32		more;			/* row that holds more heap rows, or HNSW_NO_ROW */
	ItemPointerData tids[HNSW_ROW_TIDS_INLINE];
	uint32		neighbors[FLEXIBLE_ARRAY_MEMBER];	/* row numbers, meta.slots of them, and
													 * HNSW_ANCHOR */
} HnswRow;

/*
 * Flag beside a neighbor's number: the edge is that row's anchor. Edges that are anchors lead from
 * the routing rows to every row. Inserts may drop any other from a list, and never one of these.
 */
#define HNSW_ANCHOR 0x80000000
#define HnswNeighbor(row, i) ((row)->neighbors[i] & ~HNSW_ANCHOR)
#define HnswIsAnchor(row, i) (((row)->neighbors[i] & HNSW_ANCHOR) != 0)

/* Flag in state: the distance to this row is NaN, it comes after all others. */
#define HNSW_ROW_UNORDERED 0x10
/* Flag in state: vacuum has made room in the chain of heap rows. */
#define HNSW_ROW_ROOM 0x20
#define HnswRowStateOf(row) ((HnswRowState) ((row)->state & 0x0F))

/* A HNSW_ROW_TIDS row, laid over HnswRow. */
typedef struct HnswTids
{
	uint8		state;
	uint8		unused[3];
	uint32		owner;			/* the live row */
	uint32		more;
	uint32		count;
	ItemPointerData tids[FLEXIBLE_ARRAY_MEMBER];
} HnswTids;

/* TIDs that a HNSW_ROW_TIDS row has room for: in a wide row, those of its first page. */
#define HNSW_TIDS_ROOM(meta) \
	((Min((meta)->row_size, HNSW_PAGE_ROOM) - offsetof(HnswTids, tids)) / sizeof(ItemPointerData))

/*
 * Can this be a row of the table? On a damaged page it may be none, or ask for a new page of the
 * table.
 */
#define HnswTidIsValid(tid) \
	(ItemPointerIsValid(tid) && BlockNumberIsValid(ItemPointerGetBlockNumberNoCheck(tid)))

/* A walk along a chain of HNSW_ROW_TIDS rows, all zero at its beginning. */
typedef struct HnswChain
{
	uint32		mark;			/* a row number of the walk */
	uint32		steps;
} HnswChain;

#define HNSW_ROW_HEADER(meta) (offsetof(HnswRow, neighbors) + sizeof(uint32) * (meta)->slots)
#define HnswRowOwn(meta, row) ((char *) (row) + HNSW_ROW_HEADER(meta))
#define HnswRowCodes(meta, row) (HnswRowOwn(meta, row) + (meta)->own_size)
#define HnswRowBlock(meta, number) ((BlockNumber) ((number) / (meta)->rows_per_page))
#define HnswRowOffset(meta, number) \
	(HNSW_PAGE_START + ((number) % (meta)->rows_per_page) * (Size) (meta)->row_size)

/* One row further; false when the chain is broken and has come back to where it was (Brent). */
static inline bool
hnsw_chain_step(HnswChain *chain, uint32 number)
{
	if (chain->steps > 0 && chain->mark == number)
		return false;
	if ((chain->steps & (chain->steps - 1)) == 0)
		chain->mark = number;
	chain->steps++;
	return true;
}

/* Does a row have an edge to another one? */
static inline bool
hnsw_lists(const HnswRow *row, uint32 number)
{
	for (int i = 0; i < row->nneighbors; i++)
		if (HnswNeighbor(row, i) == number)
			return true;
	return false;
}

/* Is a row live and its list what it was when it was read? */
static inline bool
hnsw_list_is(const HnswRow *row, int nneighbors, int nkept, const uint32 *neighbors)
{
	return HnswRowStateOf(row) == HNSW_ROW_LIVE && row->nneighbors == nneighbors &&
		row->nkept == nkept &&
		memcmp(row->neighbors, neighbors, sizeof(uint32) * nneighbors) == 0;
}

/*
 * Do no more than two vectors fit on a page? Then an index should be no larger than one of vectors.
 */
static inline bool
hnsw_is_large(int dim)
{
	return HNSW_PAGE_ROOM / (sizeof(float) * dim) <= 2;
}

/* ---- in memory ---- */

typedef struct HnswOptions
{
	int32		vl_len_;
	int			m;
	int			ef_construction;
	int			quantization;	/* bits, 0 = auto */
} HnswOptions;

/* In which buffers pages of a relation were seen, and where others may be (read.c). */
typedef struct HnswHints
{
	Buffer	   *buffers;		/* by block, 0 if unknown */
	int32		shift;			/* from a block to its buffer, where one was looked up last */
	int			trust;			/* positive: other blocks were where that said */
	int			waits;			/* positive: pages had to come from the disk lately */
} HnswHints;

/* How vectors become codes (code.c). */
typedef struct HnswCodes
{
	VdistQuant	own;			/* about the mean; with several centres, as if that was 0 */
	VdistQuant	code;
	int			ncentres;		/* 0: the mean is the only one */
	const float *centres;		/* HNSW_CENTRE_FLOATS each */
} HnswCodes;

typedef struct HnswQueries HnswQueries; /* code.c */

/* What a backend remembers of an index: one chunk in rd_amcache, gone after any invalidation. */
typedef struct HnswCache
{
	HnswMeta	meta;
	HnswCodes	codes;
	int			nrouting;
	int			nlong;			/* of them, the last: hnsw_is_long */
	bool		rank_all;		/* the other routing rows, not one in so many */
	uint32	   *routing;		/* row numbers */
	char	   *routing_codes;
	float	   *mean;
	float	   *centres;
	HnswHints	hints;
	BlockNumber nhints;			/* blocks that hints have room for */
	HnswHints	heap_hints;		/* the same of the table, by block & heap_mask */
	BlockNumber heap_mask;
} HnswCache;

/* A row held in memory or on a share-locked, pinned page. */
typedef struct HnswRead
{
	Buffer		buffer;			/* pinned between rows, too */
	BlockNumber block;
	char	   *copy;			/* span > 1: row_size bytes to read into */
	const HnswRow *row;
} HnswRead;

/* A WAL record without further ado takes four pages. */
#define HNSW_WRITE_PAGES 4

/* A row that is being changed: its first page is exclusively locked. */
typedef struct HnswWrite
{
	Relation	index;
	const HnswMeta *meta;
	BlockNumber block;
	Buffer		buffers[HNSW_WRITE_PAGES];	/* first page, then others as they are written to */
	HnswRow    *row;			/* copy of what is on the first page: fields and neighbors[] alone
								 * are sure to be here */
} HnswWrite;

/* Is the bit of a row set in a map of so many rows? */
static inline bool
hnsw_bit(const uint8 *map, uint64 nrows, uint32 number)
{
	return number < nrows && (map[number / 8] & (1 << number % 8)) != 0;
}

/* A candidate: distance as an ordered integer, row number, and whether the row was expanded. */
#define HNSW_KEY_EXPANDED UINT64CONST(1)
#define HnswKeyRow(key) ((uint32) (key) >> 1)

static inline uint64
hnsw_key(float distance, uint32 number)
{
	uint32		bits;

	memcpy(&bits, &distance, sizeof(bits));
	bits = bits & 0x80000000 ? ~bits : bits | 0x80000000;
	return (uint64) bits << 32 | number << 1;
}

static inline float
hnsw_key_distance(uint64 key)
{
	uint32		bits = key >> 32;
	float		distance;

	bits = bits & 0x80000000 ? bits & 0x7FFFFFFF : ~bits;
	memcpy(&distance, &bits, sizeof(distance));
	return distance;
}

struct HnswSearch;
typedef void (*HnswVisit) (struct HnswSearch *search, uint32 number, const HnswRow *row);

/* Pages that a search remembers to have asked for ahead; a power of two. */
#define HNSW_ASKED 128

/* Rows that are asked for ahead. */
#define HNSW_AHEAD 8

/* Of the rows found, so many of the nearest say how far a search looks (stretch.c). */
#define HNSW_NEAR 16

/* A search for the rows nearest to one vector. */
typedef struct HnswSearch
{
	Relation	index;
	HnswMeta	meta;
	VdistQuantQuery *own;		/* the vector against own codes */
	VdistQuantQuery *own_rest;	/* what rounding took from own */
	VdistQuantQuery *code;		/* the vector against neighbors' codes */
	HnswQueries *queries;		/* in place of these two, of an index with several centres */
	int			ef;
	HnswVisit	visit;			/* called for every row, its page locked */
	void	   *visit_arg;
	float	   *x;				/* the vector itself, prepared */
	float	   *scratch;
	uint64	   *pool;			/* the ef nearest: distance, row number, expanded flag, ascending */
	int			npool;
	const HnswCache *cache;		/* with routing rows that it has not begun at yet, or NULL */
	int			least;			/* rows that are expanded in any case */
	int			usual;			/* on the average: the room of the pool until there is a limit */
	uint64		limit;			/* those beyond this key are not, else */
	float		stretch;		/* it is so many times the last of nearest[]; 0: there is none */
	int			nearest_size;
	int			nnearest;
	float		nearest[HNSW_NEAR]; /* own distances found, ascending */
	uint32	   *ranked;			/* hash table of rows that were ranked; forgets */
	int			ranked_shift;	/* it has 1 << (32 - shift) entries */
	HnswRead	read;
	int64		hops;
	BlockNumber asked[HNSW_ASKED];	/* hash table of pages asked for ahead; forgets */
	uint16		which[HNSW_MAX_SLOTS + 1];
	float		estimates[HNSW_MAX_SLOTS + 1];
} HnswSearch;

/* A row that may become a neighbor. */
typedef struct HnswCandidate
{
	uint32		number;
	float		distance;		/* to the new row */
	char	   *own;			/* copy of its own code */
	void	   *view;			/* that, as distances are computed from it */
	bool		chosen;			/* as a neighbor */
} HnswCandidate;

/* Power of two; half as many candidates are found by their number. */
#define HNSW_CANDIDATE_PLACES 1024

/* The rows that a search expanded. Memory that is kept from search to search: it is large. */
typedef struct HnswCandidates
{
	HnswCandidate *rows;		/* as they were expanded; once neighbors are chosen, nearest first */
	char	   *owns;			/* their own codes, as they were expanded */
	char	   *views;
	int			places[HNSW_CANDIDATE_PLACES];	/* hash table by number: where in rows, or -1 */
	Size		own_size;
	Size		view_size;
	int			n;
	int			size;
} HnswCandidates;

/* What a statement that inserts into a flat index knows of a row. */
typedef struct HnswFlatRow
{
	uint32		hash;
	uint32		number;
} HnswFlatRow;

/* What choosing neighbors for a row needs; kept for many rows. */
typedef struct HnswInsert
{
	HnswSearch	search;
	VdistIndexMetric metric;
	HnswMeta	meta;
	MemoryContext row_context;	/* reset for every row */

	int			wanted;			/* rows that a search for neighbors looks at */
	HnswRow    *image;			/* the new row */
	char	   *new_code;		/* its code as a neighbor */
	char	   *spare;			/* room for another */
	void	   *view;			/* its own code, as distances are computed from it */
	float	   *x;				/* or decoded; where views are that, the same */
	float	   *decoded;		/* scratch */
	float	   *rotated_mean;	/* what to add to a decoded code for inner products */
	uint32		equal;			/* a row of an equal vector, or HNSW_NO_ROW */
	uint32		self;			/* the row itself, when it is in the graph; else 0 */
	HnswCandidates candidates;
	HnswCandidate **chosen;		/* neighbors as they are in image */
	HnswFlatRow *flat;			/* of a flat index: the rows that are known */
	int			nflat;
	int			flat_size;
} HnswInsert;

/* Is a vector so long, of a square so large, that it must be a routing row? */
static inline bool
hnsw_is_long(const HnswMeta *meta, float norm2)
{
	return meta->metric == VDIST_METRIC_IP && norm2 > HNSW_LONG * HNSW_LONG * meta->range * meta->range;
}

/* Components of a decoded code: with inner products the graph sees lifted vectors. */
static inline int
hnsw_decoded_dim(const HnswMeta *meta)
{
	return meta->metric == VDIST_METRIC_IP ? meta->dim + 1 : meta->dim;
}

/* ---- layout.c ---- */

extern void hnsw_layout(HnswMeta *meta, const VdistIndexMetric *metric, int m,
						int ef_construction, int code_bits, int coded, int ncentres);
extern int	hnsw_short_code(const VdistIndexMetric *metric, int m);
extern int	hnsw_most_bits(const VdistIndexMetric *metric, int m);
extern void hnsw_layout_flat(HnswMeta *meta, const VdistIndexMetric *metric, int m,
							 int ef_construction);
extern void hnsw_page_init(Page page, HnswPageKind kind);
pg_noreturn extern void hnsw_page_corrupted(Relation index, BlockNumber block);
extern bool hnsw_page_is(Page page, HnswPageKind kind);
extern void hnsw_page_check(Relation index, Buffer buffer, HnswPageKind kind);
extern void hnsw_page_replace(Relation index, BlockNumber block, HnswPageKind kind,
							  const void *content, Size size);
extern void hnsw_meta_check(Relation index, const HnswMeta *meta);
extern pg_crc32c hnsw_meta_crc(const HnswMeta *meta);
extern pg_crc32c hnsw_centres_crc(const HnswMeta *meta);
extern bool hnsw_mean_fits(const HnswMeta *meta, const float *mean);
extern pg_crc32c hnsw_mean_crc(const HnswMeta *meta, const VdistHalf *here);
extern uint32 hnsw_routing_room(const HnswMeta *meta);
extern int	hnsw_routing_limit(const HnswMeta *meta);

extern uint32 hnsw_row_new(Relation index, const HnswMeta *meta, const HnswRow *image);
extern void hnsw_space_found(Relation index, BlockNumber block);
extern bool hnsw_page_unused(const HnswMeta *meta, Page page);
extern bool hnsw_has_room(Relation index);

/* ---- cache.c ---- */

extern const HnswCache *hnsw_cache(Relation index);

/* ---- code.c ---- */

/* Floats of scratch space that making a code needs. */
#define HNSW_SCRATCH(dim) (VDIST_QUANT_SCRATCH(dim) + (dim))

extern Size hnsw_code_size(const HnswMeta *meta, int bits);
extern int	hnsw_coded(const HnswMeta *meta);
extern void hnsw_codes_init(HnswCodes *codes, const HnswMeta *meta, const float *mean,
							const float *centres);
extern const HnswCodes *hnsw_codes(Relation index, const HnswMeta *meta);
extern VdistQuant hnsw_centre_quant(const HnswCodes *codes, int number);
extern void hnsw_encode(const HnswCodes *codes, const float *x, char *own, float *scratch);
extern void hnsw_recode(const HnswCodes *codes, const char *own, char *code, float *scratch);
extern void hnsw_decode_code(const HnswCodes *codes, const VdistQuant *quant, const char *code,
							 float *x);
extern void hnsw_decode_vector(const HnswCodes *codes, const VdistQuant *quant, const char *code,
							   float *x);
extern float hnsw_code_norm2(const HnswCodes *codes, const VdistQuant *quant, const char *code,
							 const float *mean, float *x);

/* The number that the codes of an index with several centres begin with. */
static inline uint16
hnsw_code_centre(const char *code)
{
	uint16		number;

	memcpy(&number, code, sizeof(number));
	return number;
}

extern bool hnsw_code_valid(const HnswMeta *meta, const char *code);

extern HnswQueries *hnsw_queries_new(int dim, int ncentres);
extern void hnsw_queries_set(HnswQueries *queries, const HnswCodes *codes, const float *x);
extern int	hnsw_queries_entries(HnswQueries *queries, const HnswCache *cache, int enough,
								 uint32 *places);
extern void hnsw_queries_estimate(HnswQueries *queries, const HnswCodes *codes,
								  const char *first, const uint16 *which, int n,
								  float *distance);
extern float hnsw_queries_own(HnswQueries *queries, const HnswCodes *codes, const char *own,
							  float *error);
extern float hnsw_queries_lost(const HnswQueries *queries, const HnswCodes *codes,
							   const char *own);

/* ---- write.c ---- */

extern void hnsw_write_begin(HnswWrite *write, Relation index, const HnswMeta *meta,
							 uint32 number);
extern void hnsw_write_bytes(HnswWrite *write, Size offset, const void *bytes, Size size);
extern void hnsw_write_end(HnswWrite *write);
extern void hnsw_write_abort(HnswWrite *write);

/* ---- read.c ---- */

#define HNSW_CACHE_LINE 64

extern const HnswRow *hnsw_read(HnswRead *read, Relation index, const HnswMeta *meta,
								uint32 number);
extern void hnsw_prefetch(Relation index, const HnswMeta *meta, uint32 number);
extern void hnsw_read_unlock(HnswRead *read);
extern void hnsw_read_end(HnswRead *read);
extern Buffer hnsw_read_block(Relation index, BlockNumber block);
extern Buffer hnsw_read_heap(Relation index, Relation heap, BlockNumber block);
extern bool hnsw_waits(Relation index);
extern void hnsw_ask(Relation relation, BlockNumber block);
extern Page hnsw_guess_heap(Relation index, BlockNumber block);

/* ---- sample.c ---- */

/*
 * The dim + 1 components of the vector that stands for x in the graph of an index for inner
 * products. Where no row is longer than `norm`, rows lie on a sphere, with those of the length
 * `norm` on its equator, and the row with the largest product with a query is the nearest to it
 * (the usual reduction to nearest neighbors). Longer rows are shortened, so that they lie there,
 * too.
 */
extern void hnsw_lift(float norm, int dim, const float *x, float *out);

/* ---- flat.c ---- */

typedef void (*HnswFlatVisit) (void *arg, uint32 number, const HnswRow *row);

extern int	hnsw_flat_limit(int dim);
extern void hnsw_flat_each(Relation index, const HnswMeta *meta, HnswFlatVisit visit, void *arg);
extern bool hnsw_flat_insert(HnswInsert *insert, ItemPointer tid, bool grow);

/* ---- graph.c ---- */

extern void hnsw_search_init(HnswSearch *search, Relation index, const HnswMeta *meta, int ef,
							 HnswVisit visit, void *visit_arg);
extern bool hnsw_rank_all(int nrouting, uint32 sorted);
extern void hnsw_search_set(HnswSearch *search, const HnswCache *cache, const float *x);
extern void hnsw_search_set_near(HnswSearch *search, const HnswCache *cache, const float *x,
								 const HnswRow *row);
extern void hnsw_search_ask(HnswSearch *search, uint32 number);
extern void hnsw_search_run(HnswSearch *search);
extern void hnsw_estimate(HnswSearch *search, const HnswRow *row, const uint16 *which, int n,
						  float *distance);
extern float hnsw_own_distance(HnswSearch *search, const HnswRow *row, float *error);
extern float hnsw_own_vector(HnswSearch *search, const HnswRow *row, float *x);

/* A row of such an own distance was expanded. */
static inline void
hnsw_search_near(HnswSearch *search, float distance)
{
	float	   *nearest = search->nearest;
	int			at = search->nnearest;

	if (search->nearest_size == 0 ||
		(at == search->nearest_size && !(distance < nearest[at - 1])))
		return;
	if (at == search->nearest_size)
		at--;
	else
		search->nnearest++;
	for (; at > 0 && nearest[at - 1] > distance; at--)
		nearest[at] = nearest[at - 1];
	nearest[at] = distance;
	if (search->stretch > 0 && search->nnearest == search->nearest_size)
		search->limit = hnsw_key(nearest[search->nnearest - 1] * search->stretch, HNSW_NO_ROW);
}

/* ---- stretch.c ---- */

typedef struct HnswStretch
{
	HnswSearch	search;
	uint32		number;			/* of the row that is searched for */
	int			wanted;			/* searches */
	int			n;
	VdistHalf  *ratios;			/* of each search's pool, by the last of nearest[] */
} HnswStretch;

extern void hnsw_stretch_set(HnswSearch *search);
extern void hnsw_stretch_begin(HnswStretch *measured, Relation index, const HnswMeta *meta,
							   int64 nrows);
extern void hnsw_stretch_add(HnswStretch *measured, const HnswCache *cache, uint32 number,
							 const float *x);
extern void hnsw_stretch_end(HnswStretch *measured, int64 nrows, HnswMeta *meta);
extern void hnsw_stretch_again(Relation index, BufferAccessStrategy strategy, double nrows);

/* ---- repair.c ---- */

extern void hnsw_repair_row(HnswInsert *insert, uint32 number, const uint8 *dead, uint64 nrows,
							bool anchors);

/* ---- relink.c ---- */

extern bool hnsw_relink_row(HnswInsert *insert, uint32 number);

/* ---- reach.c ---- */

extern uint8 *hnsw_reach(Relation index, bool anchors, uint64 *nrows);

/* ---- anchor.c ---- */

extern void hnsw_make_routing(HnswInsert *insert, uint32 number, bool always);
extern void hnsw_mend_anchors(HnswInsert *insert, BufferAccessStrategy strategy);

/* ---- candidates.c ---- */

extern float hnsw_code_distance(const HnswMeta *meta, const float *a, const float *b);
extern void hnsw_decode(const HnswInsert *insert, bool own, const char *code, float *x);
extern bool hnsw_compare_decoded(const HnswMeta *meta);
extern Size hnsw_view_size(const HnswMeta *meta);
extern void hnsw_view(const HnswInsert *insert, const char *own, void *view);
extern void hnsw_view_distances(const HnswInsert *insert, const void *one,
								const void *const *views, int n, float *distance);
extern void hnsw_candidates_init(HnswCandidates *candidates, const HnswMeta *meta, int ef);
extern void hnsw_candidate_add(HnswInsert *insert, uint32 number, const HnswRow *row);
extern void hnsw_choose_neighbors(HnswInsert *insert);
extern const HnswCandidate *hnsw_candidate_find(const HnswCandidates *candidates, uint32 number);

/* ---- insert.c ---- */

extern HnswInsert *hnsw_insert_begin(Relation index, double per_live);
extern bool hnsw_is_equal(const HnswInsert *insert, const HnswRow *row);
extern void hnsw_search_neighbors(HnswInsert *insert, const float *x, int ef,
								  const HnswRow *near);
extern void hnsw_own_code(HnswInsert *insert, const float *x, const float *prepared, char *own);
extern const float *hnsw_make_image(HnswInsert *insert, Datum value, ItemPointer tid);
extern void hnsw_routing_add(Relation index, const HnswMeta *meta, uint32 number,
							 const char *code, bool always);

/* ---- edges.c ---- */

typedef struct HnswEdges HnswEdges;

extern HnswEdges *hnsw_plan_edges(HnswInsert *insert);
extern void hnsw_add_edges(HnswInsert *insert, uint32 number);
extern bool hnsw_link_row(HnswInsert *insert, uint32 number, const uint8 *reached, uint64 nrows);
extern bool hnsw_make_edges(HnswInsert *insert, HnswEdges *edges, uint32 number);

/* ---- plan.c ---- */

extern void hnsw_trim_paths(PlannerInfo *root, RelOptInfo *final);

/* ---- handler.c and the callbacks ---- */

extern int	hnsw_ef_search;

/*
 * How many times what it returned a scan looks ahead, behind its first search. The README has what
 * other factors find and cost.
 */
#define HNSW_STREAM_AHEAD 6

/* How an index scan searches, when it is not by vdist's own settings. */
typedef struct HnswScanLimits
{
	int			ef;				/* rows looked at before the first is returned; 0 = hnsw_ef_search */
	int64		rows;			/* returned before the scan ends; 0 = all */
	double		memory;			/* bytes before searching on becomes sorting; 0 = work_mem */
	bool		exact;			/* read and sort all rows instead of searching */
	bool		ordered;		/* leave out rows whose distance to every query is NaN */
} HnswScanLimits;

/* Subphases of CREATE INDEX, after PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE. */
#define HNSW_PROGRESS_READ 2
#define HNSW_PROGRESS_GRAPH 3
#define HNSW_PROGRESS_WRITE 4

extern void hnsw_init_options(void);
extern void hnsw_add_options(bits32 kind);
extern IndexAmRoutine *hnsw_routine(void);

extern void hnsw_build_graph(Relation index);
extern IndexBuildResult *hnsw_build(Relation heap, Relation index, IndexInfo *info);
extern void hnsw_build_empty(Relation index);
extern bool hnsw_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
						Relation heap, IndexUniqueCheck check, bool unchanged, IndexInfo *info);
extern IndexBulkDeleteResult *hnsw_bulk_delete(IndexVacuumInfo *info,
											   IndexBulkDeleteResult *stats,
											   IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *hnsw_vacuum_cleanup(IndexVacuumInfo *info,
												  IndexBulkDeleteResult *stats);
extern void hnsw_cost(PlannerInfo *root, IndexPath *path, double loop_count,
					  Cost *startup, Cost *total, Selectivity *selectivity,
					  double *correlation, double *pages);
extern void hnsw_cost_of(double ef, PlannerInfo *root, IndexPath *path, double loop_count,
						 Cost *startup, Cost *total, Selectivity *selectivity,
						 double *correlation, double *pages);
extern IndexScanDesc hnsw_begin_scan(Relation index, int nkeys, int norderbys);
extern void hnsw_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
						int norderbys);
extern void hnsw_limit_scan(IndexScanDesc scan, const HnswScanLimits *limits);
extern bool hnsw_get_tuple(IndexScanDesc scan, ScanDirection dir);
extern void hnsw_end_scan(IndexScanDesc scan);

#endif							/* VDIST_HNSW_H */
