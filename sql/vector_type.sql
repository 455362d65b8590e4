-- Type vector: text, type modifier, operators, functions, comparison.

-- text in and out
SELECT '[1,2,3]'::vector, '[-0.5, .25 ,+4e-2]'::vector, E'\t[ 7\n,\r8 ]\f'::vector AS spaces;
SELECT '[1e38,-3.4028235e38,1.1754944e-38,1e-45,-0,0]'::vector AS extremes;
SELECT '[0.1,0.3333333333333333333333333,16777217,123456789012345678901234567890]'::vector AS rounded;
SELECT '[1e-50,0x1p-3]'::vector AS unusual;
SET extra_float_digits = 0;
SELECT '[0.1,0.33333334]'::vector AS always_shortest;
RESET extra_float_digits;

-- text that is no vector
SELECT '1,2,3'::vector;
SELECT ''::vector;
SELECT '{1,2}'::vector;
SELECT '[1,2'::vector;
SELECT '[1,2,'::vector;
SELECT '[1,2,]'::vector;
SELECT '[1 2]'::vector;
SELECT '[1,,2]'::vector;
SELECT '[one]'::vector;
SELECT '[1.2.3]'::vector;
SELECT '[1e]'::vector;
SELECT '[1]]'::vector;
SELECT '[1] [2]'::vector;
SELECT '[]'::vector;
SELECT '[ ]'::vector;
SELECT '[nan]'::vector;
SELECT '[1,-inf]'::vector;
SELECT '[3.5e38]'::vector;
SELECT '[-1e999,1]'::vector;
SELECT ('[' || repeat('1,', 16000) || '1]')::vector;

-- the message does not repeat a long text in full
DO $$
DECLARE
  message text;
BEGIN
  PERFORM ('[1,' || repeat('ä', 100000))::vector;
EXCEPTION WHEN invalid_text_representation THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
  RAISE NOTICE '% ... % (% bytes)', left(message, 50), right(message, 6), octet_length(message);
END
$$;

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
  $$SELECT 'x'::vector$$,
  $$SELECT '[1]x'::vector$$,
  $$SELECT '[]'::vector$$,
  $$SELECT '[NaN]'::vector$$,
  $$SELECT '[Infinity]'::vector$$,
  $$SELECT '[1e99]'::vector$$,
  $$SELECT '[1]'::vector(2)$$,
  $$SELECT '[1]'::vector(0)$$,
  $$SELECT '[1]'::vector <-> '[1,2]'$$,
  $$SELECT '[3e38]'::vector + '[3e38]'$$,
  $$SELECT '[1e-38]'::vector * '[1e-38]'$$,
  $$SELECT array_fill(1, ARRAY[16001])::vector$$,
  $$SELECT '{1,NULL}'::real[]::vector$$,
  $$SELECT '{{1},{2}}'::real[]::vector$$]) AS query;

-- limits
SELECT vector_dims(array_fill(1.5::real, ARRAY[16000])::vector);
SELECT pg_column_size('[1,2,3]'::vector), pg_column_size(array_fill(1, ARRAY[16000])::vector);
SELECT typstorage, typlen, typalign, typcategory FROM pg_type WHERE oid = 'vector'::regtype;

-- type modifier
SELECT '[1,2,3]'::vector(3), '[1,2,3]'::vector(3)::vector;
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2,3]'::vector(0);
SELECT '[1,2,3]'::vector(16001);
SELECT '[1,2,3]'::vector(2,3);
SELECT '[1,2,3]'::vector('three');
CREATE TABLE typed (v vector(3));
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'typed'::regclass AND attname = 'v';
INSERT INTO typed VALUES ('[1,2,3]'), (NULL), ('{4,5,6}'::real[]), ('[7,8,9]'::vector);
INSERT INTO typed VALUES ('[1,2]');
INSERT INTO typed VALUES ('[1,2]'::vector);
INSERT INTO typed VALUES (ARRAY[1,2,3,4]);
UPDATE typed SET v = v || '[1]';
SELECT * FROM typed ORDER BY v;
SELECT '{"[1,2]","[3,4]",NULL}'::vector(2)[];
SELECT '{"[1,2]","[3]"}'::vector(2)[];
DROP TABLE typed;

-- arithmetic
SELECT '[1,2,3]'::vector + '[0.5,-2,1e3]', '[1,2,3]'::vector - '[0.5,-2,1e3]';
SELECT '[1,2,3]'::vector * '[0.5,-2,0]', '[1,2,3]'::vector || '[4]';
SELECT '[1,2]'::vector + '[1,2,3]';
SELECT '[1,2]'::vector - '[1,2,3]';
SELECT '[1,2]'::vector * '[1,2,3]';
SELECT '[1,2e38]'::vector + '[1,2e38]';
SELECT '[1,-2e38]'::vector - '[1,2e38]';
SELECT '[1,-2e19]'::vector * '[1,2e19]';
SELECT '[1,-2e-30]'::vector * '[1,2e-30]';
SELECT '[1,0]'::vector * '[1,1e-45]' AS no_underflow;
SELECT array_fill(1, ARRAY[8001])::vector || array_fill(1, ARRAY[8000])::vector;
SELECT vector_dims(array_fill(1, ARRAY[8000])::vector || array_fill(1, ARRAY[8000])::vector);

-- distances
SELECT '[1,2,3]'::vector <-> '[3,0,2]' AS l2, '[1,2,3]'::vector <#> '[3,0,2]' AS ip,
  '[1,0]'::vector <=> '[3,0]' AS cosine, '[1,2,3]'::vector <+> '[3,0,2]' AS l1;
