/*
 * explain.c: what EXPLAIN says of a foreign scan: the shards, what they sort and limit, with VERBOSE
 * the remote statement, with ANALYZE what each shard did. Never a parameter's value.
 */
#include "fdw/fdw.h"

#include "foreign/foreign.h"
#include "lib/stringinfo.h"

void
vdist_explain_shards(int n, const Oid *servers, const VdistShardStats *stats, ExplainState *es)
{
	int			i;

	ExplainOpenGroup("Shard Details", "Shard Details", false, es);
	for (i = 0; i < n; i++)
	{
		const char *name = GetForeignServer(servers[i])->servername;

		if (es->format == EXPLAIN_FORMAT_TEXT)
		{
			appendStringInfoSpaces(es->str, es->indent * 2);
			appendStringInfo(es->str, "Shard %s", name);
			if (stats != NULL && stats[i].requests == 0)
				appendStringInfoString(es->str, ": not asked");
			else if (stats != NULL)
			{
				appendStringInfo(es->str, ": rows=" INT64_FORMAT, stats[i].rows);
				if (stats[i].requests > 1)
					appendStringInfo(es->str, " requests=%d", stats[i].requests);
				if (es->timing)
					appendStringInfo(es->str, " time=%.3f ms", stats[i].msec);
				appendStringInfo(es->str, " bytes=" INT64_FORMAT, stats[i].bytes);
			}
			appendStringInfoChar(es->str, '\n');
			continue;
		}

		ExplainOpenGroup("Shard", NULL, true, es);
		ExplainPropertyText("Shard", name, es);
		if (stats != NULL)
		{
			ExplainPropertyInteger("Requests", NULL, stats[i].requests, es);
			ExplainPropertyInteger("Rows", NULL, stats[i].rows, es);
			if (es->timing)
				ExplainPropertyFloat("Time", "ms", stats[i].msec, 3, es);
			ExplainPropertyInteger("Bytes", NULL, stats[i].bytes, es);
		}
		ExplainCloseGroup("Shard", NULL, true, es);
	}
	ExplainCloseGroup("Shard Details", "Shard Details", false, es);
}

void
vdist_explain_scan(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *scan = (ForeignScan *) node->ss.ps.plan;
	VdistScanPlan plan;

	vdist_plan_unpack(scan, &plan);
	ExplainPropertyInteger("Shards", NULL, plan.nservers, es);
	if (plan.nprune > 0)
		ExplainPropertyText("Shards Chosen By", "distribution column", es);
	if (plan.nkeys > 0 || plan.has_limit)
		ExplainPropertyText("On Shards",
							plan.nkeys == 0 ? "Limit" : plan.has_limit ? "Sort, Limit" : "Sort", es);
	if (es->verbose)
		ExplainPropertyText("Remote SQL", vdist_plan_sql(&plan), es);
	if (es->verbose || es->analyze)
		vdist_explain_shards(plan.nservers, plan.servers,
							 es->analyze ? vdist_scan_stats(node) : NULL, es);
}
