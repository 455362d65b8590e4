/*
 * plan.c: turns a path into a ForeignScan: the remote statement, its parameters, and what becomes of
 * its columns. All text is made here, once a plan; scan.c finds it ready in fdw_private.
 *
 * A scan of the table itself fills a slot of the table's row type. The scan that ends a whole query
 * (ORDER BY … LIMIT) has scanrelid 0 and a slot made of expressions: the sort keys among them, so
 * that a distance is computed on the shard alone and the vector stays there unless it is wanted.
 */
#include "fdw/fdw.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/prep.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* Elements of fdw_private. */
enum
{
	PRIVATE_SQL,				/* String */
	PRIVATE_RELID,				/* list of one OID */
	PRIVATE_SERVERS,			/* OIDs */
	PRIVATE_COLUMN_TYPES,		/* OIDs, a column each */
	PRIVATE_COLUMN_PLACES,		/* integers, three a column: typmod, slot, row */
	PRIVATE_KEY_OBJECTS,		/* OIDs, two a sort key: operator, collation */
	PRIVATE_KEY_PLACES,			/* integers, two a sort key: column, nulls first */
	PRIVATE_PRUNE,				/* integers, two a condition: expression, is array */
	PRIVATE_NUMBERS				/* integers, in the order of NUMBER_… */
};

enum
{
	NUMBER_PARAMS,
	NUMBER_LIMIT,
	NUMBER_OFFSET,
	NUMBER_HAS_LIMIT,
	NUMBER_LOCKS,
	NUMBER_ROW_SLOT,
	NUMBER_TABLEOID_SLOT
};

/* A plan under construction. */
typedef struct PlanBuild
{
	PlannerInfo *root;
	RelOptInfo *rel;			/* the table's, also for an upper path */
	VdistRel   *info;
	VdistDeparse deparse;
	List	   *types;
	List	   *places;
	int			ncolumns;
	List	   *key_exprs;		/* sort keys, in order */
	List	   *key_objects;
	List	   *key_places;
	StringInfoData order_by;
	int			row_slot;
	int			tableoid_slot;
} PlanBuild;

/* ---- result columns ---- */

static void
begin_column(PlanBuild *build, Oid type, int32 typmod, int slot, int row)
{
	if (build->ncolumns++ > 0)
		appendStringInfoString(&build->deparse.sql, ", ");
	build->types = lappend_oid(build->types, type);
	build->places = lappend_int(build->places, typmod);
	build->places = lappend_int(build->places, slot);
	build->places = lappend_int(build->places, row);
}

static void
add_attribute(PlanBuild *build, AttrNumber attno, int slot, int row)
{
	Oid			type,
				collation;
	int32		typmod;

	get_atttypetypmodcoll(build->info->relid, attno, &type, &typmod, &collation);
	begin_column(build, type, typmod, slot, row);
	vdist_deparse_column(&build->deparse, attno);
}

/* Every live column of the table, into the slot or into the whole-row value. */
static void
add_all_attributes(PlanBuild *build, bool to_slot)
{
	Relation	relation = table_open(build->info->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);
	int			i;

	for (i = 1; i <= desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i - 1)->attisdropped)
			add_attribute(build, i, to_slot ? i : 0, to_slot ? 0 : i);
	}
	table_close(relation, NoLock);
}

static void
add_ctid(PlanBuild *build, int slot)
{
	begin_column(build, TIDOID, -1, slot, 0);
	appendStringInfoString(&build->deparse.sql, "ctid");
}

/* The columns that the target list and the conditions evaluated here ask for. */
static void
add_base_columns(PlanBuild *build, List *local_exprs)
{
	Bitmapset  *attrs = NULL;
	int			i = -1;

	pull_varattnos((Node *) build->rel->reltarget->exprs, build->rel->relid, &attrs);
	pull_varattnos((Node *) local_exprs, build->rel->relid, &attrs);

	if (bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attrs))
		add_all_attributes(build, true);
	while ((i = bms_next_member(attrs, i)) >= 0)
	{
		int			attno = i + FirstLowInvalidHeapAttributeNumber;

		if (attno == SelfItemPointerAttributeNumber)
			add_ctid(build, attno);
		else if (attno < 0 && attno != TableOidAttributeNumber)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("system column \"%s\" of distributed table \"%s\" cannot be read",
							get_attname(build->info->relid, attno, false),
							get_rel_name(build->info->relid)),
					 errdetail("Transaction and command identifiers mean nothing outside their shard.")));
		else if (attno > 0 &&
				 !bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attrs))
			add_attribute(build, attno, attno, 0);
	}
}

