/*
 * copy.c: rows streamed to several shards by COPY FROM STDIN, all at once and in bounded memory.
 * Called by fdw/ (INSERT, COPY) and by create_distributed_table; waits in wait.c.
 */
#include "cluster/cluster.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

/* Rows are collected to pieces of this size; libpq holds about one more piece per shard. */
#define PIECE_SIZE (128 * 1024)

/* Signature, flags, no header extension. */
static const char binary_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";

#define BINARY_HEADER_SIZE 19

typedef struct CopySlot
{
	VdistConn  *conn;
	StringInfoData buffer;		/* not yet given to libpq */
	bool		open;			/* the shard is in COPY mode, or about to be */
	bool		started;		/* … and said so */
} CopySlot;

struct VdistCopy
{
	const char *sql;
	bool		binary;
	int			n;
	VdistConn **conns;			/* the caller's */
	VdistConn **waiting;		/* scratch */
	int64		rows;
	MemoryContextCallback callback;
	CopySlot	slots[FLEXIBLE_ARRAY_MEMBER];
};

/* The memory goes before vdist_copy_end: whoever uses the connection next finds no COPY on it. */
static void
free_copy(void *arg)
{
	VdistCopy  *copy = arg;
	int			i;

	for (i = 0; i < copy->n; i++)
		if (copy->slots[i].open && copy->slots[i].conn->copy == copy)
			vdist_copy_forget(copy->slots[i].conn);
}

VdistCopy *
vdist_copy_begin(int n, VdistConn **conns, const char *sql, bool binary)
{
	VdistCopy  *copy = palloc0(offsetof(VdistCopy, slots) + n * sizeof(CopySlot));
	int			i;

	copy->sql = pstrdup(sql);
	copy->binary = binary;
	copy->n = n;
	copy->conns = conns;
	copy->waiting = palloc(Max(n, 1) * sizeof(VdistConn *));
	for (i = 0; i < n; i++)
		initStringInfo(&copy->slots[i].buffer);
	copy->callback.func = free_copy;
	copy->callback.arg = copy;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &copy->callback);
	return copy;
}

static void
wait_for(VdistConn *conn)
{
	(void) vdist_wait(1, &conn, 0);
	CHECK_FOR_INTERRUPTS();
}

/* Raise what the shard said instead of taking rows. */
static void
raise_copy_error(CopySlot *slot, const char *sql, PGresult *result)
{
	VdistConn  *conn = slot->conn;

	vdist_result_own(result);
	slot->open = false;
	conn->copy = NULL;
	conn->sql = NULL;
	vdist_conn_raise(conn, result, sql);
}

static void
start(VdistCopy *copy, int i)
{
	CopySlot   *slot = &copy->slots[i];
	VdistConn  *conn = copy->conns[i];

	slot->conn = conn;
	if (vdist_conn_busy(conn))
		vdist_conn_free(conn);
	vdist_conn_send_text(conn, copy->sql);
	conn->copy = copy;
	conn->copy_slot = i;
	slot->open = true;
	slot->started = false;
}

/* Wait until the shard is ready for rows: its answers to BEGIN, SAVEPOINT come before. */
static void
await_start(VdistCopy *copy, CopySlot *slot)
{
	VdistConn  *conn = slot->conn;

	while (!slot->started)
	{
		PGresult   *piece;

		switch (vdist_conn_step(conn, &piece))
		{
			case VDIST_STEP_PIECE:
				slot->started = PQresultStatus(piece) == PGRES_COPY_IN;
				if (PQresultStatus(piece) == PGRES_FATAL_ERROR)
					raise_copy_error(slot, copy->sql, piece);
				PQclear(piece);
				break;
			case VDIST_STEP_LOST:
				vdist_conn_lost(conn, NULL);
				break;
			case VDIST_STEP_IDLE:
				elog(ERROR, "shard \"%s\" did not begin COPY", conn->shard);
				break;
			case VDIST_STEP_BUSY:
				wait_for(conn);
				break;
		}
	}
	conn->spoke = false;
	if (copy->binary && PQputCopyData(conn->pg, binary_header, BINARY_HEADER_SIZE) < 0)
		vdist_conn_lost(conn, NULL);
}

