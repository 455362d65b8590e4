/*
 * build.h: what the files of CREATE INDEX share: build.c, centres.c, equal.c, pages.c, sample.c,
 * spool.c and trial.c. Nobody else includes this.
 */
#ifndef VDIST_HNSW_BUILD_H
#define VDIST_HNSW_BUILD_H

#include "storage/fd.h"

#include "hnsw/hnsw.h"

/* ---- spool.c: records of one size, in memory or, beyond a budget, in a temporary file ---- */

typedef struct HnswSpool HnswSpool;

/*
 * memory: bytes that may stay in memory. When it takes more, all records move to a temporary file,
 * of which `cache` bytes are kept; both are rough.
 */
extern HnswSpool *hnsw_spool_begin(Size record, Size memory, Size cache);
extern void hnsw_spool_add(HnswSpool *spool, const void *record);

/* A record by its number; valid until the next call. */
extern const void *hnsw_spool_get(HnswSpool *spool, int64 number);

/* Put record order[i] at place i, for all i; order must stay. */
extern void hnsw_spool_arrange(HnswSpool *spool, const uint32 *order);
extern Size hnsw_spool_memory(const HnswSpool *spool);
extern void hnsw_spool_end(HnswSpool *spool);

/* What a build learns from a sample before it reads the table. */
typedef struct HnswSample
{
	VdistMetric metric;			/* of the vectors that codes are made of */
	float	   *mean;			/* dim floats: the centre of all codes */
	float		range;			/* see HnswMeta */
	int			bits;			/* of the codes of neighbors */
	int			most_bits;		/* that they may have */
	int			coded;			/* components that they are of; 0: all */
	int			ef_factor;		/* see HnswMeta */
	double		found;			/* the share that they find without it, if that is not 1 */
	int			dim;			/* of the vectors that codes are made of */
	float	   *centre;			/* as many floats as graph_dim: of the graph */
	bool		wide;			/* see VdistGraphParams */
	int			ncentres;		/* 0: the mean is the only one */
	float	   *centres;		/* HNSW_CENTRE_FLOATS each */
} HnswSample;

/* ---- trial.c ---- */

/* How many nearest rows are asked for where codes are tried. */
#define HNSW_TRIAL_K 10

/* Prepared vectors of a sample. */
typedef struct HnswVectors
{
	VdistMetric metric;
	int			dim;
	int			n;
	double		rows;			/* in the table, roughly */
	const float *x;				/* n * dim */
	int			threads;		/* that may look at them */
	bool		taxicab;		/* it is L1 that says which are near, whatever codes are made of */
} HnswVectors;

/* The k-th smallest of n floats, k at most HNSW_TRIAL_K and at most n. */
extern float hnsw_kth_smallest(int n, int k, const float *x);

/*
 * Choose the bits of codes, unless they are given (not 0), whether the graph is built on floats,
 * and centres.
 */
extern void hnsw_try_codes(const HnswVectors *sample, bool projected, HnswSample *result);

/* ---- centres.c ---- */

/* Centres as they are found: each a row of the sample, as far as possible from those before. */
typedef struct HnswSeeds
{
	int			k;
	int		   *rows;
	float	   *between;		/* of each from the one that is added */
	float	   *distance;		/* of each row to the nearest one; of L2 its square */
	uint16	   *nearest;		/* which that is */
	uint64		random;
} HnswSeeds;

/* Between 0 and 1, the same for every build. */
extern double hnsw_random(uint64 *state);

extern void hnsw_seeds_begin(const HnswVectors *sample, HnswSeeds *seeds, int most);
extern void hnsw_seeds_grow(const HnswVectors *sample, HnswSeeds *seeds, int k);

/* Their centres, HNSW_CENTRE_FLOATS each, rotated but for L1. */
extern void hnsw_seeds_centres(const HnswVectors *sample, const HnswSeeds *seeds, float *centres);

/* ---- sample.c ---- */

extern bool hnsw_sample(Relation heap, Relation index, IndexInfo *info,
						const VdistIndexMetric *source, int threads, HnswSample *result);
