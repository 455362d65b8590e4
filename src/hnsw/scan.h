/*
 * scan.h: what scan.c, fetch.c and stream.c share. Included by nobody else.
 */
#ifndef VDIST_HNSW_SCAN_H
#define VDIST_HNSW_SCAN_H

#include "access/genam.h"
#include "utils/tuplesort.h"

#include "hnsw/hnsw.h"

typedef enum HnswScanPhase
{
	HNSW_SCAN_START,
	HNSW_SCAN_POOL,				/* returning what the first search found */
	HNSW_SCAN_STREAM,			/* searching on as rows are asked for */
	HNSW_SCAN_FLAT,				/* returning all there is, which was looked at at once */
	HNSW_SCAN_SWEEP				/* returning, sorted, all that is left */
} HnswScanPhase;

/* A row of the graph that was reached. */
typedef struct HnswHit
{
	double		upper;			/* bound of its distance */
	uint32		number;
	uint32		more;
	int			ntids;
	ItemPointerData tids[HNSW_ROW_TIDS_INLINE];
} HnswHit;

/* A heap row with its exact distance, or a hit with a lower bound of it. */
typedef struct HnswResult
{
	double		distance;
	int			hit;			/* -1: exact */
	ItemPointerData tid;
	Buffer		buffer;			/* the heap row's page, pinned, or InvalidBuffer */
} HnswResult;

typedef struct HnswScan
{
	MemoryContext context;
	MemoryContext row_context;
	HnswScanPhase phase;
	HnswScanLimits limits;
	HnswSearch	search;
	VdistIndexMetric metric;
	struct varlena *query;		/* for exact distances; NULL when it is */
	float	   *prepared;		/* as searched for */
	bool		trust_bounds;
	int			ef;				/* rows that the first search looks at, on the average */

	Vector	   *flat;			/* a row of a flat index */
	HnswHit    *hits;
	int			nhits;
	int			hits_size;
	HnswResult *results;		/* binary heap, nearest first */
	int			nresults;
	int			results_size;
	int64		nreturned;
	double		last;			/* distance returned last */

	/* fetch.c */
	IndexInfo  *info;			/* NULL before the first use */
	bool		direct;			/* a column of a heap table */
	int			npins;			/* buffers of results */
	int			max_pins;
	TupleTableSlot *slot;		/* unless direct */
	IndexFetchTableData *fetch;
	EState	   *estate;			/* of expression indexes */

	/* stream.c */
	MemoryContext stream_context;
	uint64	   *frontier;		/* binary heap of pool keys */
	int64		nfrontier;
	int64		frontier_size;
	uint32	   *seen;			/* open addressing: 0, or (row number << 1 | known) + 1 */
	uint32		nseen;
	uint32		seen_size;		/* a power of two */
	int			seen_shift;		/* it is 1 << (32 - seen_shift) */
	int64		nexpanded;
	HnswResult *late;
	int64		nlate;
	int64		late_size;
	double		taxicab;		/* sum of the hits' distances by it, where codes are by another
								 * metric */
	double		straight;		/* and by codes, their root */
	Tuplesortstate *sort;
	TupleTableSlot *sort_slot;
} HnswScan;

/* ---- scan.c ---- */

extern void hnsw_scan_hit(HnswScan *so, uint32 number, const HnswRow *row);
extern void hnsw_scan_resolve(IndexScanDesc scan, int number);

/* ---- fetch.c ---- */

extern void hnsw_fetch_ahead(IndexScanDesc scan);
extern bool hnsw_fetch_distance(IndexScanDesc scan, ItemPointer tid, double *distance,
								Buffer *buffer);
extern void hnsw_fetch_drop(HnswScan *so, HnswResult *result);
extern void hnsw_fetch_hand_over(IndexScanDesc scan, HnswResult *result);
extern void hnsw_fetch_end(HnswScan *so);

/* ---- stream.c ---- */

extern void hnsw_stream_begin(HnswScan *so);
extern bool hnsw_stream_more(HnswScan *so);
extern bool hnsw_stream_passed(HnswScan *so, double distance);
extern void hnsw_stream_late(HnswScan *so, const HnswResult *result);
extern void hnsw_stream_end(HnswScan *so);
extern void hnsw_sweep_begin(IndexScanDesc scan);
extern bool hnsw_sweep_next(IndexScanDesc scan);

#endif							/* VDIST_HNSW_SCAN_H */
