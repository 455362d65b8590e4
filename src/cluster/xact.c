/*
 * xact.c: remote transactions follow the local one: begun and given savepoints lazily, together with
 * the first statement that needs them; ended on all shards at once in the transaction callbacks.
 * Called by conn.c and fanout.c, and by PostgreSQL at the ends of transactions.
 */
#include "cluster/cluster.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long the shards may take to roll back, before their connections are given up. */
#define ABORT_MS 10000

/* The same when this process is about to end. */
#define EXIT_MS 1000

/* ---- opening ---- */

/* The connection is used in this transaction, for the first time or again. */
void
vdist_xact_use(VdistConn *conn, VdistAccess access)
{
	if (!conn->used)
	{
		dlist_push_tail(&vdist_conns_used, &conn->used_link);
		conn->used = true;
	}
	if (access == VDIST_WRITE)
	{
		conn->wrote = true;
		conn->want_xact = true;
	}
	else if (IsolationUsesXactSnapshot())
		conn->want_xact = true;
}

/*
 * The commands that bring the connection to the local transaction's state, to be sent ahead of the
 * next statement. NIL when there are none, which is so for every read outside a transaction.
 */
List *
vdist_xact_prelude(VdistConn *conn)
{
	List	   *commands = NIL;
	int			level;

	if (!conn->want_xact)
		return NIL;
	if (conn->release > 0)
	{
		/* Takes with it the savepoint of a stream, which is younger. */
		commands = lappend(commands, psprintf("RELEASE SAVEPOINT s%d", conn->release));
		conn->release = 0;
	}
	else if (conn->stream_savepoint)
		commands = lappend(commands, pstrdup("RELEASE SAVEPOINT vdist_stream"));
	conn->stream_savepoint = false;
	if (conn->depth == 0)
	{
		const char *isolation;

		if (IsolationIsSerializable())
			isolation = "SERIALIZABLE";
		else if (IsolationUsesXactSnapshot())
			isolation = "REPEATABLE READ";
		else
			isolation = "READ COMMITTED";
		commands = lappend(commands,
						   psprintf("START TRANSACTION ISOLATION LEVEL %s, %s%s", isolation,
									XactReadOnly ? "READ ONLY" : "READ WRITE",
									XactDeferrable && XactReadOnly ? ", DEFERRABLE" : ""));
		conn->depth = 1;
	}
	level = GetCurrentTransactionNestLevel();
	while (conn->depth < level)
		commands = lappend(commands, psprintf("SAVEPOINT s%d", ++conn->depth));
	return commands;
}

/* ---- ending ---- */

/* The connections used in this transaction as an array; those of them with depth ≥ min_depth. */
static int
used_conns(VdistConn ***conns, int min_depth)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &vdist_conns_used)
		n++;
	*conns = palloc(Max(n, 1) * sizeof(VdistConn *));
	n = 0;
	dlist_foreach(iter, &vdist_conns_used)
	{
		VdistConn  *conn = dlist_container(VdistConn, used_link, iter.cur);

		if (conn->depth >= min_depth)
			(*conns)[n++] = conn;
	}
	return n;
}

static void
forget_transaction(void)
{
	while (!dlist_is_empty(&vdist_conns_used))
	{
		VdistConn  *conn = dlist_container(VdistConn, used_link,
										   dlist_pop_head_node(&vdist_conns_used));

		conn->used = false;
		conn->want_xact = false;
		conn->wrote = false;
		conn->lost = false;
		conn->depth = 0;
		conn->release = 0;
		conn->stream_savepoint = false;
	}
	vdist_conn_close_invalidated();
}

/* A shard that went away with work of this transaction lets nobody commit. */
static void
check_all_alive(void)
{
	VdistConn **conns;
	int			n;
	int			i;
	dlist_iter	iter;

	dlist_foreach(iter, &vdist_conns_used)
	{
		VdistConn  *conn = dlist_container(VdistConn, used_link, iter.cur);

		if (conn->lost)
			vdist_conn_lost(conn, NULL);
	}
	n = used_conns(&conns, 1);
	for (i = 0; i < n; i++)
		if (vdist_conn_busy(conns[i]))
			vdist_conn_free(conns[i]);
	if (n > 0)
		vdist_conn_probe(n, conns);
	for (i = 0; i < n; i++)
		if (PQstatus(conns[i]->pg) == CONNECTION_BAD)
			vdist_conn_lost(conns[i], NULL);
	pfree(conns);
}

/* The names of the shards in one of three states, separated by commas; NULL when there are none. */
static char *
shards_in_state(int n, VdistConn **conns, const char *state, char wanted)
{
	StringInfoData names;
	int			i;

	initStringInfo(&names);
	for (i = 0; i < n; i++)
		if (state[i] == wanted)
			appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "", conns[i]->shard);
	return names.len ? names.data : NULL;
}

