-- vdist 0.1.0 to 0.2.0: operator classes of sparsevec, recall of any type, adoption of all that depends
-- on pgvector's types. test/t/063_extension_versions.pl compares the outcome with a new 0.2.0.
\echo Use "ALTER EXTENSION vdist UPDATE TO '0.2.0'" to load this file. \quit

CREATE FUNCTION vdist_metric_sparsevec_l2(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_l2(internal) IS 'index support: Euclidean distance of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_ip(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_ip(internal) IS 'index support: negative inner product of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_cosine(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_cosine(internal) IS 'index support: cosine distance of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_l1(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_l1(internal) IS 'index support: taxicab distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_l2_ops
  DEFAULT FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_l2(internal);
COMMENT ON OPERATOR CLASS sparsevec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';
COMMENT ON OPERATOR FAMILY sparsevec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';

CREATE OPERATOR CLASS sparsevec_ip_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_ip(internal);
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';
COMMENT ON OPERATOR FAMILY sparsevec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';

CREATE OPERATOR CLASS sparsevec_cosine_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_cosine(internal);
COMMENT ON OPERATOR CLASS sparsevec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';
COMMENT ON OPERATOR FAMILY sparsevec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';

CREATE OPERATOR CLASS sparsevec_l1_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_l1(internal);
COMMENT ON OPERATOR CLASS sparsevec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';
COMMENT ON OPERATOR FAMILY sparsevec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';

-- Extension "vector" has the operator classes of vdist_hnsw by pgvector's names: the new ones, too.
DO $$
DECLARE
  class record;
BEGIN
  FOR class IN
    SELECT c.opcname AS name, p.amproc::pg_catalog.regprocedure AS support, o.amopopr::pg_catalog.regoperator AS operator,
        pg_catalog.obj_description(c.oid, 'pg_opclass') AS comment
      FROM pg_catalog.pg_opclass c
        JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod AND a.amname = 'vdist_hnsw'
        JOIN pg_catalog.pg_amproc p ON p.amprocfamily = c.opcfamily
        JOIN pg_catalog.pg_amop o ON o.amopfamily = c.opcfamily
        JOIN pg_catalog.pg_am h ON h.amname = 'hnsw'
        JOIN pg_catalog.pg_proc f ON f.oid = h.amhandler AND f.prosrc = 'vdist_pgvector_hnsw_handler'
      WHERE c.opcname LIKE 'sparsevec\_%'
  LOOP
    EXECUTE pg_catalog.format('CREATE OPERATOR CLASS %I FOR TYPE sparsevec USING hnsw AS
      OPERATOR 1 %s FOR ORDER BY pg_catalog.float_ops, FUNCTION 1 %s', class.name, class.operator, class.support);
    EXECUTE pg_catalog.format('COMMENT ON OPERATOR CLASS %I USING hnsw IS %L', class.name, class.comment);
    EXECUTE pg_catalog.format('COMMENT ON OPERATOR FAMILY %I USING hnsw IS %L', class.name, class.comment);
    EXECUTE pg_catalog.format('ALTER EXTENSION vdist DROP OPERATOR CLASS %I USING hnsw', class.name);
    EXECUTE pg_catalog.format('ALTER EXTENSION vdist DROP OPERATOR FAMILY %I USING hnsw', class.name);
    EXECUTE pg_catalog.format('ALTER EXTENSION vector ADD OPERATOR FAMILY %I USING hnsw', class.name);
    EXECUTE pg_catalog.format('ALTER EXTENSION vector ADD OPERATOR CLASS %I USING hnsw', class.name);
  END LOOP;
END
$$;

-- What a distance costs depends on where its vectors lie.
CREATE FUNCTION vdist.distance_support(internal) RETURNS internal
  AS 'MODULE_PATHNAME', 'vdist_distance_support' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.distance_support(internal) IS
  'planner support: cost of a distance, with the reading of vectors that are stored out of line';
DO $$
DECLARE
  function pg_catalog.regprocedure;
BEGIN
  FOR function IN
    SELECT p.oid FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'vdist'
      JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
      AND p.proname ~ '(distance|inner_product)$'
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SUPPORT vdist.distance_support', function);
  END LOOP;
END
$$;

DROP FUNCTION vdist.index_info(regclass);
CREATE FUNCTION vdist.index_info(index regclass,
    OUT rows bigint, OUT heap_rows bigint, OUT dead bigint, OUT free bigint,
    OUT pages bigint, OUT bytes bigint, OUT levels integer, OUT routing bigint,
    OUT degree double precision, OUT slots integer, OUT row_bytes integer,
    OUT rows_per_page integer, OUT code_bits integer, OUT own_bits integer, OUT centres integer,
    OUT code_dims integer, OUT ef_factor integer)
  AS 'MODULE_PATHNAME', 'vdist_hnsw_info' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION vdist.index_info(regclass) IS
  'what a vdist_hnsw index is made of: rows of the graph, heap rows they stand for, size, codes';

DROP FUNCTION vdist.recall(regclass, vector[], integer, integer);

CREATE FUNCTION vdist.recall(index regclass, queries anyarray, k integer DEFAULT 10)
  RETURNS double precision LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, @extschema@, pg_temp
  SET enable_indexscan = on SET enable_seqscan = on SET enable_sort = on
AS $$
DECLARE
  relation regclass;
  expression text;
  operator text;
  condition text;
  query text;
  exact text;
  correct bigint := 0;
  wanted bigint := 0;
  hits bigint;
  total bigint;
BEGIN
  IF k < 1 THEN
    RAISE EXCEPTION 'k must be at least 1' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT i.indrelid::regclass, pg_get_indexdef(i.indexrelid, 1, true),
         format('OPERATOR(%I.%s) $1::%s', n.nspname, o.oprname, format_type(t.atttypid, t.atttypmod)),
         coalesce(' AND (' || pg_get_expr(i.indpred, i.indrelid) || ')', '')
    INTO relation, expression, operator, condition
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am m ON m.oid = c.relam
    JOIN pg_proc h ON h.oid = m.amhandler AND h.prosrc IN ('vdist_hnsw_handler',
      'vdist_pgvector_hnsw_handler', 'vdist_pgvector_ivfflat_handler')
    JOIN pg_opclass p ON p.oid = i.indclass[0]
    JOIN pg_amop a ON a.amopfamily = p.opcfamily AND a.amopstrategy = 1
    JOIN pg_operator o ON o.oid = a.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    JOIN pg_attribute t ON t.attrelid = i.indexrelid AND t.attnum = 1
   WHERE i.indexrelid = index;
  IF NOT FOUND THEN
    RAISE EXCEPTION '"%" is not a vdist_hnsw index', index USING ERRCODE = 'wrong_object_type';
  END IF;
  FOREACH query IN ARRAY coalesce(queries::text[], '{}')
  LOOP
    PERFORM set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT max(d)::text, count(*) FROM (SELECT (%s) %s AS d FROM %s
                    WHERE (%s) IS NOT NULL%s ORDER BY 1 LIMIT %s) s',
                   expression, operator, relation, expression, condition, k)
       INTO exact, total USING query;
    PERFORM set_config('enable_indexscan', 'on', true);
    PERFORM set_config('enable_seqscan', 'off', true);
    EXECUTE format('SELECT count(*) FILTER (WHERE d <= $2::float8) FROM (SELECT (%s) %s AS d
                    FROM %s WHERE true%s ORDER BY (%s) %s LIMIT %s) s',
                   expression, operator, relation, condition, expression, operator, k)
       INTO hits USING query, exact;
    PERFORM set_config('enable_seqscan', 'on', true);
    correct := correct + hits;
    wanted := wanted + total;
  END LOOP;
  RETURN correct::float8 / nullif(wanted, 0);
END
$$;
COMMENT ON FUNCTION vdist.recall(regclass, anyarray, integer) IS
  'share of the k nearest rows that an index finds, for the values in an array';

CREATE FUNCTION vdist.recall(index regclass, k integer DEFAULT 10, sample integer DEFAULT 100)
  RETURNS double precision LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, @extschema@, pg_temp
AS $$
DECLARE
  relation regclass;
  expression text;
  condition text;
  queries text[];
BEGIN
  IF sample < 1 THEN
    RAISE EXCEPTION 'sample must be at least 1' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT i.indrelid::regclass, pg_get_indexdef(i.indexrelid, 1, true),
         coalesce(' AND (' || pg_get_expr(i.indpred, i.indrelid) || ')', '')
    INTO relation, expression, condition
    FROM pg_index i WHERE i.indexrelid = index;
  IF FOUND THEN
    EXECUTE format('SELECT array_agg(v::text) FROM (SELECT (%s) AS v FROM %s WHERE (%s) IS NOT NULL%s
                    ORDER BY random() LIMIT %s) s',
                   expression, relation, expression, condition, sample) INTO queries;
  END IF;
  RETURN vdist.recall(index, queries, k);
