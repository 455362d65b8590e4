/*
 * check.c: what all vector types check, with the same words: dimensions, type modifiers, elements,
 * texts and arrays. Called by the rest of type/ and by the index wing.
 */
#include "compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varbit.h"

#include "type/parse.h"
#include "type/type.h"

/* Longest literal that an error message repeats in full, in bytes. */
#define MAX_QUOTED 1024

const char *
vdist_type_name(VdistType type)
{
	switch (type)
	{
		case VDIST_VECTOR:
			return "vector";
		case VDIST_HALFVEC:
			return "halfvec";
		case VDIST_SPARSEVEC:
			return "sparsevec";
		case VDIST_BIT:
			return "bit";
	}
	pg_unreachable();
}

int
vdist_value_dim(VdistType type, const struct varlena *value)
{
	switch (type)
	{
		case VDIST_VECTOR:
		case VDIST_HALFVEC:
			return ((const Dense *) value)->dim;
		case VDIST_SPARSEVEC:
			return ((const SparseVector *) value)->dim;
		case VDIST_BIT:
			return VARBITLEN(value);
	}
	pg_unreachable();
}

int
vdist_type_max_dim(VdistType type)
{
	return type == VDIST_SPARSEVEC ? SPARSEVEC_MAX_DIM : VECTOR_MAX_DIM;
}

void
vdist_check_dim(VdistType type, int dim)
{
	if (dim < 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("%s must have at least 1 dimension", vdist_type_name(type))));
	if (dim > vdist_type_max_dim(type))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s cannot have more than %d dimensions", vdist_type_name(type),
						vdist_type_max_dim(type))));
}

void
vdist_check_typmod(int32 typmod, int dim)
{
	if (typmod != -1 && typmod != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));
}

void
vdist_check_elements(VdistType type, int n, const float *x)
{
	for (int i = 0; i < n; i++)
	{
		if (unlikely(isnan(x[i])))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in %s", vdist_type_name(type))));
		if (unlikely(isinf(x[i])))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in %s", vdist_type_name(type))));
	}
}

void
vdist_dims_differ(VdistType type, int a, int b)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 type == VDIST_BIT ? errmsg("different bit lengths %d and %d", a, b) :
			 errmsg("different %s dimensions %d and %d", vdist_type_name(type), a, b)));
}

int32
vdist_typmod_in(VdistType type, ArrayType *modifiers)
{
	int			n;
	int32	   *typmod = ArrayGetIntegerTypmods(modifiers, &n);

	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier")));
	if (*typmod < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s must be at least 1", vdist_type_name(type))));
	if (*typmod > vdist_type_max_dim(type))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type %s cannot exceed %d", vdist_type_name(type),
						vdist_type_max_dim(type))));
	return *typmod;
}

int
vdist_array_dim(ArrayType *array)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("array must be 1-D")));
	if (ARR_HASNULL(array) && array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("array must not contain nulls")));
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

static float
element(Datum d, Oid type)
{
	switch (type)
	{
		case INT4OID:
			return (float) DatumGetInt32(d);
		case FLOAT4OID:
			return DatumGetFloat4(d);
		case FLOAT8OID:
			return (float) DatumGetFloat8(d);
		case NUMERICOID:
			return DatumGetFloat4(DirectFunctionCall1(numeric_float4, d));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("unsupported array type")));
	}
	pg_unreachable();
}

void
vdist_array_floats(ArrayType *array, int n, float *x)
{
	Oid			type = ARR_ELEMTYPE(array);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	Datum	   *elements;
	int			count;

	if (type == FLOAT4OID)
	{
		memcpy(x, ARR_DATA_PTR(array), sizeof(float) * n);
		return;
	}
	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, type, typlen, typbyval, typalign, &elements, NULL, &count);
	Assert(count == n);
	for (int i = 0; i < n; i++)
		x[i] = element(elements[i], type);
	pfree(elements);
}

const char *
vdist_quoted(const char *text, Size length)
{
	if (length <= MAX_QUOTED)
		return pnstrdup(text, length);
	return psprintf("%.*s...", pg_mbcliplen(text, MAX_QUOTED + 1, MAX_QUOTED), text);
}

Datum
vdist_parse_failed(fmNodePtr escontext, VdistType type, VectorParseError error, const char *text,
				   const char *at, int length)
{
	const char *name = vdist_type_name(type);

	switch (error)
	{
		case VECTOR_PARSE_NO_BRACKET:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", name,
							vdist_quoted(text, strlen(text))),
					 errdetail("Vector contents must start with \"%s\".",
							   type == VDIST_SPARSEVEC ? "{" : "[")));
		case VECTOR_PARSE_OK:
		case VECTOR_PARSE_SYNTAX:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", name,
							vdist_quoted(text, strlen(text)))));
		case VECTOR_PARSE_UNFINISHED:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", name,
							vdist_quoted(text, strlen(text))),
					 errdetail("Unexpected end of input.")));
		case VECTOR_PARSE_JUNK:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", name,
							vdist_quoted(text, strlen(text))),
					 type == VDIST_SPARSEVEC ? errdetail("Junk after closing.") :
					 errdetail("Junk after closing right brace.")));
		case VECTOR_PARSE_EMPTY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("%s must have at least 1 dimension", name)));
		case VECTOR_PARSE_TOO_MANY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 type == VDIST_SPARSEVEC ?
					 errmsg("sparsevec cannot have more than %d non-zero elements",
							SPARSEVEC_MAX_NNZ) :
					 errmsg("%s cannot have more than %d dimensions", name, VECTOR_MAX_DIM)));
		case VECTOR_PARSE_RANGE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type %s",
							vdist_quoted(at, (Size) length), name)));
		case VECTOR_PARSE_NAN:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in %s", name)));
		case VECTOR_PARSE_INFINITE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in %s", name)));
	}
	pg_unreachable();
}

/* Four sums, because one would wait for each addition. */
double
vdist_norm(int n, const float *x)
{
	double		sum0 = 0;
	double		sum1 = 0;
	double		sum2 = 0;
	double		sum3 = 0;
	int			i = 0;

	for (; i + 4 <= n; i += 4)
	{
		sum0 += (double) x[i] * (double) x[i];
		sum1 += (double) x[i + 1] * (double) x[i + 1];
		sum2 += (double) x[i + 2] * (double) x[i + 2];
		sum3 += (double) x[i + 3] * (double) x[i + 3];
	}
	for (; i < n; i++)
		sum0 += (double) x[i] * (double) x[i];
	return sqrt((sum0 + sum1) + (sum2 + sum3));
}
