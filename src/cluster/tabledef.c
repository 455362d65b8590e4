/*
 * tabledef.c: the definition of a table as the statements that make another like it. The catalogs
 * of this server or of a shard write the statements themselves; called by distribute.c and
 * undistribute.c, calls fanout.c.
 *
 * Every query runs under search_path = pg_catalog (set here, the connection's own on a shard), so
 * that expressions and types come out with their schemas and no user's operator is called.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "cluster/cluster.h"

/*
 * Parameters: $1 the table as text that regclass reads, $2 'shard' or 'here'. A default that draws
 * from a sequence stays here: the rows that go to a shard already have its value. NOT NULL has a name
 * from PostgreSQL 18 on; earlier ones read a name and forget it.
 */
static const char *const columns_query =
"SELECT format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))"
"  || CASE WHEN a.attcollation <> t.typcollation"
"       THEN format(' COLLATE %I.%I', cn.nspname, c.collname) ELSE '' END"
"  || CASE WHEN a.attgenerated <> ''"
"       THEN format(' GENERATED ALWAYS AS (%s) %s', pg_get_expr(d.adbin, d.adrelid),"
"         CASE a.attgenerated WHEN 'v' THEN 'VIRTUAL' ELSE 'STORED' END)"
"       WHEN d.oid IS NOT NULL AND ($2::text = 'here' OR NOT EXISTS ("
"         SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'"
"         WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid"
"           AND p.refclassid = 'pg_class'::regclass))"
"       THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END"
"  || CASE WHEN a.attnotnull"
"       THEN coalesce((SELECT format(' CONSTRAINT %I', k.conname) FROM pg_constraint k"
"         WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]), '')"
"         || ' NOT NULL'"
"       ELSE '' END"
" FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
"  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
"  LEFT JOIN pg_collation c ON c.oid = a.attcollation"
"  LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace"
" WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped"
" ORDER BY a.attnum";

/* $1 the table: whether it is unlogged, access method. */
static const char *const kind_query =
"SELECT c.relpersistence = 'u', m.amname"
" FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam WHERE c.oid = $1::text::regclass";

/* $1 the table: its types as a text array, for a shard to say which it lacks. */
static const char *const types_query =
"SELECT array_agg(DISTINCT format_type(a.atttypid, NULL))"
" FROM pg_attribute a"
" WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped";

/* $1 the array of types_query, $2 the schema: what a shard lacks of them. */
static const char *const missing_query =
"SELECT string_agg(t, ', ' ORDER BY t),"
"  EXISTS (SELECT FROM pg_namespace WHERE nspname = $2::text)"
" FROM unnest($1::text[]) t WHERE to_regtype(t) IS NULL";

/*
 * The two below return (a foreign table has this too, statement).
 * Of a column's options only those that users set: back branches may keep a reserved one there
 * (pg_attver, seen in 15.20) that belongs to its server, and that other minor releases refuse.
 * $1 the table, $2 the name of the table that is to become like it, quoted.
 */
static const char *const before_query =
"SELECT true, format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s',"
"    $2::text, attname, attstattarget)"
"  FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
"    AND attstattarget >= 0"
" UNION ALL"
" SELECT true, format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', $2::text, attname,"
"    string_agg(format('%I = %L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', '))"
"  FROM pg_attribute, unnest(attoptions) o"
"  WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
"    AND split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')"
"  GROUP BY attname"
" UNION ALL"
" SELECT true, format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', $2::text, attname,"
"    CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'"
"      ELSE 'EXTENDED' END)"
"  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
"  WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
"    AND attstorage <> typstorage"
" UNION ALL"
" SELECT false, format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION %s', $2::text, attname,"
"    CASE attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END)"
"  FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
"    AND attcompression <> ''"
" UNION ALL"
" SELECT false, format('ALTER TABLE %s SET (%s)', $2::text,"
"    string_agg(format('%s%I = %L', prefix, split_part(o, '=', 1),"
"      substr(o, strpos(o, '=') + 1)), ', '))"
"  FROM (SELECT '' AS prefix, unnest(reloptions) AS o"
"        FROM pg_class WHERE oid = $1::text::regclass"
"        UNION ALL"
"        SELECT 'toast.', unnest(t.reloptions) FROM pg_class c JOIN pg_class t"
"          ON t.oid = c.reltoastrelid WHERE c.oid = $1::text::regclass) x"
"  HAVING count(*) > 0";

