/*
 * vector_distance.c: distances between vectors, as SQL functions over kernel/. Called by SQL; the
 * index wing calls the kernels itself.
 *
 * Sums are floats, what is derived from them is double. A sum that overflows gives infinity, or NaN
 * in the cosine; so does a cosine with the zero vector. NaN sorts after every distance.
 */
#include "compat.h"

#include <math.h>

#include "kernel/kernel.h"
#include "type/type.h"

PG_FUNCTION_INFO_V1(l2_distance);
Datum
l2_distance(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8(sqrt((double) vdist_kernel->l2_squared(a->dim, a->x, b->x)));
}

PG_FUNCTION_INFO_V1(vector_l2_squared_distance);
Datum
vector_l2_squared_distance(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8((double) vdist_kernel->l2_squared(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(inner_product);
Datum
inner_product(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8((double) vdist_kernel->inner_product(a->dim, a->x, b->x));
}

PG_FUNCTION_INFO_V1(vector_negative_inner_product);
Datum
vector_negative_inner_product(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8((double) -vdist_kernel->inner_product(a->dim, a->x, b->x));
}

/* Of x into [-1, 1], where rounding may have carried it out; NaN stays. */
static inline double
clamp(double x)
{
	return x > 1 ? 1 : x < -1 ? -1 : x;
}

PG_FUNCTION_INFO_V1(cosine_distance);
Datum
cosine_distance(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	float		ab;
	float		aa;
	float		bb;

	vector_check_same_dim(a, b);
	vdist_kernel->dot_and_norms(a->dim, a->x, b->x, &ab, &aa, &bb);

	/* One root of the product, exact for equal norms, where a product of two roots is not. */
	PG_RETURN_FLOAT8(1.0 - clamp((double) ab / sqrt((double) aa * (double) bb)));
}

/* The angle between unit vectors in units of pi: a metric, unlike the cosine. */
PG_FUNCTION_INFO_V1(vector_spherical_distance);
Datum
vector_spherical_distance(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8(acos(clamp(vdist_kernel->inner_product(a->dim, a->x, b->x))) / M_PI);
}

PG_FUNCTION_INFO_V1(l1_distance);
Datum
l1_distance(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);

	vector_check_same_dim(a, b);
	PG_RETURN_FLOAT8((double) vdist_kernel->l1(a->dim, a->x, b->x));
}
