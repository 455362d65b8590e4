/*
 * sparsevec.c: type sparsevec: making values, order, casts, norm. Called by SQL, dense_cast.c and
 * sparsevec_io.c; distances are in distance.c.
 */
#include "compat.h"

#include <math.h>

#include "utils/float.h"

#include "type/type.h"

SparseVector *
sparsevec_make(int dim, int nnz)
{
	Size		size = SPARSEVEC_SIZE(nnz);
	SparseVector *v = palloc0(size);

	SET_VARSIZE(v, size);
	v->dim = dim;
	v->nnz = nnz;
	return v;
}

void
sparsevec_check_nnz(int nnz, int dim)
{
	if (nnz < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("sparsevec cannot have negative number of elements")));
	if (nnz > SPARSEVEC_MAX_NNZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d non-zero elements",
						SPARSEVEC_MAX_NNZ)));
	if (nnz > dim)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more elements than dimensions")));
}

SparseVector *
sparsevec_from_floats(int dim, const float *x)
{
	int			nnz = 0;
	int			j = 0;
	SparseVector *v;

	vdist_check_elements(VDIST_SPARSEVEC, dim, x);
	for (int i = 0; i < dim; i++)
		nnz += x[i] != 0;
	sparsevec_check_nnz(nnz, dim);
	v = sparsevec_make(dim, nnz);
	for (int i = 0; i < dim; i++)
	{
		if (x[i] == 0)
			continue;
		v->indices[j] = i;
		SPARSEVEC_VALUES(v)[j++] = x[i];
	}
	return v;
}

/* The cast that enforces a type modifier. */
PG_FUNCTION_INFO_V1(sparsevec_adjust);
Datum
sparsevec_adjust(PG_FUNCTION_ARGS)
{
	SparseVector *v = PG_GETARG_SPARSEVEC_P(0);

	vdist_check_typmod(PG_GETARG_INT32(1), v->dim);
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(sparsevec_from_array);
Datum
sparsevec_from_array(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			dim = vdist_array_dim(array);
	float	   *x;

	vdist_check_dim(VDIST_SPARSEVEC, dim);
	vdist_check_typmod(PG_GETARG_INT32(1), dim);
	x = palloc(sizeof(float) * dim);
	vdist_array_floats(array, dim, x);
	PG_RETURN_POINTER(sparsevec_from_floats(dim, x));
}

PG_FUNCTION_INFO_V1(sparsevec_norm);
Datum
sparsevec_norm(PG_FUNCTION_ARGS)
{
	SparseVector *v = PG_GETARG_SPARSEVEC_P(0);

	PG_RETURN_FLOAT8(vdist_norm(v->nnz, SPARSEVEC_VALUES(v)));
}

/* A zero vector stays one; elements that become zero are left out. */
PG_FUNCTION_INFO_V1(sparsevec_normalize);
Datum
sparsevec_normalize(PG_FUNCTION_ARGS)
{
	SparseVector *v = PG_GETARG_SPARSEVEC_P(0);
	const float *x = SPARSEVEC_VALUES(v);
	double		norm = vdist_norm(v->nnz, x);
	float	   *y;
	int			nnz = 0;
	int			j = 0;
	SparseVector *result;

	if (norm == 0)
		PG_RETURN_POINTER(sparsevec_make(v->dim, 0));
	y = palloc(sizeof(float) * v->nnz);
	for (int i = 0; i < v->nnz; i++)
	{
		y[i] = (float) (x[i] / norm);
		if (unlikely(isinf(y[i])))
			float_overflow_error();
		nnz += y[i] != 0;
	}
	result = sparsevec_make(v->dim, nnz);
	for (int i = 0; i < v->nnz; i++)
	{
		if (y[i] == 0)
			continue;
		result->indices[j] = v->indices[i];
		SPARSEVEC_VALUES(result)[j++] = y[i];
	}
	PG_RETURN_POINTER(result);
}

/*
 * -1, 0 or 1, as the vectors with all their zeros compare: the first index at which they differ
 * decides, then the length.
 */
static int
sparsevec_order(const SparseVector *a, const SparseVector *b)
{
	const float *x = SPARSEVEC_VALUES(a);
	const float *y = SPARSEVEC_VALUES(b);
	int			dim = Min(a->dim, b->dim);
	int			i = 0;
	int			j = 0;

	for (;;)
	{
		int32		at_a = i < a->nnz ? a->indices[i] : dim;
		int32		at_b = j < b->nnz ? b->indices[j] : dim;
		float		in_a = at_a <= at_b && i < a->nnz ? x[i] : 0;
		float		in_b = at_b <= at_a && j < b->nnz ? y[j] : 0;

		if (Min(at_a, at_b) >= dim)
			return (a->dim > b->dim) - (a->dim < b->dim);
		if (in_a != in_b)
			return in_a < in_b ? -1 : 1;
		i++;
		j++;
	}
}

/* btree calls this without resetting memory between calls: what was detoasted is freed. */
PG_FUNCTION_INFO_V1(sparsevec_cmp);
Datum
sparsevec_cmp(PG_FUNCTION_ARGS)
{
	SparseVector *a = PG_GETARG_SPARSEVEC_P(0);
	SparseVector *b = PG_GETARG_SPARSEVEC_P(1);
	int			order = sparsevec_order(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_INT32(order);
}

#define DEFINE_COMPARISON(name, operator) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(DatumGetInt32(sparsevec_cmp(fcinfo)) operator 0); \
}

DEFINE_COMPARISON(sparsevec_lt, <)
DEFINE_COMPARISON(sparsevec_le, <=)
DEFINE_COMPARISON(sparsevec_eq, ==)
DEFINE_COMPARISON(sparsevec_ne, !=)
DEFINE_COMPARISON(sparsevec_ge, >=)
DEFINE_COMPARISON(sparsevec_gt, >)
