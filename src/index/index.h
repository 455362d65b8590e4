/*
 * index.h: what the access methods share: which distance an operator class stands for, and the exact
 * distance as a sort key. Calls type/ and kernel/; called by the access methods.
 */
#ifndef VDIST_INDEX_H
#define VDIST_INDEX_H

#include "compat.h"

#include "utils/rel.h"

#include "quant/quant.h"
#include "type/type.h"

/* Stored in metapages: never renumber. */
typedef enum VdistMetric
{
	VDIST_METRIC_L2,
	VDIST_METRIC_IP,
	VDIST_METRIC_COSINE,
	VDIST_METRIC_L1
} VdistMetric;

/* Support function 1 of every operator class: returns VDIST_METRIC_OF. */
#define VDIST_METRIC_PROC 1
#define VDIST_METRIC_OF(type, metric) ((type) << 8 | (metric))

/* metric.c */

/* The metric of the first column of an index, of the vectors that vdist_index_vector makes. */
extern VdistMetric vdist_index_metric(Relation index);

/* The type of that column. */
extern VdistType vdist_index_type(Relation index);

/*
 * A value of that column as the vector that codes are made of: the value itself or, in the current
 * memory context, one converted from it: a bit becomes 0 or 1.
 */
extern Vector *vdist_index_vector(Relation index, Datum value);

/*
 * Whether the operator's result is vdist_metric_distance of the vectors. Else it is at least that, and
 * the operator itself (an ordering scan key's function) has to say.
 */
extern bool vdist_index_is_exact(Relation index);

/* The dimensions of those vectors; an error with a hint when the type has no modifier. */
extern int	vdist_index_dim(Relation index);

/*
 * Which estimate guides a search under this metric. For the cosine it is the squared distance of unit
 * vectors, twice the cosine distance.
 */
extern VdistQuantMetric vdist_metric_quant(VdistMetric metric);

/*
 * The distance that rows are ordered by, a monotone function of the operator's result: squared for
 * L2, the operator's own otherwise. What the operator makes NaN is infinity here: both sort last.
 */
extern double vdist_metric_distance(VdistMetric metric, int dim, const float *a, const float *b);

/*
 * Copy x to out in the form that codes are made of: of unit length for the cosine, as it is otherwise.
 * False when the distance from x to anything is NaN (a zero or overflowing vector under the cosine);
 * out is zeros then.
 */
extern bool vdist_metric_prepare(VdistMetric metric, int dim, const float *x, float *out);

#endif							/* VDIST_INDEX_H */
