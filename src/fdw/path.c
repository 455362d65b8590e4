/*
 * path.c: sizes, costs and paths of distributed tables. Uses ship.c and prune.c; the planner calls it
 * through handler.c.
 *
 * Shards work at the same time, so a query costs one round trip, the work of one shard, and the
 * transfer of what all of them send. The figures are in units of seq_page_cost and rough: what
 * matters is that rows and bytes on the wire cost more than rows on a shard, and that a plan with an
 * unknown LIMIT is not taken for one that fetches everything.
 */
#include "fdw/fdw.h"

#include <math.h>

#include "access/sysattr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* Sending a request and waiting for its answer, and each shard that takes part. */
#define ROUND_TRIP_COST 20.0
#define SHARD_COST 1.0

/* A row through the wire, decoded, and each of its bytes. */
#define ROW_COST 0.03
#define BYTE_COST 0.0002

/* Looking rows up by distribution column on a shard, which has an index on it in most cases. */
#define LOOKUP_COST 2.0

/* Rows of a shard that was never analyzed, and the k of a LIMIT not known at plan time. */
#define UNKNOWN_ROWS 1000
#define UNKNOWN_LIMIT 20

/* ---- sizes ---- */

/* One shard's work for conditions that leave rows of all shards' tuples. */
static Cost
shard_cost(PlannerInfo *root, RelOptInfo *rel, List *conds, double rows, bool lookup)
{
	VdistRel   *info = rel->fdw_private;
	int			n = info->placement->nshards;
	QualCost	quals;

	if (lookup)
		return LOOKUP_COST + rows * cpu_tuple_cost;
	cost_qual_eval(&quals, conds, root);
	return quals.startup + (rel->pages * seq_page_cost +
							rel->tuples * (cpu_tuple_cost + quals.per_tuple)) / n;
}

void
vdist_get_rel_size(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	VdistRel   *info = palloc0(sizeof(VdistRel));
	bool		lookup = false;
	ListCell   *lc;

	baserel->fdw_private = info;
	info->relid = foreigntableid;
	info->placement = vdist_placement(foreigntableid);
	info->shards = bms_add_range(NULL, 0, info->placement->nshards - 1);
	info->asked = info->placement->nshards;

	foreach(lc, baserel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		bool		is_array;
		Expr	   *value;

		/*
		 * A shard evaluates all it gets in any order, so what a security barrier wants evaluated
		 * last has to be evaluated here.
		 */
		if (restriction_is_securely_promotable(rinfo, baserel) &&
			vdist_shippable(baserel->relid, foreigntableid, rinfo->clause))
			info->remote_conds = lappend(info->remote_conds, rinfo);
		else
			info->local_conds = lappend(info->local_conds, rinfo);

		value = vdist_prune_match(info->placement, baserel->relid, rinfo->clause, &is_array);
		if (value == NULL)
			continue;
		lookup = true;
		value = (Expr *) eval_const_expressions(root, (Node *) value);
		if (IsA(value, Const))
			info->shards = bms_int_members(info->shards,
										   vdist_prune_shards(info->placement,
															  ((Const *) value)->constvalue,
															  ((Const *) value)->constisnull,
															  is_array));
		else if (!is_array)
			info->asked = 1;
	}
	info->asked = Min(info->asked, bms_num_members(info->shards));

	if (baserel->tuples < 0)
	{
		baserel->tuples = (double) UNKNOWN_ROWS * info->placement->nshards;
		baserel->pages = ceil(baserel->tuples * 100 / BLCKSZ);
	}
	set_baserel_size_estimates(root, baserel);

	info->remote_rows = clamp_row_est(baserel->tuples *
									  clauselist_selectivity(root, info->remote_conds,
															 baserel->relid, JOIN_INNER, NULL));
	info->remote_cost = shard_cost(root, baserel, info->remote_conds, info->remote_rows, lookup);
}

/* ---- paths of the table itself ---- */

static Cost
transfer_cost(double rows, int width)
{
	return rows * (ROW_COST + width * BYTE_COST);
}

/* What one shard pays to sort its part of rows, keeping the first limit of them. */
static Cost
sort_cost(double rows, double shards, double limit)
{
	rows = Max(rows / Max(shards, 1), 2);
	return rows * log2(Max(Min(rows, limit), 2)) * 2 * cpu_operator_cost;
}

static Cost
local_cost(PlannerInfo *root, List *conds, double rows, Cost *startup)
{
	QualCost	quals;

	cost_qual_eval(&quals, conds, root);
	*startup += quals.startup;
	return rows * quals.per_tuple;
}

