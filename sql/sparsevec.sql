-- Type sparsevec: text, order, distances beside those of vector, casts, functions.

-- text in and out: sorted, without zeros
SELECT '{1:1.5,3:3.5}/5'::sparsevec, E' {\t3 : -1 ,\n1: +.5e1 } / 7 '::sparsevec, '{}/3'::sparsevec;
SELECT '{1:0,3:-0,2:7}/3'::sparsevec AS no_zeros, '{1000000000:1}/1000000000'::sparsevec AS far;
SELECT '{1:1e38,2:1e-45,3:0.1,4:16777217}/4'::sparsevec;
-- text that is none
SELECT ''::sparsevec;
SELECT '[1,2]'::sparsevec;
SELECT '{1:2'::sparsevec;
SELECT '{1:2}'::sparsevec;
SELECT '{1:2}/'::sparsevec;
SELECT '{1:2}/2x'::sparsevec;
SELECT '{1:2,}/2'::sparsevec;
SELECT '{1 2}/2'::sparsevec;
SELECT '{1:}/2'::sparsevec;
SELECT '{a:1}/2'::sparsevec;
SELECT '{1:nan}/2'::sparsevec;
SELECT '{1:-inf}/2'::sparsevec;
SELECT '{1:4e38}/2'::sparsevec;
SELECT '{1:1e-50}/2'::sparsevec AS would_vanish;
SELECT '{0:1}/2'::sparsevec;
SELECT '{3:1}/2'::sparsevec;
SELECT '{3:0}/2'::sparsevec AS checked_in_spite_of_zero;
SELECT '{2:1,1:1,2:1}/2'::sparsevec;
SELECT '{99999999999999999999:1}/2'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/-99999999999999999999'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT ('{1:1' || repeat(',1:1', 16000) || '}/2')::sparsevec;
DO $$
DECLARE
  message text;
BEGIN
  PERFORM ('{1:1' || repeat('x', 100000))::sparsevec;
EXCEPTION WHEN invalid_text_representation THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
  RAISE NOTICE '% bytes', octet_length(message);
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
  $$SELECT 'x'::sparsevec$$,
  $$SELECT '{1:1e99}/1'::sparsevec$$,
  $$SELECT '{2:1}/1'::sparsevec$$,
  $$SELECT '{}/1'::sparsevec(2)$$,
  $$SELECT '{}/1'::sparsevec(0)$$,
  $$SELECT '{}/1'::sparsevec(1000000001)$$,
  $$SELECT '{}/1'::sparsevec <-> '{}/2'$$,
  $$SELECT '{}/16001'::sparsevec::vector$$,
  $$SELECT '{}/16001'::sparsevec::halfvec$$,
  $$SELECT '{1:1e6}/1'::sparsevec::halfvec$$,
  $$SELECT array_fill(1, ARRAY[16001])::sparsevec$$,
  $$SELECT '{NaN}'::real[]::sparsevec$$]) AS query;

-- limits, size, binary format: int32 dim, n, 0, then indices from 0, then float4 values
SELECT l2_norm(array_fill(1, ARRAY[16000])::sparsevec)::numeric(10, 4), pg_column_size('{1:1,9:2}/1000'::sparsevec);
SELECT sparsevec_send('{1:1,9:-2.5}/16');
SELECT typstorage, typlen, typalign, typcategory FROM pg_type WHERE oid = 'sparsevec'::regtype;

-- distances
SELECT '{1:1,2:2,3:3}/4'::sparsevec <-> '{1:3,3:2}/4' AS l2, '{1:1,2:2,3:3}/4'::sparsevec <#> '{1:3,3:2}/4' AS ip,
  '{1:1}/4'::sparsevec <=> '{1:3}/4' AS cosine, '{1:1,2:2,3:3}/4'::sparsevec <+> '{1:3,3:2}/4' AS l1;
SELECT l2_distance('{1:3}/9'::sparsevec, '{9:4}/9'), inner_product('{1:3}/9'::sparsevec, '{9:4}/9'),
  cosine_distance('{1:3}/9'::sparsevec, '{9:4}/9'), l1_distance('{1:3}/9'::sparsevec, '{9:4}/9'),
  sparsevec_l2_squared_distance('{1:3}/9', '{9:4}/9'), sparsevec_negative_inner_product('{1:3}/9', '{1:4}/9');
SELECT '{}/2'::sparsevec <=> '{1:1}/2' AS cosine_zero, '{1:3e38}/1'::sparsevec <-> '{1:-3e38}/1' AS overflow,
  '{}/2'::sparsevec <-> '{}/2' AS empty;
