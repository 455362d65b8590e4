/*
 * handler.c: the foreign-data wrapper's entry point: which function answers which of the planner's
 * and executor's questions.
 */
#include "fdw/fdw.h"

#include "fmgr.h"

PG_FUNCTION_INFO_V1(vdist_fdw_handler);

Datum
vdist_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	/* planning: path.c, plan.c */
	routine->GetForeignRelSize = vdist_get_rel_size;
	routine->GetForeignPaths = vdist_get_paths;
	routine->GetForeignUpperPaths = vdist_get_upper_paths;
	routine->GetForeignPlan = vdist_get_plan;

	/* reading: scan.c */
	routine->BeginForeignScan = vdist_begin_scan;
	routine->IterateForeignScan = vdist_iterate_scan;
	routine->ReScanForeignScan = vdist_rescan;
	routine->EndForeignScan = vdist_end_scan;

	routine->ExplainForeignScan = vdist_explain_scan;
	routine->AnalyzeForeignTable = vdist_analyze;

	PG_RETURN_POINTER(routine);
}