EquivalenceMember *
vdist_sort_member(PathKey *pathkey, RelOptInfo *rel)
{
	EquivalenceClass *ec = pathkey->pk_eclass;
	VdistRel   *info = rel->fdw_private;
	ListCell   *lc;

	if (ec->ec_has_volatile)
		return NULL;
	foreach(lc, ec->ec_members)
	{
		EquivalenceMember *member = lfirst(lc);
		TypeCacheEntry *entry;
		Oid			operator;

		if (member->em_is_child || !bms_equal(member->em_relids, rel->relids))
			continue;

		/* ORDER BY ASC and DESC are all the shards are asked for. */
		entry = lookup_type_cache(exprType((Node *) member->em_expr),
								  TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);
		operator = vdist_sort_operator(pathkey, member->em_datatype);
		if ((operator == entry->lt_opr || operator == entry->gt_opr) &&
			vdist_shippable(rel->relid, info->relid, member->em_expr))
			return member;
	}
	return NULL;
}

static bool
shards_can_sort(List *pathkeys, RelOptInfo *rel)
{
	ListCell   *lc;

	foreach(lc, pathkeys)
	{
		if (vdist_sort_member(lfirst(lc), rel) == NULL)
			return false;
	}
	return true;
}

typedef struct JoinColumn
{
	Expr	   *current;		/* the expression clauses are being collected for */
	List	   *done;			/* those before it */
} JoinColumn;

static bool
member_matches(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec, EquivalenceMember *member,
			   void *arg)
{
	JoinColumn *column = (JoinColumn *) arg;

	if (column->current != NULL)
		return equal(member->em_expr, column->current);
	if (list_member(column->done, member->em_expr))
		return false;
	column->current = member->em_expr;
	return true;
}

/* Add the parameterization that a join clause asks for, when the clause can run on the shards. */
static List *
add_parameterization(PlannerInfo *root, RelOptInfo *baserel, RestrictInfo *rinfo, List *infos)
{
	VdistRel   *info = baserel->fdw_private;
	Relids		outer;

	if (!join_clause_is_movable_to(rinfo, baserel) ||
		!restriction_is_securely_promotable(rinfo, baserel) ||
		!vdist_shippable(baserel->relid, info->relid, rinfo->clause))
		return infos;

	outer = bms_del_member(bms_union(rinfo->clause_relids, baserel->lateral_relids),
						   baserel->relid);
	if (bms_is_empty(outer))
		return infos;
	return list_append_unique_ptr(infos, get_baserel_parampathinfo(root, baserel, outer));
}

/* Nested loops that ask the shards for the rows that match one outer row. */
static void
add_parameterized_paths(PlannerInfo *root, RelOptInfo *baserel)
{
	VdistRel   *info = baserel->fdw_private;
	List	   *infos = NIL;
	ListCell   *lc;

	foreach(lc, baserel->joininfo)
		infos = add_parameterization(root, baserel, lfirst(lc), infos);

	if (baserel->has_eclass_joins)
	{
		JoinColumn	column = {NULL, NIL};

		for (;;)
		{
			List	   *clauses;

			column.current = NULL;
			clauses = generate_implied_equalities_for_column(root, baserel, member_matches,
															 &column, baserel->lateral_referencers);
			if (column.current == NULL)
				break;
			foreach(lc, clauses)
				infos = add_parameterization(root, baserel, lfirst(lc), infos);
			column.done = lappend(column.done, column.current);
		}
	}

	foreach(lc, infos)
	{
		ParamPathInfo *ppi = lfirst(lc);
		List	   *remote = list_copy(info->remote_conds);
		double		rows;
		double		asked = info->asked;
		bool		lookup = false;
		Cost		startup;
		Cost		total;
		ListCell   *lc2;

		foreach(lc2, ppi->ppi_clauses)
		{
			RestrictInfo *rinfo = lfirst(lc2);
			bool		is_array;

			if (restriction_is_securely_promotable(rinfo, baserel) &&
				vdist_shippable(baserel->relid, info->relid, rinfo->clause))
				remote = lappend(remote, rinfo);
			if (vdist_prune_match(info->placement, baserel->relid, rinfo->clause, &is_array) &&
				!is_array)
			{
				lookup = true;
				asked = Min(asked, 1);
			}
		}
		rows = clamp_row_est(baserel->tuples *
							 clauselist_selectivity(root, remote, baserel->relid, JOIN_INNER,
													NULL));
		startup = ROUND_TRIP_COST + SHARD_COST * asked;
		total = shard_cost(root, baserel, remote, rows, lookup) +
			transfer_cost(rows, baserel->reltarget->width);
		total += local_cost(root, info->local_conds, rows, &startup);
		add_path(baserel, (Path *)
				 vdist_create_scan_path(root, baserel, ppi->ppi_rows, startup, startup + total,
										NIL, ppi->ppi_req_outer, NIL));
	}
}

