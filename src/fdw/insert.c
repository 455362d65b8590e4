/*
 * insert.c: INSERT and COPY FROM. Each row goes to the shard of its key. Rows nobody waits for are
 * streamed by COPY to all shards at once; a row whose outcome is needed at once (RETURNING, ON
 * CONFLICT, triggers) runs an INSERT of its own. Called by the executor and by modify.c.
 */
#include "fdw/fdw.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct VdistInsert
{
	VdistModifyBase base;
	Relation	rel;
	VdistPlacement *placement;
	int			ncolumns;
	AttrNumber *columns;
	Datum	   *values;			/* scratch, by column of the statement */
	bool	   *nulls;
	const char **encoded;
	int		   *lengths;
	VdistBatch *batch;
	VdistReturning *returning;	/* NULL: nothing comes back */

	/* streaming */
	bool		stream;
	bool		binary;
	char	   *copy_sql;
	VdistCopy  *copy;
	bool	   *seen;			/* by shard: its first row waits in the batch */
	bool	   *copying;		/* by shard */
} VdistInsert;

/* The columns of an INSERT: all but those that the shard generates. */
List *
vdist_insert_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *columns = NIL;
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && attribute->attgenerated == '\0')
			columns = lappend_int(columns, i + 1);
	}
	return columns;
}

static void
append_columns(StringInfo sql, Relation rel, List *columns)
{
	const char *separator = "";
	ListCell   *lc;

	foreach(lc, columns)
	{
		appendStringInfo(sql, "%s%s", separator,
						 quote_identifier(get_attname(RelationGetRelid(rel), lfirst_int(lc),
													  false)));
		separator = ", ";
	}
}

char *
vdist_insert_sql(Relation rel, List *columns, bool do_nothing)
{
	StringInfoData sql;
	int			i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s", vdist_relation_name(RelationGetRelid(rel)));
	if (columns == NIL)
		appendStringInfoString(&sql, " DEFAULT VALUES");
	else
	{
		appendStringInfoString(&sql, " (");
		append_columns(&sql, rel, columns);
		/* The values come from the coordinator, also those of identity columns. */
		appendStringInfoString(&sql, ") OVERRIDING SYSTEM VALUE VALUES (");
		for (i = 0; i < list_length(columns); i++)
			appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
		appendStringInfoChar(&sql, ')');
	}
	if (do_nothing)
		appendStringInfoString(&sql, " ON CONFLICT DO NOTHING");
	return sql.data;
}

void
vdist_begin_insert(EState *estate, ResultRelInfo *rinfo, List *columns, char *sql,
				   VdistReturning *returning, bool at_once)
{
	VdistInsert *state = palloc0(sizeof(VdistInsert));
	Relation	rel = rinfo->ri_RelationDesc;
	TriggerDesc *triggers = rinfo->ri_TrigDesc;
	Oid		   *types;
	ListCell   *lc;
	int			i = 0;

	state->base.operation = CMD_INSERT;
	state->rel = rel;
	state->placement = vdist_placement(RelationGetRelid(rel));
	state->ncolumns = list_length(columns);
	state->columns = palloc(sizeof(AttrNumber) * (state->ncolumns + 1));
	state->values = palloc(sizeof(Datum) * (state->ncolumns + 1));
	state->nulls = palloc(sizeof(bool) * (state->ncolumns + 1));
	state->encoded = palloc(sizeof(char *) * (state->ncolumns + 1));
	state->lengths = palloc(sizeof(int) * (state->ncolumns + 1));
	state->returning = returning;
	state->seen = palloc0(sizeof(bool) * state->placement->nshards);
	state->copying = palloc0(sizeof(bool) * state->placement->nshards);
	types = palloc(sizeof(Oid) * (state->ncolumns + 1));
	state->binary = true;
	foreach(lc, columns)
	{
		state->columns[i] = lfirst_int(lc);
		types[i] = TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)->atttypid;
		if (!vdist_wire_binary(types[i]))
			state->binary = false;
		i++;
	}

	/* Triggers may look at the table; they find in it what was inserted before. */
	state->stream = !at_once && returning == NULL && state->ncolumns > 0 &&
		!(triggers && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
					   triggers->trig_insert_after_statement));
	state->batch = vdist_batch_make(state->placement, vdist_modify_user(rinfo, estate), sql,
									state->ncolumns, types, state->stream && !state->binary,
									returning ? returning->in->format : 0);
	if (state->stream)
	{
		StringInfoData copy;

		initStringInfo(&copy);
		appendStringInfo(&copy, "COPY %s (", vdist_relation_name(RelationGetRelid(rel)));
		append_columns(&copy, rel, columns);
		appendStringInfo(&copy, ") FROM STDIN%s", state->binary ? " (FORMAT binary)" : "");
		state->copy_sql = copy.data;
	}
	rinfo->ri_FdwState = state;
}

