/*
 * quant.h: vector codes of 1, 2, 4 or 8 bits a dimension and distance estimates from them. Pure C, no
 * PostgreSQL header; called by hnsw/ and ivf/. The README has the formulas and why they were chosen.
 *
 * Nothing here allocates: sizes are told and the caller brings the memory. Estimates are sums of
 * small integers with one fixed floating-point epilogue, so every SIMD variant returns the same bits
 * and a replica on another CPU walks a graph the same way.
 */
#ifndef VDIST_QUANT_H
#define VDIST_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel.h"

/* What an estimate estimates. For the cosine, normalise data and query and use IP. */
typedef enum VdistQuantMetric
{
	VDIST_QUANT_L2,				/* squared Euclidean distance */
	VDIST_QUANT_IP,				/* negative inner product */
	VDIST_QUANT_L1				/* taxicab distance */
} VdistQuantMetric;

/* What it takes to read and write the codes of one index; cheap to set up, keeps a pointer to mean. */
typedef struct VdistQuant
{
	VdistQuantMetric metric;
	int			dim;
	int			bits;			/* 1, 2, 4, 6 or 8; not 6 for L1 */
	int			coded;			/* components that have a field: the first of the rotated ones */
	int			head;			/* bytes before the fields: factors of the estimate */
	int			width;			/* bytes of the fields (with 6 bits: of the upper four bits' part) */
	size_t		code_size;		/* bytes of a code; codes need no alignment */
	const float *mean;			/* dim floats: the centre of all codes */
	float		range;			/* L1 only: components are clipped to mean +- range */
	bool		rotated;		/* mean and all vectors already are (vdist_quant_rotate) */
	bool		binary;			/* vectors of zeros and ones, see vdist_quant_init_binary */
	float		lost;			/* what rounding the codes' factors takes from all estimates */
} VdistQuant;

/* A query made ready for estimates; vdist_quant_query_size(dim) bytes. */
typedef struct VdistQuantQuery
{
	VdistQuantMetric metric;
	int			dim;
	int			coded;
	int			bits;
	int			head;
	int			width;
	int32_t		bias;			/* (2^bits - 1) * sum of v */
	float		add;
	float		scale;
	float		norm;			/* length of the centred query */
	float		step;			/* of the finest rounding that estimates take account of */
	int8_t		v[];			/* the query in 8 bits a dimension (unsigned for L1), padded */
} VdistQuantQuery;

/* Floats of scratch space that encoding and query preparation need. */
#define VDIST_QUANT_SCRATCH(dim) (3 * ((size_t) (dim) + 64))

/* code.c */

/* Bytes of one code. */
extern size_t vdist_quant_code_size(VdistQuantMetric metric, int dim, int bits);

/*
 * Set up *quant for vectors that are not rotated; mean must stay valid as long as *quant is used. range
 * matters for L1 alone.
 */
extern void vdist_quant_init(VdistQuant *quant, VdistQuantMetric metric, int dim, int bits,
							 const float *mean, float range);

/*
 * The same, L2, for vectors of zeros and ones, whose squared distance is the number of those that differ;
 * mean must be halves. Nothing is rotated, and codes of one bit a dimension lose nothing: estimates are
 * whole numbers, and equal ones where distances are.
 */
extern void vdist_quant_init_binary(VdistQuant *quant, int dim, int bits, const float *mean);

/*
 * Make codes of 1 bit (not L1) shorter: of the first `coded` components only, a multiple of 32. The rotation has
 * spread what there is over all of them, so estimates stay unbiased; they are as exact as those of so many
 * dimensions.
 */
extern void vdist_quant_shorten(VdistQuant *quant, int coded);

/* Write the code of x (dim floats), quant->code_size bytes, to code. */
extern void vdist_quant_encode(const VdistQuant *quant, const float *x, void *code, float *scratch);

/*
 * The vector that a code stands for, centred and rotated (for L1: centred). Products with it estimate
 * those with the encoded vector without bias; with few bits it is longer than that vector.
 */
