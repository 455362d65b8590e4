/*
 * ship.c: decides what a shard may evaluate, and rewrites it into what the shard gets to see. Calls
 * nothing of this folder; path.c, plan.c and modify.c ask it before they deparse.
 *
 * Allowed are immutable functions and operators that are built in or belong to vdist, over types
 * that a shard knows. A part without columns of the table is never sent as text: it becomes a
 * parameter, evaluated here. That lets stable functions such as now() take part, and keeps the text
 * of the statement the same from call to call.
 */
#include "fdw/fdw.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Parameters of one expression; what has more is evaluated here. */
#define CLAUSE_PARAMS 1000

/* ---- members of extension vdist: pg_depend has no cache of its own ---- */

typedef struct MemberKey
{
	Oid			class_id;
	Oid			object_id;
} MemberKey;

typedef struct Member
{
	MemberKey	key;
	bool		is_member;
} Member;

static HTAB *members = NULL;

static void
members_forget(Datum arg, int cache, uint32 hash)
{
	HASH_SEQ_STATUS status;
	Member	   *member;

	hash_seq_init(&status, members);
	while ((member = hash_seq_search(&status)) != NULL)
		hash_search(members, &member->key, HASH_REMOVE, NULL);
}

static bool
is_vdist_member(Oid class_id, Oid object_id)
{
	MemberKey	key;
	Member	   *member;
	Oid			extension;
	bool		is_member;

	if (members == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(MemberKey);
		ctl.entrysize = sizeof(Member);
		members = hash_create("vdist extension members", 64, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterSyscacheCallback(PROCOID, members_forget, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, members_forget, (Datum) 0);
	}

	key.class_id = class_id;
	key.object_id = object_id;
	member = hash_search(members, &key, HASH_FIND, NULL);
	if (member != NULL)
		return member->is_member;

	/* The catalog look-up can receive invalidations, hence no entry is held across it. */
	extension = getExtensionOfObject(class_id, object_id);
	is_member = OidIsValid(extension) && extension == get_extension_oid("vdist", true);
	member = hash_search(members, &key, HASH_ENTER, NULL);
	member->is_member = is_member;
	return is_member;
}

/* Objects with a hand-assigned OID are the same in every database of this major version. */
static bool
object_known(Oid class_id, Oid object_id)
{
	return object_id < FirstGenbkiObjectId || is_vdist_member(class_id, object_id);
}

/* ---- types ---- */

/* The columns of a distributed table exist on the shards, so their types do. */
static bool
is_column_type(Oid relid, Oid type)
{
	Relation	relation = table_open(relid, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);
	bool		found = false;
	int			i;

	for (i = 0; i < desc->natts && !found; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		found = !attr->attisdropped &&
			(attr->atttypid == type || getBaseType(attr->atttypid) == type ||
			 get_element_type(attr->atttypid) == type);
	}
	table_close(relation, NoLock);
	return found;
}

bool
vdist_type_known(Oid relid, Oid type)
{
	Oid			element;

	if (vdist_is_reg_type(type) || type == RECORDOID || type == UNKNOWNOID || type == INTERNALOID)
		return false;
	if (object_known(TypeRelationId, type))
		return true;
	element = get_element_type(type);
	if (OidIsValid(element) && object_known(TypeRelationId, element))
		return true;
	return is_column_type(relid, type) ||
		(OidIsValid(element) && is_column_type(relid, element));
}

/* ---- rewriting ---- */

typedef struct ShipContext
{
	Index		varno;
	Oid			relid;
	List	   *params;
	bool		conditional;	/* below CASE or COALESCE */
	bool		failed;
} ShipContext;

static bool
has_vars_walker(Node *node, void *arg)
{
	Index		varno = *(Index *) arg;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == varno && ((Var *) node)->varlevelsup == 0;
	return expression_tree_walker(node, has_vars_walker, arg);
}

bool
vdist_has_vars(Index varno, Node *node)
{
	return has_vars_walker(node, &varno);
}

static Node *
collate(Node *arg, Oid collation)
{
	CollateExpr *expr = makeNode(CollateExpr);

	expr->arg = (Expr *) arg;
	expr->collOid = collation;
	expr->location = -1;
	return (Node *) expr;
}

/* Constants that stay in the text, because they cannot or need not be parameters. */
static bool
is_inline_const(Const *constant)
{
	if (constant->constisnull)
		return true;
	if (vdist_is_reg_type(constant->consttype))
		return DatumGetObjectId(constant->constvalue) < FirstNormalObjectId;
	return constant->consttype == BOOLOID || constant->consttype == UNKNOWNOID;
}

/* $n::type in place of a part that is evaluated here. */
static Node *
make_placeholder(Node *node, ShipContext *context)
{
	Oid			type = exprType(node);
	Oid			collation = exprCollation(node);
	Param	   *param;
	RelabelType *cast;
	ListCell   *lc;
	int			id = 0;

	/* A collation that does not come from a column may not exist, or differ, on the shard. */
	if (!vdist_type_known(context->relid, type) ||
		(OidIsValid(collation) && collation != DEFAULT_COLLATION_OID &&
		 collation != C_COLLATION_OID))
	{
		context->failed = true;
		return node;
	}

	foreach(lc, context->params)
	{
		if (equal(lfirst(lc), node))
			id = foreach_current_index(lc) + 1;
	}
	if (id == 0)
	{
		context->params = lappend(context->params, copyObject(node));
		id = list_length(context->params);
	}

	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = id;
	param->paramtype = type;
	param->paramtypmod = -1;
	param->paramcollid = OidIsValid(collation) ? DEFAULT_COLLATION_OID : InvalidOid;
	param->location = -1;

	cast = makeRelabelType((Expr *) param, type, -1, param->paramcollid, COERCE_EXPLICIT_CAST);
	if (collation == C_COLLATION_OID)
		return collate((Node *) cast, collation);
	return (Node *) cast;
}

static bool
is_unmovable_walker(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_SubPlan:
		case T_AlternativeSubPlan:
		case T_Aggref:
		case T_WindowFunc:
		case T_GroupingFunc:
		case T_CaseTestExpr:
		case T_CoerceToDomainValue:
		case T_SetToDefault:
		case T_CurrentOfExpr:
			return true;
		default:
			return expression_tree_walker(node, is_unmovable_walker, arg);
	}
}

