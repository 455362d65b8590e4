/*
 * modify.c: INSERT, UPDATE and DELETE as the executor gives them, row by row: planning of all three,
 * execution of UPDATE and DELETE. A row is known by its ctid on its shard, and the shard by the old
 * value of the distribution column. Rows nobody waits for are sent in batches. What a shard can do in
 * one statement goes through direct.c instead.
 */
#include "fdw/fdw.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/inherit.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "storage/itemptr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Members of fdw_private. */
enum
{
	PRIVATE_SQL,
	PRIVATE_COLUMNS,			/* integer list: what is inserted or set */
	PRIVATE_RETURNED,			/* integer list: what comes back */
	PRIVATE_FLAGS				/* integer list: has_returning, do_nothing */
};

/* A row that this statement has changed already. */
typedef struct RowKey
{
	int32		shard;
	ItemPointerData ctid;
	int16		unused;
} RowKey;

typedef struct VdistModify
{
	VdistModifyBase base;
	Relation	rel;
	VdistPlacement *placement;
	AttrNumber	ctid_junk;		/* in the plan's rows */
	AttrNumber	key_junk;
	int			ncolumns;		/* set by UPDATE */
	AttrNumber *columns;
	bool		sets_key;
	Datum	   *values;			/* ctid, then the columns */
	bool	   *nulls;
	VdistBatch *batch;
	VdistReturning *returning;	/* NULL: nothing comes back */
	bool		deferred;		/* rows may wait for a batch */
	HTAB	   *changed;		/* of RowKey, when deferred below a join */
} VdistModify;

/* ---- columns that come back ---- */

List *
vdist_all_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *columns = NIL;
	int			i;

	for (i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			columns = lappend_int(columns, i + 1);
	return columns;
}

/* The columns that expressions use of relation rti; ctid is the only system column a shard has. */
List *
vdist_used_columns(Relation rel, Node *exprs, Index rti)
{
	Bitmapset  *used = NULL;
	List	   *columns = NIL;
	int			at = -1;

	pull_varattnos(exprs, rti, &used);
	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used))
	{
		columns = vdist_all_columns(rel);
		if (bms_is_member(SelfItemPointerAttributeNumber - FirstLowInvalidHeapAttributeNumber,
						  used))
			columns = lappend_int(columns, SelfItemPointerAttributeNumber);
		return columns;
	}
	while ((at = bms_next_member(used, at)) >= 0)
	{
		AttrNumber	attno = at + FirstLowInvalidHeapAttributeNumber;

		if (attno > 0 || attno == SelfItemPointerAttributeNumber)
			columns = lappend_int(columns, attno);
	}
	return columns;
}

char *
vdist_returning_sql(Relation rel, List *columns)
{
	StringInfoData sql;
	const char *separator = "";
	ListCell   *lc;

	initStringInfo(&sql);
	foreach(lc, columns)
	{
		AttrNumber	attno = lfirst_int(lc);

		appendStringInfo(&sql, "%s%s", separator,
						 attno < 0 ? "ctid" :
						 quote_identifier(get_attname(RelationGetRelid(rel), attno, false)));
		separator = ", ";
	}
	return sql.data;
}

VdistReturning *
vdist_returning_make(Relation rel, List *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	VdistReturning *returning = palloc0(sizeof(VdistReturning));
	int			n = list_length(columns);
	Oid		   *types = palloc(sizeof(Oid) * (n + 1));
	int32	   *typmods = palloc(sizeof(int32) * (n + 1));
	int		   *targets = palloc(sizeof(int) * (n + 1));
	ListCell   *lc;
	int			i = 0;

	returning->desc = desc;
	foreach(lc, columns)
	{
		AttrNumber	attno = lfirst_int(lc);

		types[i] = attno < 0 ? TIDOID : TupleDescAttr(desc, attno - 1)->atttypid;
		typmods[i] = attno < 0 ? -1 : TupleDescAttr(desc, attno - 1)->atttypmod;
		/* ctid goes behind the columns of the row. */
		targets[i++] = attno < 0 ? desc->natts : attno - 1;
	}
	returning->in = vdist_wire_in(n, types, typmods, targets);
	returning->values = palloc0(sizeof(Datum) * (desc->natts + 1));
	returning->nulls = palloc(sizeof(bool) * (desc->natts + 1));
	return returning;
}

