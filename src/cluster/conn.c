/*
 * conn.c: one cached libpq connection per (shard, user) and backend: options, security rules,
 * connecting to all shards at once, invalidation. Called by fdw/ and by the administration
 * functions.
 */
#include "cluster/cluster.h"

#include <poll.h>

#include "access/xact.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/*
 * Text that crosses must mean the same on both ends, whatever a role's or database's settings are;
 * the same values as postgres_fdw's. As start-up options they cost no round trip.
 */
#define SESSION_OPTIONS \
	"-c search_path=pg_catalog -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres " \
	"-c extra_float_digits=3"

#define MAX_FORWARDED 32

int			vdist_connect_timeout = 5000;

dlist_head	vdist_conns_used = DLIST_STATIC_INIT(vdist_conns_used);

static HTAB *conns_hash = NULL;
static uint64 next_serial = 0;
static bool any_invalidated = false;

static const char *forwarded[MAX_FORWARDED];
static char *forwarded_values[MAX_FORWARDED];
static int	nforwarded = 0;
static uint64 settings_generation = 0;

/* ---- options ---- */

/*
 * postgres_fdw's rule: whoever is not a superuser must not reach a shard with the server process's
 * own credentials (peer authentication, a .pgpass file), so needs a password of his own mapping.
 */
static bool
needs_password(VdistConn *conn)
{
	return conn->password_required && !superuser_arg(conn->key.userid);
}

/* Begin to connect; on failure *reason is set and the connection closed. */
static void
connect_start(VdistConn *conn, char **reason)
{
	ForeignServer *server = GetForeignServer(conn->key.server);
	UserMapping *mapping = GetUserMapping(conn->key.userid, conn->key.server);
	List	   *options = list_concat_copy(server->options, mapping->options);
	const char **keywords = palloc0((list_length(options) + 8) * sizeof(char *));
	const char **values = palloc0((list_length(options) + 8) * sizeof(char *));
	const char *hosts = NULL;
	bool		any_role = false;
	char	   *host;
	char	   *port;
	bool		has_password = false;
	int			n = 0;
	ListCell   *lc;

	strlcpy(conn->shard, server->servername, NAMEDATALEN);
	conn->server_hash = GetSysCacheHashValue1(FOREIGNSERVEROID,
											  ObjectIdGetDatum(conn->key.server));
	conn->invalidated = false;
	conn->password_required = true;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "hosts") == 0)
			hosts = defGetString(option);
		else if (strcmp(option->defname, "password_required") == 0)
			conn->password_required = defGetBoolean(option);
		else
		{
			/* The rest is libpq's: the validator has let nothing else in. */
			keywords[n] = option->defname;
			values[n++] = defGetString(option);
			if (strcmp(option->defname, "password") == 0 && values[n - 1][0] != '\0')
				has_password = true;
			if (strcmp(option->defname, "target_session_attrs") == 0)
				any_role = true;
		}
	}
	if (hosts == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("shard \"%s\" has no hosts", conn->shard),
				 errhint("Set them with ALTER SERVER %s OPTIONS (ADD hosts 'host:port').",
						 quote_identifier(conn->shard))));
	if (needs_password(conn) && !has_password)
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required to reach shard \"%s\"", conn->shard),
				 errdetail("Non-superusers must provide a password in the user mapping."),
				 errhint("A superuser can set password_required to false in the user mapping.")));

	vdist_hosts_parse(hosts, &host, &port);
	keywords[n] = "host";
	values[n++] = host;
	keywords[n] = "port";
	values[n++] = port;
	if (!any_role)
	{
		keywords[n] = "target_session_attrs";
		values[n++] = "read-write";
	}
	keywords[n] = "client_encoding";
	values[n++] = GetDatabaseEncodingName();
	keywords[n] = "fallback_application_name";
	values[n++] = "vdist";
	keywords[n] = "options";
	values[n++] = SESSION_OPTIONS;

	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to shard \"%s\"", conn->shard),
				 errdetail("There are too many open files in this server process."),
				 errhint("Raise max_files_per_process on the coordinator.")));
	conn->pg = PQconnectStartParams(keywords, values, false);
	if (conn->pg == NULL)
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode(ERRCODE_FDW_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	conn->connecting = true;
	conn->serial = ++next_serial;
	if (PQstatus(conn->pg) == CONNECTION_BAD)
	{
		*reason = pchomp(PQerrorMessage(conn->pg));
		vdist_conn_close(conn);
	}
}

