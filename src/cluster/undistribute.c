/*
 * undistribute.c: vdist.undistribute_table makes a distributed table an ordinary one again, in one
 * transaction. What a foreign table cannot have (indexes, keys, storage) comes from the definition
 * on a shard. Also drops the shards' tables for those who drop a distributed table.
 */
#include "compat.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "cluster/cluster.h"

PG_FUNCTION_INFO_V1(vdist_undistribute_table);

/*
 * Run those of a shard's statements that only ordinary tables have. They come from another server:
 * they get no more rights than the user has, and may only be what was asked for.
 */
static void
run_from_shard(const VdistRows *rows)
{
	for (int i = 0; i < rows->nrows; i++)
	{
		List	   *statements;
		Node	   *stmt;

		if (VDIST_CELL(rows, i, 0)[0] == 't')
			continue;
		statements = raw_parser(VDIST_CELL(rows, i, 1), RAW_PARSE_DEFAULT);
		stmt = statements != NIL ? linitial_node(RawStmt, statements)->stmt : NULL;
		if (list_length(statements) != 1 ||
			(!IsA(stmt, AlterTableStmt) && !IsA(stmt, IndexStmt) && !IsA(stmt, CommentStmt)))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_ERROR),
					 errmsg("a shard gave an unexpected definition of the table"),
					 errdetail("It is: %s", VDIST_CELL(rows, i, 1))));
		vdist_run_here(GetUserId(), VDIST_CELL(rows, i, 1));
	}
}

/* Columns to copy: generated ones are computed anew. */
static char *
stored_columns(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && attribute->attgenerated == '\0')
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "",
							 quote_identifier(NameStr(attribute->attname)));
	}
	return list.data;
}

/* Fetch the rows, as the user whose user mappings and privileges are to be used. */
static void
copy_here(const char *from, const char *to, const char *columns)
{
	SPI_connect();
	if (SPI_execute(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", to, columns, columns, from),
					false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not fetch the rows of %s", from);
	SPI_finish();
}

/* vdist.undistribute_table(relation regclass) returns void */
Datum
vdist_undistribute_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel = vdist_lock_own_table(relid);
	VdistPlacement *placement = vdist_placement(relid);
	int			n = placement->nshards;
	char	   *name = vdist_relation_name(relid);
	char	   *table = get_rel_name(relid);
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));
	char	   *interim = quote_qualified_identifier(schema, psprintf("vdist_%u", relid));
	int			level = vdist_catalog_path_begin();
	VdistConn **conns = palloc(n * sizeof(VdistConn *));
	VdistRows  *kind;
	VdistRows  *before;
	VdistRows  *after;
	VdistRows  *columns;
	char	   *names;

	vdist_check_attachments(rel, "undistribute");
	vdist_conn_get(n, placement->servers, GetUserId(), VDIST_WRITE, conns);

	/* Nobody, from wherever, may write between the copy and the drop. */
	vdist_fanout_command(n, conns, psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", name));

	/* The first shard answers for all. */
	kind = vdist_tabledef(conns[0], VDIST_DEF_KIND, name, NULL, NULL);
	before = vdist_tabledef(conns[0], VDIST_DEF_BEFORE, name, interim, NULL);
	after = vdist_tabledef(conns[0], VDIST_DEF_AFTER, name, name, "TABLE");
	columns = vdist_tabledef(NULL, VDIST_DEF_COLUMNS, name, "here", NULL);

	vdist_run_here(InvalidOid, vdist_create_statement(interim, columns, kind));
	vdist_run_here(InvalidOid, psprintf("ALTER TABLE %s OWNER TO %s", interim,
										quote_identifier(GetUserNameFromId(GetUserId(), false))));
	run_from_shard(before);
	names = stored_columns(rel);
	if (names[0] != '\0')
		copy_here(name, interim, names);

	/* First the rows of the catalogs, so that the drop below is a local matter. */
	vdist_drop_on_shards(n, conns, name);
	vdist_catalog_remove(relid);
	relation_close(rel, NoLock);
	vdist_replace_here(relid, psprintf("ALTER TABLE %s RENAME TO %s", interim,
									   quote_identifier(table)),
					   "TABLE");
	run_from_shard(after);
	vdist_catalog_path_end(level);
	PG_RETURN_VOID();
}

/* Drop the table of this quoted name on n shards, with the transaction. */
void
vdist_drop_on_shards(int n, VdistConn **conns, const char *name)
{
	vdist_fanout_command(n, conns, psprintf("DROP TABLE IF EXISTS %s", name));
}
