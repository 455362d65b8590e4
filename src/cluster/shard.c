/*
 * shard.c: shards come and go: vdist.add_shard, vdist.remove_shard, and the list of them. Uses
 * conn.c and fanout.c to look at a new shard before it is accepted.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "cluster/cluster.h"

/* As PG_VERSION_NUM. */
#define OLDEST_VERSION 150000

PG_FUNCTION_INFO_V1(vdist_add_shard);
PG_FUNCTION_INFO_V1(vdist_remove_shard);

/* ---- the list of shards ---- */

static int
compare_server_name(const ListCell *a, const ListCell *b)
{
	return strcmp(((ForeignServer *) lfirst(a))->servername,
				  ((ForeignServer *) lfirst(b))->servername);
}

/* Every shard, a List of ForeignServer in order of name: vdist_fdw's servers with hosts. */
List *
vdist_shard_list(void)
{
	Oid			fdw = get_foreign_data_wrapper_oid(VDIST_FDW_NAME, false);
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server form = (Form_pg_foreign_server) GETSTRUCT(tuple);
		ForeignServer *server;
		ListCell   *cell;

		if (form->srvfdw != fdw)
			continue;
		server = GetForeignServer(form->oid);
		foreach(cell, server->options)
			if (strcmp(((DefElem *) lfirst(cell))->defname, "hosts") == 0)
			break;
		if (cell != NULL)
			result = lappend(result, server);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(result, compare_server_name);
	return result;
}

/* ---- statements ---- */

static void
run_utility(const char *sql)
{
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result of a utility command");
}

static void
append_option(StringInfo sql, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (sql->data[sql->len - 1] != '(')
		appendStringInfoString(sql, ", ");
	appendStringInfo(sql, "%s %s", quote_identifier(name), quote_literal_cstr(value));
}

/* The further libpq options, a jsonb object of name: value. */
static void
append_json_options(StringInfo sql, Datum options)
{
	Oid			types[1] = {JSONBOID};

	if (SPI_execute_with_args("SELECT * FROM pg_catalog.jsonb_each_text($1)", 1, types, &options,
							  NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the options of a shard");
	for (uint64 i = 0; i < SPI_processed; i++)
		append_option(sql, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1),
					  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));
}

/* ---- looking at a new shard ---- */

/*
 * Tells servers and databases apart: copies of a data directory share their system identifier, but
 * not the moment their postmaster started.
 */
static const char *const identity_query =
"SELECT pg_catalog.format('%s/%s/%s', (SELECT system_identifier FROM pg_catalog.pg_control_system()),"
"  pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()),"
"  (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())),"
"  pg_catalog.pg_is_in_recovery()";

static const char *const extension_query =
"SELECT e.extversion, n.nspname FROM pg_catalog.pg_extension e"
" JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vdist'";

/* The default collation by provider and locale (spelled one way), and its version. */
static const char *const locale_query =
"SELECT pg_catalog.format('%s %s %s %s', d.datlocprovider,"
"  pg_catalog.replace(pg_catalog.lower(d.datcollate), '-', ''),"
"  pg_catalog.replace(pg_catalog.lower(d.datctype), '-', ''),"
"  COALESCE(j.j->>'datlocale', j.j->>'daticulocale')),"
"  pg_catalog.pg_database_collation_actual_version(d.oid)"
" FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d)) j(j)"
" WHERE d.datname = pg_catalog.current_database()";

