-- Small crowds far from all other rows: a hundredth of the rows, of which no searches for any rows tell.
CREATE TABLE item (id int, v vector(16));
CREATE FUNCTION at(i int) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT (hashint4(i) + hashint4(i + 500000000)::bigint) / 2147483648.0';
-- one row in fifty is in one of four crowds
CREATE FUNCTION example(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(CASE WHEN i % 50 = 0 THEN 30 * at(-j - i / 50 % 4 * 16) + at(i * 16 + j) ELSE at(i * 16 + j) END ORDER BY j)::real[]::vector(16)
  FROM generate_series(1, 16) j
$$;
INSERT INTO item SELECT i, example(i) FROM generate_series(1, 20000) i;
CREATE INDEX item_index ON item USING vdist_hnsw (v vector_l2_ops);
-- of the ten nearest of rows there, found
SET enable_seqscan = off;
SELECT avg((SELECT count(*) FROM unnest(a.ids) x WHERE x = ANY (e.ids))) > 9 AS found
FROM (SELECT example(50 * i + 2000000) AS v FROM generate_series(1, 40) i) query,
  LATERAL (SELECT array_agg(id) AS ids FROM (SELECT id FROM item ORDER BY v <-> query.v LIMIT 10) s) a,
  LATERAL (SELECT array_agg(id) AS ids FROM (SELECT id FROM item ORDER BY (v <-> query.v) + 0 LIMIT 10) s) e;
DROP TABLE item;
DROP FUNCTION example, at;
