/*
 * check.c: what cannot be distributed, said before anything is touched, with the culprit's name and
 * a way out. Called by distribute.c.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "commands/tablecmds.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "cluster/cluster.h"

static void
refuse(Relation rel, const char *verb, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s table \"%s\"", verb, RelationGetRelationName(rel)),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* ---- kind of table ---- */

static void
check_kind(Relation rel)
{
	const char *name = RelationGetRelationName(rel);

	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE &&
		vdist_placement_or_null(RelationGetRelid(rel)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is distributed already", name),
				 errhint("View vdist.placements shows where its rows are.")));
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		refuse(rel, "distribute", "It is partitioned.",
			   "Copy its rows into an ordinary table, and distribute that.");
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not an ordinary table", name),
				 errhint("Only an ordinary table can be distributed.")));
	if (rel->rd_rel->relispartition)
		refuse(rel, "distribute", "It is a partition.", "Detach it with ALTER TABLE ... DETACH PARTITION first.");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse(rel, "distribute", "It is a temporary table.", "Use a permanent table.");
	if (IsCatalogRelation(rel) ||
		RelationGetNamespace(rel) == get_namespace_oid(VDIST_SCHEMA, false) ||
		getExtensionOfObject(RelationRelationId, RelationGetRelid(rel)) != InvalidOid)
		refuse(rel, "distribute", "It belongs to the system or to an extension.",
			   "Copy its rows into a table of your own.");
	if (OidIsValid(rel->rd_rel->reloftype))
		refuse(rel, "distribute", "It is a typed table.", "Detach it from its type with ALTER TABLE ... NOT OF.");
	if (rel->rd_rel->relrowsecurity)
		refuse(rel, "distribute", "Row-level security is enabled for it.",
			   "Foreign tables have none; use a view instead of policies.");
}

/* ---- what hangs on it ---- */

/*
 * Each query gives the culprits among the things that ordinary tables have and distributed ones
 * cannot; %1 is the table's OID.
 */
static const struct
{
	const char *query;
	const char *detail;
	const char *hint;
}			hindrances[] =

{
	{
		"SELECT string_agg(inhrelid::regclass::text, ', ') FROM pg_inherits"
		" WHERE inhparent = %1$u",
		"It has children: %s.",
		"End the inheritance with ALTER TABLE ... NO INHERIT."
	},
	{
		"SELECT string_agg(inhparent::regclass::text, ', ') FROM pg_inherits"
		" WHERE inhrelid = %1$u",
		"It inherits from: %s.",
		"End the inheritance with ALTER TABLE ... NO INHERIT."
	},
	{
		"SELECT string_agg(quote_ident(conname), ', ') FROM pg_constraint"
		" WHERE contype = 'f' AND conrelid = %1$u",
		"It has foreign keys: %s.",
		"Drop them with ALTER TABLE ... DROP CONSTRAINT: rows of other tables cannot be looked up from the shards."
	},
	{
		"SELECT string_agg(format('%%I on %%s', conname, conrelid::regclass), ', ')"
		" FROM pg_constraint WHERE contype = 'f' AND confrelid = %1$u",
		"Foreign keys refer to it: %s.",
		"Drop them with ALTER TABLE ... DROP CONSTRAINT: a foreign table cannot be referred to."
	},
	{
		"SELECT string_agg(quote_ident(tgname), ', ') FROM pg_trigger"
		" WHERE NOT tgisinternal AND tgrelid = %1$u",
		"It has triggers: %s.",
		"Drop them; row triggers can be made again afterwards."
	},
	{
		"SELECT string_agg(quote_ident(rulename), ', ') FROM pg_rewrite WHERE ev_class = %1$u",
		"It has rules: %s.",
		"Drop the rules."
	},
	{
		"SELECT string_agg(quote_ident(polname), ', ') FROM pg_policy WHERE polrelid = %1$u",
		"It has row-level security policies: %s.",
		"Drop the policies; foreign tables have none."
	},
	{
		"SELECT string_agg(quote_ident(pubname), ', ')"
		" FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid WHERE prrelid = %1$u",
		"It is published by: %s.",
		"Take it out with ALTER PUBLICATION ... DROP TABLE: a foreign table cannot be published."
	},
};

