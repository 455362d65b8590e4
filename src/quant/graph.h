/*
 * graph.h: what the parts of the graph build share. Nobody outside quant/ includes this.
 *
 * A row's record is its factors and then its bytes (blocks.h). Records lie in input order first (the
 * spool), then in the order of positions: cell after cell. Either is an array in memory or, beyond
 * the budget, a file.
 */
#ifndef VDIST_GRAPH_H
#define VDIST_GRAPH_H

#include "quant/blocks.h"

/* Rows a cell has on average, and at most. */
#define CELL_ROWS 128
#define CELL_MAX 256

/*
 * Of the NEAR_CELLS cells nearest to a row's own, the row looks through the PROBES nearest to it, or through
 * more of them where its nearest rows are scattered over more (probes.c).
 */
#define NEAR_CELLS 160
#define PROBES 24
#define PROBES_MAX 128

/* Candidates at most. */
#define CANDIDATES_MAX 512

/* What a phase may count on having, beside the arrays by row, however small the budget. */
#define ROOM_MIN ((size_t) 1 << 20)

struct VdistGraph
{
	VdistGraphParams params;
	float	   *mean;
	float		factor;			/* see VdistBlocks.pick */
	bool		l1;
	bool		wide;			/* records are of floats */
	const VdistBlocks *blocks;	/* kernels over records */
	int			words;			/* of four bytes, a row */
	size_t		record;			/* bytes of a record */
	int			candidates;		/* nearest rows that a row's neighbors are chosen from */

	/* rows */
	uint32_t	n;
	uint32_t	capacity;		/* of records, while it is the spool in memory */
	uint8_t    *records;		/* NULL when they are in a file */
	bool		on_disk;
	uint8_t    *buffer;			/* of writes to the spool file */
	size_t		buffered;
	int			files[2];		/* descriptors */
	uint64_t	file_size[2];

	/* cells */
	uint32_t	ncells;
	uint32_t   *cell_start;		/* positions; ncells + 1 */
	uint8_t    *centroids;		/* records, one a cell */
	uint32_t   *medoids;		/* positions, one a cell */
	uint32_t   *order;			/* position -> row */

	int			probes;			/* cells that a row looks through */

	/* neighbors: lists of slots ids, and of as many distances until they are linked */
	uint32_t   *ids;			/* NULL when in a file */
	float	   *distances;
	uint8_t    *nkept;
	uint8_t    *nfilled;
	uint32_t   *entries;
	uint32_t	nentries;

	/* work in progress */
	int			status;			/* the first failure */
	int			failed_errno;
	uint64_t	done;			/* rows that have their neighbors */
	void	   *work;			/* of one phase */
};

static inline VdistRowFactors
graph_factors(const uint8_t *record)
{
	VdistRowFactors f;

	__builtin_memcpy(&f, record, sizeof(f));
	return f;
}

static inline const uint8_t *
graph_bytes(const uint8_t *record)
{
	return record + sizeof(VdistRowFactors);
}

/* The distance of two records from the sum over their bytes. */
static inline float
graph_distance(const VdistGraph *graph, VdistRowFactors a, VdistRowFactors b, int32_t sum)
{
	float		distance;

	if (!graph->wide)
		return vdist_row_distance(a, b, graph->factor, sum);
	__builtin_memcpy(&distance, &sum, sizeof(distance));
	return distance;
}

/* graph.c */
extern void graph_fail(VdistGraph *graph, VdistGraphStatus status);
extern bool graph_stopped(const VdistGraph *graph);

/* Ask whether to stop; in the calling thread only. */
extern void graph_poll(VdistGraph *graph);
extern void *graph_alloc(VdistGraph *graph, size_t count, size_t size);

/*
 * Let every thread claim `step` of `total` units of work until none is left; false when the build is
 * to stop. body must not rely on being called by more than one thread.
 */
extern bool graph_run(VdistGraph *graph, uint64_t total, int step,
					  void (*body) (VdistGraph *graph, int thread, uint64_t from, uint64_t to));

/* Bytes of the budget that arrays by row leave to a phase of a build in files. */
extern size_t graph_room(const VdistGraph *graph);

extern void graph_trim(const VdistGraph *graph);

/* Make a file so many bytes long before it is written to; in the calling thread only. */
extern bool graph_extend(VdistGraph *graph, int file, uint64_t size);
extern bool graph_read(VdistGraph *graph, int file, void *p, size_t size, uint64_t offset);
extern bool graph_write(VdistGraph *graph, int file, const void *p, size_t size, uint64_t offset);

/* encode.c */
extern void graph_encode(const VdistGraph *graph, const float *x, uint8_t *record, float *scratch);
extern void graph_to_record(const VdistGraph *graph, const float *x, uint8_t *record);
extern void graph_add_record(const VdistGraph *graph, const uint8_t *record, float *sum);

/* Records packed for VdistBlocks.sums and pick. */
typedef struct VdistColumns
{
	int			n;
	uint8_t    *packed;
	VdistColumnFactors factors;
} VdistColumns;

/* cells.c: from rows in the spool to rows in cells */
extern bool graph_make_cells(VdistGraph *graph);

/* Room for packing up to n records; to be freed with graph_free_columns even when it failed. */
extern bool graph_alloc_columns(VdistGraph *graph, VdistColumns *columns, int n);
extern void graph_free_columns(VdistColumns *columns);
extern void graph_pack(const VdistGraph *graph, const uint8_t *const *records, int n,
					   VdistColumns *columns);

/* Records in the order of positions: those in memory, or a copy in buffer. NULL on failure. */
extern const uint8_t *graph_load(VdistGraph *graph, uint32_t position, uint32_t count,
								 uint8_t *buffer);

/* probes.c */
extern int	graph_choose_probes(VdistGraph *graph);

/* neighbors.c: every row's list of nearest rows, pruned and filled */
extern bool graph_find_neighbors(VdistGraph *graph);

/* link.c: edges in both directions, entries, reachability */
extern bool graph_link(VdistGraph *graph);
extern bool graph_reach(VdistGraph *graph);

/* select.c */
typedef uint64_t VdistKey;		/* a distance and a number, ordered by distance, then number */

static inline VdistKey
graph_key(float distance, uint32_t number)
{
	uint32_t	bits;

	distance = distance > 0.0f ? distance : 0.0f;
	__builtin_memcpy(&bits, &distance, sizeof(bits));
	return (uint64_t) bits << 32 | number;
}

static inline float
graph_key_distance(VdistKey key)
{
	uint32_t	bits = (uint32_t) (key >> 32);
	float		distance;

	__builtin_memcpy(&distance, &bits, sizeof(distance));
	return distance;
}

/* Move the k smallest of n keys to the front, in any order; returns the largest of them. */
extern VdistKey graph_smallest(VdistKey *keys, int n, int k);

/*
 * Forget keys that are not among the k smallest, but keep perhaps a few of them, for that is faster;
 * returns how many are left and a bound that whatever belongs to the k smallest is below.
 */
extern int	graph_shrink(VdistKey *keys, int n, int k, float *bound);
extern void graph_sort(VdistKey *keys, int n);

#endif							/* VDIST_GRAPH_H */