static void
raise_half_committed(int n, VdistConn **conns, const char *state, PGresult *failure)
{
	char	   *committed = shards_in_state(n, conns, state, 'c');
	char	   *unknown = shards_in_state(n, conns, state, '?');
	char	   *failed = shards_in_state(n, conns, state, 'f');
	char	   *reason = failure ? vdist_result_message(failure) : NULL;
	const char *sqlstate = failure ? PQresultErrorField(failure, PG_DIAG_SQLSTATE) : NULL;
	StringInfoData detail;

	initStringInfo(&detail);
	if (committed)
		appendStringInfo(&detail, "Committed on %s. ", committed);
	if (failed)
		appendStringInfo(&detail, "Rolled back on %s. ", failed);
	if (unknown)
		appendStringInfo(&detail, "Not known on %s. ", unknown);
	appendStringInfo(&detail, "Rolled back on the coordinator.");
	if (!committed && !unknown)
		ereport(ERROR,
				(errcode(sqlstate ? MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2],
												  sqlstate[3], sqlstate[4])
						 : ERRCODE_TRANSACTION_ROLLBACK),
				 errmsg_internal("%s", reason ? reason : "could not commit"),
				 errdetail_internal("%s", detail.data),
				 errcontext("shard %s, remote SQL: COMMIT TRANSACTION", failed)));
	ereport(ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 committed ? errmsg("transaction was committed on some shards only")
			 : errmsg("could not learn whether the transaction was committed"),
			 errdetail_internal("%s", detail.data),
			 errhint("Compare the rows on the shards named before you repeat the transaction."),
			 reason ? errcontext("%s", reason) : 0));
}

/* Send a command to those that are still connected; no error, who cannot be sent to is closed. */
static void
send_quietly(int n, VdistConn **conns, const char *sql)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (conns[i]->pg == NULL)
			continue;
		if (!PQexitPipelineMode(conns[i]->pg) || !PQsendQuery(conns[i]->pg, sql))
		{
			vdist_conn_close(conns[i]);
			continue;
		}
		vdist_conn_expect(conns[i], VDIST_EXPECT_SIMPLE);
		conns[i]->flushing = PQflush(conns[i]->pg) == 1;
	}
}

/*
 * Commit on all shards that have a remote transaction, in parallel. This is the place of two-phase
 * commit: with several written shards it becomes PREPARE everywhere here, the decision record, and
 * COMMIT PREPARED after the local commit. Until then a failure between the commits is reported with
 * the state of every shard.
 */
static void
commit_all(void)
{
	VdistConn **conns;
	VdistConn **waiting;
	char	   *state;
	PGresult   *failure = NULL;
	int			n;
	int			i;

	check_all_alive();
	n = used_conns(&conns, 1);
	if (n == 0)
	{
		pfree(conns);
		return;
	}
	state = palloc(n);
	waiting = palloc(n * sizeof(VdistConn *));
	memset(state, '?', n);

	/*
	 * From here on neither an error nor an interrupt must hide how far the commits came: a cancel
	 * ends the wait, and what has not answered by then is reported as not known.
	 */
	send_quietly(n, conns, "COMMIT TRANSACTION");
	while (true)
	{
		int			nwaiting = 0;

		for (i = 0; i < n; i++)
		{
			VdistConn  *conn = conns[i];
			VdistStep	step;
			PGresult   *piece;

			if (conn->pg == NULL || !vdist_conn_busy(conn))
				continue;
			while ((step = vdist_conn_step(conn, &piece)) == VDIST_STEP_PIECE)
			{
				if (PQresultStatus(piece) == PGRES_COMMAND_OK)
					/* COMMIT of a failed transaction answers ROLLBACK, without an error. */
					state[i] = strcmp(PQcmdStatus(piece), "COMMIT") == 0 ? 'c' : 'f';
				else if (PQresultErrorField(piece, PG_DIAG_SQLSTATE) != NULL &&
						 strncmp(PQresultErrorField(piece, PG_DIAG_SQLSTATE), "57P", 3) != 0)
					state[i] = 'f';
				if (PQresultStatus(piece) == PGRES_FATAL_ERROR && failure == NULL)
					failure = vdist_result_own(piece);
				else
					PQclear(piece);
			}
			if (step == VDIST_STEP_LOST)
				vdist_conn_close(conn);
			else if (step == VDIST_STEP_BUSY)
				waiting[nwaiting++] = conn;
			else
				conn->depth = 0;
		}
		if (nwaiting == 0)
			break;
		if (QueryCancelPending || ProcDiePending)
		{
			for (i = 0; i < nwaiting; i++)
				vdist_conn_close(waiting[i]);
			break;
		}
		(void) vdist_wait(nwaiting, waiting, 0);
	}
	for (i = 0; i < n; i++)
	{
		/* A transaction that only read has nothing to lose. */
		if (state[i] != 'c' && conns[i]->wrote)
			raise_half_committed(n, conns, state, failure);
	}
	pfree(state);
	pfree(waiting);
	pfree(conns);
}

