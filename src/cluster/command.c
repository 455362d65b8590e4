/*
 * command.c: vdist.run_command_on_shards, for what has no function of its own. Calls conn.c and
 * fanout.c.
 */
#include "compat.h"

#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/tuplestore.h"

#include "cluster/cluster.h"

PG_FUNCTION_INFO_V1(vdist_run_command_on_shards);

/* First column of the first row, or the command tag when there are no rows to have one. */
static char *
result_text(const PGresult *result)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return pstrdup(PQcmdStatus((PGresult *) result));
	if (PQntuples(result) == 0 || PQnfields(result) == 0 || PQgetisnull(result, 0, 0))
		return NULL;
	return pstrdup(PQgetvalue(result, 0, 0));
}

static bool
succeeded(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

/*
 * What must surround the command on a connection. Names in it mean what they mean in this session.
 * Where a remote transaction is open the command is part of it, and its failure must not be the
 * transaction's.
 */
static const char *
before_command(bool in_transaction, const char *search_path)
{
	return psprintf("%sSELECT pg_catalog.set_config('search_path', %s, false)",
					in_transaction ? "SAVEPOINT vdist_command;" : "",
					quote_literal_cstr(search_path));
}

static const char *
after_command(bool in_transaction, bool success)
{
	return psprintf("%sSELECT pg_catalog.set_config('search_path', 'pg_catalog', false)",
					!in_transaction ? "" :
					success ? "RELEASE SAVEPOINT vdist_command;" :
					"ROLLBACK TO SAVEPOINT vdist_command; RELEASE SAVEPOINT vdist_command;");
}

/* Run the command on those of n connections that are not NULL, and note the results. */
static void
run_command(int n, VdistConn **conns, const char *command, PGresult **results)
{
	VdistConn **open = palloc(n * sizeof(VdistConn *));
	bool	   *in_transaction = palloc0(n * sizeof(bool));
	bool	   *doomed = palloc0(n * sizeof(bool));
	const char **sql = palloc0(n * sizeof(char *));
	PGresult  **others = palloc0(n * sizeof(PGresult *));
	const char *search_path = GetConfigOption("search_path", false, false);

	for (int i = 0; i < n; i++)
	{
		open[i] = conns[i];
		if (open[i] == NULL)
			continue;
		in_transaction[i] = conns[i]->depth > 0 || conns[i]->want_xact;
		/* An error thrown from here on leaves the session there in a state that nobody expects. */
		doomed[i] = vdist_conn_doom(conns[i], true);
		sql[i] = before_command(in_transaction[i], search_path);
	}
	vdist_fanout_try(n, open, sql, others);

	for (int i = 0; i < n; i++)
	{
		if (open[i] != NULL && !succeeded(others[i]))
		{
			results[i] = others[i];
			open[i] = NULL;
		}
		sql[i] = command;
	}
	memset(others, 0, n * sizeof(PGresult *));
	vdist_fanout_try(n, open, sql, others);

	for (int i = 0; i < n; i++)
	{
		if (open[i] == NULL)
			continue;
		results[i] = others[i];
		if (open[i]->pg == NULL)
			open[i] = NULL;
		else
			sql[i] = after_command(in_transaction[i], succeeded(results[i]));
	}
	vdist_fanout_try(n, open, sql, others);

	for (int i = 0; i < n; i++)
		if (open[i] != NULL && succeeded(others[i]))
			(void) vdist_conn_doom(open[i], doomed[i]);
}

/*
 * vdist.run_command_on_shards(command text) returns setof (shard, success, result): on every shard at
 * the same time. Where this transaction has written on a shard already, the command becomes part
 * of it; else it commits by itself.
 */
Datum
vdist_run_command_on_shards(PG_FUNCTION_ARGS)
{
	char	   *command = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *shards = vdist_shard_list();
	int			n = list_length(shards);
	Oid		   *servers = palloc(Max(n, 1) * sizeof(Oid));
	VdistConn **conns = palloc0(Max(n, 1) * sizeof(VdistConn *));
	char	  **errors = palloc0(Max(n, 1) * sizeof(char *));
	PGresult  **results = palloc0(Max(n, 1) * sizeof(PGresult *));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
		servers[i] = ((ForeignServer *) list_nth(shards, i))->serverid;
	if (n > 0)
	{
		vdist_conn_try(n, servers, GetUserId(), VDIST_READ, conns, errors);
		run_command(n, conns, command, results);
	}

	for (int i = 0; i < n; i++)
	{
		ForeignServer *server = list_nth(shards, i);
		bool		success = results[i] != NULL && succeeded(results[i]);
		char	   *text = results[i] == NULL ? errors[i] :
			success ? result_text(results[i]) : vdist_result_message(results[i]);
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		values[0] = CStringGetTextDatum(server->servername);
		values[1] = BoolGetDatum(success);
		nulls[2] = text == NULL;

		if (!nulls[2])
			values[2] = CStringGetTextDatum(text);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