/*
 * $3 is 'TABLE' or 'FOREIGN TABLE', for COMMENT alone. The third column of the result is
 * VDIST_DEF_CHECK for CHECK constraints and VDIST_DEF_OWNER for what belongs to a role of this server.
 */
static const char *const after_query =
"WITH idx AS ("
"  SELECT i.*, ic.relname, format('%I.%I', n.nspname, ic.relname) AS fullname,"
"    ic.reloptions, k.oid AS con, k.contype, k.conname"
"  FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid"
"    JOIN pg_namespace n ON n.oid = ic.relnamespace"
"    LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid"
"      AND k.contype IN ('p', 'u', 'x')"
"  WHERE i.indrelid = $1::text::regclass AND i.indisvalid)"
"SELECT f, s, step FROM ("
" SELECT 1 AS step, conname AS o, true AS f, format('ALTER TABLE %s ADD CONSTRAINT %I %s',"
"    $2::text, conname, pg_get_constraintdef(oid)) AS s"
"  FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'c'"
" UNION ALL"
" SELECT CASE contype WHEN 'p' THEN 2 ELSE 3 END, conname, false,"
"    format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, conname, pg_get_constraintdef(con))"
"  FROM idx WHERE con IS NOT NULL"
" UNION ALL"
" SELECT 4, relname, false, pg_get_indexdef(indexrelid) FROM idx WHERE con IS NULL"
" UNION ALL"
" SELECT 5, relname, false, format('ALTER INDEX %s SET (%s)', fullname,"
"    (SELECT string_agg(format('%I = %L', split_part(o, '=', 1),"
"       substr(o, strpos(o, '=') + 1)), ', ') FROM unnest(reloptions) o))"
"  FROM idx WHERE con IS NOT NULL AND reloptions IS NOT NULL"
" UNION ALL"
" SELECT 6, relname, false, format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s',"
"    fullname, attnum, attstattarget)"
"  FROM idx JOIN pg_attribute ON attrelid = indexrelid AND attstattarget >= 0 AND attnum > 0"
"    AND indexprs IS NOT NULL"
" UNION ALL"
" SELECT 7, relname, false, format('ALTER TABLE %s CLUSTER ON %I', $2::text, relname)"
"  FROM idx WHERE indisclustered"
" UNION ALL"
" SELECT 7, relname, false, format('ALTER TABLE %s REPLICA IDENTITY %s', $2::text,"
"    CASE relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE"
"      'USING INDEX ' || (SELECT quote_ident(relname) FROM idx WHERE indisreplident) END)"
"  FROM pg_class WHERE oid = $1::text::regclass AND relreplident <> 'd' AND relkind = 'r'"
" UNION ALL"
" SELECT 8, stxname, true, pg_get_statisticsobjdef(oid)"
"  FROM pg_statistic_ext WHERE stxrelid = $1::text::regclass"
" UNION ALL"
" SELECT 9, stxname, true, format('ALTER STATISTICS %I.%I SET STATISTICS %s', nspname, stxname,"
"    stxstattarget)"
"  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace"
"  WHERE stxrelid = $1::text::regclass AND stxstattarget >= 0"
" UNION ALL"
" SELECT 10, '', true, format('COMMENT ON %s %s IS %L', $3::text, $2::text, description)"
"  FROM pg_description WHERE classoid = 'pg_class'::regclass"
"    AND objoid = $1::text::regclass AND objsubid = 0"
" UNION ALL"
" SELECT 11, attname, true, format('COMMENT ON COLUMN %s.%I IS %L', $2::text, attname, description)"
"  FROM pg_description JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid"
"  WHERE classoid = 'pg_class'::regclass AND objoid = $1::text::regclass AND NOT attisdropped"
" UNION ALL"
" SELECT 12, conname, contype = 'c',"
"    format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, $2::text, description)"
"  FROM pg_description JOIN pg_constraint c ON c.oid = objoid"
"  WHERE classoid = 'pg_constraint'::regclass AND conrelid = $1::text::regclass"
"    AND contype IN ('c', 'p', 'u', 'x')"
" UNION ALL"
" SELECT 13, relname, false, format('COMMENT ON INDEX %s IS %L', fullname, description)"
"  FROM idx JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = indexrelid"
"    AND objsubid = 0"
" UNION ALL"
" SELECT 14, stxname, true, format('COMMENT ON STATISTICS %I.%I IS %L', nspname, stxname,"
"    description)"
"  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace"
"    JOIN pg_description ON classoid = 'pg_statistic_ext'::regclass AND objoid = s.oid"
"  WHERE stxrelid = $1::text::regclass"
" UNION ALL"
" SELECT 15, stxname, true, format('ALTER STATISTICS %I.%I OWNER TO %I', nspname, stxname,"
"    pg_get_userbyid(stxowner))"
"  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace"
"  WHERE stxrelid = $1::text::regclass"
") steps ORDER BY step, o";