/* Roll back everywhere. Nothing in here raises an error. */
static void
abort_all(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ABORT_MS);
	VdistConn **conns;
	int			n = used_conns(&conns, 0);
	int			i;
	int			nopen = 0;

	/*
	 * At exit nobody wants the connections: a closed one rolls back by itself. But a shard that
	 * waits or computes does not look at its client, so it is told to stop.
	 */
	if (proc_exit_inprogress)
	{
		vdist_conns_quiesce(n, conns, true,
							TimestampTzPlusMilliseconds(GetCurrentTimestamp(), EXIT_MS));
		for (i = 0; i < n; i++)
			vdist_conn_close(conns[i]);
		pfree(conns);
		return;
	}
	vdist_conns_quiesce(n, conns, true, deadline);
	for (i = 0; i < n; i++)
	{
		if (conns[i]->pg != NULL && PQtransactionStatus(conns[i]->pg) != PQTRANS_IDLE)
			conns[nopen++] = conns[i];
		/* A rollback undoes SETs too. */
		if (conns[i]->depth > 0)
			conns[i]->settings = 0;
	}
	if (nopen > 0)
	{
		send_quietly(nopen, conns, "ABORT TRANSACTION");
		vdist_conns_quiesce(nopen, conns, false, deadline);
	}
	for (i = 0; i < nopen; i++)
		if (conns[i]->pg != NULL && PQtransactionStatus(conns[i]->pg) != PQTRANS_IDLE)
			vdist_conn_close(conns[i]);
	pfree(conns);
}

/* Streams inside transactions were cancelled: the transactions go on from before them. No error. */
void
vdist_xact_end_stream(int n, VdistConn **conns)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ABORT_MS);
	VdistConn **open = palloc(n * sizeof(VdistConn *));
	int			nopen = 0;
	int			i;

	for (i = 0; i < n; i++)
		if (conns[i]->pg != NULL && conns[i]->depth > 0)
			open[nopen++] = conns[i];
	if (nopen > 0)
	{
		send_quietly(nopen, open,
					 "ROLLBACK TO SAVEPOINT vdist_stream; RELEASE SAVEPOINT vdist_stream");
		vdist_conns_quiesce(nopen, open, false, deadline);
	}
	for (i = 0; i < nopen; i++)
	{
		open[i]->stream_savepoint = false;
		if (open[i]->pg != NULL && PQtransactionStatus(open[i]->pg) != PQTRANS_INTRANS)
			vdist_conn_close(open[i]);
	}
	pfree(open);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	dlist_iter	iter;

	if (dlist_is_empty(&vdist_conns_used))
	{
		if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
			vdist_conn_close_invalidated();
		return;
	}
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			commit_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			dlist_foreach(iter, &vdist_conns_used)
			{
				if (dlist_container(VdistConn, used_link, iter.cur)->wrote)
					ereport(ERROR,
							(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							 errmsg("cannot PREPARE a transaction that has written to shards"),
							 errhint("Use COMMIT.")));
			}
			commit_all();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			abort_all();
			forget_transaction();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PREPARE:
			forget_transaction();
			break;
	}
}

/*
 * A savepoint that ends well is released together with the next statement; one that is rolled back
 * is rolled back on the shards at once, so that its locks go.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	TimestampTz deadline;
	VdistConn **conns;
	int			n;
	int			i;
	int			nbusy;
	int			level;
	char		sql[100];

	if (dlist_is_empty(&vdist_conns_used) ||
		(event != SUBXACT_EVENT_PRE_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	level = GetCurrentTransactionNestLevel();
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
	{
		n = used_conns(&conns, 0);
		for (i = 0; i < n; i++)
		{
			conns[i]->level = Min(conns[i]->level, level - 1);
			if (conns[i]->depth < level)
				continue;
			if (conns[i]->copy != NULL)
				vdist_conn_free(conns[i]);
			conns[i]->depth = level - 1;
			conns[i]->release = level;
		}
		pfree(conns);
		return;
	}

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ABORT_MS);
	n = used_conns(&conns, 0);
	for (i = 0, nbusy = 0; i < n; i++)
		if (vdist_conn_busy(conns[i]) && conns[i]->level >= level)
			conns[nbusy++] = conns[i];
	vdist_conns_quiesce(nbusy, conns, true, deadline);
	pfree(conns);

	n = used_conns(&conns, level);
	snprintf(sql, sizeof(sql), "ROLLBACK TO SAVEPOINT s%d; RELEASE SAVEPOINT s%d", level, level);
	send_quietly(n, conns, sql);
	vdist_conns_quiesce(n, conns, false, deadline);
	for (i = 0; i < n; i++)
	{
		if (conns[i]->pg == NULL)
			continue;
		if (PQtransactionStatus(conns[i]->pg) != PQTRANS_INTRANS)
		{
			vdist_conn_close(conns[i]);
			continue;
		}
		conns[i]->depth = level - 1;
		conns[i]->release = 0;
		conns[i]->stream_savepoint = false;
		conns[i]->settings = 0;
	}
	pfree(conns);
}

void
vdist_xact_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
