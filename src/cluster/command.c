/*
 * command.c: vdist.run_command_on_shards, for what has no function of its own. Calls conn.c and
 * fanout.c.
 */
#include "compat.h"

#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
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

/*
 * vdist.run_command_on_shards(sql text) returns setof (shard, success, result): on every shard at
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
	const char **sql = palloc(Max(n, 1) * sizeof(char *));
	PGresult  **results = palloc0(Max(n, 1) * sizeof(PGresult *));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		servers[i] = ((ForeignServer *) list_nth(shards, i))->serverid;
		sql[i] = command;
	}
	if (n > 0)
	{
		vdist_conn_try(n, servers, GetUserId(), VDIST_READ, conns, errors);
		vdist_fanout_try(n, conns, sql, results);
	}

	for (int i = 0; i < n; i++)
	{
		ForeignServer *server = list_nth(shards, i);
		bool		success = false;
		char	   *text;
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		if (conns[i] == NULL || results[i] == NULL)
			text = errors[i];

		else
		{
			ExecStatusType status = PQresultStatus(results[i]);

			success = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
				status == PGRES_EMPTY_QUERY;
			text = success ? result_text(results[i]) : vdist_result_message(results[i]);
		}
		values[0] = CStringGetTextDatum(server->servername);
		values[1] = BoolGetDatum(success);
		nulls[2] = text == NULL;

		if (text !=NULL)
			values[2] = CStringGetTextDatum(text);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
