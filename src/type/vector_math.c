/*
 * vector_math.c: functions of one vector and arithmetic of two. Called by SQL only.
 */
#include "compat.h"

#include <math.h>

#include "utils/float.h"
#include "utils/varbit.h"

#include "type/type.h"

PG_FUNCTION_INFO_V1(vector_dims);
Datum
vector_dims(PG_FUNCTION_ARGS)
{
	/* Fetches the beginning only of a vector that is stored out of line. */
	Vector	   *v = (Vector *) PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0,
													  offsetof(Vector, x) - VARHDRSZ);

	PG_RETURN_INT32(v->dim);
}

/* In double, so that it cannot overflow; four sums, because one would wait for each addition. */
static double
norm(const Vector *v)
{
	const float *x = v->x;
	double		sum0 = 0;
	double		sum1 = 0;
	double		sum2 = 0;
	double		sum3 = 0;
	int			i = 0;

	for (; i + 4 <= v->dim; i += 4)
	{
		sum0 += (double) x[i] * (double) x[i];
		sum1 += (double) x[i + 1] * (double) x[i + 1];
		sum2 += (double) x[i + 2] * (double) x[i + 2];
		sum3 += (double) x[i + 3] * (double) x[i + 3];
	}
	for (; i < v->dim; i++)
		sum0 += (double) x[i] * (double) x[i];
	return sqrt((sum0 + sum1) + (sum2 + sum3));
}

PG_FUNCTION_INFO_V1(vector_norm);
Datum
vector_norm(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);

	PG_RETURN_FLOAT8(norm(v));
}

static void
check_overflow(const Vector *v)
{
	for (int i = 0; i < v->dim; i++)
		if (unlikely(isinf(v->x[i])))
			float_overflow_error();
}

/* A zero vector stays one. */
PG_FUNCTION_INFO_V1(l2_normalize);
Datum
l2_normalize(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Vector	   *result = vector_make(v->dim);
	double		length = norm(v);

	if (length > 0)
	{
		for (int i = 0; i < v->dim; i++)
			result->x[i] = (float) (v->x[i] / length);
		check_overflow(result);
	}
	PG_RETURN_VECTOR_P(result);
}

PG_FUNCTION_INFO_V1(vector_add);
Datum
vector_add(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	Vector	   *result;

	vector_check_same_dim(a, b);
	result = vector_make(a->dim);
	for (int i = 0; i < result->dim; i++)
		result->x[i] = a->x[i] + b->x[i];
	check_overflow(result);
	PG_RETURN_VECTOR_P(result);
}

PG_FUNCTION_INFO_V1(vector_sub);
Datum
vector_sub(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	Vector	   *result;

	vector_check_same_dim(a, b);
	result = vector_make(a->dim);
	for (int i = 0; i < result->dim; i++)
		result->x[i] = a->x[i] - b->x[i];
	check_overflow(result);
	PG_RETURN_VECTOR_P(result);
}

PG_FUNCTION_INFO_V1(vector_mul);
Datum
vector_mul(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	Vector	   *result;

	vector_check_same_dim(a, b);
	result = vector_make(a->dim);
	for (int i = 0; i < result->dim; i++)
		result->x[i] = a->x[i] * b->x[i];
	check_overflow(result);
	for (int i = 0; i < result->dim; i++)
		if (unlikely(result->x[i] == 0) && a->x[i] != 0 && b->x[i] != 0)
			float_underflow_error();
	PG_RETURN_VECTOR_P(result);
}

PG_FUNCTION_INFO_V1(vector_concat);
Datum
vector_concat(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	int			dim = a->dim + b->dim;
	Vector	   *result;

	vector_check_dim(dim);
	result = vector_make(dim);
	memcpy(result->x, a->x, sizeof(float) * a->dim);
	memcpy(result->x + a->dim, b->x, sizeof(float) * b->dim);
	PG_RETURN_VECTOR_P(result);
}

/* Elements start to start + count - 1, counted from 1 and cut off at the ends, like substring. */
PG_FUNCTION_INFO_V1(subvector);
Datum
subvector(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	int64		start = PG_GETARG_INT32(1);
	int64		count = PG_GETARG_INT32(2);
	int64		first = Max(start, 1);
	int64		last = Min(start + count - 1, v->dim);
	Vector	   *result;

	if (last < first)
		vector_check_dim(0);
	result = vector_make((int) (last - first + 1));
	memcpy(result->x, v->x + first - 1, sizeof(float) * result->dim);
	PG_RETURN_VECTOR_P(result);
}

/* A bit for each element: 1 where it is positive. */
PG_FUNCTION_INFO_V1(binary_quantize);
Datum
binary_quantize(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Size		size = VARBITTOTALLEN(v->dim);
	VarBit	   *result = palloc0(size);
	bits8	   *byte = VARBITS(result);

	SET_VARSIZE(result, size);
	VARBITLEN(result) = v->dim;
	for (int i = 0; i < v->dim; i++)
		byte[i / 8] |= (v->x[i] > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}
