/*
 * distribute.c: vdist.create_distributed_table turns an ordinary table into a distributed one, in
 * one transaction: tables on all shards, rows moved, and a foreign table under the old name. Calls
 * check.c, tabledef.c, load.c and the connections; undistribute.c is the way back.
 *
 * The remote half runs in remote transactions that xact.c ends as the local one ends, so an error at
 * any point leaves the local table as it was and nothing on the shards.
 */
#include "compat.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "cluster/cluster.h"

/* Tables of more rows than this say what they are doing. */
#define TALKATIVE_ROWS 100000

PG_FUNCTION_INFO_V1(vdist_create_distributed_table);

/* schema.table, quoted, palloc'd. */
char *
vdist_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* Lock a table against everything, as its owner; error when it went away meanwhile. */
Relation
vdist_lock_own_table(Oid relid)
{
	Relation	rel;
	bool		existed = SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid));

	/* Owners alone may ask for the lock. */
	if (existed && !vdist_is_owner(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	rel = try_relation_open(relid, AccessExclusiveLock);
	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid),
				 existed ? errhint("It was dropped, or distributed or undistributed, at the same moment.") : 0));
	return rel;
}

/* ---- statements of a definition ---- */

/* What a shard gets of VDIST_DEF_BEFORE or VDIST_DEF_AFTER, each ended by a semicolon. */
static void
append_for_shard(StringInfo sql, const VdistRows *rows)
{
	for (int i = 0; i < rows->nrows; i++)
		if (rows->ncols < 3 || strcmp(VDIST_CELL(rows, i, 2), VDIST_DEF_OWNER) != 0)
			appendStringInfo(sql, "%s;\n", VDIST_CELL(rows, i, 1));
}

static char *
join_columns(const VdistRows *rows)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < rows->nrows; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", VDIST_CELL(rows, i, 0));
	return list.data;
}

/* CREATE TABLE from the rows of VDIST_DEF_COLUMNS and VDIST_DEF_KIND; trusts only the former. */
char *
vdist_create_statement(const char *name, const VdistRows *columns, const VdistRows *kind)
{
	bool		unlogged = strcmp(VDIST_CELL(kind, 0, 0), "t") == 0;
	const char *method = VDIST_CELL(kind, 0, 1);

	return psprintf("CREATE %sTABLE %s (%s)%s%s", unlogged ? "UNLOGGED " : "", name,
					join_columns(columns), method != NULL ? " USING " : "",
					method != NULL ? quote_identifier(method) : "");
}

void
vdist_run_here(Oid role, const char *sql)
{
	Oid			userid;
	int			security;
	int			level;

	if (sql[0] == '\0')
		return;
	GetUserIdAndSecContext(&userid, &security);
	SetUserIdAndSecContext(OidIsValid(role) ? role : BOOTSTRAP_SUPERUSERID,
						   security | SECURITY_LOCAL_USERID_CHANGE);
	level = vdist_catalog_path_begin();
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
	SPI_finish();
	vdist_catalog_path_end(level);
	SetUserIdAndSecContext(userid, security);
}

/* ---- the remote half ---- */

static void
check_shard_types(int n, VdistConn **conns, const char *name, const char *schema,
				  bool *schema_missing)
{
	VdistRows  *types = vdist_tabledef(NULL, VDIST_DEF_TYPES, name, NULL, NULL);

	for (int i = 0; i < n; i++)
	{
		VdistRows  *missing;

		if (VDIST_CELL(types, 0, 0) == NULL)
			break;
		missing = vdist_tabledef(conns[i], VDIST_DEF_MISSING, VDIST_CELL(types, 0, 0), schema, NULL);
		if (VDIST_CELL(missing, 0, 0) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("shard \"%s\" lacks types of the table: %s",
							vdist_conn_shard(conns[i]), VDIST_CELL(missing, 0, 0)),
					 errhint("Create them there, or the extension they belong to, with vdist.run_command_on_shards().")));
		schema_missing[i] = VDIST_CELL(missing, 0, 1)[0] != 't';
	}
}