extern void hnsw_sample_vectors(const VdistIndexMetric *source, int n, float *vectors,
								HnswSample *result);

/* ---- build.c ---- */

/* What is kept of a heap row until it is written. */
typedef struct HnswBuildRow
{
	uint32		hash;
	ItemPointerData tid;
	bool		unordered;
	char		own[FLEXIBLE_ARRAY_MEMBER];
} HnswBuildRow;

/* The row that a hash was last seen at. */
typedef struct HnswBuildHash
{
	uint32		hash;
	uint32		row;			/* counted from 1; 0: none */
} HnswBuildHash;

/* Heap rows that are encoded together. */
typedef struct HnswBuildBatch
{
	int			n;
	int			size;
	float	   *x;				/* size * dim */
	ItemPointerData *tids;
	char	   *rows;			/* HnswBuildRow, row_size each */
	char	   *records;		/* of the graph, record_size each */
	float	   *scratch;		/* scratch_size floats for every thread */
} HnswBuildBatch;

typedef struct HnswBuild
{
	Relation	heap;
	Relation	index;
	VdistIndexMetric metric;
	HnswMeta	meta;
	HnswCodes	coding;
	float	   *mean;
	const float *centres;
	float	   *centre;			/* of the graph */
	int			graph_dim;		/* components that the graph sees */
	int			threads;
	Size		memory;			/* maintenance_work_mem in bytes */
	MemoryContext context;
	MemoryContext row_context;

	VdistGraph *graph;
	Size		record_size;
	File		files[2];		/* temporary files of the graph */
	int			descriptors[2]; /* and for its threads; -1: none */
	ErrorData  *error;			/* what went wrong with them */

	HnswInsert *flat;			/* when there are too few rows for a graph */
	HnswBuildBatch batch;
	Size		row_size;		/* of a HnswBuildRow */
	Size		scratch_size;
	int64		heap_rows;

	/* rows of the graph, in the order of the table, then by position */
	int64		n;
	HnswSpool  *rows;
	HnswSpool  *codes;			/* of the rows as neighbors, by position */

	/* heap rows whose vectors equal that of an earlier one */
	HnswBuildHash *hashes;		/* open addressing */
	uint64		nhashes;		/* a power of two */
	HnswSpool  *duplicates;		/* HnswBuildDuplicate */
	int64		nduplicates;
} HnswBuild;

typedef struct HnswBuildDuplicate
{
	uint32		row;
	ItemPointerData tid;
} HnswBuildDuplicate;

extern void hnsw_build_check(HnswBuild *build, VdistGraphStatus status);

/* ---- equal.c: rows with equal vectors ---- */

extern void hnsw_equal_begin(HnswBuild *build);

/* The earlier row of an equal vector, or HNSW_NO_ROW: then `row` is it from now on. */
extern uint32 hnsw_equal_find(HnswBuild *build, uint32 hash, const char *own, uint32 row);
extern void hnsw_equal_end(HnswBuild *build);

/* ---- routing.c ---- */

/*
 * Of so many routing rows at most, the graph gives so many: the others follow from trial searches.
 */
static inline int
hnsw_graph_entries(int limit)
{
	return limit < HNSW_MAX_ROUTING ? limit - limit / 4 : limit;
}

/*
 * The positions of routing rows, ascending, when the graph's rows are on pages from number `first`
 * on; *sorted becomes HnswMeta's.
 */
extern uint32 *hnsw_choose_routing(HnswBuild *build, uint32 first, int *count, HnswMeta *head);

/* ---- anchor.c ---- */

extern uint32 *hnsw_build_anchors(HnswBuild *build);

/* ---- pages.c ---- */

/* The metapage of a flat index. */
extern void hnsw_write_flat(Relation index, ForkNumber fork, HnswMeta *meta);

/* All pages of a new index, from the finished graph. */
extern void hnsw_write_pages(HnswBuild *build);

/* Those of the graph beside the pages of a flat index, and then in their place. */
extern void hnsw_replace_pages(HnswBuild *build, const HnswMeta *flat);

#endif							/* VDIST_HNSW_BUILD_H */
