/*
 * direct.c: UPDATE and DELETE that the shards can do themselves: one statement to all of them, or to
 * the one that the key names. The planner asks here once the scan below is planned; everything else
 * stays with modify.c.
 */
#include "fdw/fdw.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Members of fdw_private. */
enum
{
	PRIVATE_SQL,
	PRIVATE_RETURNED,			/* integer list of columns */
	PRIVATE_PRUNE,				/* integer list: for each value behind the parameters, is it an
								 * array */
	PRIVATE_NUMBERS				/* integer list: parameters, has_returning, counts */
};

typedef struct VdistDirect
{
	Relation	rel;
	VdistPlacement *placement;
	Oid			userid;
	const char *sql;
	List	   *exprs;			/* nparams parameters, then the values that choose shards */
	List	   *prune;
	int			nparams;
	bool		has_returning;
	bool		counts;			/* into the command's row count */
	VdistWireOut *out;
	VdistReturning *returning;	/* NULL: no column comes back */
	VdistFanout *fanout;
	int			nasked;
	int		   *asked;			/* the fan-out's shards as indexes into the placement */
	PGresult   *result;
	int			from;			/* of the fan-out's shards */
	int			row;
	VdistShardStats *stats;		/* by shard of the placement */
} VdistDirect;

/* ---- planning ---- */

bool
vdist_plan_direct(PlannerInfo *root, ModifyTable *plan, Index rti, int subplan)
{
	ForeignScan *scan = (ForeignScan *) outerPlan(plan);
	RangeTblEntry *rte = planner_rt_fetch(rti, root);
	VdistPlacement *placement;
	VdistDeparse deparse;
	Relation	rel;
	List	   *exprs = NIL;
	List	   *columns = NIL;
	List	   *returned = NIL;
	List	   *prune = NIL;
	List	   *params;
	char	   *sql;
	ListCell   *lc;
	ListCell   *lc2;
	bool		has_returning = plan->returningLists != NIL;
	const char *separator = "";

	if ((plan->operation != CMD_UPDATE && plan->operation != CMD_DELETE) ||
		!IsA(scan, ForeignScan) || scan->scan.scanrelid != rti || scan->scan.plan.qual != NIL)
		return false;

	/* An inherited target's expressions speak of the parent. */
	if (list_length(plan->resultRelations) != 1 || plan->rootRelation != 0 ||
		plan->withCheckOptionLists != NIL)
		return false;

	placement = vdist_placement(rte->relid);
	if (plan->operation == CMD_UPDATE)
	{
		get_translated_update_targetlist(root, rti, &exprs, &columns);
		forboth(lc, exprs, lc2, columns)
		{
			TargetEntry *entry = lfirst_node(TargetEntry, lc);

			if (lfirst_int(lc2) <= InvalidAttrNumber)
				elog(ERROR, "system-column update is not supported");
			if (lfirst_int(lc2) == placement->key ||
				!vdist_shippable(rti, rte->relid, entry->expr))
				return false;
		}
	}

	rel = table_open(rte->relid, NoLock);
	vdist_deparse_begin(&deparse, rti, rte->relid);
	appendStringInfoString(&deparse.sql,
						   plan->operation == CMD_UPDATE ? "UPDATE " : "DELETE FROM ");
	vdist_deparse_table(&deparse);
	forboth(lc, exprs, lc2, columns)
	{
		appendStringInfo(&deparse.sql, "%s%s = ", *separator ? separator : " SET ",
						 quote_identifier(get_attname(rte->relid, lfirst_int(lc2), false)));
		vdist_deparse_expr(&deparse, lfirst_node(TargetEntry, lc)->expr);
		separator = ", ";
	}
	vdist_deparse_where(&deparse, scan->fdw_recheck_quals);
	params = deparse.params;
	sql = vdist_deparse_end(&deparse);
	if (has_returning)
	{
		returned = vdist_used_columns(rel, list_nth(plan->returningLists, subplan), rti);
		sql = psprintf("%s RETURNING %s", sql,
					   returned != NIL ? vdist_returning_sql(rel, returned) : "NULL");
	}
	table_close(rel, NoLock);

	scan->fdw_exprs = list_copy(params);
	foreach(lc, scan->fdw_recheck_quals)
	{
		bool		is_array;
		Expr	   *value = vdist_prune_match(placement, rti, lfirst(lc), &is_array);

		if (value == NULL)
			continue;
		scan->fdw_exprs = lappend(scan->fdw_exprs, value);
		prune = lappend_int(prune, is_array);
	}

	/* The new values are the shards' business; here they would be computed from the new row again. */
	foreach(lc, scan->scan.plan.targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk)
			entry->expr = (Expr *) makeNullConst(exprType((Node *) entry->expr),
												 exprTypmod((Node *) entry->expr),
												 exprCollation((Node *) entry->expr));
	}
	scan->operation = plan->operation;
	scan->resultRelation = rti;
	scan->fdw_scan_tlist = NIL;
	scan->fdw_private = list_make4(makeString(sql), returned, prune,
								   list_make3_int(list_length(params), has_returning,
												  plan->canSetTag));
	return true;
}