/*
 * $1 the table or sequence, $2 the name of its successor, $3 'TABLE' or 'SEQUENCE':
 * (role or null for PUBLIC, is the owner, statement).
 */
static const char *const privileges_query =
"SELECT r.rolname, x.grantee = x.relowner, format('GRANT %s ON %s %s TO %s%s',"
"    string_agg(x.privilege_type || x.columns, ', ' ORDER BY x.columns, x.privilege_type),"
"    $3::text, $2::text, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,"
"    CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
" FROM (SELECT c.relowner, a.grantee, a.privilege_type, a.is_grantable, '' AS columns, a.ord"
"       FROM pg_class c, aclexplode(c.relacl) WITH ORDINALITY"
"         a (grantor, grantee, privilege_type, is_grantable, ord) WHERE c.oid = $1::text::regclass"
"       UNION ALL"
"       SELECT c.relowner, a.grantee, a.privilege_type, a.is_grantable,"
"         format(' (%I)', t.attname), a.ord + 1000000 * t.attnum"
"       FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped,"
"         aclexplode(t.attacl) WITH ORDINALITY"
"         a (grantor, grantee, privilege_type, is_grantable, ord) WHERE c.oid = $1::text::regclass) x"
"  LEFT JOIN pg_roles r ON r.oid = x.grantee"
" WHERE x.grantee = 0 OR r.rolname IS NOT NULL"
" GROUP BY x.relowner, x.grantee, r.rolname, x.is_grantable, x.columns <> ''"
" ORDER BY min(x.ord)";

/*
 * What default privileges gave the new table $1 and its model may not have; with $2 'all' the
 * owner's own too, for a model that has privileges of its own.
 */
static const char *const revoke_query =
"SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,"
"    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)"
" FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a"
" WHERE c.oid = $1::text::regclass AND ($2::text = 'all' OR a.grantee <> c.relowner)";

/*
 * $1 the table, $2 the name of its successor, quoted: its sequences as (name, column, identity kind
 * or '', statement that gives an identity column its sequence back, last value, comment).
 */
static const char *const sequences_query =
"SELECT c.oid::regclass, a.attname, a.attidentity,"
"  format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s"
" START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s %s)', $2::text, a.attname,"
"    CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,"
"    format('%I.%I', n.nspname, c.relname), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,"
"    s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),"
"  obj_description(c.oid, 'pg_class')"
" FROM pg_depend p JOIN pg_class c ON c.oid = p.objid AND c.relkind = 'S'"
"  JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid"
"  JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid"
" WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass"
"  AND p.refobjid = $1::text::regclass AND p.deptype IN ('a', 'i')"
" ORDER BY c.relname";

/* $1 the table: what depends on it and would not survive a change of its kind. */
static const char *const dependents_query =
"SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass"
"    THEN (SELECT pg_describe_object('pg_class'::regclass, ev_class, 0)"
"          FROM pg_rewrite WHERE oid = d.objid)"
"    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END"
" FROM pg_class t, pg_depend d"
" WHERE t.oid = $1::text::regclass AND d.deptype = 'n'"
"  AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid"
"    OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.reltype,"
"      (SELECT typarray FROM pg_type WHERE oid = t.reltype)))"
"  AND NOT (d.classid = 'pg_class'::regclass AND d.objid = t.oid)"
"  AND NOT (d.classid = 'pg_attrdef'::regclass AND d.objid IN"
"    (SELECT oid FROM pg_attrdef WHERE adrelid = t.oid))"
"  AND NOT (d.classid = 'pg_constraint'::regclass AND d.objid IN"
"    (SELECT oid FROM pg_constraint WHERE conrelid = t.oid))"
"  AND NOT (d.classid = 'pg_class'::regclass AND d.objid IN"
"    (SELECT indexrelid FROM pg_index WHERE indrelid = t.oid))"
" ORDER BY 1";