static void
check_identity(VdistConn *conn, const char *name)
{
	VdistRows  *here = vdist_rows(NULL, identity_query);
	VdistRows  *there = vdist_rows(conn, identity_query);
	const char *identity = VDIST_CELL(there, 0, 0);
	List	   *shards = vdist_shard_list();
	ListCell   *cell;

	if (strcmp(identity, VDIST_CELL(here, 0, 0)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("shard \"%s\" is this very database", name),
				 errdetail("A coordinator cannot be its own shard: its distributed tables and their parts would have the same names."),
				 errhint("Name another server, or another database of this one.")));
	if (strcmp(VDIST_CELL(there, 0, 1), "f") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shard \"%s\" is a standby", name),
				 errhint("Add the primary to its hosts.")));

	foreach(cell, shards)
	{
		ForeignServer *other = lfirst(cell);
		VdistConn  *otherconn = NULL;
		char	   *error = NULL;

		if (strcmp(other->servername, name) == 0)
			continue;
		/* One that cannot be reached is not the one that answered just now. */
		vdist_conn_try(1, &other->serverid, GetUserId(), VDIST_READ, &otherconn, &error);
		if (otherconn != NULL &&
			strcmp(VDIST_CELL(vdist_rows(otherconn, identity_query), 0, 0), identity) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("shard \"%s\" is the same database as shard \"%s\"", name,
							other->servername),
					 errhint("Name another server, or another database of it.")));
	}
}

/*
 * Comparisons of text run on the shards and sorted answers are merged here: both must order text
 * alike.
 */
static void
check_locale(VdistConn *conn, const char *name)
{
	VdistRows  *here = vdist_rows(NULL, locale_query);
	VdistRows  *there = vdist_rows(conn, locale_query);
	const char *our_version = VDIST_CELL(here, 0, 1);
	const char *its_version = VDIST_CELL(there, 0, 1);

	if (strcmp(VDIST_CELL(here, 0, 0), VDIST_CELL(there, 0, 0)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the database of shard \"%s\" has another default collation than this one",
						name),
				 errdetail("Provider, collation, character type and locale are \"%s\" there and \"%s\" here.",
						   VDIST_CELL(there, 0, 0), VDIST_CELL(here, 0, 0)),
				 errhint("Create the shard's database with this database's LOCALE.")));
	if (our_version != NULL && its_version != NULL && strcmp(our_version, its_version) != 0)
		ereport(WARNING,
				(errmsg("shard \"%s\" has version %s of its default collation, this server has %s",
						name, its_version, our_version),
				 errdetail("Where the two order text differently, sorted answers may be out of order.")));
}

/* The same extension as here must be there, or be created now. */
static void
check_extension(VdistConn *conn, const char *name)
{
	VdistRows  *here = vdist_rows(NULL, extension_query);
	VdistRows  *there = vdist_rows(conn, extension_query);
	const char *version = VDIST_CELL(here, 0, 0);
	const char *schema = VDIST_CELL(here, 0, 1);

	if (there->nrows == 0)
	{
		const char *sql[1];
		PGresult   *result[1];

		sql[0] = psprintf("CREATE SCHEMA IF NOT EXISTS %s;"
						  "CREATE EXTENSION vdist SCHEMA %s VERSION %s",
						  quote_identifier(schema), quote_identifier(schema),
						  quote_identifier(version));
		vdist_fanout_try(1, &conn, sql, result);
		if (PQresultStatus(result[0]) != PGRES_COMMAND_OK)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_ERROR),
					 errmsg("could not create extension vdist on shard \"%s\"", name),
					 errdetail("The shard said: %s.", vdist_result_message(result[0])),
					 errhint("Install vdist %s on the shard's server, and let a superuser run CREATE EXTENSION vdist SCHEMA %s in its database.",
							 version, quote_identifier(schema))));
	}
	else if (strcmp(VDIST_CELL(there, 0, 0), version) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shard \"%s\" has vdist %s, this server has %s", name,
						VDIST_CELL(there, 0, 0), version),
				 errhint("Bring both to the same version with ALTER EXTENSION vdist UPDATE.")));
	else if (strcmp(VDIST_CELL(there, 0, 1), schema) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shard \"%s\" has vdist in schema \"%s\", this server in schema \"%s\"",
						name, VDIST_CELL(there, 0, 1), schema),
				 errhint("Create the extension in the same schema on all of them.")));
}

static void
check_shard(const char *name)
{
	Oid			server = get_foreign_server_oid(name, false);
	VdistConn  *conn;

	vdist_conn_get(1, &server, GetUserId(), VDIST_WRITE, &conn);
	if (vdist_conn_version(conn) < OLDEST_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("shard \"%s\" runs PostgreSQL %d", name, vdist_conn_version(conn) / 10000),
				 errhint("vdist needs PostgreSQL %d or newer.", OLDEST_VERSION / 10000)));
	check_identity(conn, name);
	check_locale(conn, name);
	check_extension(conn, name);
}

