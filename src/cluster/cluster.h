/*
 * cluster.h: what shards are, and how to talk to them. Below fdw/, above nothing but PostgreSQL and
 * libpq; knows nothing of vectors.
 */
#ifndef VDIST_CLUSTER_H
#define VDIST_CLUSTER_H

#include "compat.h"

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"

#define VDIST_FDW_NAME "vdist_fdw"
#define VDIST_SCHEMA "vdist"

/* The server that every distributed table names; not a shard. */
#define VDIST_FDW_SERVER "vdist"

/* Hash slots of a distributed table. */
#define VDIST_SLOTS 1024

/* ---- catalog.c: shards and distributed tables, cached, invalidated through the relcache ---- */

typedef struct VdistPlacement
{
	Oid			relid;			/* the foreign table */
	AttrNumber	key;			/* its distribution column */
	Oid			key_type;
	Oid			key_collation;
	int64		epoch;			/* grows with every change of the slots */
	int			nshards;
	Oid		   *servers;		/* nshards foreign servers, in order of name */
	int16		slot_shard[VDIST_SLOTS];	/* slot to index into servers */
} VdistPlacement;

/*
 * The placement of a distributed table, palloc'd in the current context: the caller's copy stays
 * true to one epoch whatever invalidation arrives. Error when relid is not a distributed table.
 */
extern VdistPlacement *vdist_placement(Oid relid);

/* The same, NULL when relid is not a distributed table. */
extern VdistPlacement *vdist_placement_or_null(Oid relid);

/*
 * Counts changes of distributed tables that this session has used: what shards have prepared for them
 * may no longer fit.
 */
extern uint64 vdist_table_changes;

/* OID of a catalog or index of schema vdist; error when there is none. */
extern Oid	vdist_catalog_relid(const char *name);

/* Changes of the catalogs, as their owner: the caller has checked what its user may do. */
extern void vdist_catalog_add(Oid relid, const char *key_column, int nshards, char **names,
							  const int16 *slot_shard);
extern bool vdist_catalog_remove(Oid relid);
extern void vdist_catalog_rename_shard(const char *from, const char *to);

/* ---- placement.c: key to slot, slots to shards ---- */

/* Index into servers of the shard that holds rows of this key (NULL keys are refused earlier). */
extern int	vdist_placement_shard(const VdistPlacement *placement, Datum key);

/* Error when a column of this type and collation cannot be a distribution column. */
extern void vdist_check_key(const char *column, Oid typid, Oid collation);

/* Spread the slots evenly over n shards, moving as few as possible; -1 in slot_shard: nowhere yet. */
extern void vdist_ring_place(int n, char **names, int16 *slot_shard);

/* ---- options.c: options of servers and user mappings ---- */

/* 'a:5432,/tmp/x:5433' to libpq's parallel lists for "host" and "port", palloc'd. */
extern void vdist_hosts_parse(const char *hosts, char **host, char **port);

/* ---- shard.c: shards come and go ---- */

/* Every shard, a List of ForeignServer in order of name. */
extern List *vdist_shard_list(void);

/* Error while a distributed table has slots there. */
extern void vdist_check_shard_unused(const char *name);

/* ---- conn.c: one cached connection per (shard, user) and backend ---- */

typedef struct VdistConn VdistConn;

typedef enum VdistAccess
{
	VDIST_READ,					/* no remote transaction unless one is open or the isolation asks
								 * for it */
	VDIST_WRITE					/* inside a remote transaction that xact.c ends with the local one */
} VdistAccess;

/* vdist.connect_timeout, in milliseconds. */
extern int	vdist_connect_timeout;

/*
 * Connections to n shards for userid, missing ones opened all at once under
 * vdist.connect_timeout. An error names the shard; the session stays usable.
 */
extern void vdist_conn_get(int n, const Oid *servers, Oid userid, VdistAccess access,
						   VdistConn **conns);

/*
 * The same, but a shard that cannot be reached leaves conns[i] NULL and the reason, palloc'd, in
 * errors[i].
 */
extern void vdist_conn_try(int n, const Oid *servers, Oid userid, VdistAccess access,
						   VdistConn **conns, char **errors);

