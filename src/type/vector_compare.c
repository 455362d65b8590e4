/*
 * vector_compare.c: the order of vectors, for comparison operators and the btree operator class.
 * Called by SQL.
 */
#include "compat.h"

#include "type/type.h"

int
vector_compare(const Vector *a, const Vector *b)
{
	int			dim = Min(a->dim, b->dim);

	for (int i = 0; i < dim; i++)
	{
		if (a->x[i] < b->x[i])
			return -1;
		if (a->x[i] > b->x[i])
			return 1;
	}
	return (a->dim > b->dim) - (a->dim < b->dim);
}

#define DEFINE_COMPARISON(name, condition) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	Vector	   *a = PG_GETARG_VECTOR_P(0); \
	Vector	   *b = PG_GETARG_VECTOR_P(1); \
	int			order = vector_compare(a, b); \
 \
	PG_FREE_IF_COPY(a, 0); \
	PG_FREE_IF_COPY(b, 1); \
	PG_RETURN_BOOL(condition); \
}

DEFINE_COMPARISON(vector_lt, order < 0)
DEFINE_COMPARISON(vector_le, order <= 0)
DEFINE_COMPARISON(vector_eq, order == 0)
DEFINE_COMPARISON(vector_ne, order != 0)
DEFINE_COMPARISON(vector_ge, order >= 0)
DEFINE_COMPARISON(vector_gt, order > 0)

/* btree calls this without resetting memory between calls: what was detoasted is freed. */
PG_FUNCTION_INFO_V1(vector_cmp);
Datum
vector_cmp(PG_FUNCTION_ARGS)
{
	Vector	   *a = PG_GETARG_VECTOR_P(0);
	Vector	   *b = PG_GETARG_VECTOR_P(1);
	int			order = vector_compare(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_INT32(order);
}