/* Views, functions and the like that name the table would lose it when its kind changes. */
static void
check_dependents(Relation rel, const char *verb)
{
	VdistRows  *rows = vdist_tabledef(NULL, VDIST_DEF_DEPENDENTS,
									  vdist_relation_name(RelationGetRelid(rel)), NULL, NULL);
	StringInfoData list;

	if (rows->nrows == 0)
		return;
	initStringInfo(&list);
	for (int i = 0; i < rows->nrows; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", VDIST_CELL(rows, i, 0));
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot %s table \"%s\" because other objects depend on it", verb,
					RelationGetRelationName(rel)),
			 errdetail("These depend on it: %s.", list.data),
			 errhint("Drop them first and create them again afterwards.")));
}

void
vdist_check_attachments(Relation rel, const char *verb)
{
	for (size_t i = 0; i < lengthof(hindrances); i++)
	{
		VdistRows  *rows = vdist_rows(NULL, psprintf(hindrances[i].query,
													 RelationGetRelid(rel)));

		if (VDIST_CELL(rows, 0, 0) != NULL)
			refuse(rel, verb, psprintf(hindrances[i].detail, VDIST_CELL(rows, 0, 0)),
				   hindrances[i].hint);
	}
	check_dependents(rel, verb);
	CheckTableNotInUse(rel, psprintf("%s table", verb));
}

/* ---- uniqueness ---- */

/*
 * Whether rows that this index holds to be equal are always on one shard: it must compare the
 * distribution column as a column of its own, by an equality that is not coarser than the hash.
 */
static bool
index_has_key(Relation index, AttrNumber key)
{
	Form_pg_index form = index->rd_index;

	for (int i = 0; i < form->indnkeyatts; i++)
		if (form->indkey.values[i] == key &&
			(!OidIsValid(index->rd_indcollation[i]) ||
			 get_collation_isdeterministic(index->rd_indcollation[i])))
		{
			Oid		   *operators;
			Oid		   *procs;
			uint16	   *strategies;

			if (!form->indisexclusion)
				return true;
			RelationGetExclusionInfo(index, &operators, &procs, &strategies);
			if (op_hashjoinable(operators[i], index->rd_opcintype[i]))
				return true;
		}
	return false;
}

static void
check_uniqueness(Relation rel, AttrNumber key, const char *column)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if ((form->indisunique || form->indisexclusion) && !index_has_key(index, key))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot distribute table \"%s\" by column \"%s\"",
							RelationGetRelationName(rel), column),
					 errdetail("%s \"%s\" does not contain the distribution column, so that no shard could enforce it alone.",
							   form->indisprimary ? "Primary key" :
							   form->indisunique ? "Unique index" : "Exclusion constraint",
							   RelationGetRelationName(index)),
					 errhint("Distribute by a column of it, add the column to it, or drop it.")));
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

/* ---- all of it ---- */

/*
 * Error unless rel, locked by the caller, can be distributed by this column; returns its number.
 */
AttrNumber
vdist_check_distributable(Relation rel, const char *column)
{
	AttrNumber	key;
	Form_pg_attribute attribute;

	check_kind(rel);
	vdist_check_attachments(rel, "distribute");

	key = get_attnum(RelationGetRelid(rel), column);
	if (key == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", column,
						RelationGetRelationName(rel))));
	if (key < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute by system column \"%s\"", column),
				 errhint("Choose a column of the table, such as its primary key.")));
	attribute = TupleDescAttr(RelationGetDescr(rel), key - 1);
	vdist_check_key(column, attribute->atttypid, attribute->attcollation);
	if (attribute->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute by generated column \"%s\"", column),
				 errdetail("Its value is computed on the shard, after the row was sent there."),
				 errhint("Choose a column that is not generated.")));
	if (!attribute->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute by column \"%s\" because it can be null", column),
				 errdetail("A row without a key has no shard."),
				 errhint("Declare it with ALTER TABLE ... ALTER COLUMN %s SET NOT NULL.",
						 quote_identifier(column))));
	check_uniqueness(rel, key, column);
	return key;
}