/* Empty tables with everything that must be there before the rows. */
static void
create_on_shards(int n, VdistConn **conns, const char *name, const char *schema)
{
	bool	   *schema_missing = palloc0(n * sizeof(bool));
	StringInfoData sql;

	check_shard_types(n, conns, name, schema, schema_missing);
	for (int i = 0; i < n; i++)
		if (schema_missing[i])
			vdist_fanout_command(1, &conns[i], psprintf("CREATE SCHEMA %s", quote_identifier(schema)));

	initStringInfo(&sql);
	appendStringInfo(&sql, "%s;\n",
					 vdist_create_statement(name, vdist_tabledef(NULL, VDIST_DEF_COLUMNS, name,
																 "shard", NULL),
											vdist_tabledef(NULL, VDIST_DEF_KIND, name, NULL, NULL)));
	append_for_shard(&sql, vdist_tabledef(NULL, VDIST_DEF_BEFORE, name, name, NULL));
	vdist_fanout_command(n, conns, sql.data);
}

/* The privileges that roles have here, to those of them that the shard knows. */
static void
grant_on_shards(int n, VdistConn **conns, const char *name, const char *owner)
{
	VdistRows  *grants = vdist_tabledef(NULL, VDIST_DEF_PRIVILEGES, name, name, "TABLE");

	for (int s = 0; s < n; s++)
	{
		/* Everything to the owner's namesake; the table there belongs to whom we connect as. */
		VdistRows  *roles = vdist_rows(conns[s],
									   "SELECT rolname, rolname = current_user FROM pg_catalog.pg_roles");
		StringInfoData sql;
		StringInfoData missing;

		initStringInfo(&sql);
		initStringInfo(&missing);
		for (int g = -1; g < grants->nrows; g++)
		{
			const char *role = g < 0 ? owner : VDIST_CELL(grants, g, 0);
			bool		is_owner = g < 0 || VDIST_CELL(grants, g, 1)[0] == 't';
			int			r;

			if (g >= 0 && is_owner)
				continue;
			for (r = 0; r < roles->nrows; r++)
				if (role == NULL || strcmp(role, VDIST_CELL(roles, r, 0)) == 0)
					break;
			if (r == roles->nrows)
				appendStringInfo(&missing, "%s\"%s\"", missing.len > 0 ? ", " : "", role);
			else if (g >= 0)
				appendStringInfo(&sql, "%s;\n", VDIST_CELL(grants, g, 2));
			else if (VDIST_CELL(roles, r, 1)[0] != 't')
				appendStringInfo(&sql, "GRANT ALL ON TABLE %s TO %s WITH GRANT OPTION;\n", name,
								 quote_identifier(owner));
		}
		if (sql.len > 0)
			vdist_fanout_command(1, &conns[s], sql.data);
		if (missing.len > 0)
			ereport(WARNING,
					(errmsg("privileges on table %s not granted on shard \"%s\" to roles that do not exist there: %s",
							name, vdist_conn_shard(conns[s]), missing.data),
					 errhint("They matter only to sessions that connect to the shard as these roles. Create the roles there and grant with vdist.run_command_on_shards().")));
	}
}

/* ---- the local half ---- */

/*
 * Take the sequences off a table that is to be replaced; returns the statements that give them to
 * its successor.
 */
static char *
detach_sequences(const char *name)
{
	VdistRows  *rows = vdist_tabledef(NULL, VDIST_DEF_SEQUENCES, name, name, NULL);
	StringInfoData detach;
	StringInfoData attach;

	initStringInfo(&detach);
	initStringInfo(&attach);
	for (int i = 0; i < rows->nrows; i++)
	{
		const char *sequence = VDIST_CELL(rows, i, 0);
		const char *column = VDIST_CELL(rows, i, 1);

		if (VDIST_CELL(rows, i, 2)[0] == '\0')
		{
			/* serial: the sequence is an object of its own that changes hands */
			appendStringInfo(&detach, "ALTER SEQUENCE %s OWNED BY NONE;\n", sequence);
			appendStringInfo(&attach, "ALTER SEQUENCE %s OWNED BY %s.%s;\n", sequence,
							 name, quote_identifier(column));
		}
		else
		{
			/* identity: it goes with the old table and is born again with the new */
			VdistRows  *state = vdist_rows(NULL, psprintf("SELECT last_value, is_called FROM %s",
														  sequence));
			VdistRows  *grants = vdist_tabledef(NULL, VDIST_DEF_PRIVILEGES, sequence, sequence,
												"SEQUENCE");

			appendStringInfo(&attach,
							 "%s;\nSELECT pg_catalog.setval(%s, %s, %s);\n",
							 VDIST_CELL(rows, i, 3), quote_literal_cstr(sequence),
							 VDIST_CELL(state, 0, 0),
							 quote_literal_cstr(VDIST_CELL(state, 0, 1)));
			for (int g = 0; g < grants->nrows; g++)
				appendStringInfo(&attach, "%s;\n", VDIST_CELL(grants, g, 2));
			if (VDIST_CELL(rows, i, 4) != NULL)
				appendStringInfo(&attach, "COMMENT ON SEQUENCE %s IS %s;\n", sequence,
								 quote_literal_cstr(VDIST_CELL(rows, i, 4)));
		}
	}
	vdist_run_here(InvalidOid, detach.data);
	return attach.data;
}

