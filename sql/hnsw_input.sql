-- Bad and odd input under every operator class of vdist_hnsw: dimensions that do not fit, NULL, zeros, the
-- largest and the smallest numbers, on an index without a graph and on one with it.
SET client_min_messages = warning;
SET enable_seqscan = off;
SET enable_sort = off;

-- The elements of an example: i -1 is all zero, -2 very large, -3 very small, others are ordinary.
CREATE FUNCTION element(type text, dim integer, i integer) RETURNS TABLE (j integer, x real) LANGUAGE sql AS $$
  SELECT j, CASE i WHEN -1 THEN 0
    WHEN -2 THEN CASE type WHEN 'halfvec' THEN 65504 ELSE 3.4e38 END * (j % 2 * 2 - 1)
    WHEN -3 THEN CASE type WHEN 'halfvec' THEN 6e-8 ELSE 1.4e-45 END
    ELSE sin(i * j * 0.7) + cos(i % 31 + j) END::real
  FROM generate_series(1, dim) j
$$;

CREATE FUNCTION example(type text, dim integer, i integer) RETURNS text LANGUAGE sql AS $$
  SELECT CASE type
    WHEN 'bit' THEN CASE WHEN i = -1 THEN repeat('0', dim) WHEN i < 0 THEN repeat('1', dim)
      ELSE (SELECT string_agg((hashint4(i * 1000 + j) & 1)::text, '' ORDER BY j) FROM generate_series(1, dim) j) END
    WHEN 'sparsevec' THEN CASE WHEN i = -1 THEN '{}'
      ELSE '{' || (SELECT string_agg(j || ':' || x, ',' ORDER BY j) FROM element(type, dim, i) WHERE x <> 0) || '}' END || '/' || dim
    ELSE '[' || (SELECT string_agg(x::text, ',' ORDER BY j) FROM element(type, dim, i)) || ']' END
$$;
-- How a statement ends.
CREATE FUNCTION ends(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
  IF statement ^@ 'SELECT' THEN
    EXECUTE statement INTO result;
    RETURN result;
  END IF;
  EXECUTE statement;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  RETURN sqlstate || ' ' || sqlerrm;
END $$;

CREATE FUNCTION try(class text, type text, operator text, n integer)
RETURNS TABLE (what text, ending text) LANGUAGE plpgsql AS $$
DECLARE
  dim CONSTANT integer := 16;
  i integer;
  scan text := format('SELECT count(*) = (SELECT count(v) FROM input) AND count(*) = count(DISTINCT id) FROM (
      SELECT id FROM input ORDER BY v %s @@ OFFSET 0) s', operator);
BEGIN
  EXECUTE format('CREATE TABLE input (id serial, v %s(%s), any_dim %s)', type, dim, CASE type WHEN 'bit' THEN 'bit varying' ELSE type END);
  EXECUTE format('INSERT INTO input (v) SELECT example(%L, %s, i)::%s(%s) FROM generate_series(1, %s) i', type, dim, type, dim, n);
  EXECUTE format('CREATE INDEX input_index ON input USING vdist_hnsw (v %s)', class);
  FOR i IN -3 .. -1 LOOP
    EXECUTE format('INSERT INTO input (v) SELECT example(%L, %s, %s)::%s(%s) FROM generate_series(1, 6)', type, dim, i, type, dim);
  END LOOP;
  INSERT INTO input (v) VALUES (NULL), (NULL);
  what := 'every row comes once'; ending := '';
  FOR i IN -3 .. 1 LOOP
    ending := ending || ends(replace(scan, '@@', format('%L::%s(%s)', example(type, dim, i), type, dim))) || ' ';
  END LOOP;
  ending := ending || ends(replace(scan, '@@', format('(SELECT NULL::%s(%s))', type, dim))); RETURN NEXT;
  what := 'fewer dimensions'; ending := ends(replace(scan, '@@', format('%L::%s(%s)', example(type, dim - 1, 1), type, dim - 1))); RETURN NEXT;
  what := 'more dimensions'; ending := ends(replace(scan, '@@', format('%L::%s(%s)', example(type, dim + 1, 1), type, dim + 1))); RETURN NEXT;
  what := 'a row that does not fit'; ending := ends(format('INSERT INTO input (v) VALUES (%L)', example(type, dim + 1, 1))); RETURN NEXT;
  -- all of an odd kind go, and come back
  EXECUTE format('DELETE FROM input WHERE v = %L::%s(%s)', example(type, dim, -1), type, dim);
  EXECUTE format('INSERT INTO input (v) SELECT %L::%s(%s)', example(type, dim, -1), type, dim);
  what := 'problems'; ending := (SELECT count(*) FROM vdist.index_check('input_index', true)); RETURN NEXT;
  REINDEX INDEX input_index;
  what := 'after REINDEX'; ending := (SELECT count(*) FROM vdist.index_check('input_index', true)) || ' ' || ends(replace(scan, '@@', format('%L::%s(%s)', example(type, dim, -1), type, dim))); RETURN NEXT;
  -- an expression index meets what its column does not refuse
  EXECUTE format('CREATE INDEX input_any ON input USING vdist_hnsw ((any_dim::%s(%s)) %s)', type, dim, class);
  what := 'an expression that does not fit'; ending := ends(format('INSERT INTO input (any_dim) VALUES (%L)', example(type, dim - 1, 1))); RETURN NEXT;
  DROP TABLE input;
END $$;

CREATE TEMP TABLE tried AS
SELECT opcname::text AS class, n < 2000 AS flat, t.*
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod AND amname = 'vdist_hnsw' JOIN pg_namespace s ON s.oid = opcnamespace
  JOIN pg_amop o ON amopfamily = opcfamily, generate_series(50, 2150, 2100) n,
  try(opcname, format_type(opcintype, NULL), format('OPERATOR(%I.%s)', (SELECT nspname FROM pg_operator p JOIN pg_namespace n ON n.oid = oprnamespace
    WHERE p.oid = amopopr), (SELECT oprname FROM pg_operator WHERE oid = amopopr)), n) t;
SELECT what, ending, count(*), string_agg(DISTINCT substring(class FROM '^[a-z]+'), ' ') AS types
FROM tried GROUP BY what, ending ORDER BY what, ending;

-- options and settings beyond their limits
CREATE TABLE input (v vector(3));
CREATE FUNCTION option(options text) RETURNS text LANGUAGE sql AS $$
  SELECT ends('CREATE INDEX ON input USING vdist_hnsw (v) WITH (' || options || ')')
$$;
SELECT o, option(o) FROM unnest('{m = 1,m = 101,m = x,m = 2.5,ef_construction = 3,ef_construction = 1001,"m = 40, ef_construction = 79",
  quantization = 0,quantization = 3,quantization = 16,quantization = many,fillfactor = 50,lists = 10}'::text[]) o;
SELECT s, ends('SET vdist.hnsw_ef_search = ' || s) FROM unnest('{0,-1,10001,many,1.5}'::text[]) s;
DROP TABLE input;
DROP FUNCTION try, ends, option, element, example;
