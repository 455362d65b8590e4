/*
 * metric.c: operator class -> distance. Calls the catalog caches and the kernels; called by the
 * access methods.
 */
#include "compat.h"

#include <math.h>

#include "access/genam.h"
#include "fmgr.h"
#include "utils/float.h"
#include "utils/varbit.h"

#include "index/index.h"
#include "kernel/kernel.h"

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

/*
 * Of vectors of 0 and 1 the squared L2 is the Hamming distance. With c for their cosine, the Jaccard
 * distance is at least 2 (1 - c) / (2 - c), which they reach when both have as many ones, and that is
 * at least 1 - c: near ones come near the front, and no row is nearer than its estimate says.
 */
DEFINE_SUPPORT(vdist_metric_bit_hamming, VDIST_BIT, VDIST_METRIC_L2)
DEFINE_SUPPORT(vdist_metric_bit_jaccard, VDIST_BIT, VDIST_METRIC_COSINE)

static int
support(Relation index)
{
	FmgrInfo   *proc = index_getprocinfo(index, 1, VDIST_METRIC_PROC);

	return DatumGetInt32(FunctionCall1(proc, PointerGetDatum(NULL)));
}

VdistMetric
vdist_index_metric(Relation index)
{
	return (VdistMetric) (support(index) & 0xff);
}

VdistType
vdist_index_type(Relation index)
{
	return (VdistType) (support(index) >> 8);
}

bool
vdist_index_is_exact(Relation index)
{
	return support(index) != VDIST_METRIC_OF(VDIST_BIT, VDIST_METRIC_COSINE);
}

static Vector *
vector_of_bits(VarBit *bits)
{
	int			n = VARBITLEN(bits);
	Vector	   *v;

	/* a value that went around the column's modifier: its length is an error of the caller's */
	if (n > VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("bit string of %d bits is too long for an index", n)));
	v = vector_make(n);
	for (int i = 0; i < n; i++)
		v->x[i] = VARBITS(bits)[i / 8] >> (7 - i % 8) & 1;
	return v;
}

Vector *
vdist_index_vector(Relation index, Datum value)
{
	switch (vdist_index_type(index))
	{
		case VDIST_VECTOR:
			return DatumGetVector(value);
		case VDIST_HALFVEC:
			{
				HalfVector *half = DatumGetHalfVector(value);
				Vector	   *v = vector_make(half->dim);

				vdist_kernel->half_to_float(half->dim, half->x, v->x);
				return v;
			}
		case VDIST_BIT:
			return vector_of_bits((VarBit *) vdist_detoast(value));
		case VDIST_SPARSEVEC:
			break;
	}
	elog(ERROR, "unknown type %d of an index", (int) vdist_index_type(index));
	return NULL;
}

int
vdist_index_dim(Relation index)
{
	int32		typmod = TupleDescAttr(index->rd_att, 0)->atttypmod;
	const char *type = vdist_type_name(vdist_index_type(index));

	if (typmod < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare the column as %s(n), or index the expression "
						 "(column::%s(n)).", type, type)));
	if (typmod > VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for an index",
						VECTOR_MAX_DIM)));
	return typmod;
}

VdistQuantMetric
vdist_metric_quant(VdistMetric metric)
{
	switch (metric)
	{
		case VDIST_METRIC_L2:
		case VDIST_METRIC_COSINE:
			return VDIST_QUANT_L2;
		case VDIST_METRIC_IP:
			return VDIST_QUANT_IP;
		case VDIST_METRIC_L1:
			return VDIST_QUANT_L1;
	}
	elog(ERROR, "unknown metric %d", (int) metric);
	return VDIST_QUANT_L2;
}

double
vdist_metric_distance(VdistMetric metric, int dim, const float *a, const float *b)
{
	double		d;

	switch (metric)
	{
		case VDIST_METRIC_L2:
			d = vdist_kernel->l2_squared(dim, a, b);
			break;
		case VDIST_METRIC_IP:
			d = -vdist_kernel->inner_product(dim, a, b);
			break;
		case VDIST_METRIC_COSINE:
			{
				float		ab;
				float		aa;
				float		bb;

				vdist_kernel->dot_and_norms(dim, a, b, &ab, &aa, &bb);
				d = (double) ab / sqrt((double) aa * (double) bb);
				d = 1.0 - (d > 1 ? 1 : d < -1 ? -1 : d);
				break;
			}
		default:
			d = vdist_kernel->l1(dim, a, b);
	}
	return isnan(d) ? get_float8_infinity() : d;
}

bool
vdist_metric_prepare(VdistMetric metric, int dim, const float *x, float *out)
{
	float		norm2;
	float		inverse;

	if (metric != VDIST_METRIC_COSINE)
	{
		memcpy(out, x, sizeof(float) * dim);
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