void
vdist_get_paths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	VdistRel   *info = baserel->fdw_private;
	Cost		startup = ROUND_TRIP_COST + SHARD_COST * info->asked;
	Cost		transfer = transfer_cost(info->remote_rows, baserel->reltarget->width);
	Cost		local = local_cost(root, info->local_conds, info->remote_rows, &startup);

	add_path(baserel, (Path *)
			 vdist_create_scan_path(root, baserel, baserel->rows, startup,
									startup + info->remote_cost + transfer + local,
									NIL, baserel->lateral_relids, NIL));

	if (root->query_pathkeys != NIL && shards_can_sort(root->query_pathkeys, baserel))
	{
		startup += info->remote_cost + sort_cost(info->remote_rows, info->asked,
												 info->remote_rows);
		add_path(baserel, (Path *)
				 vdist_create_scan_path(root, baserel, baserel->rows, startup,
										startup + transfer + local,
										root->query_pathkeys, baserel->lateral_relids, NIL));
	}

	add_parameterized_paths(root, baserel);
}

/* ---- ORDER BY and LIMIT of a whole query ---- */

/* Everything the target list needs can be had from the shards. */
static bool
target_can_be_scanned(List *exprs, Index relid)
{
	List	   *vars = pull_var_clause((Node *) exprs,
									   PVC_RECURSE_AGGREGATES | PVC_RECURSE_WINDOWFUNCS |
									   PVC_INCLUDE_PLACEHOLDERS);
	ListCell   *lc;

	foreach(lc, vars)
	{
		Var		   *var = lfirst(lc);

		if (!IsA(var, Var) || var->varno != relid)
			return false;
		if (var->varattno < 0 && var->varattno != SelfItemPointerAttributeNumber &&
			var->varattno != TableOidAttributeNumber)
			return false;
	}
	return true;
}

void
vdist_get_upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
					  RelOptInfo *output_rel, void *extra)
{
	FinalPathExtraData *final = extra;
	Query	   *parse = root->parse;
	PathTarget *target = root->upper_targets[UPPERREL_FINAL];
	RelOptInfo *rel;
	VdistRel   *info;
	int			relid;
	double		limit;
	double		rows;
	Cost		startup;

	if (stage != UPPERREL_FINAL)
		return;
	if (parse->commandType != CMD_SELECT || parse->rowMarks || root->rowMarks ||
		parse->groupClause || parse->groupingSets || parse->hasAggs || parse->havingQual ||
		parse->distinctClause || parse->hasWindowFuncs || parse->hasTargetSRFs ||
		parse->setOperations)
		return;
	if (final->limit_needed ? parse->limitOption == LIMIT_OPTION_WITH_TIES :
		parse->sortClause == NIL)
		return;
	if (!bms_get_singleton_member(root->all_baserels, &relid))
		return;
	rel = find_base_rel(root, relid);
	if (rel->fdwroutine == NULL || rel->fdwroutine->GetForeignUpperPaths != vdist_get_upper_paths ||
		planner_rt_fetch(relid, root)->inh)
		return;
	info = rel->fdw_private;

	/* A table excluded by its conditions was never sized. */
	if (info == NULL || IS_DUMMY_REL(rel))
		return;
	if (info->local_conds != NIL || !bms_is_empty(rel->lateral_relids) ||
		!shards_can_sort(root->sort_pathkeys, rel) ||
		!target_can_be_scanned(target->exprs, relid))
		return;

	/* limit_tuples includes the offset; it is negative when unknown, as in a generic plan. */
	limit = !final->limit_needed ? info->remote_rows :
		final->limit_tuples > 0 ? final->limit_tuples : UNKNOWN_LIMIT;
	limit = clamp_row_est(Min(limit, info->remote_rows));
	rows = limit;
	if (final->offset_est > 0)
		rows = clamp_row_est(rows - final->offset_est);

	startup = ROUND_TRIP_COST + SHARD_COST * info->asked + info->remote_cost;
	if (root->sort_pathkeys != NIL)
		startup += sort_cost(info->remote_rows, info->asked, limit);

	/*
	 * Core's own paths fetch the same rows and more, and finish here what the shards can do; none
	 * of them may win by a rounding of estimates.
	 */
	output_rel->pathlist = NIL;
	add_path(output_rel, (Path *)
			 vdist_create_upper_path(root, output_rel, target, rows, startup,
									 startup + transfer_cost(Min(limit * info->asked,
																 info->remote_rows),
															 target->width),
									 root->sort_pathkeys, list_make1(rel)));
}
