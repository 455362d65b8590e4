/*
 * type.h: the vector types as other folders see them. Heap and binary layout are pgvector's, so that
 * a table moves over without a rewrite. May call kernel/; included by the index wing.
 */
#ifndef VDIST_TYPE_H
#define VDIST_TYPE_H

#include "compat.h"

#include "fmgr.h"

#define VECTOR_MAX_DIM 16000

/* A varlena; storage "external": never compressed, moved out of line when large. */
typedef struct Vector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 to VECTOR_MAX_DIM */
	int16		unused;			/* 0 */
	float		x[FLEXIBLE_ARRAY_MEMBER];	/* finite */
} Vector;

#define VECTOR_SIZE(dim) (offsetof(Vector, x) + sizeof(float) * (dim))
#define DatumGetVector(d) vector_from_datum(d)
#define PG_GETARG_VECTOR_P(n) DatumGetVector(PG_GETARG_DATUM(n))
#define PG_RETURN_VECTOR_P(p) PG_RETURN_POINTER(p)

/* PG_DETOAST_DATUM, without the call when the vector lies there as it is. */
static inline Vector *
vector_from_datum(Datum d)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(d);

	return (Vector *) (VARATT_IS_4B_U(v) ? v : pg_detoast_datum(v));
}

/* ---- vector.c ---- */

/* A zeroed vector of dim elements (checked by the caller) in the current memory context. */
extern Vector *vector_make(int dim);

/* Error unless 1 <= dim <= VECTOR_MAX_DIM. */
extern void vector_check_dim(int dim);

/* Error unless dim is what the type modifier (-1: any) asks for. */
extern void vector_check_typmod(int32 typmod, int dim);

/* Error unless every element is finite. */
extern void vector_check_elements(const Vector *v);

/* The error of vector_check_same_dim. */
pg_noreturn extern void vector_dims_differ(const Vector *a, const Vector *b);

/* Error unless a and b have the same number of dimensions. */
static inline void
vector_check_same_dim(const Vector *a, const Vector *b)
{
	if (unlikely(a->dim != b->dim))
		vector_dims_differ(a, b);
}

/* ---- vector_compare.c ---- */

/* -1, 0 or 1: by elements, then by length, like arrays. */
extern int	vector_compare(const Vector *a, const Vector *b);

#endif							/* VDIST_TYPE_H */