void
vdist_returning_store(VdistReturning *returning, const PGresult *result, int row,
					  TupleTableSlot *slot, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HeapTuple	tuple;

	memset(returning->nulls, true, returning->desc->natts + 1);
	vdist_wire_decode(returning->in, result, row, returning->values, returning->nulls);
	tuple = heap_form_tuple(returning->desc, returning->values, returning->nulls);
	if (!returning->nulls[returning->desc->natts])
		tuple->t_self = *(ItemPointer) DatumGetPointer(returning->values[returning->desc->natts]);
	ExecForceStoreHeapTuple(tuple, slot, false);
	MemoryContextSwitchTo(old);
}

void
vdist_raise_null_key(Relation rel, const VdistPlacement *placement)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("null value in distribution column \"%s\" of table \"%s\"",
					get_attname(RelationGetRelid(rel), placement->key, false),
					RelationGetRelationName(rel)),
			 errhint("The distribution column says which shard holds a row, so every row needs a value in it."),
			 errtablecol(rel, placement->key)));
}

/* ---- planning ---- */

int
vdist_is_updatable(Relation rel)
{
	return (1 << CMD_INSERT) | (1 << CMD_UPDATE) | (1 << CMD_DELETE);
}

/*
 * Members of an inheritance tree share junk columns of the same name, so the name says which column
 * this is.
 */
static char *
key_junk_name(const VdistPlacement *placement)
{
	return psprintf("vdist_key_%d_%u", placement->key, placement->key_type);
}

void
vdist_add_update_targets(PlannerInfo *root, Index rti, RangeTblEntry *rte, Relation rel)
{
	VdistPlacement *placement = vdist_placement(RelationGetRelid(rel));
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(rel), placement->key - 1);

	add_row_identity_var(root, makeVar(rti, SelfItemPointerAttributeNumber, TIDOID, -1,
									   InvalidOid, 0), rti, "ctid");
	add_row_identity_var(root, makeVar(rti, placement->key, key->atttypid, key->atttypmod,
									   key->attcollation, 0), rti, key_junk_name(placement));
}

/* What UPDATE sets; triggers may change any column. */
static List *
updated_columns(PlannerInfo *root, Index rti, Relation rel)
{
	Bitmapset  *set;
	List	   *columns = NIL;
	int			at = -1;

	if (rel->trigdesc && rel->trigdesc->trig_update_before_row)
		return vdist_insert_columns(rel);
	set = get_rel_all_updated_cols(root, find_base_rel(root, rti));
	while ((at = bms_next_member(set, at)) >= 0)
	{
		AttrNumber	attno = at + FirstLowInvalidHeapAttributeNumber;

		if (attno <= 0)
			elog(ERROR, "system-column update is not supported");
		/* Generated ones are recomputed on the shard. */
		if (TupleDescAttr(RelationGetDescr(rel), attno - 1)->attgenerated == '\0')
			columns = lappend_int(columns, attno);
	}
	return columns;
}

static char *
update_sql(Relation rel, List *columns)
{
	StringInfoData sql;
	ListCell   *lc;
	int			param = 2;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s SET ", vdist_relation_name(RelationGetRelid(rel)));
	foreach(lc, columns)
	{
		appendStringInfo(&sql, "%s%s = $%d", param > 2 ? ", " : "",
						 quote_identifier(get_attname(RelationGetRelid(rel), lfirst_int(lc),
													  false)), param);
		param++;
	}
	appendStringInfoString(&sql, " WHERE ctid = $1::pg_catalog.tid");
	return sql.data;
}