static Node *
ship_mutator(Node *node, void *arg)
{
	ShipContext *context = (ShipContext *) arg;

	if (node == NULL || context->failed)
		return node;

	/* Walkers take neither of these two as a node of its own. */
	if (!IsA(node, List) && !IsA(node, CaseWhen) && !vdist_has_vars(context->varno, node))
	{
		/*
		 * A bigger part collapses into one parameter, unless that would evaluate what CASE or
		 * COALESCE promise not to.
		 */
		if (IsA(node, Const) && is_inline_const((Const *) node))
			return copyObject(node);
		if (IsA(node, Const) || IsA(node, Param) || IsA(node, Var))
			return make_placeholder(node, context);
		if (!context->conditional && !is_unmovable_walker(node, NULL) &&
			!contain_volatile_functions(node))
			return make_placeholder(node, context);
	}

	switch (nodeTag(node))
	{
		case T_Var:
			{
				Var		   *var = (Var *) node;

				if (var->varattno == TableOidAttributeNumber)
					return (Node *) makeConst(OIDOID, -1, InvalidOid, sizeof(Oid),
											  ObjectIdGetDatum(context->relid), false, true);
				if (var->varattno == InvalidAttrNumber ||
					(var->varattno < 0 && var->varattno != SelfItemPointerAttributeNumber))
				{
					context->failed = true;
					return node;
				}
				return (Node *) makeVar(1, var->varattno, var->vartype, var->vartypmod,
										var->varcollid, 0);
			}
		case T_RelabelType:
			{
				/* The planner turns COLLATE into this, whose text would lose the collation. */
				RelabelType *relabel = (RelabelType *) node;
				Oid			inner = exprCollation((Node *) relabel->arg);

				if (relabel->resultcollid == C_COLLATION_OID && inner != relabel->resultcollid)
				{
					RelabelType *copy;

					copy = (RelabelType *) expression_tree_mutator(node, ship_mutator, arg);
					copy->resultcollid = inner;
					return collate((Node *) copy, relabel->resultcollid);
				}
				break;
			}
		case T_FuncExpr:
			{
				/*
				 * The text of a cast has its first argument alone, and the type modifier where the
				 * second is a constant.
				 */
				FuncExpr   *function = (FuncExpr *) node;
				FuncExpr   *copy;

				if (list_length(function->args) < 2 ||
					(function->funcformat != COERCE_EXPLICIT_CAST &&
					 function->funcformat != COERCE_IMPLICIT_CAST))
					break;
				copy = copyObject(function);
				linitial(copy->args) = ship_mutator(linitial(function->args), arg);
				return (Node *) copy;
			}
		case T_CaseExpr:
		case T_CoalesceExpr:
			{
				bool		outer = context->conditional;
				Node	   *copy;

				context->conditional = true;
				copy = expression_tree_mutator(node, ship_mutator, arg);
				context->conditional = outer;
				return copy;
			}
		default:
			break;
	}
	return expression_tree_mutator(node, ship_mutator, arg);
}

/* ---- the allow-list ---- */

/*
 * Where the collation of an expression comes from. Functions that care about a collation are only
 * shipped when it comes from a column of the table or is built in: the shard then resolves the same.
 */