/* Everything that makes the new table (of this name) its predecessor's heir, once that is gone. */
static void
finish_here(const char *name, const char *owner, const char *checks, const char *statements,
			const VdistRows *grants, bool owner_grants, const char *sequences)
{
	StringInfoData sql;
	VdistRows  *rows;

	initStringInfo(&sql);
	vdist_run_here(InvalidOid, psprintf("ALTER TABLE %s OWNER TO %s", name,
										quote_identifier(owner)));
	/* They call the owner's functions, which must not get more rights than the owner has. */
	vdist_run_here(get_role_oid(owner, false), checks);
	appendStringInfoString(&sql, statements);
	appendStringInfoString(&sql, sequences);
	vdist_run_here(InvalidOid, sql.data);

	resetStringInfo(&sql);
	rows = vdist_tabledef(NULL, VDIST_DEF_REVOKE, name, owner_grants ? "all" : "others", NULL);
	for (int i = 0; i < rows->nrows; i++)
		appendStringInfo(&sql, "%s;\n", VDIST_CELL(rows, i, 0));
	for (int i = 0; i < grants->nrows; i++)
		if (owner_grants || VDIST_CELL(grants, i, 1)[0] != 't')
			appendStringInfo(&sql, "%s;\n", VDIST_CELL(grants, i, 2));
	vdist_run_here(InvalidOid, sql.data);
}

/*
 * Put a new table of kind "TABLE" or "FOREIGN TABLE" in the place of `source`, whose definition it
 * gets: create is the statement that makes it (or gives it its name), which runs when the old one
 * is gone. Returns the OID.
 */
Oid
vdist_replace_here(Oid source, const char *create, const char *kind)
{
	char	   *name = vdist_relation_name(source);
	char	   *schema = get_namespace_name(get_rel_namespace(source));
	char	   *table = get_rel_name(source);
	bool		was_foreign = get_rel_relkind(source) == RELKIND_FOREIGN_TABLE;
	VdistRows  *before = vdist_tabledef(NULL, VDIST_DEF_BEFORE, name, name, NULL);
	VdistRows  *after = vdist_tabledef(NULL, VDIST_DEF_AFTER, name, name, kind);
	VdistRows  *grants = vdist_tabledef(NULL, VDIST_DEF_PRIVILEGES, name, name, "TABLE");
	VdistRows  *owner = vdist_rows(NULL,
								   psprintf("SELECT pg_get_userbyid(relowner), relacl IS NOT NULL"
											" FROM pg_class WHERE oid = %u", source));
	char	   *sequences = detach_sequences(name);
	StringInfoData checks;
	StringInfoData statements;

	initStringInfo(&checks);
	initStringInfo(&statements);
	for (int i = 0; i < before->nrows; i++)
		if (VDIST_CELL(before, i, 0)[0] == 't')
			appendStringInfo(&statements, "%s;\n", VDIST_CELL(before, i, 1));
	for (int i = 0; i < after->nrows; i++)
		if (VDIST_CELL(after, i, 0)[0] == 't')
			appendStringInfo(strcmp(VDIST_CELL(after, i, 2), VDIST_DEF_CHECK) == 0 ?
							 &checks : &statements, "%s;\n", VDIST_CELL(after, i, 1));

	vdist_run_here(InvalidOid, psprintf("DROP %s %s", was_foreign ? "FOREIGN TABLE" : "TABLE", name));
	vdist_run_here(InvalidOid, create);
	finish_here(name, VDIST_CELL(owner, 0, 0), checks.data, statements.data, grants,
				VDIST_CELL(owner, 0, 1)[0] == 't', sequences);
	return get_relname_relid(table, get_namespace_oid(schema, false));
}

