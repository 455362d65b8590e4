/*
 * fanout.c: one round of requests to several shards, and what comes back: errors, rows, whose they
 * are. Sends through send.c, waits in wait.c. Called by fdw/, by the administration functions, copy.c
 * and xact.c.
 */
#include "cluster/cluster.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long a shard may take to stop what was cancelled, before its connection is given up. */
#define QUIESCE_MS 10000

/*
 * How long to wait for the end of what nobody wants any more before cancelling it: a cancel costs the
 * shard a process and everybody some milliseconds, and the rest of a small answer is mostly there.
 */
#define CANCEL_MS 2

typedef struct VdistPiece
{
	struct VdistPiece *next;
	PGresult   *result;
} VdistPiece;

typedef struct VdistSlot
{
	VdistConn  *origin;
	VdistConn  *conn;			/* origin while something is under way on it, then NULL */
	const VdistRequest *request;
	PGresult   *current;		/* handed out */
	VdistPiece *first;			/* arrived, not yet handed out */
	VdistPiece *last;
	Size		queued;			/* bytes of those */
	VdistSpool *spool;			/* rows that come after them */
	bool		done;			/* nothing more will arrive */
	bool		forgotten;		/* connection closed or rolled back under us */
	int64		bytes;
	instr_time	start;
	double		msec;
} VdistSlot;

struct VdistFanout
{
	MemoryContext context;
	MemoryContextCallback callback;
	int			n;
	int			turn;			/* where the search for a piece from any shard goes on */
	VdistConn **waiting;		/* scratch */
	VdistSlot	slots[FLEXIBLE_ARRAY_MEMBER];
};

/* ---- errors ---- */

char *
vdist_result_message(const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (message != NULL)
		return pstrdup(message);
	message = PQresultErrorMessage(result);
	return message[0] ? pchomp(message) : pstrdup("the connection to the shard was lost");
}

static bool
result_is_fatal(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* Raise a shard's error here, as the shard put it. The result must belong to somebody. */
void
vdist_conn_raise(VdistConn *conn, const PGresult *result, const char *sql)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

	if (PQstatus(conn->pg) == CONNECTION_BAD || result_is_fatal(result))
		vdist_conn_lost(conn, result);
	ereport(ERROR,
			(errcode(state ? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])
					 : ERRCODE_CONNECTION_FAILURE),
			 errmsg_internal("%s", vdist_result_message(result)),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0,
			 errcontext("shard \"%s\"%s%s", conn->shard, sql ? ", remote SQL: " : "",
						sql ? sql : "")));
}

static void
clear_result(void *result)
{
	PQclear(result);
}

PGresult *
vdist_result_own(PGresult *result)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = clear_result;
	callback->arg = result;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return result;
}

/* ---- what is under way on one connection ---- */

void
vdist_conn_expect(VdistConn *conn, VdistExpect expect)
{
	if (conn->expect_pos == conn->expect_len)
		conn->expect_pos = conn->expect_len = 0;
	if (conn->expect_len == conn->expect_size)
	{
		int			size = Max(16, conn->expect_size * 2);

		conn->expect = conn->expect ? repalloc(conn->expect, size)
			: MemoryContextAlloc(TopMemoryContext, size);
		conn->expect_size = size;
	}
	conn->expect[conn->expect_len++] = (char) expect;
}

/* A statement that no longer fits its table, or was deallocated behind us, must not fail for ever. */
static void
forget_stale_statements(VdistConn *conn, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (state == NULL || conn->prepared == NULL ||
		(strcmp(state, "0A000") != 0 && strcmp(state, "26000") != 0))
		return;
	vdist_prepared_forget_all(conn);
}

/*
 * Work off the results that have arrived, without waiting. Returns a piece when there is one: rows,
 * the outcome of a request, or an error of anything; the caller owns it.
 */