/* The shard's name, for messages. */
extern const char *vdist_conn_shard(const VdistConn *conn);

/* PostgreSQL's version on the shard, as PG_VERSION_NUM. */
extern int	vdist_conn_version(const VdistConn *conn);

/*
 * A setting of this session that statements on the shards must see: it is sent along with the next
 * statement after it changed. Called by the roof beside the definition; name must be a constant.
 */
extern void vdist_conn_forward(const char *name);

/* ---- fanout.c: one round of requests, and what comes back ---- */

/*
 * A statement for the shards. The text is the key of the per-connection cache of prepared
 * statements: constants that change from call to call belong into parameters, each written with an
 * explicit cast ($1::public.vector). The struct and what it points to outlive the fan-out.
 */
typedef struct VdistRequest
{
	const char *sql;
	int			nparams;
	const char *const *values;	/* NULL for SQL null */
	const int  *lengths;
	const int  *formats;		/* 1 binary, 0 text */
	int			runs;			/* > 1: values and lengths hold so many sets of parameters; each
								 * gives a piece, or an error that ends them */
	int			result_format;	/* 1 binary, 0 text */
	bool		stream;			/* rows arrive in pieces, as they are read; else whole results */
	bool		locks;			/* takes row locks or writes: must not be rolled back when ended
								 * early */
	bool		measure;		/* count the bytes of the rows, for vdist_fanout_stats */
} VdistRequest;

typedef struct VdistFanout VdistFanout;

/*
 * Send requests[i] to conns[i], all without waiting; no connection may come twice. Lives in a child
 * of the current memory context; when that context goes before vdist_fanout_end, what is under way
 * is forgotten here and drained by the connection's next user.
 */
extern VdistFanout *vdist_fanout_send(int n, VdistConn **conns, const VdistRequest **requests);

/*
 * The next piece of rows from shard i, or from whichever shard has one when i < 0 (then *from says
 * which). NULL: that shard (all shards, when i < 0) is done. Waits on latch and sockets, answers to
 * cancel and statement_timeout; a shard's failure is raised here with its name, its SQLSTATE, detail
 * and hint. The result belongs to the fan-out: valid until the next piece of the same shard or
 * vdist_fanout_end. A statement that returns no rows gives one piece, for PQcmdTuples.
 */
extern PGresult *vdist_fanout_next(VdistFanout *fanout, int i, int *from);

/*
 * Bytes received (0 unless the request asked to measure) and time in milliseconds from send to last
 * row, of shard i; for EXPLAIN ANALYZE.
 */
extern void vdist_fanout_stats(const VdistFanout *fanout, int i, int64 *bytes, double *msec);

/* Done, also before the last row: what is still under way is cancelled and drained. */
extern void vdist_fanout_end(VdistFanout *fanout);

/*
 * Run SQL text (one command or several) on every connection and wait; errors as above. The text is
 * sent as it is, by the simple protocol: for DDL and administration.
 */
extern void vdist_fanout_command(int n, VdistConn **conns, const char *sql);

/* The same with a text for each. */
extern void vdist_fanout_commands(int n, VdistConn **conns, const char *const *sql);

/*
 * The same, for those who look at the outcome themselves: sql[i] runs on conns[i] (skipped when
 * NULL), results[i] is its last result or its first error, text format, freed with the current
 * memory context. A connection lost shows as PGRES_FATAL_ERROR as well; use vdist_result_message.
 */
extern void vdist_fanout_try(int n, VdistConn **conns, const char *const *sql, PGresult **results);

/* The message of a failed result, without severity and line end. */
extern char *vdist_result_message(const PGresult *result);

/* Frees the result together with the current memory context; returns it. */
extern PGresult *vdist_result_own(PGresult *result);

/* ---- copy.c: rows streamed to several shards by COPY FROM STDIN ---- */

typedef struct VdistCopy VdistCopy;

/*
 * A COPY to n shards; sql is the whole COPY … FROM STDIN command, binary says which format it asks
 * for. Nothing is sent before the first row of a shard, and conns, which outlives the copy, may have
 * no connection until then. Another statement on one of the connections may come between: the COPY
 * is completed before it and started anew after it.
 */
