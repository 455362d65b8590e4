/*
 * fdw.h: SQL over shards. A distributed table is one foreign table; this folder plans, ships, reads
 * and writes it. Stands on cluster/; nothing but the roof stands on it.
 */
#ifndef VDIST_FDW_H
#define VDIST_FDW_H

#include "compat.h"

#include "commands/explain.h"
#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "nodes/pathnodes.h"

#include "cluster/cluster.h"

/* ---- ship.c: what may run on a shard ---- */

/*
 * The expression as a shard may see it, or NULL when it has to be evaluated here. Vars of varno
 * become Vars of relation 1; every maximal part without such Vars becomes a Param numbered by its
 * place in *params (1 is the first), which grows by the parts not yet in it. Params hold
 * expressions of the caller's query level, to be evaluated here once a scan.
 */
extern Expr *vdist_ship(Index varno, Oid relid, Expr *expr, List **params);

/* True when vdist_ship gives an expression. */
extern bool vdist_shippable(Index varno, Oid relid, Expr *expr);

/* True when a shard knows the type under the same name: built in, of vdist, or of a column. */
extern bool vdist_type_known(Oid relid, Oid type);

/* True when some part of the expression is a Var of varno. */
extern bool vdist_has_vars(Index varno, Node *node);

/* ---- deparse.c: expressions to remote SQL ---- */

typedef struct VdistDeparse
{
	Index		varno;			/* the table in the local query */
	Oid			relid;
	StringInfoData sql;
	List	   *params;			/* local expressions behind $1, $2, … */
	List	   *context;		/* of core's deparse_expression */
	int			guc_level;
} VdistDeparse;

/*
 * Between begin and end names are deparsed under search_path = pg_catalog, so that every other name
 * is qualified. Nothing but the calls below may happen in between; end returns the text.
 */
extern void vdist_deparse_begin(VdistDeparse *deparse, Index varno, Oid relid);
extern char *vdist_deparse_end(VdistDeparse *deparse);

/* Append an expression known to be shippable; elog otherwise. */
extern void vdist_deparse_expr(VdistDeparse *deparse, Expr *expr);

/* Append an expression as a result column; a plain column may be of any type. */
extern void vdist_deparse_output(VdistDeparse *deparse, Expr *expr);

/* Append the column of that number. */
extern void vdist_deparse_column(VdistDeparse *deparse, AttrNumber attno);

/* Append " WHERE a AND b" for shippable clauses (bare or RestrictInfo); nothing for an empty list. */
extern void vdist_deparse_where(VdistDeparse *deparse, List *clauses);

/* Append the qualified, quoted name of the table, which is the same on the shards. */
extern void vdist_deparse_table(VdistDeparse *deparse);

/* ---- prune.c: which shards a condition on the distribution column leaves ---- */

/*
 * For a condition "key = value" or "key = ANY (array)" the value coerced to the key's type (or an
 * array of it), else NULL. The value has no Vars of varno and is not volatile.
 */
extern Expr *vdist_prune_match(const VdistPlacement *placement, Index varno, Expr *clause,
							   bool *is_array);

/* Indexes of the shards that can hold a key equal to the value or to an element of the array. */
extern Bitmapset *vdist_prune_shards(const VdistPlacement *placement, Datum value, bool isnull,
									 bool is_array);

/* ---- path.c: sizes, costs and paths ---- */

/* What the planner keeps in fdw_private of a distributed table's RelOptInfo. */
typedef struct VdistRel
{
	Oid			relid;
	VdistPlacement *placement;
	Bitmapset  *shards;			/* left by the conditions whose value is known */
	List	   *remote_conds;	/* RestrictInfos evaluated on the shards */
	List	   *local_conds;	/* RestrictInfos evaluated here */
	double		remote_rows;	/* estimate of the rows that pass remote_conds, on all shards */
	double		asked;			/* estimate of the shards asked */
	Cost		remote_cost;	/* estimate of one shard's work, all shards working at once */
} VdistRel;

