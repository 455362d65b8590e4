-- Which way the planner goes, where one is clearly the faster: test/bench/planner measures by how much.
SET client_min_messages = warning;
CREATE FUNCTION spread(i integer, dim integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(sin(i * (j + 1) * 0.37) + cos((i % 17) * j) ORDER BY j)::real[]::vector
  FROM generate_series(1, dim) j
$$;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || query;
END
$$;
-- The indexes that a plan uses.
CREATE FUNCTION way(query text) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(substring(line FROM '(?:using|Bitmap Index Scan on) (\w+)'), ' '), 'no index')
  FROM plan(query) line
$$;

CREATE TABLE tiny AS SELECT i AS id, spread(i, 64)::vector(64) AS embedding FROM generate_series(1, 5) i;
CREATE TABLE big AS SELECT i AS id, i AS indexed, i AS plain, spread(i, 64)::vector(64) AS embedding FROM generate_series(1, 5000) i;
CREATE TABLE wide AS SELECT i AS id, spread(i, 768)::vector(768) AS embedding FROM generate_series(1, 300) i;
CREATE INDEX tiny_near ON tiny USING vdist_hnsw (embedding);
CREATE INDEX big_near ON big USING vdist_hnsw (embedding);
CREATE INDEX big_cosine ON big USING vdist_hnsw (embedding vector_cosine_ops);
CREATE INDEX big_indexed ON big (indexed);
CREATE INDEX wide_near ON wide USING vdist_hnsw (embedding);
VACUUM ANALYZE tiny, big, wide;