extern void vdist_quant_decode(const VdistQuant *quant, const void *code, float *x);

/*
 * Write the code under target of the vector behind a code of quant: same metric, dimension, mean and
 * range, other bits. A shorter code written from a longer one is what vdist_quant_encode would write,
 * but for the longer one's own error.
 */
extern void vdist_quant_recode(const VdistQuant *quant, const void *code, const VdistQuant *target,
							   void *out, float *scratch);

/* query.c */

/* Bytes of a query of this dimension, whatever the bits. */
extern size_t vdist_quant_query_size(int dim);

/* Make x (dim floats) ready to be compared with codes. */
extern void vdist_quant_query(const VdistQuant *quant, const float *x, VdistQuantQuery *query,
							  float *scratch);

/*
 * Make x ready twice, with one rotation: as *other for codes of coarse, which differs from quant in bits
 * alone; and for codes of quant finer than in 8 bits, as *query and *rest, which has what *query
 * rounded off (for vdist_quant_estimate_fine).
 */
extern void vdist_quant_query_fine(const VdistQuant *quant, const VdistQuant *coarse,
								   const float *x, VdistQuantQuery *query, VdistQuantQuery *rest,
								   VdistQuantQuery *other, float *scratch);

/*
 * Make the vector behind a code of quant ready to be compared with codes of target, which may have
 * another number of bits but has the same metric (L2 or L1), dimension, mean and range.
 */
extern void vdist_quant_query_code(const VdistQuant *quant, const void *code,
								   const VdistQuant *target, VdistQuantQuery *query,
								   float *scratch);

/*
 * Standard deviation of the estimate between the query and one code. What a code loses is orthogonal to
 * its vector, so for L2 it is what the query has across the vector that the error comes from: little
 * when they are near each other, which the estimate tells.
 */
extern float vdist_quant_error(const VdistQuantQuery *query, const void *code, float estimate);

/*
 * Standard deviation of what one code lost of each component of its vector, rotated or turned back (L2). The query is any of
 * the code's.
 */
extern float vdist_quant_lost(const VdistQuantQuery *query, const void *code);

/*
 * The taxicab distance of two vectors, or of those whose signed roots they are (dim floats); each component of the row's is wrong by
 * `lost` (standard deviation). *error is its standard deviation, *unseen what it may be too large by because
 * components of both are nearly equal: their difference is not seen as small as it is.
 */
extern float vdist_quant_taxicab(int dim, bool roots, const float *query, const float *row,
								 float lost, float *error, float *unseen);

/* estimate.c */

/* Estimated distances from the query to n codes that lie stride bytes apart. */
extern void vdist_quant_estimate(const VdistQuantQuery *query, const void *codes, size_t stride,
								 int n, float *distance);

/* The same for the codes at positions which[0..n-1] alone; distance[i] belongs to which[i]. */
extern void vdist_quant_estimate_list(const VdistQuantQuery *query, const void *codes,
									  size_t stride, const uint16_t *which, int n,
									  float *distance);

/* The estimated distance of one code from a query made by vdist_quant_query_fine. */
extern float vdist_quant_estimate_fine(const VdistQuantQuery *query, const VdistQuantQuery *rest,
									   const void *code);

/* Use a SIMD variant, as vdist_kernel_select does for the exact kernels. */
extern bool vdist_quant_select(VdistSimd simd);

/* pairs.c */

/* Bytes of what a code of dim dimensions becomes to be compared with others; its address must be a multiple of 4. */
extern size_t vdist_quant_record_size(int dim);

/* Make a record of a code of all components, of as many bits as there are. */
extern void vdist_quant_record(const VdistQuant *quant, const void *code, void *record);

/*
 * Distances between the vectors that records stand for (vdist_quant_decode), of one to n others; L2 or L1. Of 8 bits
 * (but for L1) 7 are looked at: as many as the graph build's.
 */
extern void vdist_quant_between(const VdistQuant *quant, const void *one,
								const void *const *records, int n, float *distance);

/* rotate.c */

