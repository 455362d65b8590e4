/*
 * dense.c: makes values of types vector and halfvec, and converts their elements. Called by the rest
 * of type/ and by the index wing.
 */
#include "compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/float.h"

#include "type/type.h"

Dense *
dense_make(VdistType type, int dim)
{
	Size		size = DENSE_SIZE(type, dim);
	Dense	   *v = palloc0(size);

	SET_VARSIZE(v, size);
	v->dim = (int16) dim;
	return v;
}

float *
dense_convert(const Dense *v)
{
	float	   *x = palloc(sizeof(float) * v->dim);

	vdist_kernel->half_to_float(v->dim, (const VdistHalf *) v->data, x);
	return x;
}

void
dense_round_halves(Dense *v, const float *x)
{
	vdist_kernel->float_to_half(v->dim, x, (VdistHalf *) v->data);
}

Dense *
dense_from_floats(VdistType type, int dim, const float *x)
{
	Dense	   *v = dense_make(type, dim);

	vdist_check_elements(type, dim, x);
	if (type == VDIST_VECTOR)
	{
		memcpy(v->data, x, sizeof(float) * dim);
		return v;
	}
	dense_round_halves(v, x);
	for (int i = 0; i < dim; i++)
	{
		char		number[FLOAT_SHORTEST_DECIMAL_LEN];

		if (likely(!VDIST_HALF_IS_INF(((VdistHalf *) v->data)[i])))
			continue;
		float_to_shortest_decimal_buf(x[i], number);
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" is out of range for type halfvec", number)));
	}
	return v;
}

void
dense_check_overflow(VdistType type, const Dense *v)
{
	for (int i = 0; i < v->dim; i++)
		if (unlikely(type == VDIST_VECTOR ? isinf(((const float *) v->data)[i]) :
					 VDIST_HALF_IS_INF(((const VdistHalf *) v->data)[i])))
			float_overflow_error();
}
