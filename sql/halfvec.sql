-- Type halfvec: what differs from vector (half precision, range) and that the rest is there.

-- text in and out, rounded to the nearest half
SELECT '[1,2,3]'::halfvec, ' [ -0.5 , .25,+4e-2] '::halfvec, '[65504,-65504,6e-8,6.1035e-05]'::halfvec AS extremes;
SELECT '[0.1,2049,2050,2051,65519,1e-8,-1e-8]'::halfvec AS rounded;
SELECT '[65520]'::halfvec;
SELECT '[1,-1e10]'::halfvec;
SELECT '[1e39]'::halfvec;
SELECT '[nan]'::halfvec;
SELECT '[inf]'::halfvec;
SELECT '[]'::halfvec;
SELECT '[1,2'::halfvec;
SELECT '[1]]'::halfvec;
SELECT '{1}'::halfvec;
SELECT ('[' || repeat('1,', 16000) || '1]')::halfvec;

-- SQLSTATEs
CREATE FUNCTION sqlstate_of(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE query;
  RETURN 'no error';
EXCEPTION WHEN others THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT sqlstate_of(query) FROM unnest(ARRAY[
  $$SELECT 'x'::halfvec$$,
  $$SELECT '[65520]'::halfvec$$,
  $$SELECT '[1]'::halfvec(2)$$,
  $$SELECT '[1]'::halfvec(0)$$,
  $$SELECT '[1]'::halfvec(16001)$$,
  $$SELECT '[1]'::halfvec <-> '[1,2]'$$,
  $$SELECT '[6e4]'::halfvec + '[6e4]'$$,
  $$SELECT '[1e-4]'::halfvec * '[1e-4]'$$,
  $$SELECT '[65520]'::vector::halfvec$$,
  $$SELECT ARRAY[1e6]::halfvec$$,
  $$SELECT '{1,NULL}'::real[]::halfvec$$,
  $$SELECT '{{1},{2}}'::real[]::halfvec$$,
  $$SELECT '{}'::real[]::halfvec$$]) AS query;

-- two bytes an element
SELECT vector_dims(array_fill(1, ARRAY[16000])::halfvec), pg_column_size('[1,2,3]'::halfvec),
  pg_column_size(array_fill(1, ARRAY[16000])::halfvec);
SELECT typstorage, typlen, typalign, typcategory FROM pg_type WHERE oid = 'halfvec'::regtype;
-- binary format: int16 dim, int16 0, float2 for each element
SELECT halfvec_send('[1,-2.5,65504]');

-- arithmetic: as if exact, then rounded once
SELECT '[1,2,3]'::halfvec + '[0.5,-2,2048]' AS add, '[1,2,3]'::halfvec - '[0.5,-2,2048]' AS sub,
  '[1,2,3]'::halfvec * '[0.5,-2,0]' AS mul, '[1,2]'::halfvec || '[3]' AS concat;
SELECT '[1]'::halfvec + '[1,2]';
SELECT '[1]'::halfvec - '[1,2]';
SELECT '[1]'::halfvec * '[1,2]';
SELECT array_fill(1, ARRAY[8001])::halfvec || array_fill(1, ARRAY[8000])::halfvec;

-- distances are those of the same vectors, to the last bit, on any instruction set
SELECT '[1,2,3]'::halfvec <-> '[3,0,2]' AS l2, '[1,2,3]'::halfvec <#> '[3,0,2]' AS ip,
  '[1,0]'::halfvec <=> '[3,0]' AS cosine, '[1,2,3]'::halfvec <+> '[3,0,2]' AS l1;
SELECT l2_distance('[1,2,3]'::halfvec, '[3,0,2]'), inner_product('[1,2,3]'::halfvec, '[3,0,2]'),
  cosine_distance('[1,0]'::halfvec, '[0,2]'), l1_distance('[1,2,3]'::halfvec, '[3,0,2]'),
  halfvec_l2_squared_distance('[1,2,3]', '[3,0,2]'), halfvec_spherical_distance('[1,0]', '[0,1]');
SELECT '[0,0]'::halfvec <=> '[1,2]' AS cosine_zero;
CREATE TABLE halves AS
SELECT dim, array_agg(sin(i * 12.9898 + dim) ORDER BY i)::halfvec AS a,
  array_agg(cos(i * 78.233 + dim) ORDER BY i)::halfvec AS b
FROM generate_series(1, 200) AS dim, LATERAL generate_series(1, dim) AS i GROUP BY dim;
CREATE FUNCTION halves_with(simd text) RETURNS TABLE (dim int, d float8[], v float8[]) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('vdist.simd', simd, false);
  RETURN QUERY SELECT h.dim, ARRAY[a <-> b, a <#> b, a <=> b, a <+> b],
    ARRAY[a::vector <-> b::vector, a::vector <#> b::vector, a::vector <=> b::vector, a::vector <+> b::vector]
    FROM halves AS h;
EXCEPTION WHEN invalid_parameter_value THEN
  -- not on this processor: nothing to compare
  RETURN QUERY SELECT * FROM halves_with('auto');
END
$$;
SELECT simd, count(*), bool_and(h.d = h.v) AS as_vector, bool_and(h.d = s.d) AS as_scalar
FROM unnest('{scalar,avx2,avx512,auto}'::text[]) WITH ORDINALITY AS u (simd, nr), halves_with(simd) AS h
  JOIN halves_with('scalar') AS s USING (dim)
GROUP BY simd, nr ORDER BY nr;
RESET vdist.simd;
DROP FUNCTION halves_with;
DROP TABLE halves;

-- functions of one halfvec
SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[65504,65504]'::halfvec);
SELECT l2_normalize('[3,4]'::halfvec), l2_normalize('[0,0]'::halfvec), l2_normalize('[0,6e-8]'::halfvec);
SELECT subvector('[1,2,3,4,5]'::halfvec, 2, 3), subvector('[1,2,3,4,5]'::halfvec, 4, 2147483647);
SELECT subvector('[1,2,3]'::halfvec, 4, 1);
SELECT binary_quantize('[1,-1,0,-0,6e-8,2,-3,4,1]'::halfvec);

-- order
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt,
  halfvec_cmp(a, b)
FROM (VALUES ('[1,2]'::halfvec, '[1,2]'::halfvec), ('[1,2]', '[1,3]'), ('[2]', '[1,9]'),
  ('[1,2]', '[1,2,0]'), ('[0]', '[-0]'), ('[-1,5]', '[-1,4,9]')) AS t (a, b);
CREATE TABLE sorted (h halfvec(2));
INSERT INTO sorted SELECT ARRAY[i % 7, i % 3]::halfvec FROM generate_series(1, 42) AS i;
CREATE INDEX ON sorted (h);
SET enable_seqscan = off;
SELECT h, count(*) FROM sorted WHERE h >= '[5,1]' GROUP BY h ORDER BY h DESC;
RESET enable_seqscan;
DROP TABLE sorted;

-- casts
SELECT ARRAY[1,2]::halfvec, '{1.1,2.2}'::real[]::halfvec, '{0.1}'::double precision[]::halfvec(1),
  '{1.25,-3e3}'::numeric[]::halfvec, '[0.1,2]'::halfvec::real[], '[0.1]'::halfvec::vector, '[0.1]'::vector::halfvec,
  '[0,1.5]'::halfvec::sparsevec, '{2:0.1}/3'::sparsevec::halfvec;
SELECT '[1,2]'::vector::halfvec(3);
SELECT '[1,2]'::halfvec::vector(3);
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
WHERE 'halfvec'::regtype IN (castsource, casttarget) ORDER BY 1::text, 2::text;
CREATE TABLE assigned (h halfvec(2), v vector(2));
INSERT INTO assigned VALUES ('[1,2]'::vector, '[1,2]'::halfvec), (ARRAY[3,4], '[5,6]');
SELECT h, v, h <-> v AS both_as_halfvec FROM assigned ORDER BY h;
INSERT INTO assigned (h) VALUES ('[1,2,3]'::vector);

-- aggregates
SELECT avg(h), sum(h) FROM unnest('{"[1,2]","[3,5]",NULL,"[-1,0.5]"}'::halfvec[]) AS h;
SELECT avg(h), sum(h) FROM unnest('{}'::halfvec[]) AS h;
-- the average adds up in double, the sum in halves
SELECT avg(h) FROM unnest('{"[6e4]","[6e4]"}'::halfvec[]) AS h;
SELECT sum(h) FROM unnest('{"[6e4]","[6e4]"}'::halfvec[]) AS h;
SELECT avg(h) FROM unnest('{"[1]","[1,2]"}'::halfvec[]) AS h;
SELECT halfvec_avg('{1,70000}');
SELECT halfvec_accum('{1}'::real[]::double precision[][], '[1]'), halfvec_combine('{1,2}', '{1,3}');
-- in parallel as well
CREATE TABLE many AS SELECT ARRAY[i % 10, 1]::halfvec AS h FROM generate_series(1, 20000) AS i;
ANALYZE many;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT avg(h) FROM many;
SELECT avg(h) FROM many;
RESET ALL;

-- COPY, text and binary, in the row and out of line
INSERT INTO many SELECT array_fill(0.25, ARRAY[dim])::halfvec FROM unnest(ARRAY[3, 60, 61, 900, 5000]) AS dim;
CREATE TABLE copied (LIKE many);
COPY many TO PROGRAM 'cat > halfvec.tmp';
COPY copied FROM PROGRAM 'cat halfvec.tmp; rm halfvec.tmp';
SELECT count(*), (SELECT count(*) FROM many EXCEPT ALL SELECT count(*) FROM copied) FROM (SELECT * FROM many EXCEPT SELECT * FROM copied) AS t;
TRUNCATE copied;
COPY many TO PROGRAM 'cat > halfvec.tmp' (FORMAT binary);
COPY copied FROM PROGRAM 'cat halfvec.tmp; rm halfvec.tmp' (FORMAT binary);
SELECT count(*), (SELECT count(*) FROM many EXCEPT ALL SELECT count(*) FROM copied) FROM (SELECT * FROM many EXCEPT SELECT * FROM copied) AS t;

-- NULL in, NULL out
SELECT (NULL::halfvec <-> '[1]') IS NULL AND ('[1]'::halfvec + NULL) IS NULL AND (NULL::halfvec = '[1]') IS NULL AS strict;

DROP TABLE many, copied, assigned;
DROP FUNCTION sqlstate_of;
