-- Inner products of rows of very uneven lengths: the longest rows answer queries in all directions, whether they were
-- there when the index was built or came later.
CREATE TABLE item (id int, v vector(32));
-- between -1 and 1, and about normal
CREATE FUNCTION random_at(i int) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT hashint4(i) / 2147483648.0';
CREATE FUNCTION normal_at(i int) RETURNS float8 LANGUAGE sql IMMUTABLE AS
  'SELECT random_at(i) + random_at(i + 100000000) + random_at(i + 200000000)';
-- in one of 100 crowds
CREATE FUNCTION example(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg((random_at(-(i % 100) * 32 - j) + 0.7 * random_at(i * 32 + j)) * exp(normal_at(i + 300000000)) ORDER BY j)::real[]::vector(32)
  FROM generate_series(1, 32) j
$$;
INSERT INTO item SELECT i, example(i) FROM generate_series(1, 8000) i;
CREATE INDEX item_index ON item USING vdist_hnsw (v vector_ip_ops) WITH (quantization = 8);
CREATE TABLE query AS SELECT i AS id, example(i + 1000000) AS v FROM generate_series(1, 100) i;

-- of the ten nearest of every query, found by a search that looks at few rows
CREATE FUNCTION found() RETURNS numeric LANGUAGE sql AS $$
  SELECT round(avg((SELECT count(*) FROM unnest(a.ids) x WHERE x = ANY (e.ids))), 2)
  FROM query,
    LATERAL (SELECT array_agg(id) AS ids FROM (SELECT id FROM item ORDER BY v <#> query.v LIMIT 10) s) a,
    LATERAL (SELECT array_agg(id) AS ids FROM (SELECT id FROM item ORDER BY (v <#> query.v) + 0 LIMIT 10) s) e
$$;
SET enable_seqscan = off;
SET vdist.hnsw_ef_search = 20;
SELECT found() > 9.93 AS built;
-- as many rows more, among them the longest
INSERT INTO item SELECT i, example(i)::vector FROM generate_series(8001, 12000) i;
INSERT INTO item SELECT i, (example(i)::real[]::vector(32) * array_fill(3::real, ARRAY[32])::vector(32)) FROM generate_series(12001, 12020) i;
SELECT found() > 9.8 AS inserted;
DROP TABLE item, query;
DROP FUNCTION found, example, normal_at, random_at;
