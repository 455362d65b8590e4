/*
 * metric.c: operator class -> distance. Calls the catalog caches and the kernels; called by the
 * access methods.
 */
#include "compat.h"

#include <math.h>

#include "access/genam.h"
#include "fmgr.h"
#include "utils/float.h"

#include "index/index.h"
#include "kernel/kernel.h"

PG_FUNCTION_INFO_V1(vdist_metric_l2);
Datum
vdist_metric_l2(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VDIST_METRIC_L2);
}

PG_FUNCTION_INFO_V1(vdist_metric_ip);
Datum
vdist_metric_ip(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VDIST_METRIC_IP);
}

PG_FUNCTION_INFO_V1(vdist_metric_cosine);
Datum
vdist_metric_cosine(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VDIST_METRIC_COSINE);
}

PG_FUNCTION_INFO_V1(vdist_metric_l1);
Datum
vdist_metric_l1(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(VDIST_METRIC_L1);
}

VdistMetric
vdist_index_metric(Relation index)
{
	FmgrInfo   *proc = index_getprocinfo(index, 1, VDIST_METRIC_PROC);

	return (VdistMetric) DatumGetInt32(FunctionCall1(proc, PointerGetDatum(NULL)));
}

int
vdist_index_dim(Relation index)
{
	int32		typmod = TupleDescAttr(index->rd_att, 0)->atttypmod;

	if (typmod < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 errhint("Declare the column as vector(n), or index the expression "
						 "(column::vector(n)).")));
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