END
$$;
COMMENT ON FUNCTION vdist.recall(regclass, integer, integer) IS
  'share of the k nearest rows that an index finds, for a sample of its rows';

-- Both ways are one: columns of the types of one extension become those of the other. What depends on
-- the columns or on the extension is dropped before and created anew afterwards, from texts that are
-- written while the one's schema is in search_path, so that its types and operators stand there without
-- a schema, and read while the other's is before it. pg_catalog is before both: nobody's function may
-- take the place of one of PostgreSQL's.

CREATE TABLE vdist.unbuilt_indexes (
  index text PRIMARY KEY,
  command text NOT NULL
);
COMMENT ON TABLE vdist.unbuilt_indexes IS
  'indexes that adopt_pgvector or return_to_pgvector dropped and left to be created, with their commands';
SELECT pg_catalog.pg_extension_config_dump('vdist.unbuilt_indexes', '');

CREATE FUNCTION vdist.set_expression(relation regclass, "column" name, expression text) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_set_expression' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.set_expression(regclass, name, text) IS
  'makes a column generated that has the values of its expression already; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.set_expression(regclass, name, text) FROM PUBLIC;

-- Privileges as commands: of an object, or of one of its columns.
CREATE FUNCTION vdist.grants(object text, "column" text, acl aclitem[], owner oid) RETURNS text[]
  LANGUAGE sql STABLE
  AS $$
    SELECT CASE WHEN acl IS NULL THEN '{}' ELSE
        CASE WHEN "column" IS NULL THEN ARRAY[pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC, %I', object,
          pg_catalog.pg_get_userbyid(owner))] ELSE '{}' END
        OPERATOR(pg_catalog.||) coalesce((SELECT pg_catalog.array_agg(pg_catalog.format('GRANT %s%s ON %s TO %s%s',
            privilege_type, ' (' OPERATOR(pg_catalog.||) "column" OPERATOR(pg_catalog.||) ')', object,
            CASE grantee WHEN 0 THEN 'PUBLIC'
              ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END,
            CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
          FROM pg_catalog.aclexplode(acl)), '{}') END
  $$;
COMMENT ON FUNCTION vdist.grants(text, text, aclitem[], oid) IS 'privileges as commands; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.grants(text, text, aclitem[], oid) FROM PUBLIC;

-- What drops an object and what creates it anew, by the search_path of the caller, which has pg_catalog
-- first. No row: it goes and comes with another object. What creates an index that is left to be built
-- will be run by somebody else, so it names all schemas.
CREATE FUNCTION vdist.recreation(class regclass, id oid, from_schema name, to_schema name, to_extension name,
    build_indexes boolean, OUT undo text, OUT redo text[], OUT index text)
  RETURNS SETOF record
  LANGUAGE plpgsql
  AS $$
DECLARE
  path text := current_setting('search_path');
  name text;
  kind text;
  definition text;
  item record;
  aggregate record;
  marks text[];
BEGIN
  redo := '{}';
  -- what a table goes by an index for
  SELECT array_agg(format('ALTER TABLE %I.%I %s %I', n.nspname, t.relname, mark.command, i.relname)) INTO marks
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
      JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace,
      LATERAL (VALUES ('REPLICA IDENTITY USING INDEX', x.indisreplident), ('CLUSTER ON', x.indisclustered)) AS mark(command, is_set)
    WHERE mark.is_set AND x.indexrelid = CASE WHEN class = 'pg_class'::regclass THEN id
      ELSE (SELECT conindid FROM pg_constraint WHERE class = 'pg_constraint'::regclass AND oid = id AND contype IN ('p', 'u', 'x')) END;
  IF class = 'pg_class'::regclass THEN
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name, am.amname AS am, t.spcname AS tablespace,
        array_to_string(c.reloptions, ', ') AS options
      INTO item
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
        LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
      WHERE c.oid = id;
    name := item.name;
    IF item.relkind IN ('i', 'I') THEN
      IF item.relispartition THEN
        RETURN;
      END IF;
      kind := 'INDEX';
      IF NOT build_indexes AND item.relkind = 'i' AND marks IS NULL THEN
        index := name;
        PERFORM set_config('search_path', 'pg_catalog', true);
      END IF;
      -- Which class is the default differs. ON ONLY would leave out the partitions.
      SELECT regexp_replace(replace(pg_get_indexdef(id), format(' (%s)', pg_get_indexdef(id, 1, false)),
            CASE WHEN o.opcnamespace = from_schema::regnamespace
              THEN format(' (%s %I.%I)', pg_get_indexdef(id, 1, false), to_schema, o.opcname)
              WHEN o.opcdefault AND item.am IN ('hnsw', 'ivfflat', 'vdist_hnsw')
              THEN format(' (%s %s.%I)', pg_get_indexdef(id, 1, false), o.opcnamespace::regnamespace, o.opcname)
              ELSE format(' (%s)', pg_get_indexdef(id, 1, false)) END),
          '^(CREATE (UNIQUE )?INDEX \S+) ON ONLY ', '\1 ON ')
        INTO definition
        FROM pg_index x JOIN pg_opclass o ON o.oid = x.indclass[0] WHERE x.indexrelid = id;
      IF to_extension = 'vdist' THEN
        definition := regexp_replace(definition, ' USING (hnsw|ivfflat) \(', ' USING vdist_hnsw (');
        definition := regexp_replace(definition, ' WITH \(lists=''?\d+''?\)', '');
      ELSE
        definition := regexp_replace(definition, ' USING vdist_hnsw \(', ' USING hnsw (');
        definition := regexp_replace(definition, '(, )?quantization=''?\w+''?', '');
        definition := replace(replace(definition, ' WITH (, ', ' WITH ('), ' WITH ()', '');
      END IF;
      IF item.tablespace IS NOT NULL THEN
        definition := regexp_replace(definition, '( WHERE .*)?$', format(' TABLESPACE %I\1', item.tablespace));
      END IF;
      IF index IS NOT NULL THEN
        PERFORM set_config('search_path', path, true);
        definition := regexp_replace(definition, '^CREATE (UNIQUE )?INDEX ', 'CREATE \1INDEX CONCURRENTLY ');
        definition := replace(definition, format('OPERATOR(%I.', from_schema), format('OPERATOR(%I.', to_schema));
        definition := regexp_replace(definition, format('\m%s\.(%s)\M', regexp_replace(quote_ident(from_schema), '\W', '\\\&', 'g'),
            (SELECT string_agg(proname, '|') FROM
              (SELECT proname FROM pg_proc WHERE pronamespace = to_schema::regnamespace
                UNION SELECT typname FROM pg_type WHERE typnamespace = to_schema::regnamespace
                UNION SELECT opcname FROM pg_opclass WHERE opcnamespace = to_schema::regnamespace) AS names
              WHERE proname ~ '^\w+$')),
          format('%I.\1', to_schema), 'g');
      END IF;
      undo := 'DROP INDEX ' || name;
      redo := ARRAY[definition] || marks;
    ELSE
      kind := CASE item.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END;
      undo := format('DROP %s %s', kind, name);
      -- Filled by REFRESH, which runs as the owner.
      redo := ARRAY[format('CREATE %s %s%s%s%s AS %s%s', kind, name, ' USING ' || item.am,
          ' WITH (' || item.options || ')', ' TABLESPACE ' || quote_ident(item.tablespace),
          rtrim(pg_get_viewdef(id), ';'), CASE item.relkind WHEN 'm' THEN ' WITH NO DATA' ELSE '' END),
        format('ALTER %s %s OWNER TO %I', kind, name, pg_get_userbyid(item.relowner))]
        || vdist.grants(name, NULL, item.relacl, item.relowner)
        || (SELECT array_agg(command) FROM pg_attribute a,
            unnest(vdist.grants(name, quote_ident(a.attname), a.attacl, item.relowner)) AS command
          WHERE a.attrelid = id)
        || (SELECT array_agg(format('COMMENT ON COLUMN %s.%I IS %L', name, a.attname, d.description))
          FROM pg_description d JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
          WHERE d.classoid = class AND d.objoid = id AND d.objsubid > 0);
      IF item.relkind = 'm' AND item.relispopulated THEN
        redo := redo || ('REFRESH MATERIALIZED VIEW ' || name);
      END IF;
    END IF;

  ELSIF class = 'pg_constraint'::regclass THEN
    -- those of domains come with them
    SELECT c.*, format('%I.%I', n.nspname, t.relname) AS "on" INTO item
      FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE c.oid = id AND c.conislocal AND c.coninhcount = 0 AND c.conparentid = 0;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    kind := 'CONSTRAINT';
    name := format('%I ON %s', item.conname, item."on");
    undo := format('ALTER TABLE %s DROP CONSTRAINT %I', item."on", item.conname);
    redo := ARRAY[format('ALTER TABLE %s ADD CONSTRAINT %I %s', item."on", item.conname, pg_get_constraintdef(id))] || marks;

  ELSIF class = 'pg_attrdef'::regclass THEN
    SELECT a.*, format('%I.%I', n.nspname, t.relname) AS "on", pg_get_expr(d.adbin, d.adrelid) AS expression
      INTO item
      FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        JOIN pg_class t ON t.oid = d.adrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE d.oid = id;
    IF item.attgenerated = '' THEN
      undo := format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', item."on", item.attname);
      redo := ARRAY[format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', item."on", item.attname, item.expression)];
    ELSE
      -- of partitions and children with that of their parents
      undo := CASE item.attinhcount WHEN 0
        THEN format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION', item."on", item.attname) ELSE '' END;
      redo := ARRAY[format('SELECT vdist.set_expression(%L, %L, %L)', item."on", item.attname, item.expression)];
    END IF;

  ELSIF class = 'pg_proc'::regclass THEN
    SELECT p.*, format('%I.%I', n.nspname, p.proname) AS name INTO item
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = id;
    kind := CASE item.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'ROUTINE' ELSE 'FUNCTION' END;
    name := id::regprocedure;
    undo := format('DROP %s %s', kind, name);
    IF item.prokind = 'a' THEN
      SELECT a.* INTO aggregate FROM pg_aggregate a WHERE a.aggfnoid = id;
      definition := format('CREATE AGGREGATE %s (%s) (', item.name, coalesce(nullif(pg_get_function_arguments(id), ''), '*'))
        || (SELECT string_agg(option || ' = ' || value, ', ') FROM (
            SELECT f.option, CASE n.nspname WHEN from_schema THEN quote_ident(p.proname) ELSE format('%I.%I', n.nspname, p.proname) END
              FROM (VALUES ('SFUNC', aggregate.aggtransfn), ('FINALFUNC', aggregate.aggfinalfn),
                  ('COMBINEFUNC', aggregate.aggcombinefn), ('SERIALFUNC', aggregate.aggserialfn),
                  ('DESERIALFUNC', aggregate.aggdeserialfn), ('MSFUNC', aggregate.aggmtransfn),
                  ('MINVFUNC', aggregate.aggminvtransfn), ('MFINALFUNC', aggregate.aggmfinalfn)) AS f(option, id)
                JOIN pg_proc p ON p.oid = f.id JOIN pg_namespace n ON n.oid = p.pronamespace
          UNION ALL
            SELECT 'SORTOP', CASE n.nspname WHEN from_schema THEN o.oprname::text ELSE format('OPERATOR(%I.%s)', n.nspname, o.oprname) END
              FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = aggregate.aggsortop
          UNION ALL
            SELECT * FROM (VALUES ('STYPE', format_type(aggregate.aggtranstype, NULL)),
              ('SSPACE', nullif(aggregate.aggtransspace, 0)::text), ('INITCOND', quote_literal(aggregate.agginitval)),
              ('FINALFUNC_EXTRA', CASE WHEN aggregate.aggfinalextra THEN 'true' END),
              ('FINALFUNC_MODIFY', CASE aggregate.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END),
              ('MSTYPE', format_type(nullif(aggregate.aggmtranstype, 0), NULL)),
              ('MSSPACE', nullif(aggregate.aggmtransspace, 0)::text), ('MINITCOND', quote_literal(aggregate.aggminitval)),
              ('MFINALFUNC_EXTRA', CASE WHEN aggregate.aggmfinalextra THEN 'true' END),
              ('MFINALFUNC_MODIFY', CASE WHEN aggregate.aggmtranstype <> 0 THEN
                CASE aggregate.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END),
              ('HYPOTHETICAL', CASE aggregate.aggkind WHEN 'h' THEN 'true' END),
              ('PARALLEL', CASE item.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END)) AS v)
          AS options(option, value) WHERE value IS NOT NULL) || ')';
    ELSE
      definition := pg_get_functiondef(id);
    END IF;
    redo := ARRAY[definition, format('ALTER %s %s OWNER TO %I', kind, name, pg_get_userbyid(item.proowner))]
      || vdist.grants(kind || ' ' || name, NULL, item.proacl, item.proowner);

  ELSIF class = 'pg_operator'::regclass THEN
    SELECT o.*, format('%I.%s', n.nspname, o.oprname) AS operator,
        CASE fn.nspname WHEN from_schema THEN quote_ident(f.proname) ELSE format('%I.%I', fn.nspname, f.proname) END AS function,
        (SELECT string_agg(format(', %s = OPERATOR(%I.%s)', CASE other.oid WHEN o.oprcom THEN 'COMMUTATOR' ELSE 'NEGATOR' END,
            otherns.nspname, other.oprname), '')
          FROM pg_operator other JOIN pg_namespace otherns ON otherns.oid = other.oprnamespace
          WHERE other.oid IN (o.oprcom, o.oprnegate)) AS others
      INTO item
      FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
        JOIN pg_proc f ON f.oid = o.oprcode JOIN pg_namespace fn ON fn.oid = f.pronamespace
      WHERE o.oid = id;
    kind := 'OPERATOR';
    name := format('%s (%s, %s)', item.operator, CASE item.oprleft WHEN 0 THEN 'NONE' ELSE format_type(item.oprleft, NULL) END,
      format_type(item.oprright, NULL));
    undo := 'DROP OPERATOR ' || name;
    redo := ARRAY[format('CREATE OPERATOR %s (FUNCTION = %s%s, RIGHTARG = %s%s%s%s%s%s)', item.operator, item.function,
        CASE WHEN item.oprleft <> 0 THEN ', LEFTARG = ' || format_type(item.oprleft, NULL) END, format_type(item.oprright, NULL),
        item.others,
        CASE WHEN item.oprrest <> 0 THEN ', RESTRICT = ' || item.oprrest END,
        CASE WHEN item.oprjoin <> 0 THEN ', JOIN = ' || item.oprjoin END,
        CASE WHEN item.oprcanhash THEN ', HASHES' END, CASE WHEN item.oprcanmerge THEN ', MERGES' END),
      format('ALTER OPERATOR %s OWNER TO %I', name, pg_get_userbyid(item.oprowner))];

  ELSIF class = 'pg_opclass'::regclass THEN
    SELECT c.*, a.amname AS am, n.nspname AS schema, t.typname AS type, format('%I.%I', fn.nspname, f.opfname) AS family,
        CASE WHEN a.amname IN ('hnsw', 'ivfflat') AND to_extension = 'vdist' THEN 'vdist_hnsw'
          WHEN a.amname = 'vdist_hnsw' AND to_extension <> 'vdist' THEN 'hnsw' ELSE a.amname END AS to_am,
        (SELECT count(*) FROM pg_opclass o WHERE o.opcfamily = c.opcfamily) = 1
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_opfamily'::regclass AND objid = f.oid AND deptype = 'e') AS alone,
        (SELECT string_agg(format('OPERATOR %s %s (%s, %s)%s', o.amopstrategy,
            CASE opn.nspname WHEN from_schema THEN op.oprname::text ELSE format('%I.%s', opn.nspname, op.oprname) END,
            format_type(o.amoplefttype, NULL), format_type(o.amoprighttype, NULL),
            (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, s.opfname) FROM pg_opfamily s JOIN pg_namespace sn ON sn.oid = s.opfnamespace
              WHERE s.oid = o.amopsortfamily)), ', ' ORDER BY o.amopstrategy)
          FROM pg_depend d JOIN pg_amop o ON o.oid = d.objid JOIN pg_operator op ON op.oid = o.amopopr
            JOIN pg_namespace opn ON opn.oid = op.oprnamespace
          WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = class AND d.refobjid = c.oid) AS operators,
        (SELECT string_agg(format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL),
            format_type(p.amprocrighttype, NULL), p.amproc::regprocedure), ', ' ORDER BY p.amprocnum)
          FROM pg_depend d JOIN pg_amproc p ON p.oid = d.objid
          WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = class AND d.refobjid = c.oid) AS functions
      INTO item
      FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod JOIN pg_namespace n ON n.oid = c.opcnamespace
        JOIN pg_type t ON t.oid = c.opcintype
        JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
      WHERE c.oid = id;
    kind := 'OPERATOR CLASS';
    name := format('%I.%I USING %I', item.schema, item.opcname, item.to_am);
    undo := format('DROP OPERATOR CLASS %I.%I USING %I', item.schema, item.opcname, item.am);
    IF item.to_am <> item.am THEN
      -- The support functions are those of the class with the same operator. There is one method for two of pgvector's.
      IF item.alone THEN
        undo := format('DROP OPERATOR FAMILY %s USING %I', item.family, item.am);
      END IF;
      SELECT string_agg(format('FUNCTION %s %s', p.amprocnum, p.amproc::regprocedure), ', ') INTO definition
        FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod AND a.amname = item.to_am
          JOIN pg_type t ON t.oid = c.opcintype AND t.typname = item.type
          JOIN pg_amproc p ON p.amprocfamily = c.opcfamily
        WHERE c.opcnamespace = to_schema::regnamespace
          AND (SELECT op.oprname FROM pg_amop o JOIN pg_operator op ON op.oid = o.amopopr WHERE o.amopfamily = c.opcfamily)
            = (SELECT max(op.oprname::text) FROM pg_amop o JOIN pg_operator op ON op.oid = o.amopopr
              WHERE o.amopfamily = item.opcfamily AND op.oprnamespace = from_schema::regnamespace);
      IF definition IS NULL THEN
        RAISE EXCEPTION 'operator class %.% has no counterpart in access method %', item.schema, item.opcname, item.to_am
          USING ERRCODE = 'feature_not_supported', HINT = 'Drop it and its indexes before.';
      END IF;
      IF item.am = 'ivfflat' AND EXISTS (SELECT FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
          WHERE a.amname = 'hnsw' AND c.opcname = item.opcname AND c.opcnamespace = item.opcnamespace) THEN
        RETURN NEXT;
        RETURN;
      END IF;
      item.functions := definition;
    END IF;
    redo := ARRAY[format('CREATE OPERATOR CLASS %I.%I %sFOR TYPE %s USING %I %sAS %s', item.schema, item.opcname,
        CASE WHEN item.opcdefault AND item.to_am = item.am THEN 'DEFAULT ' END, format_type(item.opcintype, NULL), item.to_am,
        CASE WHEN item.to_am = item.am THEN format('FAMILY %s ', item.family) END,
        concat_ws(', ', item.operators, item.functions, 'STORAGE ' || format_type(nullif(item.opckeytype, 0), NULL))),
      format('ALTER OPERATOR CLASS %s OWNER TO %I', name, pg_get_userbyid(item.opcowner))];

  -- of families, without a class; those of a class come with it
  ELSIF class = 'pg_amop'::regclass THEN
    SELECT format('ALTER OPERATOR FAMILY %I.%I USING %I ', n.nspname, f.opfname, a.amname) AS alter, o.amopstrategy AS number,
        format('(%s, %s)', format_type(o.amoplefttype, NULL), format_type(o.amoprighttype, NULL)) AS types,
        CASE opn.nspname WHEN from_schema THEN op.oprname::text ELSE format('%I.%s', opn.nspname, op.oprname) END AS operator,
        (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, s.opfname) FROM pg_opfamily s JOIN pg_namespace sn ON sn.oid = s.opfnamespace
          WHERE s.oid = o.amopsortfamily) AS sort
      INTO item
      FROM pg_amop o JOIN pg_opfamily f ON f.oid = o.amopfamily JOIN pg_namespace n ON n.oid = f.opfnamespace
        JOIN pg_am a ON a.oid = f.opfmethod JOIN pg_operator op ON op.oid = o.amopopr
        JOIN pg_namespace opn ON opn.oid = op.oprnamespace
      WHERE o.oid = id;
    undo := format('%s DROP OPERATOR %s %s', item.alter, item.number, item.types);
    redo := ARRAY[format('%s ADD OPERATOR %s %s %s%s', item.alter, item.number, item.operator, item.types, item.sort)];

  ELSIF class = 'pg_amproc'::regclass THEN
    SELECT format('ALTER OPERATOR FAMILY %I.%I USING %I ', n.nspname, f.opfname, a.amname) AS alter, p.amprocnum AS number,
        format('(%s, %s)', format_type(p.amproclefttype, NULL), format_type(p.amprocrighttype, NULL)) AS types,
        p.amproc::regprocedure AS function
      INTO item
      FROM pg_amproc p JOIN pg_opfamily f ON f.oid = p.amprocfamily JOIN pg_namespace n ON n.oid = f.opfnamespace
        JOIN pg_am a ON a.oid = f.opfmethod
      WHERE p.oid = id;
    undo := format('%s DROP FUNCTION %s %s', item.alter, item.number, item.types);
    redo := ARRAY[format('%s ADD FUNCTION %s %s %s', item.alter, item.number, item.types, item.function)];

  ELSIF class = 'pg_statistic_ext'::regclass THEN
    SELECT s.*, format('%I.%I', n.nspname, s.stxname) AS name, to_jsonb(s) ->> 'stxstattarget' AS target,
        format('%I.%I', tn.nspname, t.relname) AS "on"
      INTO item
      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
        JOIN pg_class t ON t.oid = s.stxrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
      WHERE s.oid = id;
    kind := 'STATISTICS';
    name := item.name;
    undo := 'DROP STATISTICS ' || name;
    redo := ARRAY[pg_get_statisticsobjdef(id), format('ALTER STATISTICS %s OWNER TO %I', name, pg_get_userbyid(item.stxowner))];
    IF item.target >= '0' THEN
      redo := redo || format('ALTER STATISTICS %s SET STATISTICS %s', name, item.target);
    END IF;
    redo := redo || format('ANALYZE %s', item."on");

  ELSIF class = 'pg_publication_rel'::regclass THEN
    -- only those that name columns
    SELECT format('ALTER PUBLICATION %I ', p.pubname) AS alter, format('%I.%I', n.nspname, t.relname) AS "on",
        (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
          WHERE a.attrelid = t.oid AND a.attnum = ANY (r.prattrs)) AS columns,
        pg_get_expr(r.prqual, r.prrelid) AS condition
      INTO item
      FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        JOIN pg_class t ON t.oid = r.prrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE r.oid = id;
    undo := item.alter || 'DROP TABLE ONLY ' || item."on";
    redo := ARRAY[format('%s ADD TABLE ONLY %s%s%s', item.alter, item."on", ' (' || item.columns || ')',
      ' WHERE (' || item.condition || ')')];

  ELSIF class = 'pg_trigger'::regclass THEN
    SELECT g.*, format('%I.%I', n.nspname, t.relname) AS "on"
      INTO item
      FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE g.oid = id;
    IF item.tgisinternal OR item.tgparentid <> 0 THEN
      RETURN;
    END IF;
    kind := 'TRIGGER';
    name := format('%I ON %s', item.tgname, item."on");
    undo := 'DROP TRIGGER ' || name;
    redo := ARRAY[pg_get_triggerdef(id)];
    IF item.tgenabled <> 'O' THEN
      redo := redo || format('ALTER TABLE %s %s TRIGGER %I', item."on",
        CASE item.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, item.tgname);
    END IF;

  ELSIF class = 'pg_policy'::regclass THEN
    SELECT p.*, format('%I.%I', n.nspname, t.relname) AS "on",
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
          FROM unnest(p.polroles) AS r) AS roles
      INTO item
      FROM pg_policy p JOIN pg_class t ON t.oid = p.polrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE p.oid = id;
    kind := 'POLICY';
    name := format('%I ON %s', item.polname, item."on");
    undo := 'DROP POLICY ' || name;
    redo := ARRAY[format('CREATE POLICY %s AS %s FOR %s TO %s%s%s', name,
      CASE WHEN item.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
      CASE item.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
      item.roles, ' USING (' || pg_get_expr(item.polqual, item.polrelid) || ')',
      ' WITH CHECK (' || pg_get_expr(item.polwithcheck, item.polrelid) || ')')];

  ELSIF class = 'pg_rewrite'::regclass THEN
    SELECT format('%I ON %I.%I', r.rulename, n.nspname, t.relname) INTO name
      FROM pg_rewrite r JOIN pg_class t ON t.oid = r.ev_class JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE r.oid = id;
    kind := 'RULE';
    undo := 'DROP RULE ' || name;
    redo := ARRAY[pg_get_ruledef(id)];

  ELSE
    RETURN;
  END IF;

  IF obj_description(id, class::text::name) IS NOT NULL AND index IS NULL THEN
    redo := redo || format('COMMENT ON %s %s IS %L', kind, name, obj_description(id, class::text::name));
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION vdist.recreation(regclass, oid, name, name, name, boolean) IS
  'commands that drop an object and create it anew; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.recreation(regclass, oid, name, name, name, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION vdist.exchange_types(from_extension name, to_extension name, build_indexes boolean,
    OUT object text, OUT action text, OUT command text)
  RETURNS SETOF record
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = off
  AS $$
