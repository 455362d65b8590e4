/*
 * handler.c: vdist_hnsw as core sees it: the table of callbacks, options and validation. Calls
 * nothing but those callbacks; called by core.
 */
#include "compat.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "hnsw/hnsw.h"

int			hnsw_ef_search = HNSW_DEFAULT_EF_SEARCH;

static relopt_kind hnsw_relopt_kind;

static relopt_enum_elt_def quantization_values[] = {
	{"auto", 0},
	{"1", 1},
	{"2", 2},
	{"4", 4},
	{"8", 8},
	{(const char *) NULL}
};

/* Define the options of HnswOptions for a kind of indexes. */
void
hnsw_add_options(bits32 kind)
{
	add_int_reloption(kind, "m", "neighbors of a row (twice as many at most)",
					  HNSW_DEFAULT_M, HNSW_MIN_M, HNSW_MAX_M, AccessExclusiveLock);
	add_int_reloption(kind, "ef_construction",
					  "rows looked at to find the neighbors of a new one",
					  HNSW_DEFAULT_EF_CONSTRUCTION, HNSW_MIN_EF_CONSTRUCTION,
					  HNSW_MAX_EF_CONSTRUCTION, AccessExclusiveLock);
	add_enum_reloption(kind, "quantization",
					   "bits a dimension of the codes that guide a search",
					   quantization_values, 0,
					   "Valid values are \"auto\", \"1\", \"2\", \"4\" and \"8\".",
					   AccessExclusiveLock);
}

/* Called once, by the roof. */
void
hnsw_init_options(void)
{
	hnsw_relopt_kind = add_reloption_kind();
	hnsw_add_options(hnsw_relopt_kind);
}

static bytea *
hnsw_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt tab[] = {
		{"m", RELOPT_TYPE_INT, offsetof(HnswOptions, m)},
		{"ef_construction", RELOPT_TYPE_INT, offsetof(HnswOptions, ef_construction)},
		{"quantization", RELOPT_TYPE_ENUM, offsetof(HnswOptions, quantization)}
	};

	return (bytea *) build_reloptions(reloptions, validate, hnsw_relopt_kind,
									  sizeof(HnswOptions), tab, lengthof(tab));
}

/* Every operator class has one support function and at least one ordering operator. */
static bool
hnsw_validate(Oid opclassoid)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclassoid));
	Form_pg_opclass opclass;
	CatCList   *procs;
	CatCList   *operators;
	bool		valid = true;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclassoid);
	opclass = (Form_pg_opclass) GETSTRUCT(tuple);
	procs = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(opclass->opcfamily));
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(opclass->opcfamily));

	if (procs->n_members != 1)
	{
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class \"%s\" of access method vdist_hnsw must have one support "
						"function", NameStr(opclass->opcname))));
		valid = false;
	}
	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop amop = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (amop->amoppurpose != AMOP_ORDER ||
			!opfamily_can_sort_type(amop->amopsortfamily, get_op_rettype(amop->amopopr)))
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator class \"%s\" of access method vdist_hnsw contains an "
							"operator that does not order", NameStr(opclass->opcname))));
			valid = false;
		}
	}
	ReleaseCatCacheList(procs);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return valid;
}

static char *
hnsw_build_phase(int64 phase)
{
	switch (phase)
	{
		case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
			return "initializing";
		case HNSW_PROGRESS_READ:
			return "reading vectors";
		case HNSW_PROGRESS_GRAPH:
			return "building graph";
		case HNSW_PROGRESS_WRITE:
			return "writing pages";
		default:
			return NULL;
	}
}

IndexAmRoutine *
hnsw_routine(void)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = 0;
	am->amsupport = 1;
	am->amcanorderbyop = true;
	am->amoptionalkey = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
	am->amkeytype = InvalidOid;

	am->ambuild = hnsw_build;
	am->ambuildempty = hnsw_build_empty;
	am->aminsert = hnsw_insert;
	am->ambulkdelete = hnsw_bulk_delete;
	am->amvacuumcleanup = hnsw_vacuum_cleanup;
	am->amcostestimate = hnsw_cost;
	am->amoptions = hnsw_options;
	am->ambuildphasename = hnsw_build_phase;
	am->amvalidate = hnsw_validate;
	am->ambeginscan = hnsw_begin_scan;
	am->amrescan = hnsw_rescan;
	am->amgettuple = hnsw_get_tuple;
	am->amendscan = hnsw_end_scan;
	return am;
}

PG_FUNCTION_INFO_V1(vdist_hnsw_handler);
Datum
vdist_hnsw_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(hnsw_routine());
}