extern VdistCopy *vdist_copy_begin(int n, VdistConn **conns, const char *sql, bool binary);

/*
 * One row for shard i: its fields as vdist_wire_encode gives them (NULL: SQL null), in the order of
 * the command's columns, all binary or all text. Waits when the shard does not keep up.
 */
extern void vdist_copy_row(VdistCopy *copy, int i, int nfields, const char *const *values,
						   const int *lengths);

/* Complete all of them and wait; returns the number of rows the shards report. */
extern int64 vdist_copy_end(VdistCopy *copy);

/* ---- wire.c: how values cross ---- */

/* True when the type's binary format holds nothing (such as OIDs) that differs between machines. */
extern bool vdist_wire_binary(Oid type);

/* True for regclass and the like: values name objects by an OID of this database. */
extern bool vdist_is_reg_type(Oid type);

typedef struct VdistWireOut
{
	int			n;
	int		   *formats;		/* 1 binary, 0 text; for VdistRequest.formats */
	bool		any_text;
	FmgrInfo   *functions;
} VdistWireOut;

/*
 * Encoders for n values of these types, in the current memory context; with force_text none is
 * binary.
 */
extern VdistWireOut *vdist_wire_out(int n, const Oid *types, bool force_text);

/* Value i, palloc'd, and its length. Text: terminated by a zero byte that length does not count. */
extern const char *vdist_wire_encode(VdistWireOut *out, int i, Datum value, int *length);

/*
 * Text must not depend on this session's settings: bracket encoding of text with these two, as
 * vdist_wire_encode relies on them (only needed when any_text).
 */
extern int	vdist_wire_text_begin(void);
extern void vdist_wire_text_end(int nestlevel);

typedef struct VdistWireIn
{
	int			n;
	int			format;			/* 1 binary, 0 text; for VdistRequest.result_format */
	const int  *targets;		/* column i goes to values[targets[i]]; NULL: to values[i] */
	FmgrInfo   *functions;
	Oid		   *ioparams;
	int32	   *typmods;
} VdistWireIn;

/*
 * Decoders for rows of n columns of these types (typmods may be NULL), in the current memory
 * context. Binary when all the types may cross so.
 */
extern VdistWireIn *vdist_wire_in(int n, const Oid *types, const int32 *typmods,
								  const int *targets);

/* Row `row` of the result; pass-by-reference values are palloc'd in the current memory context. */
extern void vdist_wire_decode(VdistWireIn *in, const PGresult *result, int row,
							  Datum *values, bool *isnull);

/* Column `column` of that row alone. */
extern Datum vdist_wire_decode_column(VdistWireIn *in, const PGresult *result, int row, int column,
									  bool *isnull);

/* ---- xact.c: remote transactions follow the local one ---- */

/* Registers the transaction and invalidation callbacks; called by the roof. */
extern void vdist_xact_init(void);

/* ---- tabledef.c: the definition of a table as statements ---- */

typedef enum VdistTableDefQuery
{
	VDIST_DEF_COLUMNS,
	VDIST_DEF_KIND,
	VDIST_DEF_TYPES,
	VDIST_DEF_MISSING,
	VDIST_DEF_BEFORE,
	VDIST_DEF_AFTER,
	VDIST_DEF_PRIVILEGES,
	VDIST_DEF_REVOKE,
	VDIST_DEF_SEQUENCES,
	VDIST_DEF_DEPENDENTS
} VdistTableDefQuery;

#define VDIST_DEF_ARGS 3
#define VDIST_DEF_CHECK "1"
#define VDIST_DEF_OWNER "15"

/* A result in text, row by row; NULL cells are SQL nulls. */
typedef struct VdistRows
{
	int			nrows;
	int			ncols;
	char	  **cells;
} VdistRows;

#define VDIST_CELL(rows, r, c) ((rows)->cells[(r) * (rows)->ncols + (c)])

/* What each returns and its arguments (NULL: none) stand beside the queries. */
extern VdistRows *vdist_tabledef(VdistConn *conn, VdistTableDefQuery which, const char *arg1,
								 const char *arg2, const char *arg3);