/* ---- the function ---- */

/* The shards with which a new table begins: all of them; the user must be allowed to use each. */
static int
usable_shards(Oid **servers, char ***names)
{
	List	   *shards = vdist_shard_list();
	int			n = list_length(shards);

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no shards"),
				 errhint("Add one with vdist.add_shard().")));
	if (n > VDIST_SLOTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a table cannot have more than %d shards", VDIST_SLOTS)));
	*servers = palloc(n * sizeof(Oid));
	*names = palloc(n * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		ForeignServer *server = list_nth(shards, i);

		/* From here on it cannot be dropped or renamed. */
		LockDatabaseObject(ForeignServerRelationId, server->serverid, 0, AccessShareLock);
		if (get_foreign_server_oid(server->servername, true) != server->serverid)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("shard \"%s\" was removed or renamed at the same moment",
							server->servername)));
		if (vdist_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, server->servername);
		(*servers)[i] = server->serverid;
		(*names)[i] = server->servername;
	}
	return n;
}

/* vdist.create_distributed_table(relation regclass, distribution_column name) returns void */
Datum
vdist_create_distributed_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	Relation	rel = vdist_lock_own_table(relid);
	char	   *name = vdist_relation_name(relid);
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));
	int			level = vdist_catalog_path_begin();
	VdistPlacement placement = {0};
	Oid		   *servers;
	char	  **names;
	VdistConn **conns;
	int64		rows;
	int			n;
	StringInfoData sql;
	VdistRows  *columns;
	VdistRows  *owner;
	Oid			foreign;

	placement.relid = relid;
	placement.key = vdist_check_distributable(rel, column);
	placement.key_type = TupleDescAttr(RelationGetDescr(rel), placement.key - 1)->atttypid;
	placement.key_collation = TupleDescAttr(RelationGetDescr(rel), placement.key - 1)->attcollation;

	n = usable_shards(&servers, &names);
	placement.nshards = n;
	placement.servers = servers;
	memset(placement.slot_shard, -1, sizeof(placement.slot_shard));
	vdist_ring_place(n, names, placement.slot_shard);

	conns = palloc(n * sizeof(VdistConn *));
	vdist_conn_get(n, servers, GetUserId(), VDIST_WRITE, conns);
	create_on_shards(n, conns, name, schema);
	rows = vdist_load(rel, &placement, n, conns);

	initStringInfo(&sql);
	append_for_shard(&sql, vdist_tabledef(NULL, VDIST_DEF_AFTER, name, name, "TABLE"));
	if (rows > 0)
		appendStringInfo(&sql, "ANALYZE %s", name);
	if (rows > TALKATIVE_ROWS)
		ereport(NOTICE,
				(errmsg("%lld rows sent to %d shards, now their indexes and statistics",
						(long long) rows, n)));
	if (sql.len > 0)
		vdist_fanout_command(n, conns, sql.data);
	owner = vdist_rows(NULL, psprintf("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = %u",
									  relid));
	grant_on_shards(n, conns, name, VDIST_CELL(owner, 0, 0));

	columns = vdist_tabledef(NULL, VDIST_DEF_COLUMNS, name, "here", NULL);
	relation_close(rel, NoLock);
	foreign = vdist_replace_here(relid,
								 psprintf("CREATE FOREIGN TABLE %s (%s) SERVER " VDIST_FDW_SERVER,
										  name, join_columns(columns)),
								 "FOREIGN TABLE");
	/* Planners may know the size before the first ANALYZE. */
	vdist_run_here(InvalidOid, psprintf("UPDATE pg_catalog.pg_class SET reltuples = %lld WHERE oid = %u",
										(long long) rows, foreign));
	vdist_catalog_add(foreign, column, n, names, placement.slot_shard);
	vdist_catalog_path_end(level);
	PG_RETURN_VOID();
}