/* ---- sort keys ---- */

/* Find expressions for the pathkeys; their columns are appended by add_key_columns. */
static void
collect_keys(PlanBuild *build, List *pathkeys)
{
	ListCell   *lc;

	foreach(lc, pathkeys)
	{
		PathKey    *pathkey = lfirst(lc);
		EquivalenceMember *member = vdist_sort_member(pathkey, build->rel);
		Oid			operator;

		if (member == NULL)
			elog(ERROR, "sort key of a foreign scan is lost");
		operator = vdist_sort_operator(pathkey, member->em_datatype);
		build->key_exprs = lappend(build->key_exprs, member->em_expr);
		build->key_objects = lappend_oid(build->key_objects, operator);
		build->key_objects = lappend_oid(build->key_objects, pathkey->pk_eclass->ec_collation);
	}
}

/*
 * Make ORDER BY of the key expressions. A key that is a column of the result already (those in
 * fdw_tlist, from column 0 on, when it has a result column of its own) is taken from there. Columns
 * are named by number: a name could mean an output column as well as one of the table.
 */
static void
add_key_columns(PlanBuild *build, List *pathkeys, List *column_exprs)
{
	ListCell   *lc;
	ListCell   *lc2;

	initStringInfo(&build->order_by);
	forboth(lc, pathkeys, lc2, build->key_exprs)
	{
		PathKey    *pathkey = lfirst(lc);
		Expr	   *expr = lfirst(lc2);
		TypeCacheEntry *entry = lookup_type_cache(exprType((Node *) expr), TYPECACHE_GT_OPR);
		Oid			operator;
		int			column = 0;
		ListCell   *lc3;

		foreach(lc3, column_exprs)
		{
			if (lfirst(lc3) != NULL && equal(lfirst(lc3), expr))
				break;
			column++;
		}
		if (lc3 == NULL)
		{
			column = build->ncolumns;
			begin_column(build, exprType((Node *) expr), -1, 0, 0);
			vdist_deparse_output(&build->deparse, expr);
			column_exprs = lappend(column_exprs, expr);
		}

		operator = list_nth_oid(build->key_objects, 2 * foreach_current_index(lc));
		build->key_places = lappend_int(build->key_places, column);
		build->key_places = lappend_int(build->key_places, pathkey->pk_nulls_first);
		appendStringInfo(&build->order_by, "%s%d%s NULLS %s",
						 build->order_by.len == 0 ? " ORDER BY " : ", ", column + 1,
						 operator == entry->gt_opr ? " DESC" : "",
						 pathkey->pk_nulls_first ? "FIRST" : "LAST");
	}
}

/* ---- the slot of a scan that ends the query ---- */

typedef struct TlistContext
{
	PlanBuild  *build;
	List	   *tlist;
	List	   *deferred;		/* shippable expressions that are worth it if they save a column */
} TlistContext;

static bool
in_tlist(List *tlist, Expr *expr)
{
	return tlist_member(expr, tlist) != NULL;
}

static List *
add_tlist(List *tlist, Expr *expr)
{
	if (in_tlist(tlist, expr))
		return tlist;
	return lappend(tlist, makeTargetEntry(copyObject(expr), list_length(tlist) + 1, NULL, false));
}

static bool
tlist_walker(Node *node, void *arg)
{
	TlistContext *context = (TlistContext *) arg;
	PlanBuild  *build = context->build;

	if (node == NULL)
		return false;
	if (IsA(node, List))
		return expression_tree_walker(node, tlist_walker, arg);

	/* Sort keys are there already. A part without columns is computed here, once a row or less. */
	if (!vdist_has_vars(build->rel->relid, node) || in_tlist(context->tlist, (Expr *) node))
		return false;
	if (IsA(node, Var))
	{
		context->tlist = add_tlist(context->tlist, (Expr *) node);
		return false;
	}
	if (!IsA(node, TargetEntry) &&
		vdist_shippable(build->rel->relid, build->info->relid, (Expr *) node))
	{
		context->deferred = lappend(context->deferred, node);
		return false;
	}
	return expression_tree_walker(node, tlist_walker, arg);
}

