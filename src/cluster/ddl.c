/*
 * ddl.c: what happens to distributed tables and shards through DROP, ALTER and RENAME, seen by event
 * triggers, and vdist.alter_distributed_table, which changes a table here and on its shards. Calls
 * catalog.c and the connections.
 */
#include "compat.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "cluster/cluster.h"

PG_FUNCTION_INFO_V1(vdist_on_ddl_start);
PG_FUNCTION_INFO_V1(vdist_on_ddl_end);
PG_FUNCTION_INFO_V1(vdist_on_drop);
PG_FUNCTION_INFO_V1(vdist_alter_distributed_table);

/* The table whose definition vdist.alter_distributed_table is changing everywhere at the moment. */
static Oid	altering = InvalidOid;

static EventTriggerData *
event_trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("must be called as an event trigger")));
	return (EventTriggerData *) fcinfo->context;
}

/* ---- ALTER and RENAME ---- */

/* The distributed table that a statement names, or InvalidOid. */
static Oid
distributed_relid(const RangeVar *relation)
{
	Oid			relid;

	if (relation == NULL)
		return InvalidOid;
	relid = RangeVarGetRelid(relation, NoLock, true);
	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE ||
		relid == altering || vdist_placement_or_null(relid) == NULL)
		return InvalidOid;
	return relid;
}

static void
refuse_alter(Oid relid, const char *what, const char *action)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s distributed table \"%s\" here alone", what, get_rel_name(relid)),
			 errdetail("The tables on its shards would no longer match it."),
			 errhint("Use SELECT vdist.alter_distributed_table(%s, '%s'), which alters it here and on all shards.",
					 quote_literal_cstr(vdist_relation_name(relid)), action)));
}

/* What concerns this server alone, and leaves the shards' tables as they ought to be. */
static bool
is_local_alter(const AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_ColumnDefault:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_ChangeOwner:
		case AT_AddIdentity:
		case AT_SetIdentity:
		case AT_DropIdentity:
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrig:
		case AT_DisableTrigAll:
		case AT_DisableTrigUser:
			return true;

		case AT_AddConstraint:
			{
				/*
				 * Nobody relies on one that is not valid; pg_dump adds it after the catalogs'
				 * rows.
				 */
				Constraint *constraint = (Constraint *) cmd->def;

				return constraint->contype == CONSTR_CHECK && constraint->skip_validation;
			}

		default:
			return false;
	}
}

static void
check_alter(const AlterTableStmt *stmt)
{
	Oid			relid = distributed_relid(stmt->relation);
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst(cell);

		if (OidIsValid(relid) && !is_local_alter(cmd))
			refuse_alter(relid, "alter", "...");
		if (cmd->subtype == AT_AttachPartition)
		{
			Oid			child = distributed_relid(((PartitionCmd *) cmd->def)->name);

			if (OidIsValid(child))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot attach distributed table \"%s\" as a partition",
								get_rel_name(child)),
						 errdetail("Changes of the partitioned table would not reach its shards."),
						 errhint("Put a view with UNION ALL over the tables.")));
		}
	}
}

static void
check_rename(const RenameStmt *stmt)
{
	Oid			relid;

	if (stmt->renameType == OBJECT_SCHEMA)
	{
		VdistRows  *rows = vdist_rows(NULL,
									  psprintf("SELECT c.relname FROM vdist.distributed d"
											   " JOIN pg_class c ON c.oid = d.relation"
											   " JOIN pg_namespace n ON n.oid = c.relnamespace"
											   " WHERE n.nspname = %s ORDER BY 1",
											   quote_literal_cstr(stmt->subname)));

		if (rows->nrows > 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot rename schema \"%s\" because it contains distributed tables",
							stmt->subname),
					 errdetail("Table \"%s\" has its rows in the schema of this name on its shards.",
							   VDIST_CELL(rows, 0, 0)),
					 errhint("Move the tables with vdist.alter_distributed_table(..., 'SET SCHEMA ...').")));
		return;
	}
	if (stmt->renameType == OBJECT_TRIGGER || stmt->renameType == OBJECT_RULE ||
		stmt->renameType == OBJECT_POLICY)
		return;
	relid = distributed_relid(stmt->relation);
	if (OidIsValid(relid))
	{
		if (stmt->renameType == OBJECT_COLUMN)
			refuse_alter(relid, "rename a column of", "RENAME ... TO ...");
		else
			refuse_alter(relid, "rename", "RENAME TO ...");
	}
}