DECLARE
  from_schema name;
  to_schema name;
  types oid[];
  domains oid[];
  changing oid[];
  writing text;
  reading text;
  item record;
  statement text;
  objects jsonb[] := '{}';
  entry jsonb;
  casts text[] := '{}';
  tables jsonb[] := '{}';
  restore text[];
  old_domains text[] := '{}';
  new_domains jsonb[] := '{}';
  file oid;
BEGIN
  -- one at a time
  LOCK TABLE vdist.unbuilt_indexes IN SHARE ROW EXCLUSIVE MODE;
  SELECT n.nspname INTO from_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = from_extension;
  SELECT n.nspname INTO to_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = to_extension;
  -- the types that both have
  SELECT array_agg(t.oid) INTO types
    FROM pg_extension e
      JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        AND d.deptype = 'e' AND d.classid = 'pg_type'::regclass
      JOIN pg_type t ON t.oid = d.objid
    WHERE e.extname = from_extension AND t.typtype = 'b' AND t.typelem = 0
      AND EXISTS (SELECT FROM pg_extension te
          JOIN pg_depend td ON td.refclassid = 'pg_extension'::regclass AND td.refobjid = te.oid
            AND td.deptype = 'e' AND td.classid = 'pg_type'::regclass
          JOIN pg_type tt ON tt.oid = td.objid
        WHERE te.extname = to_extension AND tt.typname = t.typname);
  IF types IS NULL AND NOT EXISTS (SELECT FROM vdist.unbuilt_indexes) THEN
    RAISE EXCEPTION 'pgvector is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'This is for a database with both extensions, each in a schema of its own.';
  END IF;
  types := coalesce(types, '{}');
  writing := format('pg_catalog, %I', from_schema);
  reading := format('pg_catalog, %I, %I', to_schema, from_schema);

  -- binary-coercible casts for the time of this function
  FOR item IN SELECT typname FROM pg_type WHERE oid = ANY (types) LOOP
    EXECUTE format('CREATE CAST (%I.%I AS %I.%I) WITHOUT FUNCTION',
      from_schema, item.typname, to_schema, item.typname);
  END LOOP;

  -- pgvector's casts do not know our support function: lend it
  FOR item IN
    SELECT p.oid FROM pg_type t JOIN pg_cast c ON c.castsource = t.oid AND c.casttarget = t.oid
        JOIN pg_proc p ON p.oid = c.castfunc
      WHERE t.typnamespace = to_schema::regnamespace AND p.prosupport = 0
        AND t.typname IN (SELECT typname FROM pg_type WHERE oid = ANY (types))
  LOOP
    casts := casts || pg_get_functiondef(item.oid);
    EXECUTE format('ALTER FUNCTION %s SUPPORT vdist.typmod_support', item.oid::regprocedure);
  END LOOP;

  -- with domains and arrays over them, and over these
  WITH RECURSIVE reached(type, depth) AS (
      SELECT unnest(types), 0
    UNION
      SELECT t.oid, r.depth + 1 FROM reached r JOIN pg_type t
        ON t.typtype = 'd' AND t.typbasetype = r.type OR t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem = r.type)
  SELECT coalesce(array_agg(type), '{}'),
      coalesce(array_agg(type ORDER BY depth, type) FILTER (WHERE (SELECT typtype FROM pg_type WHERE oid = type) = 'd'), '{}')
    INTO changing, domains FROM reached;
  PERFORM set_config('search_path', writing, true);

  -- All that depends on the extension or on columns of its types, and on that in turn: what is farthest
  -- from them goes first and comes last.
  FOR item IN
    WITH RECURSIVE members(class, id) AS (
        SELECT d.classid, d.objid FROM pg_extension e
            JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          WHERE e.extname IN (from_extension, to_extension)),
      roots(class, id, sub) AS (
        SELECT d.classid, d.objid, 0 FROM pg_extension e
            JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
            LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          WHERE e.extname = from_extension AND d.classid IN ('pg_type'::regclass, 'pg_proc'::regclass,
              'pg_operator'::regclass, 'pg_opclass'::regclass)
            AND p.pronamespace IS DISTINCT FROM 'vdist'::regnamespace
      UNION
        SELECT 'pg_type'::regclass, type, 0 FROM unnest(changing) AS type
      UNION
        SELECT 'pg_class'::regclass, a.attrelid, a.attnum::int
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          WHERE a.atttypid = ANY (changing) AND a.attnum > 0 AND NOT a.attisdropped
            AND c.relkind IN ('r', 'p', 'f')),
      -- views stand for their rules and types, constraints for their indexes, operator classes for their members
      edges(class, id, refclass, refid, refsub) AS (
        SELECT unit.class, unit.id, ref.class, ref.id, d.refobjsubid
          FROM pg_depend d
            LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
            LEFT JOIN pg_constraint k ON d.classid = 'pg_class'::regclass AND k.conindid = d.objid
              AND k.contype IN ('p', 'u', 'x')
            LEFT JOIN pg_depend m ON d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass) AND m.classid = d.classid
              AND m.objid = d.objid AND m.refclassid = 'pg_opclass'::regclass
            LEFT JOIN pg_constraint rk ON d.refclassid = 'pg_class'::regclass AND rk.conindid = d.refobjid
              AND rk.contype IN ('p', 'u', 'x')
            LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
            LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A',
            LATERAL (SELECT CASE WHEN r.oid IS NOT NULL THEN 'pg_class'::regclass::oid
                WHEN k.oid IS NOT NULL THEN 'pg_constraint'::regclass::oid ELSE coalesce(m.refclassid, d.classid) END AS class,
              coalesce(r.ev_class, k.oid, m.refobjid, d.objid) AS id) AS unit,
            LATERAL (SELECT CASE WHEN coalesce(nullif(t.typrelid, 0), e.typrelid, 0) <> 0 THEN 'pg_class'::regclass::oid
                WHEN rk.oid IS NOT NULL THEN 'pg_constraint'::regclass::oid ELSE d.refclassid END AS class,
              coalesce(nullif(t.typrelid, 0), nullif(e.typrelid, 0), rk.oid, d.refobjid) AS id) AS ref
          WHERE d.deptype IN ('n', 'a', 'i')),
      dependents(class, id, depth) AS (
        SELECT e.class, e.id, 1 FROM roots r JOIN edges e ON e.refclass = r.class AND e.refid = r.id
            AND (r.sub = 0 OR e.refsub = r.sub)
          WHERE (e.class, e.id) NOT IN (SELECT class, id FROM members)
      UNION
        SELECT e.class, e.id, d.depth + 1
          FROM dependents d JOIN edges e ON e.refclass = d.class AND e.refid = d.id
          WHERE (e.class, e.id) <> (d.class, d.id) AND d.depth < 50
            AND (e.class, e.id) NOT IN (SELECT class, id FROM members)
            AND (d.class <> 'pg_class'::regclass
              OR (SELECT relkind FROM pg_class WHERE oid = d.id) IN ('v', 'm', 'i', 'I')))
    SELECT d.class, d.id, pg_describe_object(d.class, d.id, 0) AS name, r.*
      FROM (SELECT class, id, max(depth) AS depth FROM dependents GROUP BY class, id) d
        LEFT JOIN pg_class c ON d.class = 'pg_class'::regclass AND c.oid = d.id,
        LATERAL vdist.recreation(d.class, d.id, from_schema, to_schema, to_extension, build_indexes) AS r
      WHERE d.class <> 'pg_class'::regclass OR c.relkind IN ('v', 'm', 'i', 'I')
      ORDER BY d.depth, d.class = 'pg_class'::regclass, 3
  LOOP
    objects := objects || to_jsonb(item);
  END LOOP;
  -- Domains lose what may depend on other objects, and what would have every row rewritten. They get it back at the end, or,
  -- where PostgreSQL refuses to add it, as arrays or composite types consist of them, at once.
  FOR item IN
    WITH RECURSIVE parts(id) AS (
        SELECT t.oid FROM pg_type t
          WHERE t.oid = ANY (domains)
            AND (EXISTS (SELECT FROM pg_attribute a WHERE a.atttypid = t.typarray)
              OR EXISTS (SELECT FROM pg_type d WHERE d.typbasetype = t.typarray)
              OR EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.atttypid = t.oid AND c.relkind = 'c'))
      UNION
        SELECT t.typbasetype FROM parts p JOIN pg_type t ON t.oid = p.id)
    SELECT t.oid, t.typname AS short, n.nspname AS schema, format('%I.%I', n.nspname, t.typname) AS name,
        format('CREATE DOMAIN %I.%I AS %s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod)) AS definition,
        ARRAY[format('ALTER DOMAIN %I.%I OWNER TO %I', n.nspname, t.typname, pg_get_userbyid(t.typowner)),
          format('COMMENT ON DOMAIN %I.%I IS %L', n.nspname, t.typname, obj_description(t.oid, 'pg_type'))]
          || vdist.grants(format('DOMAIN %I.%I', n.nspname, t.typname), NULL, t.typacl, t.typowner) AS attributes,
        coalesce((SELECT array_agg(format('DROP CONSTRAINT %I', c.conname)) FROM pg_constraint c
            WHERE c.contypid = t.oid AND c.contype = 'c'), '{}') || ARRAY['DROP DEFAULT', 'DROP NOT NULL'] AS less,
        coalesce((SELECT array_agg(format('ADD CONSTRAINT %I %s', c.conname, pg_get_constraintdef(c.oid)) ORDER BY c.conname)
            FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '{}')
          || CASE WHEN t.typnotnull THEN ARRAY['SET NOT NULL'] ELSE '{}' END AS constraints,
        'SET DEFAULT ' || pg_get_expr(t.typdefaultbin, 0) AS default, t.oid IN (SELECT id FROM parts) AS is_part,
        (SELECT array_agg(format('COMMENT ON CONSTRAINT %I ON DOMAIN %I.%I IS %L', c.conname, n.nspname, t.typname, d.description))
          FROM pg_constraint c JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = c.oid
          WHERE c.contypid = t.oid) AS comments
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.oid = ANY (domains) ORDER BY array_position(domains, t.oid)
  LOOP
    new_domains := new_domains || to_jsonb(item);
  END LOOP;
  FOREACH entry IN ARRAY new_domains LOOP
    FOR statement IN SELECT jsonb_array_elements_text(entry -> 'less') LOOP
      EXECUTE format('ALTER DOMAIN %s %s', entry ->> 'name', statement);
    END LOOP;
  END LOOP;

  FOR i IN REVERSE cardinality(objects) .. 1 LOOP
    IF objects[i] ->> 'undo' <> '' THEN
      EXECUTE objects[i] ->> 'undo';
    END IF;
  END LOOP;

  -- Columns; those of partitions and children follow their parents, attributes of types that are no
  -- column's, too.
  FOR item IN
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind,
        format('ALTER %s %I.%I ', CASE c.relkind WHEN 'c' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
          n.nspname, c.relname)
        || string_agg(format('ALTER %1$s %2$I TYPE %3$s%4$s', CASE c.relkind WHEN 'c' THEN 'ATTRIBUTE' ELSE 'COLUMN' END,
          a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN c.relkind IN ('r', 'p')
            THEN format(' USING %I::%s', a.attname, format_type(a.atttypid, a.atttypmod)) ELSE '' END), ', ' ORDER BY a.attnum) AS command,
        string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'f', 'c')
        AND a.atttypid = ANY (changing) AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
        AND NOT (c.relkind = 'c' AND EXISTS (SELECT FROM pg_attribute u JOIN pg_type ut ON ut.oid = u.atttypid
          WHERE ut.typrelid = c.oid OR ut.typelem = c.reltype))
      GROUP BY c.oid, n.nspname, c.relname ORDER BY c.relkind = 'c' DESC, 2
  LOOP
    tables := tables || to_jsonb(item);
  END LOOP;
  -- what a change of type forgets
  SELECT coalesce(array_agg(format('ALTER TABLE ONLY %I.%I ALTER COLUMN %I SET STORAGE %s', n.nspname, c.relname, a.attname,
      CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'm' THEN 'MAIN' WHEN 'x' THEN 'EXTENDED' ELSE 'EXTERNAL' END)), '{}')
    INTO restore
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p') AND a.atttypid = ANY (types || domains) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attstorage <> t.typstorage;

  -- new domains with the old names
  FOREACH entry IN ARRAY new_domains LOOP
    EXECUTE format('ALTER DOMAIN %s RENAME TO %I', entry ->> 'name', 'old ' || (entry ->> 'oid'));
    old_domains := format('DROP DOMAIN %I.%I', entry ->> 'schema', 'old ' || (entry ->> 'oid')) || old_domains;
  END LOOP;
  PERFORM set_config('search_path', reading, true);
  FOREACH entry IN ARRAY new_domains LOOP
    EXECUTE entry ->> 'definition';
    FOR statement IN
      SELECT jsonb_array_elements_text(entry -> 'attributes')
      UNION ALL SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', value) FROM jsonb_array_elements_text(entry -> 'constraints')
        WHERE (entry -> 'is_part')::bool
    LOOP
      EXECUTE statement;
    END LOOP;
    object := 'domain ' || (entry ->> 'name');
    action := 'created anew';
    RETURN NEXT;
  END LOOP;

  FOREACH entry IN ARRAY tables LOOP
    file := pg_relation_filenode((entry ->> 'oid')::oid::regclass);
    EXECUTE entry ->> 'command';
    object := format('%s %s (%s)', CASE entry ->> 'relkind' WHEN 'c' THEN 'type' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
      entry ->> 'name', entry ->> 'columns');
    action := CASE WHEN file IS DISTINCT FROM pg_relation_filenode((entry ->> 'oid')::oid::regclass)
      THEN 'type changed, table rewritten' ELSE 'type changed' END;
    RETURN NEXT;
    -- a change of type drops the statistics
    IF entry ->> 'relkind' IN ('r', 'p') THEN
      EXECUTE format('ANALYZE %s (%s)', entry ->> 'name', entry ->> 'columns');
    END IF;
  END LOOP;
  FOREACH statement IN ARRAY restore || old_domains LOOP
    EXECUTE statement;
  END LOOP;

  -- and all that was taken away
  FOREACH entry IN ARRAY objects LOOP
    IF entry ->> 'index' IS NOT NULL THEN
      INSERT INTO vdist.unbuilt_indexes VALUES (entry ->> 'index', entry -> 'redo' ->> 0)
        ON CONFLICT (index) DO UPDATE SET command = excluded.command;
    ELSE
      FOR statement IN SELECT jsonb_array_elements_text(entry -> 'redo') LOOP
        EXECUTE statement;
      END LOOP;
      object := entry ->> 'name';
      action := 'created anew';
      RETURN NEXT;
    END IF;
  END LOOP;

  FOREACH entry IN ARRAY new_domains LOOP
    FOR statement IN
      SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', value) FROM jsonb_array_elements_text(entry -> 'constraints')
        WHERE NOT (entry -> 'is_part')::bool
      UNION ALL SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', entry ->> 'default') WHERE entry ->> 'default' IS NOT NULL
      UNION ALL SELECT jsonb_array_elements_text(nullif(entry -> 'comments', 'null'))
    LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;

  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
  FOR item IN SELECT typname FROM pg_type WHERE oid = ANY (types) LOOP
    EXECUTE format('DROP CAST (%I.%I AS %I.%I)', from_schema, item.typname, to_schema, item.typname);
  END LOOP;
  FOREACH statement IN ARRAY casts LOOP
    EXECUTE statement;
  END LOOP;

  -- indexes that are left to be built, by this call or by one before
  DELETE FROM vdist.unbuilt_indexes u USING pg_index x WHERE x.indexrelid = to_regclass(u.index) AND x.indisvalid;
  FOR item IN
    SELECT u.index, u.command, i IS NOT NULL AS begun FROM vdist.unbuilt_indexes u, to_regclass(u.index) AS i ORDER BY 1
  LOOP
    object := 'index ' || item.index;
    command := CASE WHEN item.begun THEN 'REINDEX INDEX CONCURRENTLY ' || item.index ELSE item.command END;
    action := CASE WHEN item.begun THEN 'not finished, to be built by the command'
      ELSE 'dropped, to be created by the command' END;
    IF build_indexes THEN
      EXECUTE replace(command, ' INDEX CONCURRENTLY ', ' INDEX ');
      DELETE FROM vdist.unbuilt_indexes u WHERE u.index = item.index;
      command := NULL;
      action := 'created anew';
    END IF;
    RETURN NEXT;
  END LOOP;

  -- what DROP EXTENSION would still take along
  command := NULL;
  action := 'still uses it';
  FOR object IN
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
      FROM pg_extension e
        JOIN pg_depend m ON m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'
        JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid AND d.deptype = 'n'
      WHERE e.extname = from_extension AND from_extension = 'vector'
        AND NOT EXISTS (SELECT FROM pg_depend own WHERE own.classid = d.classid AND own.objid = d.objid
          AND own.refclassid = 'pg_extension'::regclass AND own.deptype = 'e')
        AND NOT EXISTS (SELECT FROM pg_depend own
            JOIN pg_depend of ON of.classid = own.refclassid AND of.objid = own.refobjid
          WHERE own.classid = d.classid AND own.objid = d.objid AND own.deptype IN ('i', 'a')
            AND of.refclassid = 'pg_extension'::regclass AND of.deptype = 'e')
      ORDER BY 1
  LOOP
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION vdist.exchange_types(name, name, boolean) IS
  'what adopt_pgvector and return_to_pgvector stand on';
REVOKE ALL ON FUNCTION vdist.exchange_types(name, name, boolean) FROM PUBLIC;