List *
vdist_plan_modify(PlannerInfo *root, ModifyTable *plan, Index rti, int subplan)
{
	Relation	rel = table_open(planner_rt_fetch(rti, root)->relid, NoLock);
	TriggerDesc *triggers = rel->trigdesc;
	List	   *columns = NIL;
	List	   *used = NIL;
	List	   *returned = NIL;
	bool		do_nothing = plan->onConflictAction == ONCONFLICT_NOTHING;
	bool		row_trigger = false;
	char	   *sql = NULL;

	switch (plan->operation)
	{
		case CMD_INSERT:
			columns = vdist_insert_columns(rel);
			sql = vdist_insert_sql(rel, columns, do_nothing);
			row_trigger = triggers && triggers->trig_insert_after_row;
			break;
		case CMD_UPDATE:
			columns = updated_columns(root, rti, rel);
			sql = update_sql(rel, columns);
			row_trigger = triggers && triggers->trig_update_after_row;
			break;
		case CMD_DELETE:
			sql = psprintf("DELETE FROM %s WHERE ctid = $1::pg_catalog.tid",
						   vdist_relation_name(RelationGetRelid(rel)));
			row_trigger = triggers && triggers->trig_delete_after_row;
			break;
		default:
			elog(ERROR, "unexpected operation: %d", (int) plan->operation);
	}
	if (plan->returningLists != NIL)
		used = list_concat_copy(used, list_nth(plan->returningLists, subplan));
	if (plan->withCheckOptionLists != NIL)
		used = list_concat_copy(used, list_nth(plan->withCheckOptionLists, subplan));
	/* The old row of a DELETE trigger comes with the scan. */
	if (row_trigger && plan->operation != CMD_DELETE)
		returned = vdist_all_columns(rel);
	else
		returned = vdist_used_columns(rel, (Node *) used, rti);
	if (returned != NIL)
		sql = psprintf("%s RETURNING %s", sql, vdist_returning_sql(rel, returned));
	table_close(rel, NoLock);
	return list_make4(makeString(sql), columns, returned,
					  list_make2_int(used != NIL || row_trigger, do_nothing));
}

/* ---- execution ---- */

/*
 * Two statements that each change rows on several shards could wait for each other there, one shard's
 * rows locked by the one, another's by the other, and no server would see the deadlock. So they
 * take turns, a table at a time, until the end of the transaction. Statements for one shard are free.
 */
void
vdist_lock_multi_shard(Oid relid)
{
	LockDatabaseObject(ForeignTableRelationId, relid, 0, ExclusiveLock);
}

static bool
scans_several_shards(ForeignScan *scan)
{
	VdistScanPlan plan;

	vdist_plan_unpack(scan, &plan);
	return plan.nservers > 1 && plan.nprune == 0;
}

