/*
 * vdist.c: the roof. _PG_init defines every setting and installs every hook; nothing else does.
 */
#include "compat.h"

#include <limits.h>

#include "fmgr.h"
#include "optimizer/planner.h"
#include "utils/guc.h"

#include "cluster/cluster.h"
#include "hnsw/hnsw.h"
#include "kernel/kernel.h"
#include "pgvector/pgvector.h"
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

static const struct config_enum_entry hnsw_iterative_options[] = {
	{"off", PGVECTOR_ITERATIVE_OFF, false},
	{"relaxed_order", PGVECTOR_ITERATIVE_RELAXED, false},
	{"strict_order", PGVECTOR_ITERATIVE_STRICT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry ivfflat_iterative_options[] = {
	{"off", PGVECTOR_ITERATIVE_OFF, false},
	{"relaxed_order", PGVECTOR_ITERATIVE_RELAXED, false},
	{NULL, 0, false}
};

/* Has another library, pgvector's own, defined this setting? A placeholder is no definition. */
static bool
setting_is_taken(const char *name)
{
	return GetConfigOption(name, true, false) != NULL &&
		(GetConfigOptionFlags(name, true) & GUC_CUSTOM_PLACEHOLDER) == 0;
}

/* The settings of extension "vector", once a session and not before that extension is in use. */
static void
define_pgvector_settings(void)
{
	static bool done = false;

	if (done)
		return;
	done = true;
	if (setting_is_taken("hnsw.ef_search") || setting_is_taken("ivfflat.probes"))
	{
		ereport(WARNING,
				(errmsg("settings hnsw.* and ivfflat.* belong to pgvector in this session"),
				 errdetail("Its library is loaded; indexes of vdist search with defaults.")));
		return;
	}

	DefineCustomIntVariable("hnsw.ef_search",
							"Rows that an index scan looks at before it returns the first, on the average.",
							"More find truer neighbors and take longer; fewer than 20 do as 20.",
							&pgvector_ef_search,
							HNSW_DEFAULT_EF_SEARCH, 1, PGVECTOR_MAX_EF_SEARCH,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("hnsw.iterative_scan",
							 "Whether hnsw.max_scan_tuples ends an index scan.",
							 "Scans go on, in strict order, in every mode.",
							 &pgvector_iterative_scan,
							 PGVECTOR_ITERATIVE_OFF, hnsw_iterative_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("hnsw.max_scan_tuples",
							"Rows after which an iterative index scan ends.",
							NULL,
							&pgvector_max_scan_tuples,
							20000, 1, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("hnsw.scan_mem_multiplier",
							 "Memory of an iterative index scan as a multiple of work_mem.",
							 "When it is used up, all rows not returned yet are sorted.",
							 &pgvector_scan_mem_multiplier,
							 1, 1, 1000,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ivfflat.probes",
							"Lists that an index scan would read.",
							"Its share of the option \"lists\" tells how many rows to look at.",
							&pgvector_probes,
							1, 1, PGVECTOR_MAX_LISTS,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("ivfflat.iterative_scan",
							 "Whether ivfflat.max_probes ends an index scan.",
							 NULL,
							 &pgvector_ivfflat_iterative_scan,
							 PGVECTOR_ITERATIVE_OFF, ivfflat_iterative_options,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ivfflat.max_probes",
							"Lists that an iterative index scan would read before it ends.",
							NULL,
							&pgvector_max_probes,
							PGVECTOR_MAX_LISTS, 1, PGVECTOR_MAX_LISTS,
							PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("hnsw");
	MarkGUCPrefixReserved("ivfflat");
}

static create_upper_paths_hook_type previous_upper_paths;

static void
upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input, RelOptInfo *output,
			void *extra)
{
	if (previous_upper_paths)
		previous_upper_paths(root, stage, input, output, extra);
	if (stage == UPPERREL_FINAL)
		hnsw_trim_paths(root, output);
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
	pgvector_init_options();
	pgvector_define_settings = define_pgvector_settings;
	if (pgvector_is_ours())
		define_pgvector_settings();
	previous_upper_paths = create_upper_paths_hook;
	create_upper_paths_hook = upper_paths;

	MarkGUCPrefixReserved("vdist");
}
