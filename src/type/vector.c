/*
 * vector.c: input, output, binary format and typmod of type vector. Called by SQL only.
 */
#include "postgres.h"

#include "type/type.h"

Vector *
vector_make(int dim)
{
	Size		size = VECTOR_SIZE(dim);
	Vector	   *v = palloc0(size);

	SET_VARSIZE(v, size);
	v->dim = dim;
	return v;
}
