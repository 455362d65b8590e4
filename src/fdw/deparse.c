/*
 * deparse.c: remote SQL out of planner expressions. ship.c has rewritten them to Vars of one relation
 * and Params, core's ruleutils prints them; called by plan.c, analyze.c and modify.c.
 */
#include "fdw/fdw.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

void
vdist_deparse_begin(VdistDeparse *deparse, Index varno, Oid relid)
{
	deparse->varno = varno;
	deparse->relid = relid;
	deparse->params = NIL;
	initStringInfo(&deparse->sql);

	/* ruleutils leaves out the schema of what the search path finds. */
	deparse->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	deparse->context = deparse_context_for(get_rel_name(relid), relid);
}

char *
vdist_deparse_end(VdistDeparse *deparse)
{
	AtEOXact_GUC(true, deparse->guc_level);
	return deparse->sql.data;
}

void
vdist_deparse_expr(VdistDeparse *deparse, Expr *expr)
{
	Expr	   *shipped = vdist_ship(deparse->varno, deparse->relid, expr, &deparse->params);

	if (shipped == NULL)
		elog(ERROR, "expression cannot be sent to a shard");
	appendStringInfoString(&deparse->sql,
						   deparse_expression((Node *) shipped, deparse->context, false, true));
}

void
vdist_deparse_output(VdistDeparse *deparse, Expr *expr)
{
	/* Its type need not be one that may take part in an expression. */
	if (IsA(expr, Var) && ((Var *) expr)->varno == deparse->varno)
	{
		Var		   *var = (Var *) expr;

		var = makeVar(1, var->varattno, var->vartype, var->vartypmod, var->varcollid, 0);
		appendStringInfoString(&deparse->sql,
							   deparse_expression((Node *) var, deparse->context, false, true));
	}
	else
		vdist_deparse_expr(deparse, expr);
}

void
vdist_deparse_column(VdistDeparse *deparse, AttrNumber attno)
{
	Oid			type,
				collation;
	int32		typmod;

	get_atttypetypmodcoll(deparse->relid, attno, &type, &typmod, &collation);
	vdist_deparse_output(deparse, (Expr *) makeVar(deparse->varno, attno, type, typmod,
												   collation, 0));
}

void
vdist_deparse_where(VdistDeparse *deparse, List *clauses)
{
	const char *separator = " WHERE ";
	ListCell   *lc;

	foreach(lc, clauses)
	{
		Expr	   *clause = (Expr *) lfirst(lc);

		if (IsA(clause, RestrictInfo))
			clause = ((RestrictInfo *) clause)->clause;
		appendStringInfoString(&deparse->sql, separator);
		vdist_deparse_expr(deparse, clause);
		separator = " AND ";
	}
}

void
vdist_deparse_table(VdistDeparse *deparse)
{
	char	   *schema = get_namespace_name(get_rel_namespace(deparse->relid));

	appendStringInfoString(&deparse->sql,
						   quote_qualified_identifier(schema, get_rel_name(deparse->relid)));
}