/* Rotate x (dim floats) in place by the one fixed pseudo-random rotation of that dimension. */
extern void vdist_quant_rotate(int dim, float *x);

/* Turn it back. */
extern void vdist_quant_unrotate(int dim, float *x);

/* team.c */

#define VDIST_TEAM_MAX 64

/* Does units from to to - 1 as one of several threads, numbered from 0; false stops all of them. */
typedef bool (*VdistTeamBody) (void *arg, int thread, uint64_t from, uint64_t to);

/*
 * Let threads, of which the caller's is number 0, claim `step` of `total` units at a time until none
 * is left. False when a body returned false. With a single unit or thread no other thread starts.
 */
extern bool vdist_team_run(int threads, uint64_t total, int step, VdistTeamBody body, void *arg);

/* graph.c: a navigable graph over many vectors at once, for building an index */

typedef enum VdistGraphStatus
{
	VDIST_GRAPH_OK,
	VDIST_GRAPH_CANCELLED,
	VDIST_GRAPH_NO_MEMORY,
	VDIST_GRAPH_IO_ERROR		/* errno tells which */
} VdistGraphStatus;

/*
 * What to build. The callbacks run in the calling thread only and must return: no longjmp. Memory is
 * the C library's, so whoever may be interrupted between calls must see to vdist_graph_free.
 */
typedef struct VdistGraphParams
{
	VdistQuantMetric metric;	/* L2 (cosine: of normalised vectors; inner product too) or L1 */
	int			dim;
	int			slots;			/* neighbors a row has room for, at most 255 */
	int			ef_construction;	/* twice as many nearest rows are candidates for the slots */
	int			entries;		/* at most, beside those that reachability needs */
	int			threads;		/* including the caller's */
	size_t		budget;			/* bytes of memory; rows that do not fit go to the files */
	const float *mean;			/* dim floats, as for codes; copied */
	float		range;			/* L1 only, as for codes */
	bool		wide;			/* tell rows apart by their floats, not by 7 bits a dimension */
	/* descriptor of file 0 or 1, made so many bytes long; -1: error. NULL: exceed the budget */
	int			(*file) (void *arg, int file, uint64_t size);
	bool		(*interrupted) (void *arg); /* asked often; true cancels. May be NULL */
	void		(*progress) (void *arg, uint64_t done, uint64_t total); /* may be NULL */
	void	   *arg;
} VdistGraphParams;

typedef struct VdistGraph VdistGraph;

/* NULL when there is no memory. */
extern VdistGraph *vdist_graph_create(const VdistGraphParams *params);

/* What the build keeps of a row of dim floats; any thread may encode, scratch is dim floats. */
extern size_t vdist_graph_record_size(const VdistGraph *graph);
extern void vdist_graph_encode(const VdistGraph *graph, const float *x, void *record,
							   float *scratch);

/* Add a row by its record; rows are numbered in the order of the calls. */
extern VdistGraphStatus vdist_graph_add(VdistGraph *graph, const void *record);

/*
 * Build over all added rows. Afterwards rows have positions: neighbors are near each other. budget
 * takes the place of the first one: a build in files may use what the caller no longer needs.
 */
extern VdistGraphStatus vdist_graph_build(VdistGraph *graph, size_t budget);

/* Rows in the graph. */
extern uint32_t vdist_graph_count(const VdistGraph *graph);

/* The numbers of the rows, by position. */
extern const uint32_t *vdist_graph_order(const VdistGraph *graph);

/*
 * The positions of a row's neighbors: first the *nkept ones that pruning keeps, nearest first, then
 * the others that fill the slots; *nneighbors in all, at most slots.
 */
extern VdistGraphStatus vdist_graph_neighbors(VdistGraph *graph, uint32_t position,
											  uint32_t *neighbors, int *nneighbors, int *nkept);

/* Positions from which every row can be reached, spread over the data; returns how many. */
extern uint32_t vdist_graph_entries(const VdistGraph *graph, const uint32_t **entries);

extern void vdist_graph_free(VdistGraph *graph);

#endif							/* VDIST_QUANT_H */
