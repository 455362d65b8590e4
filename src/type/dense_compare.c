/*
 * dense_compare.c: the order of types vector and halfvec, for comparison operators and the btree
 * operator classes. Called by SQL only.
 */
#include "compat.h"

#include "type/type.h"

/* -1, 0 or 1: by elements, then by length, like arrays. */
static pg_attribute_always_inline int
dense_order(VdistType type, const Dense *a, const Dense *b)
{
	int			dim = Min(a->dim, b->dim);

	for (int i = 0; i < dim; i++)
	{
		float		x = dense_element(type, a, i);
		float		y = dense_element(type, b, i);

		if (x < y)
			return -1;
		if (x > y)
			return 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

/* btree calls this without resetting memory between calls: what was detoasted is freed. */
DENSE_BODY
dense_cmp(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *a = PG_GETARG_DENSE_P(0);
	Dense	   *b = PG_GETARG_DENSE_P(1);
	int			order = dense_order(type, a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_INT32(order);
}

DENSE_FUNCTION(cmp)

#define DEFINE_COMPARISON(name, operator) \
DENSE_BODY \
dense_##name(FunctionCallInfo fcinfo, VdistType type) \
{ \
	PG_RETURN_BOOL(DatumGetInt32(dense_cmp(fcinfo, type)) operator 0); \
} \
DENSE_FUNCTION(name)

DEFINE_COMPARISON(lt, <)
DEFINE_COMPARISON(le, <=)
DEFINE_COMPARISON(eq, ==)
DEFINE_COMPARISON(ne, !=)
DEFINE_COMPARISON(ge, >=)
DEFINE_COMPARISON(gt, >)
