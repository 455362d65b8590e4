-- vdist under pgvector's name: extension "vector" brings extension vdist along and gives its access
-- method the names hnsw and ivfflat. Types, operators and functions are vdist's.
\echo Use "CREATE EXTENSION vector" to load this file. \quit

CREATE FUNCTION @extschema@.require_vdist(name) RETURNS void
  AS '$libdir/vdist', 'vdist_pgvector_require' LANGUAGE C STRICT;
SELECT @extschema@.require_vdist(n.nspname)
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
  WHERE e.extname = 'vector';
DROP FUNCTION @extschema@.require_vdist(name);

CREATE FUNCTION @extschema@.hnswhandler(internal) RETURNS index_am_handler
  AS '$libdir/vdist', 'vdist_pgvector_hnsw_handler' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.hnswhandler(internal) IS 'handler of access method hnsw';
CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER @extschema@.hnswhandler;
COMMENT ON ACCESS METHOD hnsw IS 'vdist_hnsw with the settings of pgvector';

CREATE FUNCTION @extschema@.ivfflathandler(internal) RETURNS index_am_handler
  AS '$libdir/vdist', 'vdist_pgvector_ivfflat_handler' LANGUAGE C;
COMMENT ON FUNCTION @extschema@.ivfflathandler(internal) IS 'handler of access method ivfflat';
CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER @extschema@.ivfflathandler;
COMMENT ON ACCESS METHOD ivfflat IS 'vdist_hnsw with the options and settings of pgvector''s ivfflat';

-- The operator classes of vdist_hnsw once more, those that pgvector has under each name. Defaults are
-- pgvector's, because a dump leaves out what is the default.
DO $$
DECLARE
  class record;
  members text;
BEGIN
  FOR class IN
    SELECT am.name AS am, c.oid, c.opcname AS name, c.opcfamily AS family, n.nspname AS schema,
        c.opcintype::pg_catalog.regtype AS type,
        CASE WHEN am.name = 'ivfflat' AND c.opcname = 'vector_l2_ops' THEN 'DEFAULT ' ELSE '' END AS "default",
        pg_catalog.obj_description(c.oid, 'pg_opclass') AS comment
      FROM pg_catalog.pg_opclass c
        JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod AND a.amname = 'vdist_hnsw'
        JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace,
        (VALUES ('hnsw', '_ops$'),
                ('ivfflat', '^((vector|halfvec)_(l2|ip|cosine)|bit_hamming)_ops$')) AS am(name, pattern)
      WHERE c.opcname ~ am.pattern
      ORDER BY 1, 3
  LOOP
    SELECT pg_catalog.string_agg(member, ', ') INTO members FROM (
      SELECT pg_catalog.format('OPERATOR %s %s FOR ORDER BY %I.%I', o.amopstrategy,
          o.amopopr::pg_catalog.regoperator, fn.nspname, f.opfname)
        FROM pg_catalog.pg_amop o
          JOIN pg_catalog.pg_opfamily f ON f.oid = o.amopsortfamily
          JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
        WHERE o.amopfamily = class.family
      UNION ALL
      SELECT pg_catalog.format('FUNCTION %s %s', p.amprocnum, p.amproc::pg_catalog.regprocedure)
        FROM pg_catalog.pg_amproc p
        WHERE p.amprocfamily = class.family) AS list(member);
    EXECUTE pg_catalog.format('CREATE OPERATOR CLASS %I.%I %sFOR TYPE %s USING %I AS %s',
      class.schema, class.name, class."default", class.type, class.am, members);
    EXECUTE pg_catalog.format('COMMENT ON OPERATOR CLASS %I.%I USING %I IS %L',
      class.schema, class.name, class.am, class.comment);
    EXECUTE pg_catalog.format('COMMENT ON OPERATOR FAMILY %I.%I USING %I IS %L',
      class.schema, class.name, class.am, class.comment);
  END LOOP;
END
$$;
