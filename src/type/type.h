/*
 * type.h: the vector types as other folders see them. Heap and binary layout are pgvector's, so that
 * a table moves over without a rewrite. May call kernel/; included by the index wing.
 */
#ifndef VDIST_TYPE_H
#define VDIST_TYPE_H

#include "compat.h"

#include "fmgr.h"
#include "utils/array.h"

#include "kernel/kernel.h"
#include "type/parse.h"

#define VECTOR_MAX_DIM 16000
#define SPARSEVEC_MAX_DIM 1000000000
#define SPARSEVEC_MAX_NNZ 16000

typedef enum VdistType
{
	VDIST_VECTOR,
	VDIST_HALFVEC,
	VDIST_SPARSEVEC,
	VDIST_BIT					/* core's, with distances of ours */
} VdistType;

/* Distances. Indexes store them: never renumber. */
typedef enum VdistMetric
{
	VDIST_METRIC_L2,
	VDIST_METRIC_IP,
	VDIST_METRIC_COSINE,
	VDIST_METRIC_L1,
	VDIST_METRIC_HAMMING,		/* of bit, as the next */
	VDIST_METRIC_JACCARD,
	VDIST_METRIC_ROOTS			/* of an index's codes alone, see vdist_index_metric */
} VdistMetric;

/* All are varlenas of storage "external": never compressed, moved out of line when large. */
typedef struct Vector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 to VECTOR_MAX_DIM */
	int16		unused;			/* 0 */
	float		x[FLEXIBLE_ARRAY_MEMBER];	/* finite */
} Vector;

typedef struct HalfVector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;			/* 1 to VECTOR_MAX_DIM */
	int16		unused;			/* 0 */
	VdistHalf	x[FLEXIBLE_ARRAY_MEMBER];	/* finite */
} HalfVector;

typedef struct SparseVector
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int32		dim;			/* 1 to SPARSEVEC_MAX_DIM */
	int32		nnz;			/* 0 to SPARSEVEC_MAX_NNZ */
	int32		unused;			/* 0 */
	int32		indices[FLEXIBLE_ARRAY_MEMBER]; /* ascending, counted from 0; then float[nnz] */
} SparseVector;

#define SPARSEVEC_SIZE(nnz) \
	(offsetof(SparseVector, indices) + (sizeof(int32) + sizeof(float)) * (Size) (nnz))
#define SPARSEVEC_VALUES(v) ((float *) ((v)->indices + (v)->nnz))

/* PG_DETOAST_DATUM, without the call when the value lies there as it is. */
static inline struct varlena *
vdist_detoast(Datum d)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(d);

	return VARATT_IS_4B_U(v) ? v : pg_detoast_datum(v);
}

#define DatumGetVector(d) ((Vector *) vdist_detoast(d))
#define DatumGetHalfVector(d) ((HalfVector *) vdist_detoast(d))
#define DatumGetSparseVector(d) ((SparseVector *) vdist_detoast(d))
#define PG_GETARG_VECTOR_P(n) DatumGetVector(PG_GETARG_DATUM(n))
#define PG_GETARG_HALFVEC_P(n) DatumGetHalfVector(PG_GETARG_DATUM(n))
#define PG_GETARG_SPARSEVEC_P(n) DatumGetSparseVector(PG_GETARG_DATUM(n))
#define PG_RETURN_VECTOR_P(p) PG_RETURN_POINTER(p)

/* ---- check.c: what every type checks, with the same errors ---- */

extern const char *vdist_type_name(VdistType type);
extern int	vdist_type_max_dim(VdistType type);

/* The dimensions of a value that is not toasted. */
extern int	vdist_value_dim(VdistType type, const struct varlena *value);

/* Error unless 1 <= dim <= the type's limit. */
extern void vdist_check_dim(VdistType type, int dim);

/* Error unless dim is what the type modifier (-1: any) asks for. */
extern void vdist_check_typmod(int32 typmod, int dim);

/* Error unless the n elements are finite. */
extern void vdist_check_elements(VdistType type, int n, const float *x);

/* The error of vdist_check_same_dim. */
pg_noreturn extern void vdist_dims_differ(VdistType type, int a, int b);

/* Error unless two values have the same number of dimensions. */
static inline void
vdist_check_same_dim(VdistType type, int a, int b)
{
	if (unlikely(a != b))
		vdist_dims_differ(type, a, b);
}

/* The body of the typmod_in functions: one number, from 1 to the type's limit. */
extern int32 vdist_typmod_in(VdistType type, ArrayType *modifiers);

/* The number of elements of a one-dimensional array without nulls; else an error. */
extern int	vdist_array_dim(ArrayType *array);

