/*
 * type.h: the vector types as other folders see them. Heap and binary layout are pgvector's, so that
 * a table moves over without a rewrite.
 */
#ifndef VDIST_TYPE_H
#define VDIST_TYPE_H

#include "postgres.h"

#include "fmgr.h"

#define VECTOR_MAX_DIM 16000

/* A varlena; storage "external": never compressed, moved out of line when large. */
typedef struct Vector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 to VECTOR_MAX_DIM */
	int16		unused;			/* 0 */
	float		x[FLEXIBLE_ARRAY_MEMBER];
} Vector;

#define VECTOR_SIZE(dim) (offsetof(Vector, x) + sizeof(float) * (dim))
#define DatumGetVector(d) ((Vector *) PG_DETOAST_DATUM(d))
#define PG_GETARG_VECTOR_P(n) DatumGetVector(PG_GETARG_DATUM(n))
#define PG_RETURN_VECTOR_P(p) PG_RETURN_POINTER(p)

/* A zeroed vector of dim elements in the current memory context. */
extern Vector *vector_make(int dim);

#endif							/* VDIST_TYPE_H */
