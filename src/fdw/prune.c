/*
 * prune.c: which shards a condition on the distribution column leaves. Asks cluster/'s placement;
 * called by path.c and modify.c when values are known at plan time, by scan.c when they are not.
 */
#include "fdw/fdw.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

static bool
is_key(const VdistPlacement *placement, Index varno, Expr *expr)
{
	while (IsA(expr, RelabelType))
		expr = ((RelabelType *) expr)->arg;
	return IsA(expr, Var) && ((Var *) expr)->varno == varno &&
		((Var *) expr)->varlevelsup == 0 && ((Var *) expr)->varattno == placement->key;
}

/*
 * Equality of the operator implies equality of the hash: it is the equality of the hash opfamily by
 * which rows were placed, and looks at text as the placement did.
 */
static bool
is_key_equality(const VdistPlacement *placement, Oid operator, Oid collation)
{
	TypeCacheEntry *entry = lookup_type_cache(getBaseType(placement->key_type),
											  TYPECACHE_HASH_OPFAMILY);

	if (!OidIsValid(entry->hash_opf) || !op_in_opfamily(operator, entry->hash_opf))
		return false;
	return !OidIsValid(collation) || collation == placement->key_collation ||
		(get_collation_isdeterministic(collation) &&
		 get_collation_isdeterministic(placement->key_collation));
}

Expr *
vdist_prune_match(const VdistPlacement *placement, Index varno, Expr *clause, bool *is_array)
{
	Expr	   *value;
	Oid			target = getBaseType(placement->key_type);

	if (IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2)
	{
		OpExpr	   *op = (OpExpr *) clause;
		Expr	   *left = linitial(op->args);
		Expr	   *right = lsecond(op->args);

		if (!is_key_equality(placement, op->opno, op->inputcollid))
			return NULL;
		if (is_key(placement, varno, left))
			value = right;
		else if (is_key(placement, varno, right))
			value = left;
		else
			return NULL;
		*is_array = false;
	}
	else if (IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->useOr)
	{
		ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) clause;

		if (!is_key_equality(placement, op->opno, op->inputcollid) ||
			!is_key(placement, varno, linitial(op->args)))
			return NULL;
		value = lsecond(op->args);
		target = get_array_type(target);
		*is_array = true;
	}
	else
		return NULL;

	if (vdist_has_vars(varno, (Node *) value) || contain_volatile_functions((Node *) value) ||
		contain_subplans((Node *) value))
		return NULL;

	/* Only implicit casts: they lose nothing, so equal values stay equal. */
	return (Expr *) coerce_to_target_type(NULL, (Node *) value, exprType((Node *) value),
										  target, -1, COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
}

Bitmapset *
vdist_prune_shards(const VdistPlacement *placement, Datum value, bool isnull, bool is_array)
{
	Bitmapset  *shards = NULL;
	ArrayType  *array;
	int16		len;
	bool		byval;
	char		align;
	Datum	   *values;
	bool	   *nulls;
	int			n,
				i;

	/* Equality is strict: nothing equals NULL. */
	if (isnull)
		return NULL;
	if (!is_array)
		return bms_make_singleton(vdist_placement_shard(placement, value));

	array = DatumGetArrayTypeP(value);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &values, &nulls, &n);
	for (i = 0; i < n; i++)
	{
		if (!nulls[i])
			shards = bms_add_member(shards, vdist_placement_shard(placement, values[i]));
	}
	return shards;
}
