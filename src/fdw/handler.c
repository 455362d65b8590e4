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

	/* writing: modify.c, insert.c, direct.c */
	routine->IsForeignRelUpdatable = vdist_is_updatable;
	routine->AddForeignUpdateTargets = vdist_add_update_targets;
	routine->PlanForeignModify = vdist_plan_modify;
	routine->BeginForeignModify = vdist_begin_modify;
	routine->ExecForeignInsert = vdist_exec_insert;
	routine->ExecForeignUpdate = vdist_exec_modify;
	routine->ExecForeignDelete = vdist_exec_modify;
	routine->EndForeignModify = vdist_end_modify;
	routine->BeginForeignInsert = vdist_begin_foreign_insert;
	routine->EndForeignInsert = vdist_end_insert;
	routine->PlanDirectModify = vdist_plan_direct;
	routine->BeginDirectModify = vdist_begin_direct;
	routine->IterateDirectModify = vdist_iterate_direct;
	routine->EndDirectModify = vdist_end_direct;
	routine->ExplainForeignModify = vdist_explain_modify;
	routine->ExplainDirectModify = vdist_explain_direct;
	routine->ExecForeignTruncate = vdist_truncate;

	PG_RETURN_POINTER(routine);
}