VdistStep
vdist_conn_step(VdistConn *conn, PGresult **piece)
{
	while (conn->expect_pos < conn->expect_len)
	{
		VdistExpect expect = conn->expect[conn->expect_pos];
		PGresult   *result;
		ExecStatusType status;

		if (PQisBusy(conn->pg))
			return PQstatus(conn->pg) == CONNECTION_BAD ? VDIST_STEP_LOST : VDIST_STEP_BUSY;
		result = PQgetResult(conn->pg);
		if (result == NULL)
		{
			if (PQstatus(conn->pg) == CONNECTION_BAD)
				return VDIST_STEP_LOST;
			conn->expect_pos++;
			if (expect == VDIST_EXPECT_PREPARE)
				conn->preparing = NULL;
			if (expect == VDIST_EXPECT_SIMPLE && !PQenterPipelineMode(conn->pg))
				return VDIST_STEP_LOST;
			if (conn->stream && conn->expect_pos < conn->expect_len &&
				conn->expect[conn->expect_pos] == VDIST_EXPECT_ROWS)
				vdist_stream_rows(conn->pg);
			continue;
		}
		status = PQresultStatus(result);
		if (status == PGRES_COPY_IN && conn->copy == NULL)
		{
			/* Nobody is left to send rows. */
			PQclear(result);
			(void) PQputCopyEnd(conn->pg, "abandoned");
			vdist_conn_flush(conn);
			continue;
		}
		if (status == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			conn->expect_pos++;
			conn->failed = false;
			continue;
		}
		if (conn->failed || status == PGRES_PIPELINE_ABORTED)
		{
			if (expect == VDIST_EXPECT_PREPARE)
				vdist_prepared_forget(conn, conn->preparing);
			PQclear(result);
			continue;
		}
		if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
		{
			conn->failed = expect != VDIST_EXPECT_SIMPLE;
			if (expect == VDIST_EXPECT_SETTING && !result_is_fatal(result))
			{
				PQclear(result);
				continue;
			}
			if (expect == VDIST_EXPECT_PREPARE)
				vdist_prepared_forget(conn, conn->preparing);
			else if (expect == VDIST_EXPECT_ROWS)
				forget_stale_statements(conn, result);
			*piece = result;
			return VDIST_STEP_PIECE;
		}
		if (expect == VDIST_EXPECT_ROWS || expect == VDIST_EXPECT_SIMPLE)
		{
			*piece = result;
			return VDIST_STEP_PIECE;
		}
		if (expect == VDIST_EXPECT_PREPARE)
			conn->preparing->ready = true;
		PQclear(result);
	}
	return VDIST_STEP_IDLE;
}

/* The fan-out that waits for rows of this connection will not get them. */
void
vdist_fanout_forget(VdistConn *conn)
{
	if (conn->fanout != NULL)
	{
		VdistSlot  *slot = &conn->fanout->slots[conn->fanout_slot];

		slot->forgotten = !slot->done;
		slot->conn = NULL;
		conn->fanout = NULL;
	}
}

static void
finish_slot(VdistSlot *slot)
{
	instr_time	now;

	if (slot->done)
		return;
	slot->done = true;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, slot->start);
	slot->msec = INSTR_TIME_GET_MILLISEC(now);
}

/*
 * Keep a piece until it is asked for, it or its rows. Rows that must wait because their connection is
 * wanted go to disk past work_mem.
 */
static void
queue_piece(VdistFanout *fanout, VdistSlot *slot, PGresult *result)
{
	MemoryContext old = MemoryContextSwitchTo(fanout->context);
	bool		spooled = PQresultStatus(result) != PGRES_FATAL_ERROR && slot->conn->stream;

	if (spooled && slot->spool == NULL && slot->queued > (Size) work_mem * 1024)
		slot->spool = vdist_spool_make(result);
	spooled = spooled && slot->spool != NULL;
	if (spooled)
		vdist_spool_put(slot->spool, result);
	else
	{
		VdistPiece *piece = palloc(sizeof(VdistPiece));

		piece->next = NULL;
		piece->result = result;
		if (slot->last != NULL)
			slot->last->next = piece;
		else
			slot->first = piece;
		slot->last = piece;
		slot->queued += PQresultMemorySize(result);
	}
	MemoryContextSwitchTo(old);
	if (slot->request && slot->request->measure)
	{
		int			nfields = PQnfields(result);
		int			ntuples = PQntuples(result);
		int			i,
					j;

		for (i = 0; i < ntuples; i++)
			for (j = 0; j < nfields; j++)
				slot->bytes += PQgetlength(result, i, j);
	}
	if (spooled)
		PQclear(result);
}

/*
 * Work off what has arrived for a slot; with `all` past the first piece (the connection is wanted
 * for something else). IDLE: the connection has nothing more under way.
 */