/* ---- add ---- */

/*
 * vdist.add_shard(name, hosts, dbname, user, password, options jsonb) returns void: a server, a user
 * mapping for the current user, and the extension there.
 */
Datum
vdist_add_shard(PG_FUNCTION_ARGS)
{
	char	   *argument[5];
	StringInfoData sql;
	char	   *name;

	for (int i = 0; i < 5; i++)
	{
		/* name, hosts, dbname and user are required, the password is not. */
		if (PG_ARGISNULL(i) && i < 4)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("name, hosts, dbname and user of a shard must not be null")));
		argument[i] = PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
	}
	name = argument[0];
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of a shard must be shorter than %d bytes", NAMEDATALEN)));

	if (OidIsValid(get_foreign_server_oid(name, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("shard \"%s\" already exists", name),
				 errdetail("There is a foreign server of this name."),
				 errhint("Choose another name; ALTER SERVER ... OPTIONS (SET hosts ...) moves an existing shard to another host.")));

	SPI_connect();
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE SERVER %s FOREIGN DATA WRAPPER " VDIST_FDW_NAME " OPTIONS (",
					 quote_identifier(name));
	append_option(&sql, "hosts", argument[1]);
	append_option(&sql, "dbname", argument[2]);
	if (!PG_ARGISNULL(5))
		append_json_options(&sql, PG_GETARG_DATUM(5));
	appendStringInfoChar(&sql, ')');
	run_utility(sql.data);

	resetStringInfo(&sql);
	appendStringInfo(&sql, "CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (",
					 quote_identifier(name));
	append_option(&sql, "user", argument[3]);
	append_option(&sql, "password", argument[4]);
	if (argument[4] == NULL && superuser())
		append_option(&sql, "password_required", "false");
	appendStringInfoChar(&sql, ')');
	run_utility(sql.data);
	SPI_finish();

	check_shard(name);
	PG_RETURN_VOID();
}

/* ---- remove ---- */

/* Error while a distributed table has slots on this shard. */
void
vdist_check_shard_unused(const char *name)
{
	VdistRows  *rows = vdist_rows(NULL,
								  psprintf("SELECT pg_catalog.string_agg(relation::text, ', ')"
										   " FROM vdist.slot_map WHERE shard = %s",
										   quote_literal_cstr(name)));

	if (VDIST_CELL(rows, 0, 0) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop shard \"%s\" because it holds rows of distributed tables", name),
				 errdetail("These have slots there: %s.", VDIST_CELL(rows, 0, 0)),
				 errhint("Make them local with vdist.undistribute_table(), or drop them.")));
}

/* vdist.remove_shard(name) returns void; refused while a table has slots there. */
Datum
vdist_remove_shard(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			server = get_foreign_server_oid(name, true);
	List	   *shards = vdist_shard_list();
	ListCell   *cell;
	VdistRows  *mappings;

	foreach(cell, shards)
		if (((ForeignServer *) lfirst(cell))->serverid == server)
		break;
	if (cell == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shard \"%s\" does not exist", name),
				 errhint("View vdist.shards lists the shards.")));

	vdist_check_shard_unused(name);
	mappings = vdist_rows(NULL,
						  psprintf("SELECT CASE WHEN umuser = 0 THEN 'PUBLIC'"
								   " ELSE pg_catalog.quote_ident(usename) END"
								   " FROM pg_catalog.pg_user_mappings WHERE srvid = %u", server));
	SPI_connect();
	for (int i = 0; i < mappings->nrows; i++)
		run_utility(psprintf("DROP USER MAPPING FOR %s SERVER %s", VDIST_CELL(mappings, i, 0),
							 quote_identifier(name)));
	run_utility(psprintf("DROP SERVER %s", quote_identifier(name)));
	SPI_finish();
	PG_RETURN_VOID();
}