/* libpq's notices go to the server log by default; the shard's warnings are the user's to see. */
static void
receive_notice(void *arg, const PGresult *result)
{
	VdistConn  *conn = arg;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	int			level = WARNING;

	if (message == NULL)
		return;
	/* What an idle connection has to say is its farewell, which connecting anew makes up for. */
	if (!vdist_conn_busy(conn) || severity == NULL || strcmp(severity, "WARNING") != 0)
		level = DEBUG1;
	ereport(level,
			(errmsg_internal("%s", message),
			 errcontext("shard \"%s\"", conn->shard)));
}

/* The connection stands: last check, then ready for pipelined statements. */
static void
connect_finish(VdistConn *conn)
{
	if (needs_password(conn) && !PQconnectionUsedPassword(conn->pg))
	{
		vdist_conn_close(conn);
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
				 errmsg("password is required to reach shard \"%s\"", conn->shard),
				 errdetail("Non-superusers cannot connect if the shard does not request a password."),
				 errhint("The shard's authentication method must be changed, or a superuser can set password_required to false in the user mapping.")));
	}
	conn->connecting = false;
	PQsetNoticeReceiver(conn->pg, receive_notice, conn);
	if (PQsetnonblocking(conn->pg, 1) != 0 || !PQenterPipelineMode(conn->pg))
		elog(ERROR, "could not switch the connection to pipeline mode");
}

static void
raise_unreachable(VdistConn *conn, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
			 errmsg("could not connect to shard \"%s\"", conn->shard),
			 errdetail_internal("%s", reason)));
}

/* Wait until one of the sockets under way is ready, and go on with those that are. */
static void
connect_poll(int n, VdistConn **conns, bool *writing, TimestampTz deadline, char **reasons)
{
	WaitEventSet *set = vdist_create_wait_set(n + 2);
	WaitEvent  *events = palloc((n + 2) * sizeof(WaitEvent));
	int			nevents = 0;
	int			i;

	PG_TRY();
	{
		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		for (i = 0; i < n; i++)
			if (conns[i] && conns[i]->connecting)
				AddWaitEventToSet(set, writing[i] ? WL_SOCKET_WRITEABLE : WL_SOCKET_READABLE,
								  PQsocket(conns[i]->pg), NULL, &conns[i]);
		nevents = WaitEventSetWait(set,
								   TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline),
								   events, n + 2, PG_WAIT_EXTENSION);
	}
	PG_FINALLY();
	{
		FreeWaitEventSet(set);
	}
	PG_END_TRY();

	for (i = 0; i < nevents; i++)
	{
		VdistConn **slot = events[i].user_data;
		PostgresPollingStatusType status;

		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		if (slot == NULL)
			continue;
		status = PQconnectPoll((*slot)->pg);
		if (status == PGRES_POLLING_FAILED)
		{
			reasons[slot - conns] = pchomp(PQerrorMessage((*slot)->pg));
			vdist_conn_close(*slot);
		}
		else if (status == PGRES_POLLING_OK)
			connect_finish(*slot);
		else
			writing[slot - conns] = (status == PGRES_POLLING_WRITING);
	}
	pfree(events);
}

/*
 * Connect those that have no connection, all at once. Without `errors` the first failure is raised;
 * with it, failures are collected and every shard gets its chance until the deadline.
 */
static void
connect_missing(int n, VdistConn **conns, char **errors)
{
	bool	   *writing = palloc0(n * sizeof(bool));
	char	  **reasons = errors ? errors : palloc0(n * sizeof(char *));
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   vdist_connect_timeout);
	int			i;

	PG_TRY();
	{
		for (i = 0; i < n; i++)
		{
			writing[i] = true;
			if (conns[i]->pg == NULL)
				connect_start(conns[i], &reasons[i]);
		}
		while (true)
		{
			bool		waiting = false;

			for (i = 0; i < n; i++)
			{
				if (reasons[i] && !errors)
					raise_unreachable(conns[i], reasons[i]);
				if (conns[i]->connecting)
					waiting = true;
			}
			if (!waiting)
				break;
			if (GetCurrentTimestamp() >= deadline)
			{
				for (i = 0; i < n; i++)
					if (conns[i]->connecting)
					{
						reasons[i] = psprintf("No answer within vdist.connect_timeout (%d ms).",
											  vdist_connect_timeout);
						vdist_conn_close(conns[i]);
					}
				continue;
			}
			connect_poll(n, conns, writing, deadline, reasons);
		}
	}
	PG_CATCH();
	{
		for (i = 0; i < n; i++)
			if (conns[i]->connecting)
				vdist_conn_close(conns[i]);
		PG_RE_THROW();
	}
	PG_END_TRY();

	pfree(writing);
	if (!errors)
		pfree(reasons);
}