static VdistStep
try_pump(VdistFanout *fanout, VdistSlot *slot, bool all)
{
	VdistConn  *conn = slot->conn;

	while (true)
	{
		PGresult   *piece;
		VdistStep	step = vdist_conn_step(conn, &piece);

		if (step == VDIST_STEP_IDLE)
		{
			if (slot->spool != NULL)
				vdist_spool_rewind(slot->spool);
			finish_slot(slot);
			conn->fanout = NULL;
			conn->sql = NULL;
			slot->conn = NULL;
		}
		if (step != VDIST_STEP_PIECE)
			return step;

		/* The end of a stream carries no rows. */
		if (conn->stream && PQresultStatus(piece) == PGRES_TUPLES_OK && PQntuples(piece) == 0)
			PQclear(piece);
		else
		{
			queue_piece(fanout, slot, piece);
			if (conn->stream && !all)
				return step;
		}
	}
}

/* The same; true when the connection has nothing more under way. */
static bool
pump_slot(VdistFanout *fanout, VdistSlot *slot, bool all)
{
	VdistConn  *conn = slot->conn;
	VdistStep	step = try_pump(fanout, slot, all);

	/* What the shard said before it went is the better reason. */
	if (step == VDIST_STEP_LOST && slot->last != NULL &&
		PQresultStatus(slot->last->result) == PGRES_FATAL_ERROR)
		return false;
	if (step == VDIST_STEP_LOST)
		vdist_conn_lost(conn, NULL);
	return step == VDIST_STEP_IDLE;
}

/* Raise the error that ends a slot's queue, if there is one. */
static void
raise_queued(VdistSlot *slot, const char *sql)
{
	PGresult   *last = slot->last ? slot->last->result : NULL;

	if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR)
		vdist_conn_raise(slot->origin, last, sql);
}

/*
 * Make the connection free for another statement: what an earlier fan-out still expects is read into
 * its queue, a COPY is completed.
 */
void
vdist_conn_free(VdistConn *conn)
{
	if (conn->copy != NULL)
		vdist_copy_finish(conn);
	while (vdist_conn_busy(conn))
	{
		VdistFanout *fanout = conn->fanout;
		VdistStep	step;
		PGresult   *piece;

		if (fanout != NULL)
		{
			VdistSlot  *slot = &fanout->slots[conn->fanout_slot];
			const char *sql = conn->sql;
			bool		idle = pump_slot(fanout, slot, true);

			/* In a transaction the next statement could only say that it is aborted. */
			raise_queued(slot, sql);
			if (idle)
				break;
		}
		else
		{
			while ((step = vdist_conn_step(conn, &piece)) == VDIST_STEP_PIECE)
				PQclear(piece);
			if (step == VDIST_STEP_LOST)
				vdist_conn_lost(conn, NULL);
			if (step == VDIST_STEP_IDLE)
				break;
		}
		vdist_wait(1, &conn, 0);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Bring the connections to rest before a deadline, whatever they are doing, without ever raising an
 * error: results are thrown away; with `cancel` the shards are asked to stop. A connection that does
 * not come to rest is closed.
 */
void
vdist_conns_quiesce(int n, VdistConn **conns, bool cancel, TimestampTz deadline)
{
	VdistConn **busy = palloc(n * sizeof(VdistConn *));
	TimestampTz patience = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CANCEL_MS);
	int			i;

	for (i = 0; i < n; i++)
	{
		if (conns[i]->pg == NULL)
			continue;
		vdist_copy_forget(conns[i]);
		vdist_fanout_forget(conns[i]);
		conns[i]->sql = NULL;
	}
	while (true)
	{
		int			nbusy = 0;

		for (i = 0; i < n; i++)
		{
			VdistConn  *conn = conns[i];
			VdistStep	step;
			PGresult   *piece;

			if (conn->pg == NULL)
				continue;
			while ((step = vdist_conn_step(conn, &piece)) == VDIST_STEP_PIECE)
				PQclear(piece);
			if (step == VDIST_STEP_LOST)
				vdist_conn_close(conn);
			else if (step == VDIST_STEP_BUSY)
				busy[nbusy++] = conn;
		}
		if (nbusy == 0)
			break;
		if (cancel && GetCurrentTimestamp() < patience)
		{
			(void) vdist_wait(nbusy, busy, patience);
			continue;
		}
		if (cancel)
		{
			for (i = 0; i < nbusy && GetCurrentTimestamp() < deadline; i++)
			{
				PGcancel   *request = PQgetCancel(busy[i]->pg);
				char		error[256];

				if (request != NULL)
				{
					(void) PQcancel(request, error, sizeof(error));
					PQfreeCancel(request);
				}
			}
			cancel = false;
		}
		if (GetCurrentTimestamp() >= deadline)
		{
			for (i = 0; i < nbusy; i++)
				vdist_conn_close(busy[i]);
			break;
		}
		(void) vdist_wait(nbusy, busy, deadline);
	}
	pfree(busy);
}

/* ---- the fan-out ---- */

static void
free_fanout(void *arg)
{
	VdistFanout *fanout = arg;
	int			i;

	for (i = 0; i < fanout->n; i++)
	{
		VdistSlot  *slot = &fanout->slots[i];
		VdistPiece *piece;

		if (slot->conn != NULL)
		{
			slot->conn->fanout = NULL;
			slot->conn->sql = NULL;
		}
		PQclear(slot->current);
		for (piece = slot->first; piece != NULL; piece = piece->next)
			PQclear(piece->result);
		if (slot->spool != NULL)
			vdist_spool_free(slot->spool);
	}
}

static VdistFanout *
make_fanout(int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdist fan-out",
												  ALLOCSET_SMALL_SIZES);
	VdistFanout *fanout = MemoryContextAllocZero(context, offsetof(VdistFanout, slots) +
												 n * sizeof(VdistSlot));

	fanout->context = context;
	fanout->n = n;
	fanout->waiting = MemoryContextAlloc(context, n * sizeof(VdistConn *));
	fanout->callback.func = free_fanout;
	fanout->callback.arg = fanout;
	MemoryContextRegisterResetCallback(context, &fanout->callback);
	return fanout;
}