/* Wait until some shard takes more; the others go on being fed meanwhile. */
static void
wait_for_output(VdistCopy *copy)
{
	int			n = 0;
	int			i;

	for (i = 0; i < copy->n; i++)
		if (copy->slots[i].open && copy->slots[i].started && copy->slots[i].conn->flushing)
			copy->waiting[n++] = copy->slots[i].conn;
	(void) vdist_wait(n, copy->waiting, 0);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Give the collected rows to libpq, after it got rid of those before. A shard that speaks during
 * COPY has mostly failed: then the COPY is completed to hear what it says.
 */
static void
flush_rows(VdistCopy *copy, int i)
{
	CopySlot   *slot = &copy->slots[i];
	VdistConn  *conn = copy->conns[i];

	if (!slot->open)
		start(copy, i);
	if (!slot->started)
		await_start(copy, slot);
	while (conn->flushing)
	{
		wait_for_output(copy);
		if (PQstatus(conn->pg) == CONNECTION_BAD)
			vdist_conn_lost(conn, NULL);
	}
	if (PQputCopyData(conn->pg, slot->buffer.data, slot->buffer.len) < 0)
		vdist_conn_lost(conn, NULL);
	resetStringInfo(&slot->buffer);
	conn->flushing = PQflush(conn->pg) == 1;
	if (conn->spoke || vdist_conn_readable(conn))
		vdist_copy_finish(conn);
}

/* A field of COPY's text format. */
static void
append_text(StringInfo buffer, const char *value, int length)
{
	int			from = 0;
	int			i;

	for (i = 0; i < length; i++)
	{
		const char *escaped;

		switch (value[i])
		{
			case '\\':
				escaped = "\\\\";
				break;
			case '\n':
				escaped = "\\n";
				break;
			case '\r':
				escaped = "\\r";
				break;
			case '\t':
				escaped = "\\t";
				break;
			default:
				continue;
		}
		appendBinaryStringInfo(buffer, value + from, i - from);
		appendStringInfoString(buffer, escaped);
		from = i + 1;
	}
	appendBinaryStringInfo(buffer, value + from, length - from);
}

static void
append_row(StringInfo buffer, bool binary, int nfields, const char *const *values,
		   const int *lengths)
{
	int			i;

	if (binary)
	{
		uint16		count = pg_hton16((uint16) nfields);

		appendBinaryStringInfo(buffer, (const char *) &count, sizeof(count));
	}
	for (i = 0; i < nfields; i++)
	{
		if (binary)
		{
			uint32		length = pg_hton32((uint32) (values[i] ? lengths[i] : -1));

			appendBinaryStringInfo(buffer, (const char *) &length, sizeof(length));
			if (values[i])
				appendBinaryStringInfo(buffer, values[i], lengths[i]);
		}
		else
		{
			if (i > 0)
				appendStringInfoChar(buffer, '\t');
			if (values[i])
				append_text(buffer, values[i], lengths[i]);
			else
				appendStringInfoString(buffer, "\\N");
		}
	}
	if (!binary)
		appendStringInfoChar(buffer, '\n');
}

void
vdist_copy_row(VdistCopy *copy, int i, int nfields, const char *const *values, const int *lengths)
{
	CopySlot   *slot = &copy->slots[i];

	append_row(&slot->buffer, copy->binary, nfields, values, lengths);
	/* The first row already starts the COPY, so that its answer is there when rows must go. */
	if (!slot->open)
		start(copy, i);
	if (slot->buffer.len >= PIECE_SIZE)
		flush_rows(copy, i);
}

/* Send the rest and the end mark. */
static void
send_end(VdistCopy *copy, int i)
{
	CopySlot   *slot = &copy->slots[i];
	VdistConn  *conn = slot->conn;

	if (!slot->started)
		await_start(copy, slot);
	if (slot->buffer.len > 0 &&
		PQputCopyData(conn->pg, slot->buffer.data, slot->buffer.len) < 0)
		vdist_conn_lost(conn, NULL);
	resetStringInfo(&slot->buffer);
	if ((copy->binary && PQputCopyData(conn->pg, "\377\377", 2) < 0) ||
		PQputCopyEnd(conn->pg, NULL) < 0)
		vdist_conn_lost(conn, NULL);
	conn->flushing = PQflush(conn->pg) == 1;
}

/* Whether the shard has confirmed its end; takes what has come and does not wait. */
static bool
has_ended(VdistCopy *copy, int i)
{
	CopySlot   *slot = &copy->slots[i];
	VdistConn  *conn = slot->conn;

	while (true)
	{
		PGresult   *piece;

		switch (vdist_conn_step(conn, &piece))
		{
			case VDIST_STEP_PIECE:
				if (PQresultStatus(piece) == PGRES_FATAL_ERROR)
					raise_copy_error(slot, copy->sql, piece);
				copy->rows += atoll(PQcmdTuples(piece));
				PQclear(piece);
				break;
			case VDIST_STEP_LOST:
				vdist_conn_lost(conn, NULL);
				break;
			case VDIST_STEP_IDLE:
				slot->open = false;
				conn->copy = NULL;
				conn->sql = NULL;
				return true;
			case VDIST_STEP_BUSY:
				return false;
		}
	}
}

/* Another statement wants the connection. */
void
vdist_copy_finish(VdistConn *conn)
{
	VdistCopy  *copy = conn->copy;
	int			i = conn->copy_slot;

	send_end(copy, i);
	while (!has_ended(copy, i))
		wait_for(conn);
}

/* Nobody will complete the COPY: make it fail. No error; what comes is drained by the next user. */
void
vdist_copy_forget(VdistConn *conn)
{
	VdistCopy  *copy = conn->copy;

	if (copy == NULL)
		return;
	copy->slots[conn->copy_slot].open = false;
	conn->copy = NULL;
	conn->sql = NULL;
	if (copy->slots[conn->copy_slot].started)
	{
		(void) PQputCopyEnd(conn->pg, "abandoned");
		conn->flushing = PQflush(conn->pg) == 1;
	}
}

int64
vdist_copy_end(VdistCopy *copy)
{
	VdistConn **waiting = copy->waiting;
	int			nwaiting;
	int			i;

	for (i = 0; i < copy->n; i++)
	{
		if (copy->slots[i].open)
			send_end(copy, i);
		else if (copy->slots[i].buffer.len > 0)
		{
			start(copy, i);
			send_end(copy, i);
		}
	}

	/* All at once: the first that fails is not to wait for the slowest. */
	do
	{
		nwaiting = 0;
		for (i = 0; i < copy->n; i++)
			if (copy->slots[i].open && !has_ended(copy, i))
				waiting[nwaiting++] = copy->slots[i].conn;
		if (nwaiting > 0)
		{
			(void) vdist_wait(nwaiting, waiting, 0);
			CHECK_FOR_INTERRUPTS();
		}
	} while (nwaiting > 0);
	return copy->rows;
}