/* COPY FROM; a distributed table is nobody's partition, so no rows are routed here. */
void
vdist_begin_foreign_insert(ModifyTableState *mtstate, ResultRelInfo *rinfo)
{
	Relation	rel = rinfo->ri_RelationDesc;
	List	   *columns = vdist_insert_columns(rel);
	char	   *sql = vdist_insert_sql(rel, columns, false);
	VdistReturning *returning = NULL;

	if (rinfo->ri_TrigDesc && rinfo->ri_TrigDesc->trig_insert_after_row)
	{
		List	   *all = vdist_all_columns(rel);

		sql = psprintf("%s RETURNING %s", sql, vdist_returning_sql(rel, all));
		returning = vdist_returning_make(rel, all);
	}
	vdist_begin_insert(mtstate->ps.state, rinfo, columns, sql, returning, false);
}

static int
shard_of_row(VdistInsert *state, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		key = slot_getattr(slot, state->placement->key, &isnull);

	if (isnull)
		vdist_raise_null_key(state->rel, state->placement);
	return vdist_placement_shard(state->placement, key);
}

static void
stream_row(VdistInsert *state, int shard)
{
	if (!state->seen[shard])
	{
		/* Should it stay the only row of its shard, a plain INSERT is the cheaper way. */
		vdist_batch_add(state->batch, shard, state->values, state->nulls);
		state->seen[shard] = true;
		return;
	}
	if (!state->copying[shard])
	{
		const char *const *values;
		const int  *lengths;

		vdist_batch_connect(state->batch, shard);
		vdist_batch_take_back(state->batch, shard, &values, &lengths);
		vdist_copy_row(state->copy, shard, state->ncolumns, values, lengths);
		state->copying[shard] = true;
	}
	(void) vdist_batch_encode(state->batch, state->values, state->nulls, state->encoded,
							  state->lengths);
	vdist_copy_row(state->copy, shard, state->ncolumns, state->encoded, state->lengths);
}

TupleTableSlot *
vdist_exec_insert(EState *estate, ResultRelInfo *rinfo, TupleTableSlot *slot,
				  TupleTableSlot *planSlot)
{
	VdistInsert *state = rinfo->ri_FdwState;
	int			shard = shard_of_row(state, slot);
	MemoryContext old;
	int			i;

	for (i = 0; i < state->ncolumns; i++)
		state->values[i] = slot_getattr(slot, state->columns[i], &state->nulls[i]);

	if (state->stream)
	{
		if (state->copy == NULL && state->seen[shard])
		{
			old = MemoryContextSwitchTo(estate->es_query_cxt);
			state->copy = vdist_copy_begin(state->placement->nshards,
										   vdist_batch_conns(state->batch), state->copy_sql,
										   state->binary);
			MemoryContextSwitchTo(old);
		}
		/* The copy takes over what is encoded. */
		old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
		stream_row(state, shard);
		MemoryContextSwitchTo(old);
		return slot;
	}
	else
	{
		PGresult   *result = vdist_batch_run_one(state->batch, shard, state->values,
												 state->nulls);

		if (PQntuples(result) == 0 && atoll(PQcmdTuples(result)) == 0)
			return NULL;
		if (state->returning != NULL)
			vdist_returning_store(state->returning, result, 0, slot,
								  GetPerTupleMemoryContext(estate));
		return slot;
	}
}

void
vdist_end_insert(EState *estate, ResultRelInfo *rinfo)
{
	VdistInsert *state = rinfo->ri_FdwState;

	if (state == NULL)
		return;
	(void) vdist_batch_flush(state->batch);
	if (state->copy != NULL)
		(void) vdist_copy_end(state->copy);
}