static void
take_slot(VdistFanout *fanout, int i, VdistConn *conn, const VdistRequest *request)
{
	VdistSlot  *slot = &fanout->slots[i];

	slot->origin = conn;
	slot->conn = conn;
	slot->request = request;
	conn->fanout = fanout;
	conn->fanout_slot = i;
	INSTR_TIME_SET_CURRENT(slot->start);
}

VdistFanout *
vdist_fanout_send(int n, VdistConn **conns, const VdistRequest **requests)
{
	VdistFanout *fanout = make_fanout(n);
	uint64		generation = vdist_conn_settings();
	int			i;

	for (i = 0; i < n; i++)
		if (vdist_conn_busy(conns[i]))
			vdist_conn_free(conns[i]);
	for (i = 0; i < n; i++)
	{
		take_slot(fanout, i, conns[i], requests[i]);
		vdist_conn_send(conns[i], requests[i], generation);
	}
	return fanout;
}

/* Hand out the first queued piece of a slot; NULL when there is none. */
static PGresult *
take_piece(VdistSlot *slot)
{
	VdistPiece *piece = slot->first;

	/* Without a next piece the current one stays valid: others may be asked for meanwhile. */
	if (piece == NULL && slot->spool != NULL && slot->conn == NULL && !slot->forgotten)
	{
		PGresult   *result = vdist_spool_get(slot->spool);

		if (result != NULL)
		{
			PQclear(slot->current);
			slot->current = result;
		}
		return result;
	}
	if (piece == NULL)
	{
		if (slot->forgotten)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_CURSOR_STATE),
					 errmsg("the rows under way from shard \"%s\" were lost", slot->origin->shard),
					 errdetail("The connection was closed, or a savepoint older than the cursor's first row was rolled back.")));
		return NULL;
	}
	PQclear(slot->current);
	slot->first = piece->next;
	if (slot->first == NULL)
		slot->last = NULL;
	slot->current = piece->result;
	slot->queued -= PQresultMemorySize(piece->result);
	pfree(piece);
	return slot->current;
}

static PGresult *
check_piece(VdistFanout *fanout, VdistSlot *slot, PGresult *result, const char *sql)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
	{
		/* The rest of the segment mostly came in the same packet: leave the connection idle. */
		if (slot->conn != NULL)
			(void) try_pump(fanout, slot, true);
		vdist_conn_raise(slot->origin, result, sql);
	}
	return result;
}

PGresult *
vdist_fanout_next(VdistFanout *fanout, int i, int *from)
{
	int			first = i < 0 ? fanout->turn : i;
	int			count = i < 0 ? fanout->n : 1;

	while (true)
	{
		int			nwaiting = 0;
		int			k;

		for (k = 0; k < count; k++)
		{
			int			at = (first + k) % fanout->n;
			VdistSlot  *slot = &fanout->slots[at];
			const char *sql = slot->origin ? slot->origin->sql : NULL;
			PGresult   *result;

			if (slot->conn != NULL && slot->first == NULL)
				(void) pump_slot(fanout, slot, false);
			result = take_piece(slot);
			if (result != NULL)
			{
				if (from != NULL)
					*from = at;
				fanout->turn = (at + 1) % fanout->n;
				return check_piece(fanout, slot, result, sql);
			}
			if (slot->conn != NULL)
				fanout->waiting[nwaiting++] = slot->conn;
		}
		if (nwaiting == 0)
			return NULL;
		(void) vdist_wait(nwaiting, fanout->waiting, 0);
		CHECK_FOR_INTERRUPTS();
	}
}

