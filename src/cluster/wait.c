/*
 * wait.c: the one wait: several shards' sockets, the latch and a deadline. Called by fanout.c, copy.c
 * and xact.c.
 */
#include "cluster/cluster.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * The wait set of the last wait is kept: building one costs a system call per socket, using it again
 * costs one in all. It serves every wait whose connections are a subset of its own; when another
 * connection of the set disturbs (it has rows nobody waits for), an exact one is built.
 */
typedef struct VdistWaitSet
{
	WaitEventSet *set;
	int			n;
	int			size;
	VdistConn **conns;
	uint64	   *serials;
	WaitEvent  *events;
} VdistWaitSet;

static VdistWaitSet kept;

static uint64 wait_round = 0;

static void
forget_kept(void)
{
	WaitEventSet *set = kept.set;

	kept.set = NULL;
	kept.n = 0;
	if (set != NULL)
		FreeWaitEventSet(set);
}

void
vdist_wait_forget(const VdistConn *conn)
{
	int			i;

	for (i = 0; i < kept.n; i++)
		if (kept.conns[i] == conn)
		{
			forget_kept();
			return;
		}
}

static bool
kept_serves(int n, VdistConn **conns)
{
	int			i,
				j;

	if (kept.set == NULL)
		return false;
	for (i = 0, j = 0; i < n; i++)
	{
		int			tries;

		for (tries = 0; tries < kept.n; tries++, j++)
		{
			if (j >= kept.n)
				j = 0;
			if (kept.conns[j] == conns[i] && kept.serials[j] == conns[i]->serial)
				break;
		}
		if (tries == kept.n)
			return false;
	}
	return true;
}

#define wanted_events(conn) \
	((conn)->flushing ? WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE : WL_SOCKET_READABLE)

/* Latch and postmaster take the first two positions, connection i position i + 2. */
static void
build_kept(int n, VdistConn **conns)
{
	int			i;

	forget_kept();
	if (kept.size < n)
	{
		int			size = Max(n, 16);

		if (kept.conns == NULL)
		{
			kept.conns = MemoryContextAlloc(TopMemoryContext, size * sizeof(VdistConn *));
			kept.serials = MemoryContextAlloc(TopMemoryContext, size * sizeof(uint64));
			kept.events = MemoryContextAlloc(TopMemoryContext, (size + 2) * sizeof(WaitEvent));
		}
		else
		{
			kept.conns = repalloc(kept.conns, size * sizeof(VdistConn *));
			kept.serials = repalloc(kept.serials, size * sizeof(uint64));
			kept.events = repalloc(kept.events, (size + 2) * sizeof(WaitEvent));
		}
		kept.size = size;
	}
	kept.set = vdist_create_wait_set(n + 2);
	AddWaitEventToSet(kept.set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(kept.set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (i = 0; i < n; i++)
	{
		AddWaitEventToSet(kept.set, wanted_events(conns[i]), PQsocket(conns[i]->pg), NULL, conns[i]);
		kept.conns[i] = conns[i];
		kept.serials[i] = conns[i]->serial;
	}
	kept.n = n;
}

/* Send what libpq still holds. A failure shows when results are read. */
void
vdist_conn_flush(VdistConn *conn)
{
	conn->flushing = PQflush(conn->pg) == 1;
}

/*
 * Wait until something happened on one of the connections (input was then read, output sent), the
 * latch was set, or the deadline (0: none) passed; false in the last case. Does not look at
 * interrupts. Connections that broke show CONNECTION_BAD.
 */
bool
vdist_wait(int n, VdistConn **conns, TimestampTz deadline)
{
	long		timeout = -1;
	int			nevents;
	int			i;
	bool		disturbed = false;

	if (deadline != 0)
	{
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (timeout <= 0)
			return false;
	}
	for (i = 0; i < n; i++)
		if (PQsocket(conns[i]->pg) == PGINVALID_SOCKET)
			return true;

	wait_round++;
	for (i = 0; i < n; i++)
		conns[i]->wait_round = wait_round;
	if (!kept_serves(n, conns))
		build_kept(n, conns);
	else
		for (i = 0; i < kept.n; i++)
			if (kept.conns[i]->wait_round == wait_round)
				ModifyWaitEvent(kept.set, i + 2, wanted_events(kept.conns[i]), NULL);

	nevents = WaitEventSetWait(kept.set, timeout, kept.events, kept.n + 2, PG_WAIT_EXTENSION);
	for (i = 0; i < nevents; i++)
	{
		VdistConn  *conn = kept.events[i].user_data;

		if (kept.events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		if (conn == NULL)
			continue;
		if (conn->wait_round != wait_round)
		{
			disturbed = true;
			continue;
		}
		if (kept.events[i].events & WL_SOCKET_READABLE)
		{
			(void) PQconsumeInput(conn->pg);
			conn->spoke = true;
		}
		if (conn->flushing)
			vdist_conn_flush(conn);
	}
	if (disturbed)
		forget_kept();
	return nevents > 0;
}