void
vdist_begin_modify(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *private, int subplan,
				   int eflags)
{
	EState	   *estate = mtstate->ps.state;
	List	   *columns = list_nth(private, PRIVATE_COLUMNS);
	List	   *returned = list_nth(private, PRIVATE_RETURNED);
	List	   *flags = list_nth(private, PRIVATE_FLAGS);
	char	   *sql = strVal(list_nth(private, PRIVATE_SQL));
	Relation	rel = rinfo->ri_RelationDesc;
	TriggerDesc *triggers = rinfo->ri_TrigDesc;
	VdistReturning *returning = NULL;
	VdistModify *state;
	Plan	   *scan;
	List	   *junk;
	Oid		   *types;
	ListCell   *lc;
	int			i = 1;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	if (returned != NIL)
		returning = vdist_returning_make(rel, returned);
	if (mtstate->operation == CMD_INSERT)
	{
		vdist_begin_insert(estate, rinfo, columns, sql, returning,
						   linitial_int(flags) || lsecond_int(flags));
		return;
	}

	state = palloc0(sizeof(VdistModify));
	state->base.operation = mtstate->operation;
	state->rel = rel;
	state->placement = vdist_placement(RelationGetRelid(rel));
	state->returning = returning;
	junk = outerPlanState(mtstate)->plan->targetlist;
	state->ctid_junk = ExecFindJunkAttributeInTlist(junk, "ctid");
	state->key_junk = ExecFindJunkAttributeInTlist(junk, key_junk_name(state->placement));
	if (!AttributeNumberIsValid(state->ctid_junk) || !AttributeNumberIsValid(state->key_junk))
		elog(ERROR, "could not find the junk columns of a row's identity");

	state->ncolumns = list_length(columns);
	state->columns = palloc(sizeof(AttrNumber) * (state->ncolumns + 1));
	state->values = palloc(sizeof(Datum) * (state->ncolumns + 1));
	state->nulls = palloc0(sizeof(bool) * (state->ncolumns + 1));
	types = palloc(sizeof(Oid) * (state->ncolumns + 1));
	types[0] = TIDOID;
	foreach(lc, columns)
	{
		AttrNumber	attno = lfirst_int(lc);

		state->columns[i - 1] = attno;
		types[i++] = TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid;
		if (attno == state->placement->key)
			state->sets_key = true;
	}
	state->batch = vdist_batch_make(state->placement, vdist_modify_user(rinfo, estate), sql,
									state->ncolumns + 1, types, false,
									returning ? returning->in->format : 0);

	/* Triggers may look at the table; they find in it what was changed before. */
	if (mtstate->operation == CMD_UPDATE)
		state->deferred = !linitial_int(flags) &&
			!(triggers && (triggers->trig_update_before_row ||
						   triggers->trig_update_after_statement));
	else
		state->deferred = !linitial_int(flags) &&
			!(triggers && (triggers->trig_delete_before_row ||
						   triggers->trig_delete_after_statement));
	scan = outerPlan(mtstate->ps.plan);
	if (!IsA(scan, ForeignScan) || scans_several_shards((ForeignScan *) scan))
		vdist_lock_multi_shard(RelationGetRelid(rel));

	/* Only a join can bring a row twice. */
	if (state->deferred && !IsA(scan, ForeignScan))
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(RowKey);
		ctl.entrysize = sizeof(RowKey);
		ctl.hcxt = CurrentMemoryContext;
		state->changed = hash_create("vdist changed rows", 1024, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	rinfo->ri_FdwState = state;
}

/*
 * Change one row; slot holds its new values (UPDATE only) and takes what comes back. NULL when the
 * row was not there any more.
 */
static TupleTableSlot *
change_row(EState *estate, VdistModify *state, TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	bool		isnull;
	Datum		key;
	Datum		ctid;
	int			shard;
	int			i;
	PGresult   *result;

	key = ExecGetJunkAttribute(planSlot, state->key_junk, &isnull);
	if (isnull)
		vdist_raise_null_key(state->rel, state->placement);
	shard = vdist_placement_shard(state->placement, key);
	ctid = ExecGetJunkAttribute(planSlot, state->ctid_junk, &isnull);
	if (isnull)
		elog(ERROR, "ctid is NULL");

	state->values[0] = ctid;
	for (i = 0; i < state->ncolumns; i++)
		state->values[i + 1] = slot_getattr(slot, state->columns[i], &state->nulls[i + 1]);
	if (state->sets_key)
	{
		key = slot_getattr(slot, state->placement->key, &isnull);
		if (isnull)
			vdist_raise_null_key(state->rel, state->placement);
		if (vdist_placement_shard(state->placement, key) != shard)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot move a row of table \"%s\" to another shard by UPDATE",
							RelationGetRelationName(state->rel)),
					 errdetail("The new value of distribution column \"%s\" belongs to another shard.",
							   get_attname(RelationGetRelid(state->rel), state->placement->key,
										   false)),
					 errhint("Delete the row and insert it anew in one transaction.")));
	}

	if (state->deferred)
	{
		RowKey		row = {0};
		bool		found;

		/* As in a local table only the first time counts. */
		if (state->changed != NULL)
		{
			row.shard = shard;
			row.ctid = *(ItemPointer) DatumGetPointer(ctid);
			hash_search(state->changed, &row, HASH_ENTER, &found);
			if (found)
				return NULL;
		}
		vdist_batch_add(state->batch, shard, state->values, state->nulls);
		if (vdist_batch_full(state->batch))
			(void) vdist_batch_flush(state->batch);
		return slot;
	}
	result = vdist_batch_run_one(state->batch, shard, state->values, state->nulls);
	if (atoll(PQcmdTuples(result)) == 0)
		return NULL;
	if (state->returning != NULL && PQntuples(result) > 0)
		vdist_returning_store(state->returning, result, 0, slot,
							  GetPerTupleMemoryContext(estate));
	return slot;
}

