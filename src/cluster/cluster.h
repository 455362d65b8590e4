/*
 * cluster.h: what shards are, and how to talk to them. Below fdw/, above nothing but PostgreSQL and
 * libpq; knows nothing of vectors.
 */
#ifndef VDIST_CLUSTER_H
#define VDIST_CLUSTER_H

#include "compat.h"

#include "access/attnum.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#define VDIST_FDW_NAME "vdist_fdw"
#define VDIST_SCHEMA "vdist"

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

/* ---- conn.c: one cached connection per (shard, user mapping) and backend ---- */

typedef struct VdistConn VdistConn;

typedef enum VdistAccess
{
	VDIST_READ,					/* no remote transaction unless one is open or the isolation asks
								 * for it */
	VDIST_WRITE					/* inside a remote transaction that xact.c ends with the local one */
} VdistAccess;

/*
 * Connections to n shards for userid, missing ones opened all at once under
 * vdist.connect_timeout. An error names the shard; the session stays usable.
 */
extern void vdist_conn_get(int n, const Oid *servers, Oid userid, VdistAccess access,
						   VdistConn **conns);

/* The shard's name, for messages. */
extern const char *vdist_conn_shard(const VdistConn *conn);

/* ---- fanout.c: one round of requests, one wait loop ---- */

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
	int			result_format;	/* 1 binary, 0 text */
	bool		stream;			/* rows arrive in pieces, as they are read; else whole results */
} VdistRequest;

typedef struct VdistFanout VdistFanout;

/* Send requests[i] to conns[i], all without waiting; lives in the current memory context. */
extern VdistFanout *vdist_fanout_send(int n, VdistConn **conns, const VdistRequest **requests);

/*
 * The next piece of rows from shard i, or from whichever shard has one when i < 0 (then *from says
 * which). NULL: that shard (all shards, when i < 0) is done. Waits on latch, sockets and deadline,
 * answers to cancel and statement_timeout; a shard's failure is raised here with its name, its
 * SQLSTATE, detail and hint. The result belongs to the fan-out: valid until the next piece of the
 * same shard or vdist_fanout_end.
 */
extern PGresult *vdist_fanout_next(VdistFanout *fanout, int i, int *from);

/* Bytes received and time in milliseconds from send to last row, of shard i; for EXPLAIN ANALYZE. */
extern void vdist_fanout_stats(const VdistFanout *fanout, int i, int64 *bytes, double *msec);

/* Done, also before the last row: what is still under way is cancelled and drained. */
extern void vdist_fanout_end(VdistFanout *fanout);

/* Run one utility command on every connection and wait; errors as above. */
extern void vdist_fanout_command(int n, VdistConn **conns, const char *sql);

/* ---- xact.c: remote transactions follow the local one ---- */

/* Registers the transaction callbacks; called by the roof. */
extern void vdist_xact_init(void);

#endif							/* VDIST_CLUSTER_H */
