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

/* ---- add ---- */

/*
 * vdist.add_shard(name, hosts, dbname, user, password, options jsonb) returns void: a server and a
 * user mapping for the current user.
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

	PG_RETURN_VOID();
}

/* ---- remove ---- */

/* vdist.remove_shard(name) returns void; refused while a table has slots there. */
Datum
vdist_remove_shard(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			server = get_foreign_server_oid(name, true);
	List	   *shards = vdist_shard_list();
	ListCell   *cell;

	foreach(cell, shards)
		if (((ForeignServer *) lfirst(cell))->serverid == server)
		break;
	if (cell == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shard \"%s\" does not exist", name),
				 errhint("View vdist.shards lists the shards.")));

	SPI_connect();
	run_utility(psprintf("DROP SERVER %s CASCADE", quote_identifier(name)));
	SPI_finish();
	PG_RETURN_VOID();
}
