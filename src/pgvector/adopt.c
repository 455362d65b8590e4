/*
 * adopt.c: what a change between pgvector's types and vdist's needs beyond commands. Calls the catalogs;
 * called by the planner through the casts that adjust a value to its typmod, and by exchange_types.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* The C function that reads the typmods of a type, or NULL. */
static char *
typmod_reader(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			function;
	Datum		source;
	bool		isnull;
	char	   *result = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	function = ((Form_pg_type) GETSTRUCT(tuple))->typmodin;
	ReleaseSysCache(tuple);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull)
		result = TextDatumGetCString(source);
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Support function of vector(vector, integer, boolean) and its likes: a value whose typmod is known to
 * be the wanted one needs no check. A cast without function hides the typmod of what it relabels, a domain
 * has that of its base; it is the same when both types read their typmods by a function of the same name.
 */
PG_FUNCTION_INFO_V1(vdist_typmod_support);
Datum
vdist_typmod_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	Node	   *value;
	Node	   *inner;
	Const	   *wanted;
	Oid			type;
	int32		typmod;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	value = linitial(call->args);
	wanted = lsecond(call->args);
	if (!IsA(wanted, Const) || wanted->constisnull)
		PG_RETURN_POINTER(NULL);

	inner = IsA(value, RelabelType) ? (Node *) ((RelabelType *) value)->arg : value;
	typmod = exprTypmod(inner);
	type = exprType(inner);
	if (get_typtype(type) == TYPTYPE_DOMAIN)
	{
		typmod = -1;
		type = getBaseTypeAndTypmod(type, &typmod);
	}
	if (typmod != DatumGetInt32(wanted->constvalue))
		PG_RETURN_POINTER(NULL);
	if (type != call->funcresulttype)
	{
		char	   *from = typmod_reader(type);
		char	   *to = typmod_reader(call->funcresulttype);

		if (from == NULL || to == NULL || strcmp(from, to) != 0)
			PG_RETURN_POINTER(NULL);
	}
	PG_RETURN_POINTER(makeRelabelType((Expr *) value, call->funcresulttype, typmod,
									  call->funccollid, COERCE_IMPLICIT_CAST));
}

/*
 * set_expression(relation, column, expression): make a plain column a generated one. There is no
 * command for it: columns are generated from the time they are added, or, in newer versions, filled
 * anew. Here the values are those of the expression already. Only for superusers: nobody checks it.
 */
PG_FUNCTION_INFO_V1(vdist_set_expression);
Datum
vdist_set_expression(PG_FUNCTION_ARGS)
{
	Oid			relation = PG_GETARG_OID(0);
	const char *column = NameStr(*PG_GETARG_NAME(1));
	const char *expression = text_to_cstring(PG_GETARG_TEXT_PP(2));
	RawColumnDefault *raw = palloc0(sizeof(RawColumnDefault));
	SelectStmt *select;
	Relation	table;
	Relation	attributes;
	HeapTuple	tuple;
	Form_pg_attribute attribute;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to make a column generated")));
	table = table_open(relation, AccessExclusiveLock);
	attributes = table_open(AttributeRelationId, RowExclusiveLock);
	tuple = SearchSysCacheCopyAttName(relation, column);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column,
						RelationGetRelationName(table))));
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	if (attribute->attnum < 0 || IsSystemRelation(table) ||
		(table->rd_rel->relkind != RELKIND_RELATION &&
		 table->rd_rel->relkind != RELKIND_PARTITIONED_TABLE &&
		 table->rd_rel->relkind != RELKIND_FOREIGN_TABLE))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("column \"%s\" of relation \"%s\" is not one of a table", column,
						RelationGetRelationName(table))));
	if (attribute->atthasdef || attribute->attidentity != '\0' || attribute->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of relation \"%s\" has a default", column,
						RelationGetRelationName(table))));
	raw->attnum = attribute->attnum;
	raw->generated = ATTRIBUTE_GENERATED_STORED;
	attribute->attgenerated = ATTRIBUTE_GENERATED_STORED;
	CatalogTupleUpdate(attributes, &tuple->t_self, tuple);
	table_close(attributes, RowExclusiveLock);
	table_close(table, NoLock);
	CommandCounterIncrement();

	select = castNode(SelectStmt,
					  linitial_node(RawStmt, raw_parser(psprintf("SELECT (%s)", expression),
														RAW_PARSE_DEFAULT))->stmt);
	if (list_length(select->targetList) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not one expression", expression)));
	raw->raw_default = linitial_node(ResTarget, select->targetList)->val;
	table = table_open(relation, NoLock);
	AddRelationNewConstraints(table, list_make1(raw), NIL, false, true, false, NULL);
	table_close(table, NoLock);
	PG_RETURN_VOID();
}
