/*
 * distance.c: distances of all types, over kernel/. Called by SQL and, through vdist_distance, by the
 * index wing.
 *
 * Sums are floats, what is derived from them is double. A sum that overflows gives infinity, or NaN
 * in the cosine; so does a cosine with the zero vector. NaN sorts after every distance.
 */
#include "compat.h"

#include <math.h>

#include "utils/float.h"
#include "utils/varbit.h"

#include "kernel/kernel.h"
#include "type/type.h"

/* x into [-1, 1], where rounding may have carried it out; NaN stays. */
static inline double
clamp(double x)
{
	return x > 1 ? 1 : x < -1 ? -1 : x;
}

/*
 * One root of the product, exact for equal norms, where a product of two roots is not. NaN when a norm
 * is zero or overflows: there is no angle to tell.
 */
static inline double
cosine_distance(float ab, float aa, float bb)
{
	double		norms = (double) aa * (double) bb;

	if (unlikely(!(norms > 0 && norms < HUGE_VAL)))
		return get_float8_nan();
	return 1.0 - clamp((double) ab / sqrt(norms));
}

/* The angle between unit vectors in units of pi: a metric, unlike the cosine. */
static inline double
spherical_distance(float ab)
{
	return acos(clamp(ab)) / M_PI;
}

#define DEFINE_DISTANCE(prefix, name, Type, TYPE, distance) \
PG_FUNCTION_INFO_V1(prefix##_##name); \
Datum \
prefix##_##name(PG_FUNCTION_ARGS) \
{ \
	Type	   *a = (Type *) vdist_detoast(PG_GETARG_DATUM(0)); \
	Type	   *b = (Type *) vdist_detoast(PG_GETARG_DATUM(1)); \
 \
	vdist_check_same_dim(TYPE, a->dim, b->dim); \
	PG_RETURN_FLOAT8(distance); \
}

/* prefix_l2, prefix_ip, prefix_l1 and prefix_cosine take two values of equal dimensions. */
#define DEFINE_DISTANCES(prefix, Type, TYPE) \
DEFINE_DISTANCE(prefix, l2_distance, Type, TYPE, sqrt((double) prefix##_l2(a, b))) \
DEFINE_DISTANCE(prefix, l2_squared_distance, Type, TYPE, (double) prefix##_l2(a, b)) \
DEFINE_DISTANCE(prefix, inner_product, Type, TYPE, (double) prefix##_ip(a, b)) \
DEFINE_DISTANCE(prefix, negative_inner_product, Type, TYPE, (double) -prefix##_ip(a, b)) \
DEFINE_DISTANCE(prefix, cosine_distance, Type, TYPE, prefix##_cosine(a, b)) \
DEFINE_DISTANCE(prefix, l1_distance, Type, TYPE, (double) prefix##_l1(a, b)) \
static double \
prefix##_metric(VdistMetric metric, const Type *a, const Type *b) \
{ \
	switch (metric) \
	{ \
		case VDIST_METRIC_L2: \
			return prefix##_l2(a, b); \
		case VDIST_METRIC_IP: \
			return -prefix##_ip(a, b); \
		case VDIST_METRIC_COSINE: \
			return prefix##_cosine(a, b); \
		default: \
			return prefix##_l1(a, b); \
	} \
}

/* ---- vector and halfvec ---- */

#define DEFINE_DENSE(prefix, Type, TYPE, kernel) \
static inline float \
prefix##_l2(const Type *a, const Type *b) \
{ \
	return vdist_kernel->kernel##l2_squared(a->dim, a->x, b->x); \
} \
static inline float \
prefix##_ip(const Type *a, const Type *b) \
{ \
	return vdist_kernel->kernel##inner_product(a->dim, a->x, b->x); \
} \
static inline float \
prefix##_l1(const Type *a, const Type *b) \
{ \
	return vdist_kernel->kernel##l1(a->dim, a->x, b->x); \
} \
static inline double \
prefix##_cosine(const Type *a, const Type *b) \
{ \
	float		ab; \
	float		aa; \
	float		bb; \
 \
	vdist_kernel->kernel##dot_and_norms(a->dim, a->x, b->x, &ab, &aa, &bb); \
	return cosine_distance(ab, aa, bb); \
} \
DEFINE_DISTANCES(prefix, Type, TYPE) \
DEFINE_DISTANCE(prefix, spherical_distance, Type, TYPE, spherical_distance(prefix##_ip(a, b)))

DEFINE_DENSE(vector, Vector, VDIST_VECTOR,)
DEFINE_DENSE(halfvec, HalfVector, VDIST_HALFVEC, half_)

/* ---- sparsevec ---- */

/*
 * The sum of term over the dimensions in which a or b is not zero. In double, whose rounding does not
 * show in the float that becomes of it, so that the order of the additions does not matter. Without
 * branches: which of two indices is the smaller cannot be foretold.
 */
static pg_attribute_always_inline float
sparsevec_sum(const SparseVector *a, const SparseVector *b, double (*term) (double x, double y))
{
	const float *x = SPARSEVEC_VALUES(a);
	const float *y = SPARSEVEC_VALUES(b);
	double		sum = 0;
	int			i = 0;
	int			j = 0;

	while (i < a->nnz && j < b->nnz)
	{
		bool		in_a = a->indices[i] <= b->indices[j];
		bool		in_b = b->indices[j] <= a->indices[i];

		sum += term(in_a ? x[i] : 0, in_b ? y[j] : 0);
		i += in_a;
		j += in_b;
	}
	for (; i < a->nnz; i++)
		sum += term(x[i], 0);
	for (; j < b->nnz; j++)
		sum += term(0, y[j]);
	return (float) sum;
}

static inline double
term_l2(double x, double y)
{
	return (x - y) * (x - y);
}

static inline double
term_ip(double x, double y)
{
	return x * y;
}

static inline double
term_l1(double x, double y)
{
	return fabs(x - y);
}

static float
sparsevec_l2(const SparseVector *a, const SparseVector *b)
{
	return sparsevec_sum(a, b, term_l2);
}

static float
sparsevec_ip(const SparseVector *a, const SparseVector *b)
{
	return sparsevec_sum(a, b, term_ip);
}

static float
sparsevec_l1(const SparseVector *a, const SparseVector *b)
{
	return sparsevec_sum(a, b, term_l1);
}

static double
sparsevec_cosine(const SparseVector *a, const SparseVector *b)
{
	const float *x = SPARSEVEC_VALUES(a);
	const float *y = SPARSEVEC_VALUES(b);

	return cosine_distance(sparsevec_ip(a, b), vdist_kernel->inner_product(a->nnz, x, x),
						   vdist_kernel->inner_product(b->nnz, y, y));
}

DEFINE_DISTANCES(sparsevec, SparseVector, VDIST_SPARSEVEC)

/* ---- bit ---- */

static double
bit_hamming(const VarBit *a, const VarBit *b)
{
	return vdist_kernel->bit_hamming(VARBITBYTES(a), VARBITS(a), VARBITS(b));
}

/* One less the part of the bits in either that is in both; 1 without any. */
static double
bit_jaccard(const VarBit *a, const VarBit *b)
{
	uint64		both;
	uint64		either;

	vdist_kernel->bit_overlap(VARBITBYTES(a), VARBITS(a), VARBITS(b), &both, &either);
	return both == 0 ? 1 : 1 - (double) both / (double) either;
}

PG_FUNCTION_INFO_V1(bit_hamming_distance);
Datum
bit_hamming_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = (VarBit *) vdist_detoast(PG_GETARG_DATUM(0));
	VarBit	   *b = (VarBit *) vdist_detoast(PG_GETARG_DATUM(1));

	vdist_check_same_dim(VDIST_BIT, VARBITLEN(a), VARBITLEN(b));
	PG_RETURN_FLOAT8(bit_hamming(a, b));
}

PG_FUNCTION_INFO_V1(bit_jaccard_distance);
Datum
bit_jaccard_distance(PG_FUNCTION_ARGS)
{
	VarBit	   *a = (VarBit *) vdist_detoast(PG_GETARG_DATUM(0));
	VarBit	   *b = (VarBit *) vdist_detoast(PG_GETARG_DATUM(1));

	vdist_check_same_dim(VDIST_BIT, VARBITLEN(a), VARBITLEN(b));
	PG_RETURN_FLOAT8(bit_jaccard(a, b));
}

/* ---- any type ---- */

double
vdist_distance(VdistType type, VdistMetric metric, const struct varlena *a, const struct varlena *b)
{
	switch (type)
	{
		case VDIST_VECTOR:
			return vector_metric(metric, (const Vector *) a, (const Vector *) b);
		case VDIST_HALFVEC:
			return halfvec_metric(metric, (const HalfVector *) a, (const HalfVector *) b);
		case VDIST_SPARSEVEC:
			return sparsevec_metric(metric, (const SparseVector *) a, (const SparseVector *) b);
		case VDIST_BIT:
			if (metric == VDIST_METRIC_HAMMING)
				return bit_hamming((const VarBit *) a, (const VarBit *) b);
			return bit_jaccard((const VarBit *) a, (const VarBit *) b);
	}
	elog(ERROR, "unknown type %d", (int) type);
	return 0;
}