extern VdistRows *vdist_rows(VdistConn *conn, const char *sql);

/* Between these, search_path is pg_catalog alone. */
extern int	vdist_catalog_path_begin(void);
extern void vdist_catalog_path_end(int level);

/* ---- check.c: what cannot be distributed ---- */

/* Error unless rel, locked, can be distributed by this column; returns its number. */
extern AttrNumber vdist_check_distributable(Relation rel, const char *column);

/* Error when something hangs on the table that would be lost; verb says what cannot be done. */
extern void vdist_check_attachments(Relation rel, const char *verb);

/* ---- load.c: rows of a local table to their shards ---- */

extern int64 vdist_load(Relation rel, const VdistPlacement *placement, int nconns,
						VdistConn **conns);

/* ---- distribute.c, undistribute.c: a table changes its kind ---- */

/* schema.table, quoted, palloc'd: the name here and on the shards. */
extern char *vdist_relation_name(Oid relid);

/* Open and lock a table against everything; error unless the user owns it. */
extern Relation vdist_lock_own_table(Oid relid);

/*
 * Run statements on this server as role (InvalidOid: the owner of the catalogs), names in them
 * qualified; the caller has checked what its user may do.
 */
extern void vdist_run_here(Oid role, const char *sql);

/* CREATE TABLE from the rows of VDIST_DEF_COLUMNS and VDIST_DEF_KIND. */
extern char *vdist_create_statement(const char *name, const VdistRows *columns,
									const VdistRows *kind);

/* DROP the old table, run create, give the new one of that name its definition; returns its OID. */
extern Oid	vdist_replace_here(Oid source, const char *create, const char *kind);

/* DROP the table of this quoted name on n shards, with the transaction. */
extern void vdist_drop_on_shards(int n, VdistConn **conns, const char *name);

/* ---- inside cluster/ only: conn.c, send.c, wait.c, fanout.c, copy.c and xact.c share the connection ---- */

/* What the next results on a connection answer to, in order; a queue of these. */
typedef enum VdistExpect
{
	VDIST_EXPECT_COMMAND,		/* BEGIN, SAVEPOINT …: nothing to hand out, an error is raised */
	VDIST_EXPECT_SETTING,		/* SET: an error is of no interest (an older vdist there) */
	VDIST_EXPECT_PREPARE,		/* then conn->preparing is prepared */
	VDIST_EXPECT_ROWS,			/* the request itself */
	VDIST_EXPECT_SYNC,			/* end of a pipeline segment */
	VDIST_EXPECT_SIMPLE			/* text sent by the simple protocol, outside pipeline mode */
} VdistExpect;

typedef struct VdistConnKey
{
	Oid			server;
	Oid			userid;
} VdistConnKey;

typedef struct VdistPrepared
{
	const char *sql;			/* hash key */
	dlist_node	link;
	char		name[32];
	bool		ready;
} VdistPrepared;

struct VdistConn
{
	VdistConnKey key;
	char		shard[NAMEDATALEN];
	PGconn	   *pg;				/* NULL: not connected */
	uint64		serial;			/* of this connection in this backend, for the wait set */
	uint32		server_hash;	/* syscache hash, for invalidation */
	bool		connecting;
	bool		password_required;
	bool		invalidated;	/* options changed: close when the transaction is over */

	/* transaction state; see xact.c */
	bool		used;			/* in vdist_conns_used */
	dlist_node	used_link;
	bool		want_xact;		/* the next statement runs in a remote transaction */
	bool		wrote;			/* was asked for with VDIST_WRITE in this transaction */
	bool		lost;			/* went away with work of this transaction */
	int			depth;			/* 0 no remote transaction, 1 open, n: savepoints up to level n */
	int			release;		/* savepoints from this level up are over; 0 none */
	bool		stream_savepoint;	/* the rows under way have a savepoint of their own */