/* ---- execution ---- */

void
vdist_begin_direct(ForeignScanState *node, int eflags)
{
	ForeignScan *scan = (ForeignScan *) node->ss.ps.plan;
	EState	   *estate = node->ss.ps.state;
	List	   *numbers = list_nth(scan->fdw_private, PRIVATE_NUMBERS);
	List	   *returned = list_nth(scan->fdw_private, PRIVATE_RETURNED);
	VdistDirect *state;
	Oid		   *types;
	int			i;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	state = palloc0(sizeof(VdistDirect));
	node->fdw_state = state;
	state->rel = node->ss.ss_currentRelation;
	state->placement = vdist_placement(RelationGetRelid(state->rel));
	state->userid = vdist_modify_user(node->resultRelInfo, estate);
	state->sql = strVal(list_nth(scan->fdw_private, PRIVATE_SQL));
	state->prune = list_nth(scan->fdw_private, PRIVATE_PRUNE);
	state->nparams = linitial_int(numbers);
	state->has_returning = lsecond_int(numbers);
	state->counts = lthird_int(numbers);
	state->exprs = ExecInitExprList(scan->fdw_exprs, &node->ss.ps);
	types = palloc(sizeof(Oid) * (state->nparams + 1));
	for (i = 0; i < state->nparams; i++)
		types[i] = exprType(list_nth(scan->fdw_exprs, i));
	state->out = vdist_wire_out(state->nparams, types, false);
	if (returned != NIL)
		state->returning = vdist_returning_make(state->rel, returned);
	state->asked = palloc(sizeof(int) * state->placement->nshards);
	state->stats = palloc0(sizeof(VdistShardStats) * state->placement->nshards);
}

static void
send_statement(ForeignScanState *node, VdistDirect *state)
{
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	VdistPlacement *placement = state->placement;
	VdistRequest *request = palloc0(sizeof(VdistRequest));
	const VdistRequest **requests = palloc(sizeof(VdistRequest *) * placement->nshards);
	VdistConn **conns = palloc(sizeof(VdistConn *) * placement->nshards);
	Oid		   *servers = palloc(sizeof(Oid) * placement->nshards);
	const char **values = palloc0(sizeof(char *) * (state->nparams + 1));
	int		   *lengths = palloc0(sizeof(int) * (state->nparams + 1));
	Bitmapset  *shards = bms_add_range(NULL, 0, placement->nshards - 1);
	ListCell   *lc;
	int			nestlevel = 0;
	int			shard = -1;
	int			n = 0;
	int			i;
	bool		isnull;

	if (state->out->any_text)
		nestlevel = vdist_wire_text_begin();
	for (i = 0; i < state->nparams; i++)
	{
		Datum		value = ExecEvalExpr(list_nth(state->exprs, i), econtext, &isnull);

		if (!isnull)
			values[i] = vdist_wire_encode(state->out, i, value, &lengths[i]);
	}
	if (state->out->any_text)
		vdist_wire_text_end(nestlevel);

	foreach(lc, state->prune)
	{
		Datum		value = ExecEvalExpr(list_nth(state->exprs, i++), econtext, &isnull);

		shards = bms_int_members(shards, vdist_prune_shards(placement, value, isnull,
															lfirst_int(lc)));
	}
	while ((shard = bms_next_member(shards, shard)) >= 0)
	{
		servers[n] = placement->servers[shard];
		state->asked[n] = shard;
		state->stats[shard].requests++;
		requests[n++] = request;
	}
	state->nasked = n;
	request->sql = state->sql;
	request->nparams = state->nparams;
	request->values = values;
	request->lengths = lengths;
	request->formats = state->out->formats;
	request->result_format = state->returning ? state->returning->in->format : 0;
	request->stream = state->has_returning;
	request->locks = true;
	request->measure = node->ss.ps.state->es_instrument != 0;
	if (n > 1)
		vdist_lock_multi_shard(RelationGetRelid(state->rel));
	if (n > 0)
		vdist_conn_get(n, servers, state->userid, VDIST_WRITE, conns);
	state->fanout = vdist_fanout_send(n, conns, requests);
}

