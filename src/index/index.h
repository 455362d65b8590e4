/*
 * index.h: what the access methods share: which distance an operator class stands for, the vectors
 * that codes are made of, and what their distances say of the exact one. Calls type/ and kernel/;
 * called by the access methods. The README says why.
 */
#ifndef VDIST_INDEX_H
#define VDIST_INDEX_H

#include "compat.h"

#include "utils/rel.h"

#include "quant/quant.h"
#include "type/type.h"

/* Support function 1 of every operator class: returns VDIST_METRIC_OF. */
#define VDIST_METRIC_PROC 1
#define VDIST_METRIC_OF(type, metric) ((type) << 8 | (metric))

/* The most dimensions of a projection, and the fewest that vdist_project_dim chooses. */
#define VDIST_PROJECTED_DIM 1024
#define VDIST_PROJECTED_DIM_MIN 256

/* From so many dimensions on codes for L1 are of signed square roots. */
#define VDIST_ROOTS_DIM 680

/* What the first column of an index and its operator class stand for. */
typedef struct VdistIndexMetric
{
	VdistType	type;			/* of the column */
	VdistMetric metric;			/* of the operator */
	int			dim;			/* of the column's values */
	VdistMetric code_metric;	/* of the vectors that codes are made of, see vdist_index_vector */
	int			code_dim;
	bool		projected;		/* those vectors have fewer dimensions than the values */
} VdistIndexMetric;

/* ---- metric.c ---- */

/* An error with a hint when the column has no dimensions. */
extern void vdist_index_metric(Relation index, VdistIndexMetric *metric);

/*
 * Take the dimensions of the vectors that the index was made of (a metapage says so); error when they cannot
 * be those of such a column.
 */
extern void vdist_index_set_dim(Relation index, VdistIndexMetric *metric, int code_dim);

/*
 * A value as the vector that codes are made of: the value itself or, in the current memory context,
 * one made of it. The value is not toasted and has metric->dim dimensions.
 */
extern Vector *vdist_index_vector(const VdistIndexMetric *metric, struct varlena *value);

/* A hash, for which equal values are equal, from a value and its vector. */
extern uint32 vdist_index_hash(const VdistIndexMetric *metric, const struct varlena *value,
							   const Vector *vector);

/* That of the vectors that are no projections. */
extern uint32 vdist_index_hash_floats(int dim, const float *x);

/*
 * The distance that rows are ordered by, a monotone function of the operator's result: squared for
 * L2, the operator's own otherwise. What the operator makes NaN is infinity here, as it sorts last, and what
 * overflows is DBL_MAX, which is before that and behind all sums of floats.
 */
extern double vdist_index_distance(const VdistIndexMetric *metric, const struct varlena *a,
								   const struct varlena *b);

/* The same, as an estimate of the distance of the two vectors' codes has it. */
extern double vdist_index_estimate(const VdistIndexMetric *metric, double estimate);

/* Bounds of it, from an estimate and the standard deviation of its error; infinite where none are. */
extern void vdist_index_bounds(const VdistIndexMetric *metric, double estimate, double error,
							   double *lower, double *upper);

/* Is the metric L1 and codes, of roots or by L2, tell of it when they are decoded alone? */
extern bool vdist_index_decodes(const VdistIndexMetric *metric);

/*
 * Bounds of the taxicab distance then, from the prepared query and what a code of a row keeps of it, of which each component
 * lost so much (standard deviation). Returns an estimate.
 */
extern double vdist_index_taxicab_bounds(const VdistIndexMetric *metric, const float *query,
										 const float *row, float lost, double *lower,
										 double *upper);

/*
 * Which estimate guides a search under this metric. For the cosine it is the squared distance of unit
 * vectors, twice the cosine distance.
 */
extern VdistQuantMetric vdist_metric_quant(VdistMetric metric);

/*
 * Copy x to out in the form that codes are made of: of unit length for the cosine, signed roots for these, as it is
 * otherwise.
 * False when the distance from x to anything is NaN (a zero or overflowing vector under the cosine);
 * out is zeros then.
 */
extern bool vdist_metric_prepare(VdistMetric metric, int dim, const float *x, float *out);

/* ---- project.c ---- */

/*
 * Add the projection of a vector, of which n elements are not zero, to out (VDIST_PROJECTED_DIM
 * floats). Inner products and squared distances of projections are those of the vectors on average,
 * with a standard deviation of about sqrt(2 / VDIST_PROJECTED_DIM) of a distance.
 */
extern void vdist_project(int n, const int32 *indices, const float *values, float *out);

/*
 * Make of it, in place, the projection to `dim` dimensions, VDIST_PROJECTED_DIM halved some times. All
 * projections are made in this way: the order of the sums decides on their last bits.
 */
extern void vdist_project_fold(float *x, int dim);

/*
 * The dimensions that suit n values, from their projections to VDIST_PROJECTED_DIM: the fewest of which
 * at least half are in use.
 */
extern int	vdist_project_dim(int n, const float *x);

#endif							/* VDIST_INDEX_H */