extern void vdist_get_rel_size(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void vdist_get_paths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void vdist_get_upper_paths(PlannerInfo *root, UpperRelationKind stage,
								  RelOptInfo *input_rel, RelOptInfo *output_rel, void *extra);

/* The member of a pathkey's equivalence class by which the shards of rel can sort, or NULL. */
extern EquivalenceMember *vdist_sort_member(PathKey *pathkey, RelOptInfo *rel);

/* ---- plan.c: from the path to the plan ---- */

extern ForeignScan *vdist_get_plan(PlannerInfo *root, RelOptInfo *rel, Oid foreigntableid,
								   ForeignPath *path, List *tlist, List *scan_clauses,
								   Plan *outer_plan);

/* A result column of the remote statement, and where it goes. */
typedef struct VdistColumn
{
	Oid			type;
	int32		typmod;
	int			slot;			/* attribute of the scan slot; 0 none */
	int			row;			/* attribute of the whole-row value; 0 none */
} VdistColumn;

/* A sort key of the merge. */
typedef struct VdistSortKey
{
	int			column;			/* index into the columns */
	Oid			operator;
	Oid			collation;
	bool		nulls_first;
} VdistSortKey;

/* A condition on the distribution column whose value is known at execution. */
typedef struct VdistPruneExpr
{
	int			expr;			/* index into fdw_exprs */
	bool		is_array;
} VdistPruneExpr;

/*
 * What a ForeignScan's fdw_private says. fdw_exprs holds the nparams parameters of the statement,
 * then values of prune, then LIMIT and OFFSET.
 */
typedef struct VdistScanPlan
{
	const char *sql;			/* without LIMIT */
	Oid			relid;
	int			nservers;
	Oid		   *servers;		/* shards left at plan time */
	int			ncolumns;
	VdistColumn *columns;
	int			nkeys;
	VdistSortKey *keys;
	int			nprune;
	VdistPruneExpr *prune;
	int			nparams;
	int			limit;			/* index into fdw_exprs; -1 none */
	int			offset;			/* likewise */
	bool		has_limit;		/* LIMIT is appended at execution */
	bool		locks;			/* the statement locks rows */
	int			row_slot;		/* attribute of the slot for the whole row; 0 none */
	int			tableoid_slot;	/* likewise for tableoid, in a scan that is not of a base relation */
} VdistScanPlan;

extern void vdist_plan_unpack(ForeignScan *scan, VdistScanPlan *plan);

/* The statement with LIMIT as a parameter after the others, where the plan has one; palloc'd. */
extern char *vdist_plan_sql(const VdistScanPlan *plan);

/* ---- scan.c: execution ---- */

extern void vdist_begin_scan(ForeignScanState *node, int eflags);
extern TupleTableSlot *vdist_iterate_scan(ForeignScanState *node);
extern void vdist_rescan(ForeignScanState *node);
extern void vdist_end_scan(ForeignScanState *node);

/* What a scan did so far on one shard, all its runs together. */
typedef struct VdistShardStats
{
	int			requests;
	int64		rows;			/* received; the shard of an unread stream may have more */
	int64		bytes;
	double		msec;
} VdistShardStats;

/* An entry for each server of the plan; NULL when the scan was not executed. */
extern VdistShardStats *vdist_scan_stats(ForeignScanState *node);

/* ---- merge.c: rows of several shards in one order ---- */

typedef struct VdistMerge VdistMerge;

/* Keys refer to columns; the struct lives in the current memory context and serves many runs. */
extern VdistMerge *vdist_merge_make(int nkeys, const VdistSortKey *keys, int nshards,
									VdistWireIn *wire);

/*
 * Start on the nshards answers of the fan-out, each sorted, whole or streams; received[i] counts their
 * rows.
 */
extern void vdist_merge_start(VdistMerge *merge, VdistFanout *fanout, int nshards, bool whole,
							  int64 *received);

/* The next row, valid until the next call: false at the end. */
extern bool vdist_merge_next(VdistMerge *merge, PGresult **result, int *row);

/* ---- explain.c, analyze.c ---- */

extern void vdist_explain_scan(ForeignScanState *node, ExplainState *es);

/* A line for each of n shards; stats (NULL: not executed) has an entry for each. */
extern void vdist_explain_shards(int n, const Oid *servers, const VdistShardStats *stats,
								 ExplainState *es);
extern bool vdist_analyze(Relation relation, AcquireSampleRowsFunc *func, BlockNumber *totalpages);

/* ---- batch.c: one statement for many rows ---- */

typedef struct VdistBatch VdistBatch;

/*
 * The statement and the types of its parameters; text_only as in vdist_wire_out. Connections are
 * taken as rows come for a shard. Lives in the current memory context, as do its arguments.
 */
extern VdistBatch *vdist_batch_make(const VdistPlacement *placement, Oid userid, const char *sql,
									int nparams, const Oid *types, bool text_only,
									int result_format);

/* The connections by shard; NULL until vdist_batch_connect or a run. */
extern VdistConn **vdist_batch_conns(VdistBatch *batch);
extern void vdist_batch_connect(VdistBatch *batch, int shard);

/* Encode a row's parameters in the current memory context; returns the bytes. */
extern Size vdist_batch_encode(VdistBatch *batch, const Datum *values, const bool *nulls,
							   const char **encoded, int *lengths);

/* Queue a row, take back a shard's only queued row, send all and wait: the rows affected. */
extern void vdist_batch_add(VdistBatch *batch, int shard, const Datum *values, const bool *nulls);
extern void vdist_batch_take_back(VdistBatch *batch, int shard, const char *const **values,
								  const int **lengths);
extern bool vdist_batch_full(const VdistBatch *batch);
extern int64 vdist_batch_flush(VdistBatch *batch);

/* Run for one row at once. The result is valid until the next call of anything here. */
extern PGresult *vdist_batch_run_one(VdistBatch *batch, int shard, const Datum *values,
									 const bool *nulls);

/* ---- modify.c: rows as the executor gives them ---- */

/* Columns that come back from a modification. */
typedef struct VdistReturning
{
	TupleDesc	desc;
	VdistWireIn *in;
	Datum	   *values;			/* of the row, then ctid */
	bool	   *nulls;
} VdistReturning;

/* First member of what ri_FdwState points to. */
typedef struct VdistModifyBase
{
	CmdType		operation;
} VdistModifyBase;

extern List *vdist_all_columns(Relation rel);
extern List *vdist_used_columns(Relation rel, Node *exprs, Index rti);
extern char *vdist_returning_sql(Relation rel, List *columns);
extern VdistReturning *vdist_returning_make(Relation rel, List *columns);

/* Store that row of the result into the slot; its memory is of the context. */
extern void vdist_returning_store(VdistReturning *returning, const PGresult *result, int row,
								  TupleTableSlot *slot, MemoryContext context);

pg_noreturn extern void vdist_raise_null_key(Relation rel, const VdistPlacement *placement);

/* Taken by what changes rows on several shards in one statement, before it asks them. */
extern void vdist_lock_multi_shard(Oid relid);

extern int	vdist_is_updatable(Relation rel);
extern void vdist_add_update_targets(PlannerInfo *root, Index rti, RangeTblEntry *rte,
									 Relation rel);
extern List *vdist_plan_modify(PlannerInfo *root, ModifyTable *plan, Index rti, int subplan);
extern void vdist_begin_modify(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *private,
							   int subplan, int eflags);
extern TupleTableSlot *vdist_exec_modify(EState *estate, ResultRelInfo *rinfo,
										 TupleTableSlot *slot, TupleTableSlot *planSlot);
extern void vdist_end_modify(EState *estate, ResultRelInfo *rinfo);
extern void vdist_explain_modify(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *private,
								 int subplan, ExplainState *es);
extern void vdist_truncate(List *rels, DropBehavior behavior, bool restart_seqs);

/* ---- insert.c: INSERT and COPY FROM ---- */

extern List *vdist_insert_columns(Relation rel);
extern char *vdist_insert_sql(Relation rel, List *columns, bool do_nothing);

/* at_once: each row's outcome is waited for. */
extern void vdist_begin_insert(EState *estate, ResultRelInfo *rinfo, List *columns, char *sql,
							   VdistReturning *returning, bool at_once);
extern void vdist_begin_foreign_insert(ModifyTableState *mtstate, ResultRelInfo *rinfo);
extern TupleTableSlot *vdist_exec_insert(EState *estate, ResultRelInfo *rinfo,
										 TupleTableSlot *slot, TupleTableSlot *planSlot);
extern void vdist_end_insert(EState *estate, ResultRelInfo *rinfo);

/* ---- direct.c: UPDATE and DELETE as one statement on the shards ---- */

extern bool vdist_plan_direct(PlannerInfo *root, ModifyTable *plan, Index rti, int subplan);
extern void vdist_begin_direct(ForeignScanState *node, int eflags);
extern TupleTableSlot *vdist_iterate_direct(ForeignScanState *node);
extern void vdist_end_direct(ForeignScanState *node);
extern void vdist_explain_direct(ForeignScanState *node, ExplainState *es);

#endif							/* VDIST_FDW_H */