/* True when the expression needs a column beyond what the list gives. */
static bool
needs_column_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (!IsA(node, List) && in_tlist((List *) arg, (Expr *) node))
		return false;
	return IsA(node, Var) || expression_tree_walker(node, needs_column_walker, arg);
}

/*
 * What the shards compute: sort keys, columns that are outputs themselves, and expressions over
 * columns that would otherwise travel for nothing else.
 */
static List *
make_scan_tlist(PlanBuild *build, List *tlist)
{
	TlistContext context;
	ListCell   *lc;

	context.build = build;
	context.tlist = NIL;
	context.deferred = NIL;
	foreach(lc, build->key_exprs)
		context.tlist = add_tlist(context.tlist, lfirst(lc));
	tlist_walker((Node *) tlist, &context);
	foreach(lc, context.deferred)
	{
		if (needs_column_walker(lfirst(lc), context.tlist))
			context.tlist = add_tlist(context.tlist, lfirst(lc));
	}
	return context.tlist;
}

/* Result columns for the scan's target list. Returns the expression of each column, or NULL. */
static List *
add_tlist_columns(PlanBuild *build, List *tlist)
{
	List	   *exprs = NIL;
	ListCell   *lc;

	foreach(lc, tlist)
	{
		TargetEntry *entry = lfirst(lc);
		Var		   *var = (Var *) entry->expr;

		if (!IsA(var, Var))
		{
			begin_column(build, exprType((Node *) var), -1, entry->resno, 0);
			vdist_deparse_output(&build->deparse, entry->expr);
		}
		else if (var->varattno == TableOidAttributeNumber)
		{
			build->tableoid_slot = entry->resno;
			continue;
		}
		else if (var->varattno == InvalidAttrNumber)
		{
			build->row_slot = entry->resno;
			add_all_attributes(build, false);
			while (list_length(exprs) < build->ncolumns)
				exprs = lappend(exprs, NULL);
			continue;
		}
		else if (var->varattno == SelfItemPointerAttributeNumber)
			add_ctid(build, entry->resno);
		else
			add_attribute(build, var->varattno, entry->resno, 0);
		exprs = lappend(exprs, var);
	}
	return exprs;
}

/* ---- conditions whose value is known at execution ---- */

/* Expressions and PRIVATE_PRUNE entries; indexes start at first. */
static List *
collect_prune(PlanBuild *build, List *clauses, int first, List **entries)
{
	List	   *exprs = NIL;
	ListCell   *lc;

	*entries = NIL;
	foreach(lc, clauses)
	{
		RestrictInfo *rinfo = lfirst(lc);
		bool		is_array;
		Expr	   *value = vdist_prune_match(build->info->placement, build->rel->relid,
											  rinfo->clause, &is_array);

		if (value == NULL)
			continue;
		value = (Expr *) eval_const_expressions(build->root, (Node *) value);
		if (IsA(value, Const))
			continue;
		*entries = lappend_int(*entries, first + list_length(exprs));
		*entries = lappend_int(*entries, is_array);
		exprs = lappend(exprs, value);
	}
	return exprs;
}

/* ---- row locks ---- */

