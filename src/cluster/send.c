/*
 * send.c: how a statement leaves. Requests are pipelined: settings, BEGIN, savepoints, Parse, Bind,
 * Execute and Sync go in one packet and are answered in one round trip; prepared statements are kept
 * by their text. Called by fanout.c.
 */
#include "cluster/cluster.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/memutils.h"

/* Prepared statements kept per connection. */
#define PREPARED_MAX 128

/*
 * A statement on a shard ends when this process was killed, even while it waits for a lock. Not a
 * start-up option, as there are systems that cannot watch a client and refuse the setting.
 */
#define WATCH_CLIENT "SET client_connection_check_interval = '2s'"

void
vdist_prepared_forget(VdistConn *conn, VdistPrepared *prepared)
{
	const char *sql = prepared->sql;

	dlist_delete(&prepared->link);
	hash_search(conn->prepared, &sql, HASH_REMOVE, NULL);
	pfree(unconstify(char *, sql));
}

void
vdist_prepared_forget_all(VdistConn *conn)
{
	while (!dlist_is_empty(&conn->prepared_lru))
		vdist_prepared_forget(conn, dlist_head_element(VdistPrepared, link, &conn->prepared_lru));
}

static void
send_failed(VdistConn *conn)
{
	if (PQstatus(conn->pg) == CONNECTION_BAD)
		vdist_conn_lost(conn, NULL);
	elog(ERROR, "could not send a statement to shard \"%s\": %s",
		 conn->shard, pchomp(PQerrorMessage(conn->pg)));
}

static void
send_command(VdistConn *conn, const char *sql, VdistExpect expect)
{
	if (!PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 0))
		send_failed(conn);
	vdist_conn_expect(conn, expect);
}

static void
send_sync(VdistConn *conn)
{
	if (!PQpipelineSync(conn->pg))
		send_failed(conn);
	vdist_conn_expect(conn, VDIST_EXPECT_SYNC);
}

/*
 * Settings that changed go ahead in a segment of their own, so that a shard whose vdist does not
 * know one still runs the statement. (Inside a transaction its error would abort that; but there the
 * setting was accepted before, or the version there differs and the error says so.)
 */
static void
send_settings(VdistConn *conn, uint64 generation)
{
	int			i;

	if (conn->settings == 0 && conn->depth == 0)
	{
		send_command(conn, WATCH_CLIENT, VDIST_EXPECT_SETTING);
		send_sync(conn);
	}
	for (i = 0; i < vdist_conn_setting_count(); i++)
	{
		const char *sql = vdist_conn_setting(i);

		if (sql == NULL)
			continue;
		send_command(conn, sql,
					 conn->depth == 0 ? VDIST_EXPECT_SETTING : VDIST_EXPECT_COMMAND);
		if (conn->depth == 0)
			send_sync(conn);
	}
	conn->settings = generation;
}

static uint32
prepared_hash(const void *key, Size keysize)
{
	const char *sql = *(const char *const *) key;

	return hash_bytes((const unsigned char *) sql, strlen(sql));
}