/* The elements of such an array of integer, real, double precision or numeric; else an error. */
extern void vdist_array_floats(ArrayType *array, int n, float *x);

/* The Euclidean norm of n floats, in double, so that it cannot overflow. */
extern double vdist_norm(int n, const float *x);

/* The text, cut off at its end when it is long, for an error message. */
extern const char *vdist_quoted(const char *text, Size length);

/*
 * Report what the parser says of text, at the number of length bytes; returns when the caller of the
 * input function wants no error raised (escontext).
 */
extern Datum vdist_parse_failed(fmNodePtr escontext, VdistType type, VectorParseError error,
								const char *text, const char *at, int length);

/* ---- dense.c: vector and halfvec, which differ in their elements only ---- */

typedef struct Dense
{
	int32		vl_len_;		/* varlena header, do not touch directly */
	int16		dim;
	int16		unused;
	char		data[FLEXIBLE_ARRAY_MEMBER];	/* float or VdistHalf */
} Dense;

#define DENSE_ELEMENT(type) ((type) == VDIST_VECTOR ? sizeof(float) : sizeof(VdistHalf))
#define DENSE_SIZE(type, dim) (offsetof(Dense, data) + DENSE_ELEMENT(type) * (dim))
#define DatumGetDense(d) ((Dense *) vdist_detoast(d))
#define PG_GETARG_DENSE_P(n) DatumGetDense(PG_GETARG_DATUM(n))

/*
 * An SQL function of both types: vector_name and halfvec_name out of dense_name, which is inlined so
 * that each has code for its own elements.
 */
#define DENSE_BODY static pg_attribute_always_inline Datum
#define DENSE_FUNCTION(name) \
PG_FUNCTION_INFO_V1(vector_##name); \
Datum \
vector_##name(PG_FUNCTION_ARGS) \
{ \
	return dense_##name(fcinfo, VDIST_VECTOR); \
} \
PG_FUNCTION_INFO_V1(halfvec_##name); \
Datum \
halfvec_##name(PG_FUNCTION_ARGS) \
{ \
	return dense_##name(fcinfo, VDIST_HALFVEC); \
}

/* Zeroed, of dim elements (checked by the caller), in the current memory context. */
extern Dense *dense_make(VdistType type, int dim);

static inline Vector *
vector_make(int dim)
{
	return (Vector *) dense_make(VDIST_VECTOR, dim);
}

#define vector_check_dim(dim) vdist_check_dim(VDIST_VECTOR, dim)

/* A value of dim elements, rounded from x; error when one is not finite or not in range. */
extern Dense *dense_from_floats(VdistType type, int dim, const float *x);

/* Error when an element is infinite, as one computed from finite ones is by overflow. */
extern void dense_check_overflow(VdistType type, const Dense *v);

/* Conversions of halves, out of line. */
extern float *dense_convert(const Dense *v);
extern void dense_round_halves(Dense *v, const float *x);

/* The elements as floats: where they are, or a converted copy. */
static inline const float *
dense_floats(VdistType type, const Dense *v)
{
	return type == VDIST_VECTOR ? (const float *) v->data : dense_convert(v);
}

/* Room for the elements of v as floats, for dense_round to put into v. */
static inline float *
dense_room(VdistType type, Dense *v)
{
	return type == VDIST_VECTOR ? (float *) v->data : palloc(sizeof(float) * v->dim);
}

static inline void
dense_round(VdistType type, Dense *v, const float *x)
{
	if (type != VDIST_VECTOR)
		dense_round_halves(v, x);
}

static inline float
dense_element(VdistType type, const Dense *v, int i)
{
	return type == VDIST_VECTOR ? ((const float *) v->data)[i] :
		vdist_half_to_float(((const VdistHalf *) v->data)[i]);
}

/* ---- distance.c ---- */

/*
 * The distance of two values, not toasted and of equal dimensions, that the operators tell; for L2 its
 * square.
 */
extern double vdist_distance(VdistType type, VdistMetric metric, const struct varlena *a,
							 const struct varlena *b);

/* ---- sparsevec.c ---- */

/* A zeroed value of nnz elements (both checked by the caller) in the current memory context. */
extern SparseVector *sparsevec_make(int dim, int nnz);

/* Error unless a value of dim dimensions can have nnz elements. */
extern void sparsevec_check_nnz(int nnz, int dim);

/* Of the elements of x that are not zero; error when one is not finite or there are too many. */
extern SparseVector *sparsevec_from_floats(int dim, const float *x);

/* ---- feature.c ---- */

/*
 * The finaliser of MurmurHash3, after which every bit depends on every bit. Stored vectors and codes depend
 * on it: it never changes.
 */
static inline uint64
vdist_mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

#endif							/* VDIST_TYPE_H */
