/*
 * scan.c: executes a ForeignScan. Everything that does not change between runs is set up once; a
 * run (one, or one for each outer row of a nested loop) evaluates parameters, picks the shards, sends
 * one request to each and hands out rows, merged when the plan has sort keys.
 */
#include "fdw/fdw.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* A known LIMIT up to this comes as one result; what is larger streams. */
#define WHOLE_RESULT_ROWS 1000

/*
 * A LIMIT up to this goes as text, what is larger as a parameter: a shard's generic plan does not know
 * the parameter, takes it for a tenth of the table and so looks worse than planning again each time.
 */
#define TEXT_LIMIT 100

typedef struct VdistScan
{
	VdistScanPlan plan;
	Oid			userid;
	List	   *exprs;			/* ExprStates of fdw_exprs */
	VdistWireOut *out;			/* encodes parameters */
	VdistWireIn *in;			/* decodes columns */
	VdistRequest request;		/* what does not change from run to run */
	const char *param_sql;		/* the statement with LIMIT as a parameter */
	char	   *limit_sql;		/* with the LIMIT of the last run that had a small one */
	Size		limit_sql_size;
	int64		limit_of_sql;	/* that LIMIT */
	const char **values;
	int		   *lengths;
	VdistMerge *merge;			/* NULL without sort keys, or when one shard answers */
	TupleDesc	row_desc;		/* of the whole-row value */
	Datum	   *row_values;
	bool	   *row_nulls;
	VdistShardStats *stats;
	MemoryContext context;		/* of one run */

	/* one run */
	bool		started;
	bool		done;
	int			nasked;
	int		   *asked;			/* indexes into plan.servers */
	VdistFanout *fanout;
	PGresult   *result;			/* the piece being read, without merge */
	int			row;
	int			nrows;
	int64	   *received;		/* rows of each shard asked */
	int64		skip;			/* rows of OFFSET still to pass */
	int64		left;			/* rows of LIMIT still to hand out; -1 without */
} VdistScan;

void
vdist_begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *scan = (ForeignScan *) node->ss.ps.plan;
	EState	   *estate = node->ss.ps.state;
	VdistScan  *state;
	VdistScanPlan *plan;
	Oid		   *types;
	int32	   *typmods;
	int			i;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	state = palloc0(sizeof(VdistScan));
	node->fdw_state = state;
	plan = &state->plan;
	vdist_plan_unpack(scan, plan);

	state->userid = vdist_scan_check_as_user(scan, estate);
	if (!OidIsValid(state->userid))
		state->userid = GetUserId();

	state->exprs = ExecInitExprList(scan->fdw_exprs, &node->ss.ps);

	/* The last parameter is LIMIT, when there is one. */
	types = palloc(sizeof(Oid) * Max(plan->nparams + 1, plan->ncolumns));
	for (i = 0; i < plan->nparams; i++)
		types[i] = exprType(list_nth(scan->fdw_exprs, i));
	types[plan->nparams] = INT8OID;
	state->out = vdist_wire_out(plan->nparams + 1, types, false);
	state->values = palloc0(sizeof(char *) * (plan->nparams + 1));
	state->lengths = palloc0(sizeof(int) * (plan->nparams + 1));

	typmods = palloc(sizeof(int32) * (plan->ncolumns + 1));
	for (i = 0; i < plan->ncolumns; i++)
	{
		types[i] = plan->columns[i].type;
		typmods[i] = plan->columns[i].typmod;
	}
	state->in = vdist_wire_in(plan->ncolumns, types, typmods, NULL);
	if (plan->nkeys > 0 && plan->nservers > 1)
		state->merge = vdist_merge_make(plan->nkeys, plan->keys, plan->nservers, state->in);

	state->param_sql = vdist_plan_sql(plan);
	state->limit_sql_size = strlen(plan->sql) + 32;
	state->limit_sql = palloc(state->limit_sql_size);
	state->request.sql = state->param_sql;
	state->request.nparams = plan->nparams + (plan->has_limit ? 1 : 0);
	state->request.values = state->values;
	state->request.lengths = state->lengths;
	state->request.formats = state->out->formats;
	state->request.result_format = state->in->format;
	state->request.locks = plan->locks;
	state->request.measure = estate->es_instrument != 0;

	if (plan->row_slot > 0)
	{
		Relation	relation = table_open(plan->relid, NoLock);

		state->row_desc = CreateTupleDescCopy(RelationGetDescr(relation));
		table_close(relation, NoLock);
		state->row_values = palloc(sizeof(Datum) * state->row_desc->natts);
		state->row_nulls = palloc(sizeof(bool) * state->row_desc->natts);
	}

	state->stats = palloc0(sizeof(VdistShardStats) * (plan->nservers + 1));
	state->asked = palloc(sizeof(int) * (plan->nservers + 1));
	state->context = AllocSetContextCreate(estate->es_query_cxt, "vdist scan",
										   ALLOCSET_DEFAULT_SIZES);
}