/* ---- the cache ---- */

static void
invalidate(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS scan;
	VdistConn  *conn;

	if (conns_hash == NULL)
		return;
	hash_seq_init(&scan, conns_hash);
	while ((conn = hash_seq_search(&scan)) != NULL)
	{
		/* A new mapping can take the place of the public one: any change of mappings counts. */
		if (hashvalue == 0 || cacheid == USERMAPPINGOID || conn->server_hash == hashvalue)
		{
			conn->invalidated = true;
			any_invalidated = true;
		}
	}
}

static VdistConn *
lookup(Oid server, Oid userid)
{
	VdistConnKey key;
	VdistConn  *conn;
	bool		found;

	if (conns_hash == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(VdistConnKey);
		ctl.entrysize = sizeof(VdistConn);
		conns_hash = hash_create("vdist connections", 16, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterSyscacheCallback(FOREIGNSERVEROID, invalidate, (Datum) 0);
		CacheRegisterSyscacheCallback(USERMAPPINGOID, invalidate, (Datum) 0);
	}
	key.server = server;
	key.userid = userid;
	conn = hash_search(conns_hash, &key, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) conn + sizeof(VdistConnKey), 0, sizeof(VdistConn) - sizeof(VdistConnKey));
		dlist_init(&conn->prepared_lru);
	}
	return conn;
}

static void
get(int n, const Oid *servers, Oid userid, VdistAccess access, VdistConn **conns, char **errors)
{
	VdistConn **fresh = NULL;
	int			nfresh = 0;
	bool		missing = false;
	int			i;

	for (i = 0; i < n; i++)
	{
		VdistConn  *conn = lookup(servers[i], userid);

		conns[i] = conn;
		if (conn->lost || (conn->depth > 0 && PQstatus(conn->pg) == CONNECTION_BAD))
			vdist_conn_lost(conn, NULL);
		if (conn->pg != NULL && conn->depth == 0 && !vdist_conn_busy(conn) &&
			(conn->invalidated || PQstatus(conn->pg) == CONNECTION_BAD))
			vdist_conn_close(conn);
		if (conn->pg == NULL)
			missing = true;
		else if (!conn->used)
		{
			if (fresh == NULL)
				fresh = palloc(n * sizeof(VdistConn *));
			fresh[nfresh++] = conn;
		}
	}

	/* A shard that was restarted has closed the connection: notice before anything is sent. */
	if (nfresh > 0)
	{
		vdist_conn_probe(nfresh, fresh);
		for (i = 0; i < nfresh; i++)
			if (PQstatus(fresh[i]->pg) == CONNECTION_BAD)
			{
				vdist_conn_close(fresh[i]);
				missing = true;
			}
		pfree(fresh);
	}
	if (missing)
		connect_missing(n, conns, errors);
	for (i = 0; i < n; i++)
	{
		if (conns[i]->pg != NULL)
			vdist_xact_use(conns[i], access);
		else
			conns[i] = NULL;
	}
}

void
vdist_conn_get(int n, const Oid *servers, Oid userid, VdistAccess access, VdistConn **conns)
{
	get(n, servers, userid, access, conns, NULL);
}

void
vdist_conn_try(int n, const Oid *servers, Oid userid, VdistAccess access, VdistConn **conns,
			   char **errors)
{
	memset(errors, 0, n * sizeof(char *));
	get(n, servers, userid, access, conns, errors);
}

const char *
vdist_conn_shard(const VdistConn *conn)
{
	return conn->shard;
}

int
vdist_conn_version(const VdistConn *conn)
{
	return PQserverVersion(conn->pg);
}

/*
 * One system call for all: an idle connection has nothing to say, unless it was closed (or sends a
 * notice). Broken ones show CONNECTION_BAD afterwards.
 */
