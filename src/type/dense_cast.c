/*
 * dense_cast.c: casts between types vector and halfvec and arrays, and to a type modifier. Called by
 * SQL only.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "type/type.h"

/* The cast that enforces a type modifier. */
DENSE_BODY
dense_adjust(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);

	vdist_check_typmod(PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(v);
}

DENSE_FUNCTION(adjust)

DENSE_BODY
dense_from_array(FunctionCallInfo fcinfo, VdistType type)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = vdist_array_dim(array);
	float	   *x;

	vdist_check_dim(type, dim);
	vdist_check_typmod(PG_GETARG_INT32(1), dim);
	x = palloc(sizeof(float) * dim);
	vdist_array_floats(array, dim, x);
	PG_RETURN_POINTER(dense_from_floats(type, dim, x));
}

DENSE_FUNCTION(from_array)

static Dense *
convert(VdistType from, VdistType to, Dense *v, int32 typmod)
{
	vdist_check_typmod(typmod, v->dim);
	return dense_from_floats(to, v->dim, dense_floats(from, v));
}

PG_FUNCTION_INFO_V1(vector_to_halfvec);
Datum
vector_to_halfvec(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert(VDIST_VECTOR, VDIST_HALFVEC, PG_GETARG_DENSE_P(0),
							  PG_GETARG_INT32(1)));
}

PG_FUNCTION_INFO_V1(halfvec_to_vector);
Datum
halfvec_to_vector(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(convert(VDIST_HALFVEC, VDIST_VECTOR, PG_GETARG_DENSE_P(0),
							  PG_GETARG_INT32(1)));
}

DENSE_BODY
dense_to_sparsevec(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);

	vdist_check_typmod(PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(sparsevec_from_floats(v->dim, dense_floats(type, v)));
}

DENSE_FUNCTION(to_sparsevec)

DENSE_BODY
dense_from_sparsevec(FunctionCallInfo fcinfo, VdistType type)
{
	SparseVector *s = PG_GETARG_SPARSEVEC_P(0);
	float	   *x;

	vdist_check_dim(type, s->dim);
	vdist_check_typmod(PG_GETARG_INT32(1), s->dim);
	x = palloc0(sizeof(float) * s->dim);
	for (int i = 0; i < s->nnz; i++)
	{
		if (s->indices[i] < 0 || s->indices[i] >= s->dim)
			elog(ERROR, "index %d of a sparsevec of %d dimensions", s->indices[i], s->dim);
		x[s->indices[i]] = SPARSEVEC_VALUES(s)[i];
	}
	PG_RETURN_POINTER(dense_from_floats(type, s->dim, x));
}

DENSE_FUNCTION(from_sparsevec)

DENSE_BODY
dense_to_float4(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);
	Datum	   *elements = palloc(sizeof(Datum) * v->dim);

	for (int i = 0; i < v->dim; i++)
		elements[i] = Float4GetDatum(dense_element(type, v, i));
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, v->dim, FLOAT4OID, sizeof(float4), true,
										  TYPALIGN_INT));
}

DENSE_FUNCTION(to_float4)

PG_FUNCTION_INFO_V1(vector_to_float8);
Datum
vector_to_float8(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Datum	   *elements = palloc(sizeof(Datum) * v->dim);

	for (int i = 0; i < v->dim; i++)
		elements[i] = Float8GetDatum((double) v->x[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, v->dim, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Rounds as the cast from real to integer does; error when out of range. */
PG_FUNCTION_INFO_V1(vector_to_int4);
Datum
vector_to_int4(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Datum	   *elements = palloc(sizeof(Datum) * v->dim);

	for (int i = 0; i < v->dim; i++)
		elements[i] = DirectFunctionCall1(ftoi4, Float4GetDatum(v->x[i]));
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, v->dim, INT4OID, sizeof(int32), true,
										  TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(vector_to_numeric);
Datum
vector_to_numeric(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Datum	   *elements = palloc(sizeof(Datum) * v->dim);

	for (int i = 0; i < v->dim; i++)
		elements[i] = DirectFunctionCall1(float4_numeric, Float4GetDatum(v->x[i]));
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, v->dim, NUMERICOID, -1, false, TYPALIGN_INT));
}