/* ddl_command_start: refuse what would set a distributed table apart from its shards. */
Datum
vdist_on_ddl_start(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = event_trigger_data(fcinfo);
	Node	   *parsetree = trigger->parsetree;

	switch (nodeTag(parsetree))
	{
		case T_AlterTableStmt:
			check_alter((AlterTableStmt *) parsetree);
			break;

		case T_RenameStmt:
			check_rename((RenameStmt *) parsetree);
			break;

		case T_AlterObjectSchemaStmt:
			{
				AlterObjectSchemaStmt *stmt = (AlterObjectSchemaStmt *) parsetree;
				Oid			relid = distributed_relid(stmt->relation);

				if (OidIsValid(relid))
					refuse_alter(relid, "move", "SET SCHEMA ...");
				break;
			}

		case T_IndexStmt:
			{
				Oid			relid = distributed_relid(((IndexStmt *) parsetree)->relation);

				if (OidIsValid(relid))
					ereport(ERROR,
							(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							 errmsg("cannot create an index on distributed table \"%s\" here",
									get_rel_name(relid)),
							 errdetail("Its rows and indexes are on its shards."),
							 errhint("Use SELECT * FROM vdist.run_command_on_shards('CREATE INDEX ... ON %s ...').",
									 vdist_relation_name(relid))));
				break;
			}

		default:
			break;
	}
	PG_RETURN_NULL();
}

/* ddl_command_end: slots follow a shard to its new name. */
Datum
vdist_on_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = event_trigger_data(fcinfo);

	if (IsA(trigger->parsetree, RenameStmt))
	{
		RenameStmt *stmt = (RenameStmt *) trigger->parsetree;

		if (stmt->renameType == OBJECT_FOREIGN_SERVER)
			vdist_catalog_rename_shard(strVal(stmt->object), stmt->newname);
	}
	PG_RETURN_NULL();
}

/* ---- DROP ---- */

/* Drop the shards' tables of what was a distributed table of this quoted name. */
static void
drop_remote(Oid relid, const char *name)
{
	VdistRows  *shards = vdist_rows(NULL, psprintf("SELECT shard FROM vdist.slot_map"
												   " WHERE relation = %u ORDER BY shard", relid));
	int			n = shards->nrows;
	Oid		   *servers;
	VdistConn **conns;

	if (n == 0)
		return;
	servers = palloc(n * sizeof(Oid));
	conns = palloc(n * sizeof(VdistConn *));
	for (int i = 0; i < n; i++)
		servers[i] = get_foreign_server_oid(VDIST_CELL(shards, i, 0), false);
	vdist_conn_get(n, servers, GetUserId(), VDIST_WRITE, conns);
	vdist_drop_on_shards(n, conns, name);
}

/* sql_drop: the tables on the shards go with theirs here; a shard with slots stays. */
Datum
vdist_on_drop(PG_FUNCTION_ARGS)
{
	VdistRows  *rows;

	(void) event_trigger_data(fcinfo);

	rows = vdist_rows(NULL, "SELECT object_name FROM pg_catalog.pg_event_trigger_dropped_objects()"
					  " WHERE object_type = 'server'");
	for (int i = 0; i < rows->nrows; i++)
		vdist_check_shard_unused(VDIST_CELL(rows, i, 0));

	rows = vdist_rows(NULL,
					  "SELECT o.objid, pg_catalog.format('%I.%I', o.schema_name, o.object_name)"
					  " FROM pg_catalog.pg_event_trigger_dropped_objects() o"
					  " JOIN vdist.distributed d ON d.relation = o.objid"
					  " WHERE o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
					  "  AND o.objsubid = 0 ORDER BY 2");
	for (int i = 0; i < rows->nrows; i++)
	{
		Oid			relid = DatumGetObjectId(DirectFunctionCall1(oidin,
																 CStringGetDatum(VDIST_CELL(rows, i, 0))));

		drop_remote(relid, VDIST_CELL(rows, i, 1));
		vdist_catalog_remove(relid);
	}
	PG_RETURN_NULL();
}

/* ---- vdist.alter_distributed_table ---- */

/* A syntax error is one of the statement put together here, not of the one that called. */
static void
point_into_statement(void *sql)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(sql);
	}
}

