/*
 * metric.c: operator class -> distance, value -> vector. Calls the catalog caches, project.c, type/
 * and the kernels; called by the access methods.
 */
#include "compat.h"

#include <float.h>
#include <math.h>

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/float.h"
#include "utils/varbit.h"

#include "index/index.h"
#include "kernel/kernel.h"

/* Bounds lie that many standard deviations of the estimate's error from the estimate. */
#define BOUND_SIGMAS 6.0

/* With fewer dimensions, errors are not Gaussian. */
#define MIN_DIM_FOR_BOUNDS 64

/*
 * Elements beyond this are cut off in vectors that codes are made of, so that no sum of squares
 * overflows: an infinite estimate would compare with nothing. Estimates of that size say nothing of
 * the distance then.
 */
#define MAX_ELEMENT 1e16f
#define MAX_ESTIMATE 1e15

/*
 * What an operator's own result may be wrong by: of inner products and squared distances a share, of the cosine, a quotient
 * of sums, that much at any distance, which is more than near duplicates differ by. Codes are of differences and know better, but
 * rows are ordered by what the operator says.
 */
#define ROUNDING (8 * FLT_EPSILON)

/* A share of a distance that floats round off when it is computed from codes. */
#define TAXICAB_ROUNDING 1e-5f

#define DEFINE_SUPPORT(name, type, metric) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_INT32(VDIST_METRIC_OF(type, metric)); \
}

DEFINE_SUPPORT(vdist_metric_l2, VDIST_VECTOR, VDIST_METRIC_L2)
DEFINE_SUPPORT(vdist_metric_ip, VDIST_VECTOR, VDIST_METRIC_IP)
DEFINE_SUPPORT(vdist_metric_cosine, VDIST_VECTOR, VDIST_METRIC_COSINE)
DEFINE_SUPPORT(vdist_metric_l1, VDIST_VECTOR, VDIST_METRIC_L1)
DEFINE_SUPPORT(vdist_metric_halfvec_l2, VDIST_HALFVEC, VDIST_METRIC_L2)
DEFINE_SUPPORT(vdist_metric_halfvec_ip, VDIST_HALFVEC, VDIST_METRIC_IP)
DEFINE_SUPPORT(vdist_metric_halfvec_cosine, VDIST_HALFVEC, VDIST_METRIC_COSINE)
DEFINE_SUPPORT(vdist_metric_halfvec_l1, VDIST_HALFVEC, VDIST_METRIC_L1)
DEFINE_SUPPORT(vdist_metric_sparsevec_l2, VDIST_SPARSEVEC, VDIST_METRIC_L2)
DEFINE_SUPPORT(vdist_metric_sparsevec_ip, VDIST_SPARSEVEC, VDIST_METRIC_IP)
DEFINE_SUPPORT(vdist_metric_sparsevec_cosine, VDIST_SPARSEVEC, VDIST_METRIC_COSINE)
DEFINE_SUPPORT(vdist_metric_sparsevec_l1, VDIST_SPARSEVEC, VDIST_METRIC_L1)
DEFINE_SUPPORT(vdist_metric_bit_hamming, VDIST_BIT, VDIST_METRIC_HAMMING)
DEFINE_SUPPORT(vdist_metric_bit_jaccard, VDIST_BIT, VDIST_METRIC_JACCARD)

/* ---- the operator class ---- */

/* The dimensions of the column. */
static int
column_dim(Relation index, VdistType type)
{
	Form_pg_attribute column = TupleDescAttr(index->rd_att, 0);
	const char *name = vdist_type_name(type);

	if (column->atttypid == VARBITOID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type not supported for %s index", get_am_name(index->rd_rel->relam)),
				 errhint("Index the expression (column::bit(n)).")));
	if (column->atttypmod < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare the column as %s(n), or index the expression "
						 "(column::%s(n)).", name, name)));
	return column->atttypmod;
}

/*
 * Of vectors of 0 and 1 the squared L2 is the Hamming distance. With c for their cosine, the Jaccard
 * distance is at least 2 (1 - c) / (2 - c), which they reach when both have as many ones, and that is
 * at least 1 - c: near ones come near the front, and no row is nearer than its estimate says.
 *
 * A projection keeps squares, not absolutes: L1 becomes the squared L2 of signed square roots, which
 * is equal where one of two elements is zero, and smaller where both have one sign. Codes of many dimensions have too
 * few bits for L1, which must not be rotated: theirs are of the roots, too.
 */
