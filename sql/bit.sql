-- Distances of bit.
SELECT hamming_distance('1110', '0111'), B'1110' <~> B'0111' AS operator, B'' <~> B'' AS empty;
SELECT jaccard_distance('1110', '0111'), B'1110' <%> B'0111' AS operator, B'10' <%> B'01' AS nothing,
  B'00' <%> B'00' AS zeros, B'' <%> B'' AS empty, B'101' <%> B'101' AS same;
SELECT '111'::bit(3) <~> '1110';
SELECT '111'::bit(3) <%> '1110';
SELECT pg_typeof(binary_quantize('[1,-1]'::vector)), binary_quantize('[1,-1,2]'::vector) <~> binary_quantize('[1,1,1]'::halfvec) AS d;
-- every length up to 300 bits, beside a count of characters
SELECT count(*), count(*) FILTER (WHERE (a <~> b) <> differ OR
  (a <%> b) <> CASE WHEN both_set = 0 THEN 1 ELSE 1 - both_set / one_set::float8 END) AS wrong
FROM (SELECT string_agg((abs(hashint4(i + n)) % 2)::text, '' ORDER BY i)::varbit AS a,
    string_agg((abs(hashint4(i - n)) % 2)::text, '' ORDER BY i)::varbit AS b,
    count(*) FILTER (WHERE abs(hashint4(i + n)) % 2 <> abs(hashint4(i - n)) % 2) AS differ,
    count(*) FILTER (WHERE abs(hashint4(i + n)) % 2 = 1 AND abs(hashint4(i - n)) % 2 = 1) AS both_set,
    count(*) FILTER (WHERE abs(hashint4(i + n)) % 2 = 1 OR abs(hashint4(i - n)) % 2 = 1) AS one_set
  FROM generate_series(1, 300) AS n, LATERAL generate_series(1, n) AS i GROUP BY n) AS t;