/* The fan-out's shard `from` has changed rows. */
static void
count_rows(ForeignScanState *node, VdistDirect *state, int from, int64 rows)
{
	state->stats[state->asked[from]].rows += rows;
	if (state->counts)
		node->ss.ps.state->es_processed += rows;
}

/* The next result of any shard; NULL when all are done. */
static PGresult *
next_result(VdistDirect *state)
{
	int			i;

	state->result = vdist_fanout_next(state->fanout, -1, &state->from);
	state->row = 0;
	if (state->result == NULL)
		for (i = 0; i < state->nasked; i++)
		{
			VdistShardStats *stats = &state->stats[state->asked[i]];

			vdist_fanout_stats(state->fanout, i, &stats->bytes, &stats->msec);
		}
	return state->result;
}

TupleTableSlot *
vdist_iterate_direct(ForeignScanState *node)
{
	VdistDirect *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	ResultRelInfo *rinfo = node->resultRelInfo;

	if (state->fanout == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);

		send_statement(node, state);
		MemoryContextSwitchTo(old);
	}
	if (!state->has_returning)
	{
		int64		rows = 0;

		while (next_result(state) != NULL)
		{
			int64		affected = atoll(PQcmdTuples(state->result));

			count_rows(node, state, state->from, affected);
			rows += affected;
		}
		if (node->ss.ps.instrument)
			node->ss.ps.instrument->tuplecount += rows;
		return ExecClearTuple(slot);
	}

	while (state->result == NULL || state->row >= PQntuples(state->result))
		if (next_result(state) == NULL)
			return ExecClearTuple(slot);
	if (state->returning != NULL)
		vdist_returning_store(state->returning, state->result, state->row, slot,
							  node->ss.ps.ps_ExprContext->ecxt_per_tuple_memory);
	else
		ExecStoreAllNullTuple(slot);
	state->row++;
	slot->tts_tableOid = RelationGetRelid(state->rel);
	count_rows(node, state, state->from, 1);
	/* Where ExecProcessReturning looks for the row. */
	rinfo->ri_projectReturning->pi_exprContext->ecxt_scantuple = slot;
	return slot;
}

void
vdist_end_direct(ForeignScanState *node)
{
	VdistDirect *state = node->fdw_state;

	if (state != NULL && state->fanout != NULL)
		vdist_fanout_end(state->fanout);
}

void
vdist_explain_direct(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *scan = (ForeignScan *) node->ss.ps.plan;

	VdistDirect *state = node->fdw_state;
	VdistPlacement *placement = vdist_placement(RelationGetRelid(node->ss.ss_currentRelation));

	ExplainPropertyInteger("Shards", NULL, placement->nshards, es);
	if (list_nth(scan->fdw_private, PRIVATE_PRUNE) != NIL)
		ExplainPropertyText("Shards Chosen By", "distribution column", es);
	if (es->verbose)
		ExplainPropertyText("Remote SQL", strVal(list_nth(scan->fdw_private, PRIVATE_SQL)), es);
	if (es->verbose || es->analyze)
		vdist_explain_shards(placement->nshards, placement->servers,
							 es->analyze && state ? state->stats : NULL, es);
}