void
vdist_index_metric(Relation index, VdistIndexMetric *metric)
{
	FmgrInfo   *proc = index_getprocinfo(index, 1, VDIST_METRIC_PROC);
	int			support = DatumGetInt32(FunctionCall1(proc, PointerGetDatum(NULL)));

	metric->type = (VdistType) (support >> 8);
	metric->metric = (VdistMetric) (support & 0xff);
	metric->dim = column_dim(index, metric->type);
	metric->projected = metric->type == VDIST_SPARSEVEC ? metric->dim > VDIST_PROJECTED_DIM :
		metric->dim > VECTOR_MAX_DIM;
	metric->code_dim = metric->projected ? VDIST_PROJECTED_DIM : metric->dim;
	metric->code_metric = metric->metric;
	if (metric->projected &&
		(metric->metric == VDIST_METRIC_HAMMING || metric->metric == VDIST_METRIC_L1))
		metric->code_metric = VDIST_METRIC_L2;
	else if (metric->metric == VDIST_METRIC_JACCARD)
		metric->code_metric = VDIST_METRIC_COSINE;
	else if (metric->metric == VDIST_METRIC_L1 && metric->dim >= VDIST_ROOTS_DIM)
		metric->code_metric = VDIST_METRIC_ROOTS;
}

void
vdist_index_set_dim(Relation index, VdistIndexMetric *metric, int code_dim)
{
	if (metric->projected && code_dim >= VDIST_PROJECTED_DIM_MIN &&
		code_dim <= VDIST_PROJECTED_DIM && VDIST_PROJECTED_DIM % code_dim == 0)
		metric->code_dim = code_dim;
	if (code_dim != metric->code_dim)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" was made for vectors of %d dimensions, expected %d",
						RelationGetRelationName(index), code_dim, metric->code_dim),
				 errhint("Please REINDEX it.")));
}

/* ---- vectors ---- */

/* The elements that are not zero, for a projection. */
static void
project_sparse(const VdistIndexMetric *metric, const SparseVector *value, float *out)
{
	const float *x = SPARSEVEC_VALUES(value);
	float	   *roots;

	if (metric->metric != VDIST_METRIC_L1)
	{
		vdist_project(value->nnz, value->indices, x, out);
		return;
	}
	roots = palloc(sizeof(float) * Max(value->nnz, 1));
	for (int i = 0; i < value->nnz; i++)
		roots[i] = copysignf(sqrtf(fabsf(x[i])), x[i]);
	vdist_project(value->nnz, value->indices, roots, out);
	pfree(roots);
}

static void
project_bits(const VarBit *value, float *out)
{
	const bits8 *bits = VARBITS(value);
	int			bytes = VARBITBYTES(value);
	const float ones[BITS_PER_BYTE] = {1, 1, 1, 1, 1, 1, 1, 1};

	for (int i = 0; i < bytes; i++)
	{
		int32		indices[BITS_PER_BYTE];
		int			n = 0;

		for (int j = 0; j < BITS_PER_BYTE; j++)
			if (bits[i] >> (7 - j) & 1)
				indices[n++] = i * BITS_PER_BYTE + j;
		vdist_project(n, indices, ones, out);
	}
}

Vector *
vdist_index_vector(const VdistIndexMetric *metric, struct varlena *value)
{
	Vector	   *v;

	if (metric->type == VDIST_VECTOR)
		return (Vector *) value;
	v = vector_make(metric->projected ? VDIST_PROJECTED_DIM : metric->code_dim);
	if (metric->projected)
	{
		if (metric->type == VDIST_SPARSEVEC)
			project_sparse(metric, (SparseVector *) value, v->x);
		else
			project_bits((VarBit *) value, v->x);
		vdist_project_fold(v->x, metric->code_dim);
		v->dim = metric->code_dim;
	}
	else if (metric->type == VDIST_HALFVEC)
		vdist_kernel->half_to_float(v->dim, ((HalfVector *) value)->x, v->x);
	else if (metric->type == VDIST_SPARSEVEC)
	{
		SparseVector *sparse = (SparseVector *) value;

		for (int i = 0; i < sparse->nnz; i++)
			v->x[sparse->indices[i]] = SPARSEVEC_VALUES(sparse)[i];
	}
	else
		for (int i = 0; i < v->dim; i++)
			v->x[i] = VARBITS(value)[i / BITS_PER_BYTE] >> (7 - i % BITS_PER_BYTE) & 1;
	return v;
}

uint32
vdist_index_hash_floats(int dim, const float *x)
{
	uint32		hash = 0;

	/* minus zero equals zero */
	for (int i = 0; i < dim; i++)
	{
		float		element = x[i] + 0.0f;
		uint32		bits;

		memcpy(&bits, &element, sizeof(bits));
		hash = hash_combine(hash, murmurhash32(bits));
	}
	return hash;
}

