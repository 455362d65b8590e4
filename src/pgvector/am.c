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

/* Cosine indexes of pgvector leave out zero vectors, whose distances are NaN; in ours they are the last. */
static bool
leaves_out_zeros(Relation index)
{
	VdistIndexMetric metric;

	vdist_index_metric(index, &metric);
	return metric.metric == VDIST_METRIC_COSINE;
}

/*
 * A scan goes on until nobody asks for more, as vdist_hnsw's do: a condition that most rows fail would
 * leave a query without its rows otherwise. Iterative scans end where pgvector's do, after
 * max_scan_tuples or, if that is less, with their first search. Rows come in the order of their
 * distances either way, which is strict_order.
 */
static void
hnsw_names_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	HnswScanLimits limits = {0};

	limits.ordered = leaves_out_zeros(scan->indexRelation);
	limits.ef = pgvector_ef_search;
	limits.rows = pgvector_iterative_scan == PGVECTOR_ITERATIVE_OFF ? 0 :
		Max(pgvector_max_scan_tuples, pgvector_ef_search);
	limits.memory = pgvector_scan_mem_multiplier * work_mem * 1024.0;
	hnsw_rescan(scan, keys, nkeys, orderbys, norderbys);
	hnsw_limit_scan(scan, &limits);
}

static void
hnsw_names_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
				Selectivity *selectivity, double *correlation, double *pages)
{
	hnsw_cost_of(pgvector_ef_search, root, path, loop_count, startup, total, selectivity,
				 correlation, pages);
}

static int
ivfflat_lists(Relation index)
{
	IvfflatOptions *options = (IvfflatOptions *) index->rd_options;

	return options ? options->lists : PGVECTOR_DEFAULT_LISTS;
}

/*
 * Rows that a scan looks at before it returns the first: a tenth of those in the lists that would be read,
 * within what suits a graph, which finds far more with these. To read all lists means to find the true
 * neighbors.
 */
static double
ivfflat_effort(double rows, int lists)
{
	if (pgvector_probes >= lists)
		return rows;
	return Max(HNSW_DEFAULT_EF_SEARCH,
			   Min(ceil(rows * pgvector_probes / lists / 10), PGVECTOR_MAX_EF_SEARCH));
}

/* Only max_probes ends a scan: rows of lists not probed would be lost by chance, not by distance. */
static void
ivfflat_rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	int			lists = ivfflat_lists(scan->indexRelation);
	double		rows = Max(scan->indexRelation->rd_rel->reltuples, 0);
	HnswScanLimits limits = {0};

	limits.exact = pgvector_probes >= lists;
	limits.ordered = leaves_out_zeros(scan->indexRelation);
	if (!limits.exact)
	{
		limits.ef = (int) ivfflat_effort(rows, lists);
		if (pgvector_ivfflat_iterative_scan != PGVECTOR_ITERATIVE_OFF && pgvector_max_probes < lists)
			limits.rows = (int64) ceil(rows * Max(pgvector_max_probes, pgvector_probes) / lists);
	}
	hnsw_rescan(scan, keys, nkeys, orderbys, norderbys);
	hnsw_limit_scan(scan, &limits);
}

static void
ivfflat_cost(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
			 Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	int			lists = PGVECTOR_DEFAULT_LISTS;

	if (!info->hypothetical)
	{
		Relation	index = index_open(info->indexoid, NoLock);

		lists = ivfflat_lists(index);
		index_close(index, NoLock);
	}
	hnsw_cost_of(ivfflat_effort(info->tuples, lists), root, path, loop_count, startup, total,
				 selectivity, correlation, pages);
}

/*
 * Build a graph, and say what pgvector says of too few rows, so that who looks for it finds it: there,
 * centers of lists are found once, when the index is built.
 */
static IndexBuildResult *
ivfflat_build(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = hnsw_build(heap, index, info);

	if (result->index_tuples < ivfflat_lists(index))
		ereport(NOTICE,
				(errmsg("ivfflat index created with little data"),
				 errdetail("This will cause low recall."),
				 errhint("Drop the index until the table has more data.")));
	return result;
}

PG_FUNCTION_INFO_V1(vdist_pgvector_hnsw_handler);
Datum
vdist_pgvector_hnsw_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = hnsw_routine();

	pgvector_define_settings();
	am->amcostestimate = hnsw_names_cost;
	am->amrescan = hnsw_names_rescan;
	PG_RETURN_POINTER(am);
}

PG_FUNCTION_INFO_V1(vdist_pgvector_ivfflat_handler);
Datum
vdist_pgvector_ivfflat_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = hnsw_routine();

	pgvector_define_settings();
	am->ambuild = ivfflat_build;
	am->amoptions = ivfflat_options;
	am->amcostestimate = ivfflat_cost;
	am->amrescan = ivfflat_rescan;
	PG_RETURN_POINTER(am);
}