	/* what is under way */
	char	   *expect;			/* queue of VdistExpect, expect_pos … expect_len */
	int			expect_pos;
	int			expect_len;
	int			expect_size;
	bool		failed;			/* an error came; the rest up to the next sync is void */
	bool		flushing;		/* output waits for the socket */
	bool		spoke;			/* input was read by a wait, perhaps not worked off yet */
	bool		stream;			/* the rows under way come one by one */
	VdistFanout *fanout;		/* who the rows under way are for; NULL: nobody any more */
	int			fanout_slot;
	int			level;			/* nest level of the transaction that sent it */
	VdistCopy  *copy;			/* the COPY that is open on it */
	int			copy_slot;
	const char *sql;			/* the statement under way, for messages; NULL unknown */

	/* what the shard's session holds */
	HTAB	   *prepared;
	dlist_head	prepared_lru;	/* least recently used first */
	VdistPrepared *preparing;
	uint32		prepared_count; /* for names */
	uint64		table_changes;	/* vdist_table_changes as of the oldest of them */
	uint64		settings;		/* generation of the forwarded settings it has seen */

	/* scratch of vdist_wait */
	uint64		wait_round;
};

/* Connections used in this transaction. */
extern dlist_head vdist_conns_used;

#define vdist_conn_busy(conn) ((conn)->expect_pos < (conn)->expect_len || (conn)->copy != NULL)

/* conn.c */
extern void vdist_conn_close(VdistConn *conn);
extern void vdist_conn_close_invalidated(void);

/* Say whether it is to be closed when the transaction is over; returns what was said before. */
extern bool vdist_conn_doom(VdistConn *conn, bool doomed);
pg_noreturn extern void vdist_conn_lost(VdistConn *conn, const PGresult *result);
extern void vdist_conn_probe(int n, VdistConn **conns);
extern bool vdist_conn_readable(const VdistConn *conn);
extern uint64 vdist_conn_settings(void);
extern int	vdist_conn_setting_count(void);
extern const char *vdist_conn_setting(int i);

/* fanout.c */
typedef enum VdistStep
{
	VDIST_STEP_BUSY,			/* more must come from the socket */
	VDIST_STEP_PIECE,			/* *piece is the caller's */
	VDIST_STEP_IDLE,			/* nothing is under way any more */
	VDIST_STEP_LOST				/* the connection broke */
} VdistStep;

extern VdistStep vdist_conn_step(VdistConn *conn, PGresult **piece);
extern void vdist_conn_expect(VdistConn *conn, VdistExpect expect);
extern void vdist_conn_free(VdistConn *conn);
pg_noreturn extern void vdist_conn_raise(VdistConn *conn, const PGresult *result, const char *sql);
extern void vdist_conns_quiesce(int n, VdistConn **conns, bool cancel, TimestampTz deadline);
extern void vdist_fanout_forget(VdistConn *conn);

/* wait.c */
extern bool vdist_wait(int n, VdistConn **conns, TimestampTz deadline);
extern void vdist_wait_forget(const VdistConn *conn);
extern void vdist_conn_flush(VdistConn *conn);

/* send.c */
extern void vdist_conn_send(VdistConn *conn, const VdistRequest *request, uint64 generation);
extern void vdist_conn_send_text(VdistConn *conn, const char *sql);
extern void vdist_prepared_forget(VdistConn *conn, VdistPrepared *prepared);
extern void vdist_prepared_forget_all(VdistConn *conn);

/* spool.c */
typedef struct VdistSpool VdistSpool;

extern VdistSpool *vdist_spool_make(const PGresult *first);
extern void vdist_spool_put(VdistSpool *spool, const PGresult *result);
extern void vdist_spool_rewind(VdistSpool *spool);
extern PGresult *vdist_spool_get(VdistSpool *spool);
extern void vdist_spool_free(VdistSpool *spool);

/* copy.c */
extern void vdist_copy_finish(VdistConn *conn);
extern void vdist_copy_forget(VdistConn *conn);

/* xact.c */
extern void vdist_xact_use(VdistConn *conn, VdistAccess access);
extern List *vdist_xact_prelude(VdistConn *conn);
extern void vdist_xact_end_stream(int n, VdistConn **conns);

#endif							/* VDIST_CLUSTER_H */