uint32
vdist_index_hash(const VdistIndexMetric *metric, const struct varlena *value, const Vector *vector)
{
	if (metric->projected)
		return hash_bytes((const unsigned char *) VARDATA(value), VARSIZE(value) - VARHDRSZ);
	return vdist_index_hash_floats(vector->dim, vector->x);
}

/* ---- distances ---- */

double
vdist_index_distance(const VdistIndexMetric *metric, const struct varlena *a,
					 const struct varlena *b)
{
	double		d = vdist_distance(metric->type, metric->metric, a, b);

	return isnan(d) ? get_float8_infinity() : Min(d, DBL_MAX);
}

double
vdist_index_estimate(const VdistIndexMetric *metric, double estimate)
{
	return metric->code_metric == VDIST_METRIC_COSINE ? estimate / 2 : estimate;
}

/*
 * The error of a projection is not Gaussian where few large elements make a vector: no bounds then,
 * every row that a search finds is looked at itself.
 */
void
vdist_index_bounds(const VdistIndexMetric *metric, double estimate, double error, double *lower,
				   double *upper)
{
	*lower = -get_float8_infinity();
	*upper = get_float8_infinity();
	if (metric->projected || !(fabs(estimate) < MAX_ESTIMATE))
		return;
	error = BOUND_SIGMAS * error +
		ROUNDING * (metric->code_metric == VDIST_METRIC_COSINE ? 2 : fabs(estimate));
	*lower = vdist_index_estimate(metric, estimate - error);
	/* the errors of few dimensions are not Gaussian, those of L1 not independent */
	if (metric->dim >= MIN_DIM_FOR_BOUNDS && metric->metric != VDIST_METRIC_L1 &&
		metric->metric != VDIST_METRIC_JACCARD)
		*upper = vdist_index_estimate(metric, estimate + error);
}

bool
vdist_index_decodes(const VdistIndexMetric *metric)
{
	return metric->metric == VDIST_METRIC_L1 && metric->code_metric != VDIST_METRIC_L1 &&
		!metric->projected;
}

double
vdist_index_taxicab_bounds(const VdistIndexMetric *metric, const float *query, const float *row,
						   float lost, double *lower, double *upper)
{
	float		error;
	float		unseen;
	double		distance = vdist_quant_taxicab(metric->code_dim,
											   metric->code_metric == VDIST_METRIC_ROOTS, query,
											   row, lost, &error, &unseen);

	*lower = -get_float8_infinity();
	*upper = get_float8_infinity();
	if (!(distance < MAX_ESTIMATE))
		return distance;

	/* floats round sums, and roots */
	error = BOUND_SIGMAS * error + TAXICAB_ROUNDING * distance;
	*lower = distance - unseen - error;
	if (metric->dim >= MIN_DIM_FOR_BOUNDS)
		*upper = distance + error;
	return distance;
}

VdistQuantMetric
vdist_metric_quant(VdistMetric metric)
{
	switch (metric)
	{
		case VDIST_METRIC_L2:
		case VDIST_METRIC_COSINE:
		case VDIST_METRIC_HAMMING:
		case VDIST_METRIC_ROOTS:
			return VDIST_QUANT_L2;
		case VDIST_METRIC_IP:
			return VDIST_QUANT_IP;
		case VDIST_METRIC_L1:
			return VDIST_QUANT_L1;
		default:
			break;
	}
	elog(ERROR, "no codes for metric %d", (int) metric);
	return VDIST_QUANT_L2;
}

bool
vdist_metric_prepare(VdistMetric metric, int dim, const float *x, float *out)
{
	float		norm2;
	float		inverse;

	if (metric == VDIST_METRIC_ROOTS)
	{
		for (int i = 0; i < dim; i++)
			out[i] = copysignf(fminf(sqrtf(fabsf(x[i])), MAX_ELEMENT), x[i]);
		return true;
	}
	if (metric != VDIST_METRIC_COSINE)
	{
		for (int i = 0; i < dim; i++)
			out[i] = x[i] > MAX_ELEMENT ? MAX_ELEMENT : x[i] < -MAX_ELEMENT ? -MAX_ELEMENT : x[i];
		return true;
	}
	norm2 = vdist_kernel->inner_product(dim, x, x);
	inverse = (float) (1.0 / sqrt((double) norm2));
	if (!(norm2 > 0) || isinf(norm2) || isinf(inverse))
	{
		memset(out, 0, sizeof(float) * dim);
		return false;
	}
	for (int i = 0; i < dim; i++)
		out[i] = x[i] * inverse;
	return true;
}