static int
prepared_match(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The prepared statement of this text; Parse is queued when the shard does not have it yet. */
static VdistPrepared *
prepare(VdistConn *conn, const char *sql)
{
	VdistPrepared *prepared;
	bool		found;

	if (conn->prepared == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(char *);
		ctl.entrysize = sizeof(VdistPrepared);
		ctl.hash = prepared_hash;
		ctl.match = prepared_match;
		conn->prepared = hash_create("vdist prepared statements", PREPARED_MAX, &ctl,
									 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE);
	}

	/*
	 * A table made anew under an old name, or with a new type of a column: the same text may give
	 * other types, which a prepared statement refuses.
	 */
	if (conn->table_changes != vdist_table_changes)
	{
		if (!dlist_is_empty(&conn->prepared_lru))
		{
			vdist_prepared_forget_all(conn);
			send_command(conn, "DEALLOCATE ALL", VDIST_EXPECT_COMMAND);
		}
		conn->table_changes = vdist_table_changes;
	}

	prepared = hash_search(conn->prepared, &sql, HASH_FIND, NULL);
	if (prepared != NULL && prepared->ready)
	{
		dlist_delete(&prepared->link);
		dlist_push_tail(&conn->prepared_lru, &prepared->link);
		return prepared;
	}
	/* Its Parse was never confirmed (the wait was cancelled): take a new name. */
	if (prepared != NULL)
		vdist_prepared_forget(conn, prepared);

	if (hash_get_num_entries(conn->prepared) >= PREPARED_MAX)
	{
		VdistPrepared *oldest = dlist_head_element(VdistPrepared, link, &conn->prepared_lru);
		char		deallocate[64];

		snprintf(deallocate, sizeof(deallocate), "DEALLOCATE %s", oldest->name);
		vdist_prepared_forget(conn, oldest);
		send_command(conn, deallocate, VDIST_EXPECT_COMMAND);
	}
	sql = MemoryContextStrdup(TopMemoryContext, sql);
	prepared = hash_search(conn->prepared, &sql, HASH_ENTER, &found);
	snprintf(prepared->name, sizeof(prepared->name), "vdist_%u", ++conn->prepared_count);
	prepared->ready = false;
	dlist_push_tail(&conn->prepared_lru, &prepared->link);
	conn->preparing = prepared;
	if (!PQsendPrepare(conn->pg, prepared->name, sql, 0, NULL))
		send_failed(conn);
	vdist_conn_expect(conn, VDIST_EXPECT_PREPARE);
	return prepared;
}

/* A request with all that must go ahead of it, in one packet. */
void
vdist_conn_send(VdistConn *conn, const VdistRequest *request, uint64 generation)
{
	VdistPrepared *prepared;
	ListCell   *lc;
	int			run;

	conn->sql = request->sql;
	conn->stream = request->stream;
	conn->level = GetCurrentTransactionNestLevel();
	if (conn->settings != generation)
		send_settings(conn, generation);
	foreach(lc, vdist_xact_prelude(conn))
		send_command(conn, lfirst(lc), VDIST_EXPECT_COMMAND);

	/* So that the stream can be cancelled without the transaction. Locks must not be rolled back. */
	if (request->stream && !request->locks && conn->depth > 0)
	{
		send_command(conn, "SAVEPOINT vdist_stream", VDIST_EXPECT_COMMAND);
		conn->stream_savepoint = true;
	}
	prepared = prepare(conn, request->sql);
	for (run = 0; run < Max(request->runs, 1); run++)
	{
		int			first = run * request->nparams;

		if (!PQsendQueryPrepared(conn->pg, prepared->name, request->nparams,
								 request->nparams ? request->values + first : NULL,
								 request->nparams ? request->lengths + first : NULL,
								 request->formats, request->result_format))
			send_failed(conn);
		if (conn->stream && conn->expect_pos == conn->expect_len)
			vdist_stream_rows(conn->pg);
		vdist_conn_expect(conn, VDIST_EXPECT_ROWS);
	}
	send_sync(conn);
	vdist_conn_flush(conn);
}

/* Text by the simple protocol, transaction commands before it in the same message. */
void
vdist_conn_send_text(VdistConn *conn, const char *sql)
{
	List	   *prelude;
	ListCell   *lc;
	StringInfoData text;

	conn->sql = sql;
	conn->stream = false;
	conn->level = GetCurrentTransactionNestLevel();
	prelude = vdist_xact_prelude(conn);
	initStringInfo(&text);
	foreach(lc, prelude)
		appendStringInfo(&text, "%s; ", (char *) lfirst(lc));
	appendStringInfoString(&text, sql);
	if (!PQexitPipelineMode(conn->pg) || !PQsendQuery(conn->pg, text.data))
		send_failed(conn);
	vdist_conn_expect(conn, VDIST_EXPECT_SIMPLE);
	vdist_conn_flush(conn);
	pfree(text.data);
}
