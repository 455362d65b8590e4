/*
 * dense_math.c: functions of one vector or halfvec and arithmetic of two: done in float, then rounded
 * to the elements of the type. Called by SQL only.
 */
#include "compat.h"

#include <math.h>

#include "utils/float.h"
#include "utils/varbit.h"

#include "type/type.h"

DENSE_BODY
dense_dims(FunctionCallInfo fcinfo, VdistType type)
{
	/* Fetches the beginning only of a value that is stored out of line. */
	Dense	   *v = (Dense *) PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0,
													 offsetof(Dense, data) - VARHDRSZ);

	PG_RETURN_INT32(v->dim);
}

DENSE_FUNCTION(dims)

DENSE_BODY
dense_norm(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);

	PG_RETURN_FLOAT8(vdist_norm(v->dim, dense_floats(type, v)));
}

DENSE_FUNCTION(norm)

/* A zero vector stays one. */
DENSE_BODY
dense_normalize(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);
	Dense	   *result = dense_make(type, v->dim);
	const float *x = dense_floats(type, v);
	float	   *y = dense_room(type, result);
	double		norm = vdist_norm(v->dim, x);

	if (norm > 0)
	{
		for (int i = 0; i < v->dim; i++)
			y[i] = (float) (x[i] / norm);
		dense_round(type, result, y);
		dense_check_overflow(type, result);
	}
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(normalize)

#define DEFINE_ARITHMETIC(name, operator) \
DENSE_BODY \
dense_##name(FunctionCallInfo fcinfo, VdistType type) \
{ \
	Dense	   *a = PG_GETARG_DENSE_P(0); \
	Dense	   *b = PG_GETARG_DENSE_P(1); \
	Dense	   *result; \
	const float *x; \
	const float *y; \
	float	   *z; \
 \
	vdist_check_same_dim(type, a->dim, b->dim); \
	result = dense_make(type, a->dim); \
	x = dense_floats(type, a); \
	y = dense_floats(type, b); \
	z = dense_room(type, result); \
	for (int i = 0; i < a->dim; i++) \
		z[i] = x[i] operator y[i]; \
	dense_round(type, result, z); \
	dense_check_overflow(type, result); \
	return PointerGetDatum(result); \
}

DEFINE_ARITHMETIC(add, +)
DEFINE_ARITHMETIC(sub, -)
DEFINE_ARITHMETIC(product, *)

DENSE_BODY
dense_mul(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *a = PG_GETARG_DENSE_P(0);
	Dense	   *b = PG_GETARG_DENSE_P(1);
	Dense	   *result = DatumGetDense(dense_product(fcinfo, type));

	for (int i = 0; i < result->dim; i++)
		if (unlikely(dense_element(type, result, i) == 0) &&
			dense_element(type, a, i) != 0 && dense_element(type, b, i) != 0)
			float_underflow_error();
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(add)
DENSE_FUNCTION(sub)
DENSE_FUNCTION(mul)

DENSE_BODY
dense_concat(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *a = PG_GETARG_DENSE_P(0);
	Dense	   *b = PG_GETARG_DENSE_P(1);
	Dense	   *result;

	vdist_check_dim(type, a->dim + b->dim);
	result = dense_make(type, a->dim + b->dim);
	memcpy(result->data, a->data, DENSE_ELEMENT(type) * a->dim);
	memcpy(result->data + DENSE_ELEMENT(type) * a->dim, b->data, DENSE_ELEMENT(type) * b->dim);
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(concat)

/* Elements start to start + count - 1, counted from 1 and cut off at the ends, like substring. */
DENSE_BODY
dense_subvector(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);
	int64		start = PG_GETARG_INT32(1);
	int64		count = PG_GETARG_INT32(2);
	int64		first = Max(start, 1);
	int64		last = Min(start + count - 1, v->dim);
	Dense	   *result;

	if (last < first)
		vdist_check_dim(type, 0);
	result = dense_make(type, (int) (last - first + 1));
	memcpy(result->data, v->data + DENSE_ELEMENT(type) * (first - 1),
		   DENSE_ELEMENT(type) * result->dim);
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(subvector)

/* A bit for each element: 1 where it is positive. */
DENSE_BODY
dense_binary_quantize(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);
	Size		size = VARBITTOTALLEN(v->dim);
	VarBit	   *result = palloc0(size);
	bits8	   *byte = VARBITS(result);

	SET_VARSIZE(result, size);
	VARBITLEN(result) = v->dim;
	for (int i = 0; i < v->dim; i++)
		byte[i / 8] |= (dense_element(type, v, i) > 0) << (7 - i % 8);
	PG_RETURN_VARBIT_P(result);
}

DENSE_FUNCTION(binary_quantize)
