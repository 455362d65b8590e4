/*
 * vdist.c: the roof. _PG_init defines every setting and installs every hook; nothing else does.
 */
#include "compat.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"

#include "cluster/cluster.h"
#include "hnsw/hnsw.h"
#include "kernel/kernel.h"
#include "quant/quant.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

static int	simd = VDIST_SIMD_AUTO;

static const struct config_enum_entry simd_options[] = {
	{"auto", VDIST_SIMD_AUTO, false},
	{"scalar", VDIST_SIMD_SCALAR, false},
	{"avx2", VDIST_SIMD_AVX2, false},
	{"avx512", VDIST_SIMD_AVX512, false},
	{NULL, 0, false}
};

static bool
check_simd(int *newval, void **extra, GucSource source)
{
	if (vdist_kernel_supported((VdistSimd) *newval))
		return true;
	GUC_check_errdetail("This processor, operating system or build does not support it.");
	return false;
}

static void
assign_simd(int newval, void *extra)
{
	vdist_kernel_select((VdistSimd) newval);
	vdist_quant_select((VdistSimd) newval);
}

void
_PG_init(void)
{
	DefineCustomEnumVariable("vdist.simd",
							 "Instruction set of the distance kernels.",
							 "All give the same results; \"auto\" takes the widest that this "
							 "processor has. Meant for tests.",
							 &simd,
							 VDIST_SIMD_AUTO,
							 simd_options,
							 PGC_USERSET,
							 0,
							 check_simd,
							 assign_simd,
							 NULL);

	DefineCustomIntVariable("vdist.connect_timeout",
							"How long to wait for connections to shards.",
							"All missing connections are opened at once within this time.",
							&vdist_connect_timeout,
							5000, 1, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	vdist_conn_forward("lock_timeout");
	vdist_xact_init();

	DefineCustomIntVariable("vdist.hnsw_ef_search",
							"Rows that an index scan looks at before it returns the first.",
							"More find truer neighbors and take longer.",
							&hnsw_ef_search,
							HNSW_DEFAULT_EF_SEARCH, HNSW_MIN_EF_SEARCH, HNSW_MAX_EF_SEARCH,
							PGC_USERSET, 0, NULL, NULL, NULL);
	vdist_conn_forward("vdist.hnsw_ef_search");
	hnsw_init_options();

	MarkGUCPrefixReserved("vdist");
}