static const char *const queries[] = {
	[VDIST_DEF_COLUMNS] = columns_query,
	[VDIST_DEF_KIND] = kind_query,
	[VDIST_DEF_TYPES] = types_query,
	[VDIST_DEF_MISSING] = missing_query,
	[VDIST_DEF_BEFORE] = before_query,
	[VDIST_DEF_AFTER] = after_query,
	[VDIST_DEF_PRIVILEGES] = privileges_query,
	[VDIST_DEF_REVOKE] = revoke_query,
	[VDIST_DEF_SEQUENCES] = sequences_query,
	[VDIST_DEF_DEPENDENTS] = dependents_query,
};

/* ---- running them ---- */

/*
 * Until vdist_catalog_path_end of what this returns, names deparsed here carry their schema, and
 * nobody's own operators come before PostgreSQL's.
 */
int
vdist_catalog_path_begin(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
vdist_catalog_path_end(int level)
{
	AtEOXact_GUC(true, level);
}

static VdistRows *
make_rows(int nrows, int ncols)
{
	VdistRows  *rows = palloc(sizeof(VdistRows));

	rows->nrows = nrows;
	rows->ncols = ncols;
	rows->cells = palloc0(sizeof(char *) * Max(nrows * ncols, 1));
	return rows;
}

static VdistRows *
query_here(const char *sql, int nargs, const char *const *args)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	Oid			types[VDIST_DEF_ARGS];
	Datum		values[VDIST_DEF_ARGS];
	VdistRows  *rows;
	int			level = vdist_catalog_path_begin();

	SPI_connect();
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		values[i] = CStringGetTextDatum(args[i]);
	}
	/* Not read only: it is to see what this transaction did just now. */
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the definition of a table");

	spi = MemoryContextSwitchTo(caller);
	rows = make_rows((int) SPI_processed, SPI_tuptable->tupdesc->natts);
	for (int r = 0; r < rows->nrows; r++)
		for (int c = 0; c < rows->ncols; c++)
		{
			char	   *value = SPI_getvalue(SPI_tuptable->vals[r], SPI_tuptable->tupdesc, c + 1);

			rows->cells[r * rows->ncols + c] = value;
		}
	MemoryContextSwitchTo(spi);
	SPI_finish();
	vdist_catalog_path_end(level);
	return rows;
}

static VdistRows *
query_shard(VdistConn *conn, const char *sql, int nargs, const char *const *args)
{
	int			lengths[VDIST_DEF_ARGS] = {0};
	int			formats[VDIST_DEF_ARGS] = {0};
	VdistRequest request = {0};
	const VdistRequest *requests[1] = {&request};
	VdistFanout *fanout;
	VdistRows  *rows = NULL;
	PGresult   *result;

	request.sql = sql;
	request.nparams = nargs;
	request.values = args;
	request.lengths = lengths;
	request.formats = formats;
	fanout = vdist_fanout_send(1, &conn, requests);
	while ((result = vdist_fanout_next(fanout, 0, NULL)) != NULL)
	{
		/* Not streamed: the whole result is one piece. */
		rows = make_rows(PQntuples(result), PQnfields(result));
		for (int r = 0; r < rows->nrows; r++)
			for (int c = 0; c < rows->ncols; c++)
				if (!PQgetisnull(result, r, c))
					rows->cells[r * rows->ncols + c] = pstrdup(PQgetvalue(result, r, c));
	}
	vdist_fanout_end(fanout);
	return rows != NULL ? rows : make_rows(0, 1);
}

/* Run a query of the list above on a shard, or here when conn is NULL; text cells. */
VdistRows *
vdist_tabledef(VdistConn *conn, VdistTableDefQuery which, const char *arg1, const char *arg2,
			   const char *arg3)
{
	const char *args[VDIST_DEF_ARGS] = {arg1, arg2, arg3};
	int			nargs = arg3 != NULL ? 3 : arg2 != NULL ? 2 : 1;

	return conn == NULL ? query_here(queries[which], nargs, args)
		: query_shard(conn, queries[which], nargs, args);
}

/* The same for a statement of the caller's own. */
VdistRows *
vdist_rows(VdistConn *conn, const char *sql)
{
	return conn == NULL ? query_here(sql, 0, NULL) : query_shard(conn, sql, 0, NULL);
}