-- the nearest few
SELECT way('SELECT id FROM big ORDER BY embedding <-> spread(7, 64) LIMIT 1');
SELECT way('SELECT id FROM big ORDER BY embedding <=> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big ORDER BY embedding <-> (SELECT embedding FROM tiny WHERE id = 3) LIMIT 10');
SELECT way('SELECT * FROM (SELECT id FROM tiny) q, LATERAL (SELECT id FROM big ORDER BY embedding <-> spread(q.id, 64) LIMIT 3) n');
SELECT way('SELECT id FROM big WHERE embedding <-> spread(7, 64) < 3 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
PREPARE near (vector) AS SELECT id FROM big ORDER BY embedding <-> $1 LIMIT 10;
SET plan_cache_mode = force_generic_plan;
SELECT way('EXECUTE near (spread(7, 64))');
RESET plan_cache_mode;

-- a table of a page, a whole table, no order, another order, a search as wide as the table
SELECT way('SELECT id FROM tiny ORDER BY embedding <-> spread(7, 64) LIMIT 3');
SELECT way('SELECT id FROM big ORDER BY embedding <-> spread(7, 64)');
SELECT way('SELECT id FROM big ORDER BY embedding <-> spread(7, 64) LIMIT 4000');
SELECT way('SELECT count(*) FROM big');
SELECT way('SELECT id FROM big ORDER BY embedding <-> spread(7, 64) DESC LIMIT 3');
SELECT way('SELECT id FROM big ORDER BY embedding <#> spread(7, 64) LIMIT 3');
SET vdist.hnsw_ef_search = 5000;
SELECT way('SELECT id FROM big ORDER BY embedding <-> spread(7, 64) LIMIT 3');
RESET vdist.hnsw_ef_search;

-- conditions: wide ones, tight ones, tight ones with an index of their own
SELECT way('SELECT id FROM big WHERE plain > 2500 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big WHERE indexed > 2500 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big WHERE plain > 4995 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big WHERE plain > 4750 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big WHERE indexed > 4995 ORDER BY embedding <-> spread(7, 64) LIMIT 10');
SELECT way('SELECT id FROM big WHERE indexed = 17 ORDER BY embedding <-> spread(7, 64) LIMIT 1');

-- to read 300 vectors out of line takes longer than to search for five among them
SELECT way('SELECT id FROM wide ORDER BY embedding <-> spread(7, 768) LIMIT 5');
SELECT way('SELECT id FROM wide WHERE id < 5 ORDER BY embedding <-> spread(7, 768) LIMIT 5');
-- and the planner knows what it takes: nothing more for one in the row
CREATE FUNCTION cost_of(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
  RETURN plan->0->'Plan'->>'Total Cost';
END
$$;
CREATE TABLE plain (LIKE wide);
ALTER TABLE plain ALTER embedding SET STORAGE plain;
INSERT INTO plain SELECT * FROM wide;
VACUUM ANALYZE plain;
SELECT tbl, round((cost_of(format('SELECT embedding <-> spread(7, 768) FROM %I', tbl)) -
  cost_of(format('SELECT id FROM %I', tbl))) / 300, 2) AS distance
FROM unnest('{wide,plain}'::text[]) tbl;
-- a table without statistics, no dimensions at all, 104 bits, which are as wide as a pointer
CREATE TABLE unknown (LIKE wide);
CREATE TABLE free (embedding vector, half halfvec(1536), bits bit(104));
INSERT INTO free SELECT embedding, (spread(id, 1536))::halfvec, binary_quantize(spread(id, 104)) FROM wide;
ANALYZE free;
SELECT cost_of('SELECT embedding <-> spread(7, 768) FROM unknown') > 4 * cost_of('SELECT id FROM unknown') AS unknown,
  cost_of('SELECT embedding <-> spread(7, 768) FROM free') > 1500 AS free,
  cost_of('SELECT half <-> spread(7, 1536)::halfvec FROM free') > 1500 AS half,
  cost_of('SELECT half <-> half FROM free') > 3000 AS two,
  cost_of('SELECT embedding::halfvec <-> spread(7, 768)::halfvec FROM free') > 1500 AS converted,
  cost_of('SELECT bits <~> binary_quantize(spread(7, 104)) FROM free') < 200 AS bits,
  cost_of('SELECT embedding <-> spread(7, 768) FROM (SELECT embedding FROM wide OFFSET 0) s') > 0 AS subquery;
-- a plan with a parameter costs what one with its value does
PREPARE distance (vector) AS SELECT embedding <-> $1 FROM wide;
PREPARE halves (halfvec) AS SELECT half <-> $1 FROM free;
SET plan_cache_mode = force_generic_plan;
SELECT cost_of('EXECUTE distance (spread(7, 768))') - cost_of('SELECT embedding <-> spread(7, 768) FROM wide') AS generic,
  cost_of('EXECUTE halves (spread(7, 1536)::halfvec)') - cost_of('SELECT half <-> spread(7, 1536)::halfvec FROM free') AS halves;
RESET plan_cache_mode;

-- partitions are merged in order
CREATE TABLE parts (id integer, embedding vector(64)) PARTITION BY HASH (id);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT id, embedding FROM big;
CREATE INDEX parts_near ON parts USING vdist_hnsw (embedding);
VACUUM ANALYZE parts;
SELECT way('SELECT id FROM parts ORDER BY embedding <-> spread(7, 64) LIMIT 5');

-- A distance that only orders is not computed, whichever side the column stands on, in any statement: the
-- first of a session, whose planning loads the library, too. One that is asked for is.
CREATE FUNCTION spared(query text) RETURNS boolean LANGUAGE sql AS $$
  SELECT bool_or(line ~ 'Output: .*NULL::double precision') FROM plan(query) line
$$;
\c -
SELECT spared('SELECT id FROM big ORDER BY embedding <-> (SELECT embedding FROM tiny WHERE id = 3) LIMIT 5');
SELECT spared('SELECT id FROM big ORDER BY (SELECT embedding FROM tiny WHERE id = 3) <-> embedding LIMIT 5');
SELECT spared('SELECT id FROM big ORDER BY embedding <-> (SELECT embedding FROM tiny WHERE id = 3) FETCH FIRST 5 ROWS WITH TIES');
SELECT spared('SELECT id, embedding <-> (SELECT embedding FROM tiny WHERE id = 3) AS d FROM big ORDER BY d LIMIT 5');
-- one of two is spared, and the rows are the same
CREATE VIEW nearest AS SELECT id, round(sqrt(embedding <-> spread(7, 64))::numeric, 3) AS root
FROM big ORDER BY embedding <-> spread(7, 64) LIMIT 5;
SELECT spared('TABLE nearest');
TABLE nearest;
SET enable_indexscan = off;
SELECT spared('TABLE nearest');
TABLE nearest;
DROP VIEW nearest;

DROP TABLE tiny, big, wide, plain, unknown, free, parts;
DROP FUNCTION plan, way, spread, cost_of, spared;
