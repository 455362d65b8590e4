/*
 * undistribute.c: vdist.undistribute_table makes a distributed table an ordinary one again, in one
 * transaction. What a foreign table cannot have (indexes, keys, storage) comes from the definition
 * on a shard. Also drops the shards' tables for those who drop a distributed table.
 */
#include "compat.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "cluster/cluster.h"

PG_FUNCTION_INFO_V1(vdist_undistribute_table);

/* Those of rows (foreign too, statement) that only ordinary tables have. */
static char *
storage_statements(const VdistRows *rows)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < rows->nrows; i++)
		if (VDIST_CELL(rows, i, 0)[0] != 't')
			appendStringInfo(&sql, "%s;\n", VDIST_CELL(rows, i, 1));
	return sql.data;
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
	vdist_run_here(InvalidOid, psprintf("ALTER TABLE %s OWNER TO %s", to,
										quote_identifier(GetUserNameFromId(GetUserId(), false))));
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
	char	   *before;
	char	   *after;
	char	   *columns;

	vdist_check_dependents(relid, "undistribute");
	CheckTableNotInUse(rel, "undistribute table");
	vdist_conn_get(n, placement->servers, GetUserId(), VDIST_WRITE, conns);

	/* Names on the shards are this server's; the first shard answers for all. */
	kind = vdist_tabledef(conns[0], VDIST_DEF_KIND, name, NULL, NULL);
	before = storage_statements(vdist_tabledef(conns[0], VDIST_DEF_BEFORE, name, interim, NULL));
	after = storage_statements(vdist_tabledef(conns[0], VDIST_DEF_AFTER, name, name, "TABLE"));

	/* Nobody, from wherever, may write between the copy and the drop. */
	vdist_fanout_command(n, conns, psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", name));

	columns = stored_columns(rel);
	vdist_run_here(InvalidOid, psprintf("CREATE %sTABLE %s (%s)%s;\n%s", VDIST_CELL(kind, 0, 0), interim,
										vdist_join_columns(vdist_tabledef(NULL, VDIST_DEF_COLUMNS, name,
																		  "here", NULL)),
										VDIST_CELL(kind, 0, 1), before));
	if (columns[0] != '\0')
		copy_here(name, interim, columns);

	/* First the rows of the catalogs, so that the drop below is a local matter. */
	vdist_drop_on_shards(n, conns, name);
	vdist_catalog_remove(relid);
	relation_close(rel, NoLock);
	vdist_replace_here(relid, psprintf("ALTER TABLE %s RENAME TO %s", interim,
									   quote_identifier(table)),
					   "TABLE", after);
	vdist_catalog_path_end(level);
	PG_RETURN_VOID();
}

/* Drop the table of this quoted name on n shards, with the transaction. */
void
vdist_drop_on_shards(int n, VdistConn **conns, const char *name)
{
	vdist_fanout_command(n, conns, psprintf("DROP TABLE IF EXISTS %s", name));
}