typedef enum CollationSource
{
	COLLATION_NONE,
	COLLATION_SAFE,
	COLLATION_UNSAFE
} CollationSource;

typedef struct WalkContext
{
	Oid			relid;
	CollationSource source;		/* of the expressions walked so far on this level */
	Oid			collation;
} WalkContext;

static bool
opfamily_ops_known(List *opnos)
{
	ListCell   *lc;

	foreach(lc, opnos)
	{
		if (!object_known(OperatorRelationId, lfirst_oid(lc)))
			return false;
	}
	return true;
}

/* The node itself, without its children, is on the list. */
static bool
node_allowed(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_Param:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_ArrayExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
			return true;
		case T_FuncExpr:
			return !((FuncExpr *) node)->funcretset &&
				object_known(ProcedureRelationId, ((FuncExpr *) node)->funcid);
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return !((OpExpr *) node)->opretset &&
				object_known(OperatorRelationId, ((OpExpr *) node)->opno);
		case T_ScalarArrayOpExpr:
			return object_known(OperatorRelationId, ((ScalarArrayOpExpr *) node)->opno);
		case T_RowCompareExpr:
			return opfamily_ops_known(((RowCompareExpr *) node)->opnos);
		case T_SubscriptingRef:
			return ((SubscriptingRef *) node)->refassgnexpr == NULL;
		default:
			return false;
	}
}

static void
merge_collation(WalkContext *outer, CollationSource source, Oid collation)
{
	if (source > outer->source)
	{
		outer->source = source;
		outer->collation = collation;
	}
	else if (source == COLLATION_SAFE && collation != outer->collation)
	{
		/* A column's own collation beats the default, two different ones are a conflict. */
		if (outer->collation == DEFAULT_COLLATION_OID)
			outer->collation = collation;
		else if (collation != DEFAULT_COLLATION_OID)
			outer->source = COLLATION_UNSAFE;
	}
}

/* True, ending the walk, when something may not be shipped. */
static bool
unshippable_walker(Node *node, void *arg)
{
	WalkContext *outer = (WalkContext *) arg;
	WalkContext inner;
	CollationSource source;
	Oid			collation;

	if (node == NULL)
		return false;
	if (IsA(node, List))
		return expression_tree_walker(node, unshippable_walker, arg);
	if (!node_allowed(node))
		return true;

	inner.relid = outer->relid;
	inner.source = COLLATION_NONE;
	inner.collation = InvalidOid;
	if (expression_tree_walker(node, unshippable_walker, &inner))
		return true;

	collation = exprInputCollation(node);
	if (OidIsValid(collation) && collation != C_COLLATION_OID &&
		(inner.source != COLLATION_SAFE || inner.collation != collation))
		return true;

	if (!(IsA(node, Const) && is_inline_const((Const *) node)) &&
		!vdist_type_known(outer->relid, exprType(node)))
		return true;

	collation = exprCollation(node);
	if (!OidIsValid(collation))
		source = COLLATION_NONE;
	else if (IsA(node, Var) || (IsA(node, CollateExpr) && collation == C_COLLATION_OID))
		source = COLLATION_SAFE;
	else if (IsA(node, Param) || IsA(node, Const) || IsA(node, CaseTestExpr))
		source = collation == DEFAULT_COLLATION_OID ? COLLATION_NONE : COLLATION_UNSAFE;
	else if (inner.source == COLLATION_SAFE && inner.collation == collation)
		source = COLLATION_SAFE;
	else if (inner.source == COLLATION_NONE && collation == DEFAULT_COLLATION_OID)
		source = COLLATION_NONE;
	else
		source = COLLATION_UNSAFE;
	merge_collation(outer, source, source == COLLATION_NONE ? InvalidOid : collation);
	return false;
}

Expr *
vdist_ship(Index varno, Oid relid, Expr *expr, List **params)
{
	ShipContext context;
	WalkContext walk;
	Node	   *shipped;

	context.varno = varno;
	context.relid = relid;
	context.params = list_copy(*params);
	context.conditional = false;
	context.failed = false;
	shipped = ship_mutator((Node *) expr, &context);
	if (context.failed)
		return NULL;

	walk.relid = relid;
	walk.source = COLLATION_NONE;
	walk.collation = InvalidOid;
	if (unshippable_walker(shipped, &walk) || walk.source == COLLATION_UNSAFE ||
		contain_mutable_functions(shipped))
		return NULL;

	*params = context.params;
	return (Expr *) shipped;
}

bool
vdist_shippable(Index varno, Oid relid, Expr *expr)
{
	List	   *params = NIL;

	/* A message takes 65,535 parameters, and each one is compared with those before it. */
	return vdist_ship(varno, relid, expr, &params) != NULL &&
		list_length(params) <= CLAUSE_PARAMS;
}