SELECT l2_distance('[1,2,3]'::vector, '[3,0,2]'), inner_product('[1,2,3]'::vector, '[3,0,2]'),
  cosine_distance('[1,0]'::vector, '[0,2]'), l1_distance('[1,2,3]'::vector, '[3,0,2]'),
  negative_inner_product('[1,2,3]'::vector, '[3,0,2]');
SELECT vector_l2_squared_distance('[1,2,3]', '[3,0,2]'),
  vector_negative_inner_product('[1,2,3]', '[3,0,2]'),
  vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[3,0]', '[2,0]');
SELECT '[1,2]'::vector <-> '[1,2,3]';
SELECT '[1,2]'::vector <#> '[1,2,3]';
SELECT '[1,2]'::vector <=> '[1,2,3]';
SELECT '[1,2]'::vector <+> '[1,2,3]';
SELECT vector_l2_squared_distance('[1]', '[1,2]');
SELECT vector_spherical_distance('[1]', '[1,2]');
-- overflow is infinity; a cosine with zero, or of overflow, is NaN, which sorts last
SELECT '[3e38]'::vector <-> '[-3e38]' AS l2, '[3e38]'::vector <#> '[3e38]' AS ip,
  '[3e38,3e38]'::vector <+> '[-3e38,3e38]' AS l1, '[0,0]'::vector <=> '[1,2]' AS cosine_zero,
  '[3e38]'::vector <=> '[3e38]' AS cosine_overflow;
-- in range, in spite of rounding
SELECT min(v <=> v) >= 0 AND max(v <=> v) < 1e-6 AS same,
  max(v <=> (v * minus)) <= 2 AND min(v <=> (v * minus)) > 2 - 1e-6 AS opposite
FROM (SELECT array_agg(1 / (i * 7 % 13 + j)::real)::vector AS v, array_agg(-1)::vector AS minus
  FROM generate_series(1, 50) AS i, generate_series(1, 30) AS j GROUP BY j) AS t;

-- all instruction sets give the same bits
CREATE TABLE random_vectors AS
SELECT dim, array_agg(sin(i * 12.9898 + dim) ORDER BY i)::vector AS a,
  array_agg(cos(i * 78.233 + dim) ORDER BY i)::vector AS b
FROM generate_series(1, 200) AS dim, LATERAL generate_series(1, dim) AS i GROUP BY dim;
CREATE FUNCTION distances_with(simd text) RETURNS TABLE (dim int, d float8[]) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('vdist.simd', simd, false);
  RETURN QUERY SELECT r.dim, ARRAY[a <-> b, a <#> b, a <=> b, a <+> b] FROM random_vectors AS r;
EXCEPTION WHEN invalid_parameter_value THEN
  -- not on this processor: nothing to compare
  RETURN QUERY SELECT * FROM distances_with('auto');
END
$$;
SELECT count(*), bool_and(s.d = x.d) AS avx2, bool_and(s.d = y.d) AS avx512, bool_and(s.d = z.d) AS auto
FROM distances_with('scalar') AS s JOIN distances_with('avx2') AS x USING (dim)
  JOIN distances_with('avx512') AS y USING (dim) JOIN distances_with('auto') AS z USING (dim);
RESET vdist.simd;
SET vdist.simd = 'mmx';
-- they are right, too: against double precision
SELECT count(*) FILTER (WHERE abs((a <-> b) - l2) > 1e-6 * l2
  OR abs((a <+> b) - l1) > 1e-6 * l1 OR abs((a <#> b) + ip) > 1e-6 * dim
  OR abs((a <=> b) - (1 - ip / sqrt(aa * bb))) > 1e-6) AS wrong
FROM random_vectors, LATERAL (
  SELECT sqrt(sum((x - y) * (x - y))) AS l2, sum(abs(x - y)) AS l1, sum(x * y) AS ip,
    sum(x * x) AS aa, sum(y * y) AS bb
  FROM unnest(a::float8[], b::float8[]) AS u (x, y)) AS exact;
DROP TABLE random_vectors;
DROP FUNCTION distances_with;

-- functions of one vector
SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'), l2_norm('[2e38,2e38]'::vector),
  vector_norm('[0]');
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector),
  l2_normalize('[0,1e-45]'::vector), l2_normalize('[3e38,4e37]'::vector);
SELECT subvector('[1,2,3,4,5]'::vector, 2, 3), subvector('[1,2,3,4,5]'::vector, 5, 1),
  subvector('[1,2,3,4,5]'::vector, 4, 2147483647), subvector('[1,2,3,4,5]'::vector, -2, 4);
SELECT subvector('[1,2,3]'::vector, 1, 0);
SELECT subvector('[1,2,3]'::vector, 1, -1);
SELECT subvector('[1,2,3]'::vector, 4, 1);
SELECT subvector('[1,2,3]'::vector, -5, 3);
SELECT subvector('[1,2,3]'::vector, -2147483648, 2147483647);
SELECT subvector('[1,2,3]'::vector, 2147483647, 2147483647);
SELECT binary_quantize('[1,-1,0,-0,1e-45,2,-3,4]'::vector), binary_quantize('[-1]'::vector),
  binary_quantize('[1,1,1,1,1,1,1,1,-1,1]'::vector);

-- comparison: by elements, then by length
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt,
  vector_cmp(a, b)
FROM (VALUES ('[1,2]'::vector, '[1,2]'::vector), ('[1,2]', '[1,3]'), ('[2]', '[1,9]'),
  ('[1,2]', '[1,2,0]'), ('[0]', '[-0]'), ('[-1,5]', '[-1,4,9]')) AS t (a, b);

-- NULL in, NULL out
SELECT (NULL::vector <-> '[1]') IS NULL AND ('[1]'::vector + NULL) IS NULL AND
  vector_norm(NULL) IS NULL AND (NULL::vector = '[1]') IS NULL AS strict;

DROP FUNCTION sqlstate_of;
