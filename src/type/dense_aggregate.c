/*
 * dense_aggregate.c: the state of avg of types vector and halfvec. Called by SQL only; sum needs no
 * more than the addition.
 *
 * The state is a float8 array: the number of vectors, then the sum of each dimension; just {0}
 * before the first vector.
 */
#include "compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/float.h"

#include "type/type.h"

#define STATE_DIM(state) (ARR_DIMS(state)[0] - 1)
#define STATE_VALUES(state) ((float8 *) ARR_DATA_PTR(state))

/* The functions can be called by hand, with any array. */
static void
check_state(ArrayType *state, VdistType type, const char *what)
{
	if (ARR_NDIM(state) != 1 || ARR_DIMS(state)[0] < 1 || ARR_HASNULL(state) ||
		ARR_ELEMTYPE(state) != FLOAT8OID)
		elog(ERROR, "%s_%s: expected state array", vdist_type_name(type), what);
}

static ArrayType *
make_state(int dim)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * ((Size) dim + 1);
	ArrayType  *state = palloc0(size);

	SET_VARSIZE(state, size);
	state->ndim = 1;
	state->elemtype = FLOAT8OID;
	ARR_DIMS(state)[0] = dim + 1;
	ARR_LBOUND(state)[0] = 1;
	return state;
}

DENSE_BODY
dense_accum(FunctionCallInfo fcinfo, VdistType type)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(0);
	Dense	   *v = PG_GETARG_DENSE_P(1);
	bool		aggregating = AggCheckCallContext(fcinfo, NULL) != 0;
	ArrayType  *result;
	float8	   *sums;
	int			dim;

	check_state(state, type, "accum");
	dim = STATE_DIM(state);
	if (dim != 0)
		vdist_check_typmod(dim, v->dim);

	/* In an aggregate the state is ours to change; nodeAgg copies a new one into its own context. */
	if (aggregating && dim != 0)
		result = state;
	else
	{
		result = make_state(v->dim);
		if (dim != 0)
			memcpy(STATE_VALUES(result), STATE_VALUES(state), sizeof(float8) * ((Size) dim + 1));
		else
			STATE_VALUES(result)[0] = STATE_VALUES(state)[0];
	}

	STATE_VALUES(result)[0] += 1.0;
	sums = STATE_VALUES(result) + 1;
	for (int i = 0; i < v->dim; i++)
		sums[i] += (double) dense_element(type, v, i);
	for (int i = 0; i < v->dim; i++)
		if (unlikely(isinf(sums[i])))
			float_overflow_error();
	PG_RETURN_ARRAYTYPE_P(result);
}

DENSE_FUNCTION(accum)

/* A state does not tell the type. */
PG_FUNCTION_INFO_V1(vector_combine);
Datum
vector_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *b = PG_GETARG_ARRAYTYPE_P(1);
	ArrayType  *result;
	int			dim;

	check_state(a, VDIST_VECTOR, "combine");
	check_state(b, VDIST_VECTOR, "combine");
	dim = Max(STATE_DIM(a), STATE_DIM(b));
	if (dim != 0)
		vector_check_dim(dim);
	if (STATE_DIM(a) != 0 && STATE_DIM(b) != 0)
		vdist_check_typmod(STATE_DIM(a), STATE_DIM(b));

	result = make_state(dim);
	for (int i = 0; i <= STATE_DIM(a); i++)
		STATE_VALUES(result)[i] = STATE_VALUES(a)[i];
	for (int i = 0; i <= STATE_DIM(b); i++)
		STATE_VALUES(result)[i] += STATE_VALUES(b)[i];
	for (int i = 1; i <= dim; i++)
		if (unlikely(isinf(STATE_VALUES(result)[i])))
			float_overflow_error();
	PG_RETURN_ARRAYTYPE_P(result);
}

DENSE_BODY
dense_avg(FunctionCallInfo fcinfo, VdistType type)
{
	ArrayType  *state = PG_GETARG_ARRAYTYPE_P(0);
	float8		n;
	int			dim;
	float	   *x;

	check_state(state, type, "avg");
	n = STATE_VALUES(state)[0];
	if (n == 0.0)
		PG_RETURN_NULL();

	dim = STATE_DIM(state);
	vdist_check_dim(type, dim);
	x = palloc(sizeof(float) * dim);
	for (int i = 0; i < dim; i++)
		x[i] = (float) (STATE_VALUES(state)[i + 1] / n);
	PG_RETURN_POINTER(dense_from_floats(type, dim, x));
}

DENSE_FUNCTION(avg)