/* ---- the start of a run ---- */

static int64
eval_row_count(VdistScan *state, ExprContext *econtext, int expr, bool *isnull)
{
	Datum		value = ExecEvalExpr(list_nth(state->exprs, expr), econtext, isnull);

	return *isnull ? 0 : DatumGetInt64(value);
}

/* LIMIT and OFFSET as core's Limit node takes them. */
static void
eval_limit(VdistScan *state, ExprContext *econtext)
{
	bool		isnull;

	state->skip = 0;
	state->left = -1;
	if (state->plan.offset >= 0)
	{
		state->skip = eval_row_count(state, econtext, state->plan.offset, &isnull);
		if (state->skip < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE),
					 errmsg("OFFSET must not be negative")));
	}
	if (state->plan.limit >= 0)
	{
		int64		limit = eval_row_count(state, econtext, state->plan.limit, &isnull);

		if (limit < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
					 errmsg("LIMIT must not be negative")));
		if (!isnull)
			state->left = limit;
	}
}

/* Indexes into plan.servers of the shards to ask, by the conditions known only now. */
static void
pick_shards(VdistScan *state, ExprContext *econtext)
{
	VdistScanPlan *plan = &state->plan;
	VdistPlacement *placement;
	Bitmapset  *shards;
	int			i;
	int			j;

	state->nasked = 0;
	if (plan->nprune == 0)
	{
		for (i = 0; i < plan->nservers; i++)
			state->asked[state->nasked++] = i;
		return;
	}

	placement = vdist_placement(plan->relid);
	shards = bms_add_range(NULL, 0, placement->nshards - 1);
	for (i = 0; i < plan->nprune; i++)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(list_nth(state->exprs, plan->prune[i].expr), econtext,
										 &isnull);

		shards = bms_int_members(shards, vdist_prune_shards(placement, value, isnull,
															plan->prune[i].is_array));
	}
	for (i = 0; i < plan->nservers; i++)
	{
		for (j = 0; j < placement->nshards; j++)
		{
			if (placement->servers[j] == plan->servers[i] && bms_is_member(j, shards))
				state->asked[state->nasked++] = i;
		}
	}
}

static void
encode_params(VdistScan *state, ExprContext *econtext)
{
	VdistScanPlan *plan = &state->plan;
	int			nestlevel = 0;
	int			i;

	if (state->out->any_text)
		nestlevel = vdist_wire_text_begin();
	for (i = 0; i < plan->nparams; i++)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(list_nth(state->exprs, i), econtext, &isnull);

		state->values[i] = isnull ? NULL :
			vdist_wire_encode(state->out, i, value, &state->lengths[i]);
	}
	if (state->out->any_text)
		vdist_wire_text_end(nestlevel);
}

/* Ask each shard for so many rows, or for all. */
static void
set_limit(VdistScan *state, bool limited, int64 fetch)
{
	VdistScanPlan *plan = &state->plan;

	if (limited && fetch <= TEXT_LIMIT)
	{
		if (state->limit_of_sql != fetch)
			snprintf(state->limit_sql, state->limit_sql_size, "%s LIMIT " INT64_FORMAT,
					 plan->sql, fetch);
		state->limit_of_sql = fetch;
		state->request.sql = state->limit_sql;
		state->request.nparams = plan->nparams;
		return;
	}
	state->request.sql = state->param_sql;
	state->request.nparams = plan->nparams + 1;
	state->values[plan->nparams] = !limited ? NULL :
		vdist_wire_encode(state->out, plan->nparams, Int64GetDatum(fetch),
						  &state->lengths[plan->nparams]);
}

static void
start_run(ForeignScanState *node)
{
	VdistScan  *state = node->fdw_state;
	VdistScanPlan *plan = &state->plan;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	MemoryContext old;
	const VdistRequest **requests;
	VdistConn **conns;
	Oid		   *servers;
	int64		fetch = 0;
	bool		limited;
	int			i;

	MemoryContextReset(state->context);
	old = MemoryContextSwitchTo(state->context);
	state->started = true;
	state->result = NULL;
	state->row = 0;
	state->nrows = 0;

	eval_limit(state, econtext);
	pick_shards(state, econtext);
	state->done = state->left == 0 || state->nasked == 0;
	if (state->done)
	{
		MemoryContextSwitchTo(old);
		return;
	}

	encode_params(state, econtext);
	limited = state->left >= 0 && !pg_add_s64_overflow(state->left, state->skip, &fetch);
	if (plan->has_limit)
		set_limit(state, limited, fetch);
	state->request.stream = !limited || fetch > WHOLE_RESULT_ROWS;

	servers = palloc(sizeof(Oid) * state->nasked);
	requests = palloc(sizeof(VdistRequest *) * state->nasked);
	conns = palloc(sizeof(VdistConn *) * state->nasked);
	for (i = 0; i < state->nasked; i++)
	{
		servers[i] = plan->servers[state->asked[i]];
		requests[i] = &state->request;
		state->stats[state->asked[i]].requests++;
	}
	vdist_conn_get(state->nasked, servers, state->userid,
				   plan->locks ? VDIST_WRITE : VDIST_READ, conns);
	state->received = palloc0(sizeof(int64) * state->nasked);
	state->fanout = vdist_fanout_send(state->nasked, conns, requests);
	if (state->merge != NULL)
		vdist_merge_start(state->merge, state->fanout, state->nasked, !state->request.stream,
						  state->received);
	MemoryContextSwitchTo(old);
}