void
vdist_fanout_stats(const VdistFanout *fanout, int i, int64 *bytes, double *msec)
{
	*bytes = fanout->slots[i].bytes;
	*msec = fanout->slots[i].msec;
}

void
vdist_fanout_end(VdistFanout *fanout)
{
	VdistConn **cancel = fanout->waiting;
	int			ncancel = 0;
	int			i;

	for (i = 0; i < fanout->n; i++)
	{
		VdistSlot  *slot = &fanout->slots[i];
		VdistConn  *conn = slot->conn;

		if (conn == NULL || pump_slot(fanout, slot, true))
			continue;

		/*
		 * A cancelled statement would abort the remote transaction, so there the rest is read,
		 * unless a savepoint was set for this.
		 */
		if (conn->depth > 0 && !conn->stream_savepoint)
		{
			slot->conn = NULL;
			conn->fanout = NULL;
			conn->sql = NULL;
			vdist_conn_free(conn);
		}
		else
			cancel[ncancel++] = conn;
	}
	if (ncancel > 0)
	{
		vdist_conns_quiesce(ncancel, cancel, true,
							TimestampTzPlusMilliseconds(GetCurrentTimestamp(), QUIESCE_MS));
		vdist_xact_end_stream(ncancel, cancel);
	}
	MemoryContextDelete(fanout->context);
}

/* ---- text commands ---- */

static VdistFanout *
send_texts(int n, VdistConn **conns, const char *const *sql)
{
	VdistFanout *fanout = make_fanout(n);
	int			i;

	for (i = 0; i < n; i++)
	{
		if (sql[i] == NULL || conns[i] == NULL)
		{
			fanout->slots[i].done = true;
			continue;
		}
		if (vdist_conn_busy(conns[i]))
			vdist_conn_free(conns[i]);
	}
	for (i = 0; i < n; i++)
		if (!fanout->slots[i].done)
		{
			take_slot(fanout, i, conns[i], NULL);
			vdist_conn_send_text(conns[i], sql[i]);
		}
	return fanout;
}

void
vdist_fanout_commands(int n, VdistConn **conns, const char *const *sql)
{
	VdistFanout *fanout = send_texts(n, conns, sql);

	while (vdist_fanout_next(fanout, -1, NULL) != NULL)
		;
	vdist_fanout_end(fanout);
}

void
vdist_fanout_command(int n, VdistConn **conns, const char *sql)
{
	const char **texts = palloc(n * sizeof(char *));
	int			i;

	for (i = 0; i < n; i++)
		texts[i] = sql;
	vdist_fanout_commands(n, conns, texts);
	pfree(texts);
}

void
vdist_fanout_try(int n, VdistConn **conns, const char *const *sql, PGresult **results)
{
	VdistFanout *fanout = send_texts(n, conns, sql);
	int			i;

	memset(results, 0, n * sizeof(PGresult *));
	for (i = 0; i < n; i++)
	{
		VdistSlot  *slot = &fanout->slots[i];
		VdistConn  *conn = slot->conn;

		while (conn != NULL)
		{
			VdistStep	step = try_pump(fanout, slot, true);
			VdistPiece *piece;

			while ((piece = slot->first) != NULL)
			{
				slot->first = piece->next;
				if (results[i] != NULL && PQresultStatus(results[i]) == PGRES_FATAL_ERROR)
					PQclear(piece->result);
				else
				{
					PQclear(results[i]);
					results[i] = piece->result;
				}
			}
			slot->last = NULL;
			if (step == VDIST_STEP_LOST)
			{
				if (results[i] == NULL || PQresultStatus(results[i]) != PGRES_FATAL_ERROR)
				{
					PQclear(results[i]);
					results[i] = PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR);
				}
				vdist_conn_close(conn);
			}
			if (step != VDIST_STEP_BUSY)
				break;
			(void) vdist_wait(1, &conn, 0);
			CHECK_FOR_INTERRUPTS();
		}
	}
	for (i = 0; i < n; i++)
		if (results[i] != NULL)
			vdist_result_own(results[i]);
	vdist_fanout_end(fanout);
}