/* The one statement that ALTER TABLE name action makes, or an error. */
static Node *
parse_action(char *sql)
{
	ErrorContextCallback context;
	List	   *statements;
	Node	   *stmt = NULL;

	context.callback = point_into_statement;
	context.arg = sql;
	context.previous = error_context_stack;
	error_context_stack = &context;
	statements = raw_parser(sql, RAW_PARSE_DEFAULT);
	error_context_stack = context.previous;

	if (list_length(statements) == 1)
		stmt = linitial_node(RawStmt, statements)->stmt;
	if (stmt == NULL ||
		(!IsA(stmt, AlterTableStmt) && !IsA(stmt, RenameStmt) && !IsA(stmt, AlterObjectSchemaStmt)))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("action must be what follows the table's name in one ALTER TABLE command"),
				 errhint("For example: 'ADD COLUMN note text'.")));
	return stmt;
}

static void
refuse_key(const char *column, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change distribution column \"%s\" of table \"%s\"", column, table),
			 errdetail("The rows lie where the hashes of its values say."),
			 errhint("Make the table local with vdist.undistribute_table(), change it, and distribute it again.")));
}

/* A distribution column stays, with its type; what only the shards can have goes there alone. */
static void
check_action(const Node *stmt, const VdistPlacement *placement)
{
	const char *table = get_rel_name(placement->relid);
	const char *key = get_attname(placement->relid, placement->key, false);
	ListCell   *cell;

	if (IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_COLUMN &&
		strcmp(((RenameStmt *) stmt)->subname, key) == 0)
		refuse_key(key, table);
	if (!IsA(stmt, AlterTableStmt))
		return;
	foreach(cell, ((AlterTableStmt *) stmt)->cmds)
	{
		AlterTableCmd *cmd = lfirst(cell);

		if ((cmd->subtype == AT_DropColumn || cmd->subtype == AT_AlterColumnType ||
			 cmd->subtype == AT_DropNotNull) &&
			cmd->name != NULL && strcmp(cmd->name, key) == 0)
			refuse_key(key, table);
		if (cmd->subtype == AT_AddConstraint &&
			(((Constraint *) cmd->def)->contype == CONSTR_PRIMARY ||
			 ((Constraint *) cmd->def)->contype == CONSTR_UNIQUE ||
			 ((Constraint *) cmd->def)->contype == CONSTR_EXCLUSION))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot add such a constraint to distributed table \"%s\" here", table),
					 errdetail("Each shard enforces it on its own rows, which is enough only when it contains distribution column \"%s\".",
							   key),
					 errhint("If it does, use SELECT * FROM vdist.run_command_on_shards('ALTER TABLE %s ADD ...').",
							 vdist_relation_name(placement->relid))));
	}
}

/*
 * Run the statement here, with the event trigger's guard lifted for this table. USING of a new type
 * is for those who have the rows.
 */
static void
alter_here(Oid relid, Node *stmt, const char *sql)
{
	PlannedStmt *planned = makeNode(PlannedStmt);

	if (IsA(stmt, AlterTableStmt))
	{
		ListCell   *cell;

		foreach(cell, ((AlterTableStmt *) stmt)->cmds)
		{
			AlterTableCmd *cmd = lfirst(cell);

			if (cmd->subtype == AT_AlterColumnType)
				((ColumnDef *) cmd->def)->raw_default = NULL;
		}
	}
	planned->commandType = CMD_UTILITY;
	planned->utilityStmt = stmt;

	altering = relid;
	PG_TRY();
	{
		ProcessUtility(planned, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
		CommandCounterIncrement();
	}
	PG_FINALLY();
	{
		altering = InvalidOid;
	}
	PG_END_TRY();
}

/*
 * vdist.alter_distributed_table(relation regclass, action text) returns void: ALTER TABLE relation
 * action on every shard and here, in one transaction.
 */
Datum
vdist_alter_distributed_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *action = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Relation	rel = vdist_lock_own_table(relid);
	VdistPlacement *placement = vdist_placement(relid);
	char	   *sql = psprintf("ALTER TABLE %s %s", vdist_relation_name(relid), action);
	Node	   *stmt = parse_action(sql);
	VdistConn **conns = palloc(placement->nshards * sizeof(VdistConn *));

	check_action(stmt, placement);
	relation_close(rel, NoLock);

	/* Here first: what a foreign table cannot have is said in this server's words. */
	alter_here(relid, stmt, sql);
	vdist_conn_get(placement->nshards, placement->servers, GetUserId(), VDIST_WRITE, conns);
	/* Names in the action mean there what they mean here; the setting ends with the transaction. */
	vdist_fanout_command(placement->nshards, conns,
						 psprintf("SELECT pg_catalog.set_config('search_path', %s, true); %s;"
								  "SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)",
								  quote_literal_cstr(GetConfigOption("search_path", false, false)),
								  sql));
	PG_RETURN_VOID();
}