static void
append_locking(PlanBuild *build, bool *locks)
{
	PlannerInfo *root = build->root;
	Index		relid = build->rel->relid;
	StringInfo	sql = &build->deparse.sql;
	PlanRowMark *mark;

	*locks = false;
	if (bms_is_member(relid, root->all_result_relids) &&
		(root->parse->commandType == CMD_UPDATE || root->parse->commandType == CMD_DELETE))
	{
		appendStringInfoString(sql, " FOR UPDATE");
		*locks = true;
		return;
	}
	mark = get_plan_rowmark(root->rowMarks, relid);
	if (mark == NULL)
		return;
	switch (mark->strength)
	{
		case LCS_NONE:
			return;
		case LCS_FORKEYSHARE:
		case LCS_FORSHARE:
			appendStringInfoString(sql, " FOR SHARE");
			break;
		case LCS_FORNOKEYUPDATE:
		case LCS_FORUPDATE:
			appendStringInfoString(sql, " FOR UPDATE");
			break;
	}
	if (mark->waitPolicy == LockWaitSkip)
		appendStringInfoString(sql, " SKIP LOCKED");
	else if (mark->waitPolicy == LockWaitError)
		appendStringInfoString(sql, " NOWAIT");
	*locks = true;
}

/* ---- the plan ---- */

static List *
server_oids(const VdistRel *info)
{
	List	   *oids = NIL;
	int			i = -1;

	while ((i = bms_next_member(info->shards, i)) >= 0)
		oids = lappend_oid(oids, info->placement->servers[i]);
	return oids;
}

ForeignScan *
vdist_get_plan(PlannerInfo *root, RelOptInfo *rel, Oid foreigntableid, ForeignPath *path,
			   List *tlist, List *scan_clauses, Plan *outer_plan)
{
	PlanBuild	build = {0};
	bool		upper = IS_UPPER_REL(rel);
	List	   *remote = NIL;
	List	   *local = NIL;
	List	   *clauses = NIL;
	List	   *scan_tlist = NIL;
	List	   *column_exprs = NIL;
	List	   *prune;
	List	   *exprs;
	List	   *numbers;
	int			nparams;
	int			limit = -1;
	int			offset = -1;
	bool		has_limit;
	bool		locks = false;
	ListCell   *lc;
	char	   *sql;
	List	   *private;

	build.root = root;
	build.rel = upper ? linitial(path->fdw_private) : rel;
	build.info = build.rel->fdw_private;
	has_limit = upper && root->parse->limitCount != NULL;

	if (upper)
	{
		/* The path exists only when all conditions run on the shards; constant ones go along. */
		clauses = build.info->remote_conds;
		remote = extract_actual_clauses(clauses, false);
		remote = list_concat(remote, extract_actual_clauses(clauses, true));
	}
	else
	{
		foreach(lc, scan_clauses)
		{
			RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

			/* Core puts a gating Result above. */
			if (rinfo->pseudoconstant)
				continue;
			clauses = lappend(clauses, rinfo);
			if (list_member_ptr(build.info->remote_conds, rinfo) ||
				(!list_member_ptr(build.info->local_conds, rinfo) &&
				 restriction_is_securely_promotable(rinfo, rel) &&
				 vdist_shippable(rel->relid, foreigntableid, rinfo->clause)))
				remote = lappend(remote, rinfo->clause);
			else
				local = lappend(local, rinfo->clause);
		}
	}

	vdist_deparse_begin(&build.deparse, build.rel->relid, build.info->relid);
	appendStringInfoString(&build.deparse.sql, "SELECT ");
	collect_keys(&build, path->path.pathkeys);
	if (upper)
	{
		scan_tlist = make_scan_tlist(&build, tlist);
		column_exprs = add_tlist_columns(&build, scan_tlist);
	}
	else
		add_base_columns(&build, local);
	add_key_columns(&build, path->path.pathkeys, column_exprs);
	appendStringInfoString(&build.deparse.sql, build.ncolumns > 0 ? " FROM " : "FROM ");
	vdist_deparse_table(&build.deparse);
	vdist_deparse_where(&build.deparse, remote);
	appendStringInfoString(&build.deparse.sql, build.order_by.data);
	nparams = list_length(build.deparse.params);
	if (!upper)
		append_locking(&build, &locks);
	exprs = build.deparse.params;
	sql = vdist_deparse_end(&build.deparse);

	exprs = list_concat(exprs, collect_prune(&build, clauses, nparams, &prune));
	if (upper && root->parse->limitCount != NULL)
	{
		limit = list_length(exprs);
		exprs = lappend(exprs, root->parse->limitCount);
	}
	if (upper && root->parse->limitOffset != NULL)
	{
		offset = list_length(exprs);
		exprs = lappend(exprs, root->parse->limitOffset);
	}

	numbers = list_make5_int(nparams, limit, offset, has_limit, locks);
	numbers = lappend_int(numbers, build.row_slot);
	numbers = lappend_int(numbers, build.tableoid_slot);
	private = list_make5(makeString(sql), list_make1_oid(build.info->relid),
						 server_oids(build.info), build.types, build.places);
	private = lappend(private, build.key_objects);
	private = lappend(private, build.key_places);
	private = lappend(private, prune);
	private = lappend(private, numbers);

	return make_foreignscan(tlist, local, upper ? 0 : rel->relid, exprs, private, scan_tlist,
							upper ? NIL : remote, outer_plan);
}

