/*
 * am.c: the access methods hnsw and ivfflat: vdist_hnsw, searching by pgvector's settings. Calls
 * hnsw/; called by core.
 *
 * There are no lists behind ivfflat: its indexes are graphs, too. What its options and settings say of
 * effort is translated into that of a graph search.
 */
#include "compat.h"

#include <math.h>

#include "access/relscan.h"
#include "access/reloptions.h"
#include "miscadmin.h"

#include "hnsw/hnsw.h"
#include "pgvector/pgvector.h"

typedef struct IvfflatOptions
{
	HnswOptions graph;
	int			lists;
} IvfflatOptions;

int			pgvector_ef_search = HNSW_DEFAULT_EF_SEARCH;
int			pgvector_iterative_scan = PGVECTOR_ITERATIVE_OFF;
int			pgvector_max_scan_tuples = 20000;
double		pgvector_scan_mem_multiplier = 1;
int			pgvector_probes = 1;
int			pgvector_ivfflat_iterative_scan = PGVECTOR_ITERATIVE_OFF;
int			pgvector_max_probes = PGVECTOR_MAX_LISTS;

void		(*pgvector_define_settings) (void);

static relopt_kind ivfflat_relopt_kind;

/* Called once, by the roof. */
void
pgvector_init_options(void)
{
	ivfflat_relopt_kind = add_reloption_kind();
	hnsw_add_options(ivfflat_relopt_kind);
	add_int_reloption(ivfflat_relopt_kind, "lists",
					  "lists of pgvector's index: what ivfflat.probes is a part of",
					  PGVECTOR_DEFAULT_LISTS, 1, PGVECTOR_MAX_LISTS, AccessExclusiveLock);
}

static bytea *
ivfflat_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt tab[] = {
		{"m", RELOPT_TYPE_INT, offsetof(IvfflatOptions, graph.m)},
		{"ef_construction", RELOPT_TYPE_INT, offsetof(IvfflatOptions, graph.ef_construction)},
		{"quantization", RELOPT_TYPE_ENUM, offsetof(IvfflatOptions, graph.quantization)},
		{"lists", RELOPT_TYPE_INT, offsetof(IvfflatOptions, lists)}
	};

	return (bytea *) build_reloptions(reloptions, validate, ivfflat_relopt_kind,
									  sizeof(IvfflatOptions), tab, lengthof(tab));
}

/*
 * A scan goes on until nobody asks for more, as vdist_hnsw's do: a condition that most rows fail would
 * leave a query without its rows otherwise. Iterative scans end where pgvector's do. Rows come in
 * the order of their distances either way, which is strict_order.
 */
static void
hnsw_names_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScanLimits limits;

	limits.ef = pgvector_ef_search;
	limits.rows = pgvector_iterative_scan == PGVECTOR_ITERATIVE_OFF ? 0 : pgvector_max_scan_tuples;
	limits.memory = pgvector_scan_mem_multiplier * work_mem * 1024.0;
	hnsw_rescan(scan, keys, nkeys, orderbys, norderbys);
	hnsw_limit_scan(scan, &limits);
}

/*
 * The share of the lists that would be read says how many rows to look at, within what suits a graph.
 * Only max_probes ends a scan: rows of lists not probed would be lost by chance, not by distance.
 */
static void
ivfflat_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	IvfflatOptions *options = (IvfflatOptions *) scan->indexRelation->rd_options;
	double		lists = options ? options->lists : PGVECTOR_DEFAULT_LISTS;
	double		rows = Max(scan->indexRelation->rd_rel->reltuples, 0);
	HnswScanLimits limits = {0};
	double		ef = ceil(rows * Min(pgvector_probes / lists, 1));

	limits.ef = (int) Max(HNSW_DEFAULT_EF_SEARCH, Min(ef, PGVECTOR_MAX_EF_SEARCH));
	if (pgvector_ivfflat_iterative_scan != PGVECTOR_ITERATIVE_OFF && pgvector_max_probes < lists)
		limits.rows = (int64) ceil(rows * Max(pgvector_max_probes, pgvector_probes) / lists);
	hnsw_rescan(scan, keys, nkeys, orderbys, norderbys);
	hnsw_limit_scan(scan, &limits);
}

PG_FUNCTION_INFO_V1(vdist_pgvector_hnsw_handler);
Datum
vdist_pgvector_hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = hnsw_routine();

	pgvector_define_settings();
	am->amrescan = hnsw_names_rescan;
	PG_RETURN_POINTER(am);
}

PG_FUNCTION_INFO_V1(vdist_pgvector_ivfflat_handler);
Datum
vdist_pgvector_ivfflat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = hnsw_routine();

	pgvector_define_settings();
	am->amoptions = ivfflat_options;
	am->amrescan = ivfflat_rescan;
	PG_RETURN_POINTER(am);
}