/* Add the running fan-out's figures to stats. */
static void
add_fanout_stats(VdistScan *state, VdistShardStats *stats)
{
	int			i;

	if (state->fanout == NULL)
		return;
	for (i = 0; i < state->nasked; i++)
	{
		VdistShardStats *shard = &stats[state->asked[i]];
		int64		bytes;
		double		msec;

		vdist_fanout_stats(state->fanout, i, &bytes, &msec);
		shard->rows += state->received[i];
		shard->bytes += bytes;
		shard->msec += msec;
	}
}

static void
end_run(VdistScan *state)
{
	if (state->fanout != NULL)
	{
		VdistFanout *fanout = state->fanout;

		add_fanout_stats(state, state->stats);
		state->fanout = NULL;
		vdist_fanout_end(fanout);
	}
	state->done = true;
}

/* ---- rows ---- */

static bool
next_row(VdistScan *state, PGresult **result, int *row)
{
	if (state->merge != NULL)
		return vdist_merge_next(state->merge, result, row);

	while (state->row >= state->nrows)
	{
		int			from;

		state->result = vdist_fanout_next(state->fanout, -1, &from);
		if (state->result == NULL)
			return false;
		state->row = 0;
		state->nrows = PQntuples(state->result);
		state->received[from] += state->nrows;
	}
	*result = state->result;
	*row = state->row++;
	return true;
}

static void
store_row(ForeignScanState *node, PGresult *result, int row, TupleTableSlot *slot)
{
	VdistScan  *state = node->fdw_state;
	VdistScanPlan *plan = &state->plan;
	int			natts = slot->tts_tupleDescriptor->natts;
	int			i;

	memset(slot->tts_values, 0, sizeof(Datum) * natts);
	memset(slot->tts_isnull, true, natts);
	if (plan->row_slot > 0)
		memset(state->row_nulls, true, state->row_desc->natts);

	for (i = 0; i < plan->ncolumns; i++)
	{
		VdistColumn *column = &plan->columns[i];
		Datum		value;
		bool		isnull;

		if (column->slot == 0 && column->row == 0)
			continue;
		value = vdist_wire_decode_column(state->in, result, row, i, &isnull);
		if (column->slot > 0)
		{
			slot->tts_values[column->slot - 1] = value;
			slot->tts_isnull[column->slot - 1] = isnull;
		}
		else if (column->slot == SelfItemPointerAttributeNumber)
			ItemPointerCopy((ItemPointer) DatumGetPointer(value), &slot->tts_tid);
		if (column->row > 0)
		{
			state->row_values[column->row - 1] = value;
			state->row_nulls[column->row - 1] = isnull;
		}
	}

	if (plan->row_slot > 0)
	{
		HeapTuple	tuple = heap_form_tuple(state->row_desc, state->row_values, state->row_nulls);

		slot->tts_values[plan->row_slot - 1] = HeapTupleGetDatum(tuple);
		slot->tts_isnull[plan->row_slot - 1] = false;
	}
	if (plan->tableoid_slot > 0)
	{
		slot->tts_values[plan->tableoid_slot - 1] = ObjectIdGetDatum(plan->relid);
		slot->tts_isnull[plan->tableoid_slot - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
}

TupleTableSlot *
vdist_iterate_scan(ForeignScanState *node)
{
	VdistScan  *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	PGresult   *result;
	int			row;

	if (!state->started)
		start_run(node);

	ExecClearTuple(slot);
	while (!state->done)
	{
		if (state->left == 0 || !next_row(state, &result, &row))
		{
			end_run(state);
			break;
		}
		if (state->skip > 0)
		{
			state->skip--;
			continue;
		}
		if (state->left > 0)
			state->left--;
		store_row(node, result, row, slot);
		break;
	}
	return slot;
}

void
vdist_rescan(ForeignScanState *node)
{
	VdistScan  *state = node->fdw_state;

	end_run(state);
	state->started = false;
}

void
vdist_end_scan(ForeignScanState *node)
{
	VdistScan  *state = node->fdw_state;

	if (state != NULL)
		end_run(state);
}

VdistShardStats *
vdist_scan_stats(ForeignScanState *node)
{
	VdistScan  *state = node->fdw_state;
	VdistShardStats *stats;
	Size		size;

	if (state == NULL)
		return NULL;
	size = sizeof(VdistShardStats) * (state->plan.nservers + 1);
	stats = memcpy(palloc(size), state->stats, size);
	add_fanout_stats(state, stats);
	return stats;
}