void
vdist_conn_probe(int n, VdistConn **conns)
{
	struct pollfd small[16];
	struct pollfd *fds = n <= (int) lengthof(small) ? small : palloc(n * sizeof(struct pollfd));
	int			i;

	for (i = 0; i < n; i++)
	{
		fds[i].fd = vdist_conn_busy(conns[i]) ? -1 : PQsocket(conns[i]->pg);
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	if (poll(fds, n, 0) > 0)
	{
		for (i = 0; i < n; i++)
		{
			if (fds[i].revents == 0)
				continue;
			/* The first read may bring the shard's parting words only, the second the end. */
			if (PQconsumeInput(conns[i]->pg))
			{
				PQisBusy(conns[i]->pg);
				PQconsumeInput(conns[i]->pg);
			}
		}
	}
	if (fds != small)
		pfree(fds);
}

/* The shard has said something that was not read yet. */
bool
vdist_conn_readable(const VdistConn *conn)
{
	struct pollfd fd;

	fd.fd = PQsocket(conn->pg);
	fd.events = POLLIN;
	fd.revents = 0;
	return poll(&fd, 1, 0) > 0;
}

/* Forget the connection and everything that was under way on it. No error. */
void
vdist_conn_close(VdistConn *conn)
{
	if (conn->pg == NULL)
		return;
	vdist_wait_forget(conn);
	vdist_fanout_forget(conn);
	vdist_copy_forget(conn);
	PQfinish(conn->pg);
	ReleaseExternalFD();
	conn->pg = NULL;
	conn->connecting = false;
	conn->expect_pos = conn->expect_len = 0;
	conn->failed = false;
	conn->flushing = false;
	conn->sql = NULL;
	conn->settings = 0;
	conn->preparing = NULL;
	if (conn->prepared != NULL)
		hash_destroy(conn->prepared);
	conn->prepared = NULL;
	dlist_init(&conn->prepared_lru);
	if (conn->depth > 0)
		conn->lost = true;
	conn->depth = 0;
	conn->release = 0;
	conn->stream_savepoint = false;
}

/*
 * Raise that the connection went away; result may hold the shard's last words. The connection is
 * closed: what the transaction did there is gone, and xact.c lets it only abort.
 */
void
vdist_conn_lost(VdistConn *conn, const PGresult *result)
{
	char	   *detail = NULL;
	const char *sql = vdist_conn_busy(conn) && conn->sql ? pstrdup(conn->sql) : NULL;

	if (result != NULL)
		detail = vdist_result_message(result);
	else if (conn->pg != NULL)
		detail = pstrdup(PQerrorMessage(conn->pg));
	if (detail != NULL && strchr(detail, '\n') != NULL)
		*strchr(detail, '\n') = '\0';
	vdist_conn_close(conn);
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("lost connection to shard \"%s\"", conn->shard),
			 detail && *detail ? errdetail_internal("%s", detail) : 0,
			 sql ? errcontext("shard \"%s\", remote SQL: %s", conn->shard, sql) : 0));
}

bool
vdist_conn_doom(VdistConn *conn, bool doomed)
{
	bool		before = conn->invalidated;

	conn->invalidated = doomed;
	any_invalidated = any_invalidated || doomed;
	return before;
}

/* At the end of a transaction. */
void
vdist_conn_close_invalidated(void)
{
	HASH_SEQ_STATUS scan;
	VdistConn  *conn;

	if (!any_invalidated)
		return;
	any_invalidated = false;
	hash_seq_init(&scan, conns_hash);
	while ((conn = hash_seq_search(&scan)) != NULL)
		if (conn->invalidated)
			vdist_conn_close(conn);
}

/* ---- settings that statements on the shards must see ---- */

void
vdist_conn_forward(const char *name)
{
	if (nforwarded == MAX_FORWARDED)
		elog(ERROR, "too many forwarded settings");
	forwarded[nforwarded++] = name;
}

/* The generation of the forwarded settings: grows when one of them changed since the last call. */
uint64
vdist_conn_settings(void)
{
	int			i;

	for (i = 0; i < nforwarded; i++)
	{
		const char *value = GetConfigOption(forwarded[i], true, false);

		if (value == NULL ||
			(forwarded_values[i] != NULL && strcmp(value, forwarded_values[i]) == 0))
			continue;
		if (forwarded_values[i] != NULL)
			pfree(forwarded_values[i]);
		forwarded_values[i] = MemoryContextStrdup(TopMemoryContext, value);
		settings_generation++;
	}
	return settings_generation;
}

int
vdist_conn_setting_count(void)
{
	return nforwarded;
}

/* The SET command for setting i, palloc'd; NULL when it does not exist here. */
const char *
vdist_conn_setting(int i)
{
	if (forwarded_values[i] == NULL)
		return NULL;
	return psprintf("SET %s = %s", forwarded[i], quote_literal_cstr(forwarded_values[i]));
}