void
vdist_plan_unpack(ForeignScan *scan, VdistScanPlan *plan)
{
	List	   *private = scan->fdw_private;
	List	   *types = list_nth(private, PRIVATE_COLUMN_TYPES);
	List	   *places = list_nth(private, PRIVATE_COLUMN_PLACES);
	List	   *objects = list_nth(private, PRIVATE_KEY_OBJECTS);
	List	   *key_places = list_nth(private, PRIVATE_KEY_PLACES);
	List	   *servers = list_nth(private, PRIVATE_SERVERS);
	List	   *prune = list_nth(private, PRIVATE_PRUNE);
	List	   *numbers = list_nth(private, PRIVATE_NUMBERS);
	int			i;

	plan->sql = strVal(list_nth(private, PRIVATE_SQL));
	plan->relid = linitial_oid(list_nth(private, PRIVATE_RELID));

	plan->nservers = list_length(servers);
	plan->servers = palloc(sizeof(Oid) * (plan->nservers + 1));
	for (i = 0; i < plan->nservers; i++)
		plan->servers[i] = list_nth_oid(servers, i);

	plan->ncolumns = list_length(types);
	plan->columns = palloc(sizeof(VdistColumn) * (plan->ncolumns + 1));
	for (i = 0; i < plan->ncolumns; i++)
	{
		plan->columns[i].type = list_nth_oid(types, i);
		plan->columns[i].typmod = list_nth_int(places, 3 * i);
		plan->columns[i].slot = list_nth_int(places, 3 * i + 1);
		plan->columns[i].row = list_nth_int(places, 3 * i + 2);
	}

	plan->nkeys = list_length(objects) / 2;
	plan->keys = palloc(sizeof(VdistSortKey) * (plan->nkeys + 1));
	for (i = 0; i < plan->nkeys; i++)
	{
		plan->keys[i].operator = list_nth_oid(objects, 2 * i);
		plan->keys[i].collation = list_nth_oid(objects, 2 * i + 1);
		plan->keys[i].column = list_nth_int(key_places, 2 * i);
		plan->keys[i].nulls_first = list_nth_int(key_places, 2 * i + 1) != 0;
	}

	plan->nprune = list_length(prune) / 2;
	plan->prune = palloc(sizeof(VdistPruneExpr) * (plan->nprune + 1));
	for (i = 0; i < plan->nprune; i++)
	{
		plan->prune[i].expr = list_nth_int(prune, 2 * i);
		plan->prune[i].is_array = list_nth_int(prune, 2 * i + 1) != 0;
	}

	plan->nparams = list_nth_int(numbers, NUMBER_PARAMS);
	plan->limit = list_nth_int(numbers, NUMBER_LIMIT);
	plan->offset = list_nth_int(numbers, NUMBER_OFFSET);
	plan->has_limit = list_nth_int(numbers, NUMBER_HAS_LIMIT) != 0;
	plan->locks = list_nth_int(numbers, NUMBER_LOCKS) != 0;
	plan->row_slot = list_nth_int(numbers, NUMBER_ROW_SLOT);
	plan->tableoid_slot = list_nth_int(numbers, NUMBER_TABLEOID_SLOT);
}

char *
vdist_plan_sql(const VdistScanPlan *plan)
{
	if (!plan->has_limit)
		return pstrdup(plan->sql);
	return psprintf("%s LIMIT $%d::pg_catalog.int8", plan->sql, plan->nparams + 1);
}