SELECT '{}/1'::sparsevec <-> '{}/2';
SELECT '{}/1'::sparsevec <#> '{}/2';
SELECT '{}/1'::sparsevec <=> '{}/2';
SELECT '{}/1'::sparsevec <+> '{}/2';
-- beside the distances and the order of the same vectors
CREATE TABLE pairs AS
SELECT dim, seed, array_agg(CASE WHEN random_a > 0.7 THEN (random_a * 8)::int - 7 ELSE 0 END ORDER BY i)::vector AS a,
  array_agg(CASE WHEN random_b > 0.7 THEN (random_b * 8)::int - 7 ELSE 0 END ORDER BY i)::vector AS b
FROM generate_series(1, 40) AS dim, generate_series(1, 10) AS seed, LATERAL generate_series(1, dim) AS i,
  LATERAL (SELECT abs(hashint4(i * 1009 + dim * 101 + seed)::bigint) / 2147483648.0 AS random_a,
    abs(hashint4(-i * 1013 + dim * 103 - seed)::bigint) / 2147483648.0 AS random_b) AS r
GROUP BY dim, seed;
SELECT count(*), count(*) FILTER (WHERE (a <-> b) <> (a::sparsevec <-> b::sparsevec) OR
  (a <#> b) <> (a::sparsevec <#> b::sparsevec) OR (a <+> b) <> (a::sparsevec <+> b::sparsevec) OR
  (a <=> b) <> (a::sparsevec <=> b::sparsevec) OR l2_norm(a) <> l2_norm(a::sparsevec)) AS other_distance,
  count(*) FILTER (WHERE a::sparsevec::vector <> a) AS other_value,
  count(*) FILTER (WHERE (a <=> b) <> 'NaN') > 100 AS some
FROM pairs;
SELECT count(*), count(*) FILTER (WHERE vector_cmp(p.a, q.b) <> sparsevec_cmp(p.a, q.b)) AS other_order,
  count(*) FILTER (WHERE vector_cmp(p.a, q.b) = 0) > 10 AS some_equal
FROM pairs AS p, pairs AS q WHERE p.dim < 8 AND q.dim < 8;
DROP TABLE pairs;

-- order and btree
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt
FROM (VALUES ('{1:1}/2'::sparsevec, '{1:1}/2'::sparsevec), ('{2:1}/2', '{1:1}/2'), ('{2:-1}/2', '{}/2'),
  ('{}/2', '{}/3'), ('{1:1}/2', '{1:1,3:-1}/3'), ('{1:1,3:5}/9', '{1:1,2:-1}/9')) AS t (a, b);
CREATE TABLE sorted (s sparsevec(9));
INSERT INTO sorted SELECT format('{%s:%s}/9', 1 + i % 5, 1 + i % 2)::sparsevec FROM generate_series(1, 40) AS i;
CREATE INDEX ON sorted (s);
SET enable_seqscan = off;
SELECT s, count(*) FROM sorted WHERE s <= '{3:1}/9' GROUP BY s ORDER BY s;
RESET enable_seqscan;
INSERT INTO sorted VALUES ('{}/8');
DROP TABLE sorted;

-- casts
SELECT ARRAY[1,0,2]::sparsevec, '{0,1.5}'::real[]::sparsevec, '{0,1e-50}'::double precision[]::sparsevec(2),
  '{0,2.5}'::numeric[]::sparsevec, '[0,1]'::vector::sparsevec, '{2:1}/3'::sparsevec::vector(3);
SELECT '{1:1}/2'::sparsevec::vector(3);
SELECT '[0,1]'::vector::sparsevec(3);
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
WHERE 'sparsevec'::regtype IN (castsource, casttarget) ORDER BY 1::text, 2::text;

-- functions
SELECT l2_norm('{1:3,900:4}/1000'::sparsevec), l2_normalize('{1:3,900:4}/1000'::sparsevec),
  l2_normalize('{}/2'::sparsevec), l2_normalize('{1:3e38,2:1e-45}/2'::sparsevec);

-- COPY
CREATE TABLE copied (s sparsevec);
INSERT INTO copied VALUES ('{1:1,3:2}/4'), ('{}/1'), (NULL), (array_fill(0.5, ARRAY[9000])::sparsevec);
COPY copied TO PROGRAM 'cat > sparsevec.tmp' (FORMAT binary);
COPY copied FROM PROGRAM 'cat sparsevec.tmp; rm sparsevec.tmp' (FORMAT binary);
COPY copied TO PROGRAM 'cat > sparsevec.tmp';
COPY copied FROM PROGRAM 'cat sparsevec.tmp; rm sparsevec.tmp';
SELECT left(s::text, 20), count(*) FROM copied GROUP BY s ORDER BY s;
DROP TABLE copied;
DROP FUNCTION sqlstate_of;