TupleTableSlot *
vdist_exec_modify(EState *estate, ResultRelInfo *rinfo, TupleTableSlot *slot,
				  TupleTableSlot *planSlot)
{
	return change_row(estate, rinfo->ri_FdwState, slot, planSlot);
}

void
vdist_end_modify(EState *estate, ResultRelInfo *rinfo)
{
	VdistModify *state = rinfo->ri_FdwState;

	if (state == NULL)
		return;
	if (state->base.operation == CMD_INSERT)
		vdist_end_insert(estate, rinfo);
	else
		(void) vdist_batch_flush(state->batch);
}

void
vdist_explain_modify(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *private, int subplan,
					 ExplainState *es)
{
	if (es->verbose)
		ExplainPropertyText("Remote SQL", strVal(list_nth(private, PRIVATE_SQL)), es);
}

/* ---- TRUNCATE ---- */

/* All tables of one command on all their shards at once. */
void
vdist_truncate(List *rels, DropBehavior behavior, bool restart_seqs)
{
	List	   *servers = NIL;
	List	   *tables = NIL;	/* StringInfo by shard */
	VdistConn **conns;
	Oid		   *oids;
	const char **commands;
	ListCell   *lc;
	int			n;
	int			i;

	foreach(lc, rels)
	{
		Relation	rel = lfirst(lc);
		VdistPlacement *placement = vdist_placement(RelationGetRelid(rel));

		for (i = 0; i < placement->nshards; i++)
		{
			StringInfo	sql = NULL;
			ListCell   *lc1;
			ListCell   *lc2;

			forboth(lc1, servers, lc2, tables)
				if (lfirst_oid(lc1) == placement->servers[i])
				sql = lfirst(lc2);
			if (sql == NULL)
			{
				sql = makeStringInfo();
				servers = lappend_oid(servers, placement->servers[i]);
				tables = lappend(tables, sql);
			}
			appendStringInfo(sql, "%s%s", sql->len > 0 ? ", " : "TRUNCATE ",
							 vdist_relation_name(RelationGetRelid(rel)));
		}
	}
	n = list_length(servers);
	conns = palloc(sizeof(VdistConn *) * n);
	oids = palloc(sizeof(Oid) * n);
	commands = palloc(sizeof(char *) * n);
	for (i = 0; i < n; i++)
	{
		StringInfo	sql = list_nth(tables, i);

		appendStringInfo(sql, " %s IDENTITY %s", restart_seqs ? "RESTART" : "CONTINUE",
						 behavior == DROP_CASCADE ? "CASCADE" : "RESTRICT");
		oids[i] = list_nth_oid(servers, i);
		commands[i] = sql->data;
	}
	vdist_conn_get(n, oids, GetUserId(), VDIST_WRITE, conns);
	vdist_fanout_commands(n, conns, commands);
}
