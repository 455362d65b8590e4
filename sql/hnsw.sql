-- vdist_hnsw as a user tries it. Order and completeness are exact whatever the graph looks like.
SET client_min_messages = warning;
CREATE TABLE item (id integer PRIMARY KEY, tag integer, embedding vector(12));
-- deterministic, clustered, with duplicates and NULLs
CREATE FUNCTION example(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(round((sin(i * (j + 1) * 0.37) * 3 + cos((i % 17) * j) * 5)::numeric, 3)
                   ORDER BY j)::real[]::vector
  FROM generate_series(0, 11) j
$$;
INSERT INTO item SELECT i, i % 10, CASE WHEN i % 50 <> 0 THEN example(i % 2700) END
FROM generate_series(1, 3600) i;
CREATE INDEX item_l2 ON item USING vdist_hnsw (embedding vector_l2_ops);
CREATE INDEX item_ip ON item USING vdist_hnsw (embedding vector_ip_ops);
CREATE INDEX item_cosine ON item USING vdist_hnsw (embedding vector_cosine_ops);
CREATE INDEX item_l1 ON item USING vdist_hnsw (embedding vector_l1_ops);
ANALYZE item;

SELECT i.relname, vdist.index_check(i.oid, true)
FROM pg_class i WHERE relname LIKE 'item%' AND relam = (SELECT oid FROM pg_am WHERE amname = 'vdist_hnsw');
SELECT rows, heap_rows, dead FROM vdist.index_info('item_l2');

-- the planner takes the index for the nearest few
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY embedding <-> example(7) LIMIT 5;

-- a distance that only orders is not computed; one that is selected or sorted by again is
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM item ORDER BY embedding <-> example(7) LIMIT 5;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, embedding <-> example(7) AS d FROM item ORDER BY embedding <-> example(7) LIMIT 5;
EXPLAIN (COSTS OFF, VERBOSE)
SELECT q.id, i.id FROM item q, LATERAL (SELECT id FROM item ORDER BY embedding <-> q.embedding LIMIT 2) i WHERE q.id < 3;

-- every row, once, in order but for those that come last because they were found late
CREATE FUNCTION compare(operator text, query vector) RETURNS TABLE (rows bigint, in_order boolean, same boolean)
LANGUAGE plpgsql AS $$
DECLARE
  sorted text[];
  scanned text[];
  distances float8[];
  statement text := format('SELECT array_agg(ctid::text), array_agg(d) FROM (SELECT ctid, embedding %s $1 AS d
     FROM item WHERE embedding IS NOT NULL ORDER BY embedding %s $1%%s) s', operator, operator);
BEGIN
  SET LOCAL enable_indexscan = off;
  EXECUTE format(statement, ', ctid') INTO sorted, distances USING query;
  SET LOCAL enable_indexscan = on;
  SET LOCAL enable_seqscan = off;
  SET LOCAL enable_sort = off;
  EXECUTE format(statement, '') INTO scanned, distances USING query;
  SET LOCAL enable_seqscan = on;
  SET LOCAL enable_sort = on;
  SELECT count(*), count(*) FILTER (WHERE d < previous) <= 1
    INTO rows, in_order
    FROM (SELECT d, lag(d) OVER (ORDER BY n) AS previous
          FROM unnest(distances) WITH ORDINALITY u(d, n)) s;
  same := (SELECT array_agg(t ORDER BY t) FROM unnest(sorted) t)
        = (SELECT array_agg(t ORDER BY t) FROM unnest(scanned) t);
  RETURN NEXT;
END
$$;
SET vdist.hnsw_ef_search = 200;
SELECT o, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) o, compare(o, example(7)) c;
SELECT o, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) o, compare(o, example(1001)) c;

-- ties by TID: equal vectors come in the order of the table
SELECT id FROM item WHERE tag >= 0 ORDER BY embedding <-> example(7) LIMIT 2;
SELECT array_agg(id) FROM (SELECT id FROM item ORDER BY embedding <=> example(33) LIMIT 4) s;

-- a filter does not starve LIMIT
SELECT count(*) FROM (SELECT id FROM item WHERE tag = 3 AND id > 3500 ORDER BY embedding <-> example(500) LIMIT 9) s;
RESET vdist.hnsw_ef_search;

-- recall
SELECT vdist.recall('item_l2') > 0.95 AS l2, vdist.recall('item_ip') > 0.95 AS ip,
       vdist.recall('item_cosine') > 0.95 AS cosine, vdist.recall('item_l1') > 0.95 AS l1;
SELECT vdist.recall('item_l2', ARRAY[example(3), example(4)], 5) > 0.9 AS given;
BEGIN;
SET LOCAL enable_seqscan = off;
SELECT vdist.recall('item_l2', ARRAY[example(3)], 5) > 0.9 AS given;
SHOW enable_seqscan;
COMMIT;
-- what it is measured against does not come from the index, whatever the settings
SELECT pg_stat_force_next_flush();
SELECT idx_scan AS scans_before FROM pg_stat_user_indexes WHERE indexrelname = 'item_l2' \gset
SET enable_seqscan = off;
SET enable_sort = off;
SELECT vdist.recall('item_l2', ARRAY[example(3), example(4)], 5) > 0.9 AS given;
RESET enable_seqscan;
RESET enable_sort;
SELECT pg_stat_force_next_flush();
SELECT idx_scan - :scans_before AS scans FROM pg_stat_user_indexes WHERE indexrelname = 'item_l2';
SELECT vdist.recall('item_pkey');
SELECT vdist.recall('item_l2', k => 0);

-- changes
UPDATE item SET tag = tag + 1 WHERE id % 7 = 0;
UPDATE item SET embedding = example(id + 5000) WHERE id % 11 = 0;
DELETE FROM item WHERE id % 3 = 0;
INSERT INTO item SELECT i, 0, example(i) FROM generate_series(4001, 4400) i;
SELECT vdist.index_check('item_l2', true);
VACUUM item;
SELECT i, vdist.index_check(i, true) FROM unnest('{item_l2,item_ip,item_cosine,item_l1}'::regclass[]) i;
SELECT dead FROM vdist.index_info('item_l2');
SELECT o, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) o, compare(o, example(4222)) c;
DELETE FROM item;
VACUUM item;
SELECT rows, heap_rows, dead FROM vdist.index_info('item_l2');
SELECT id FROM item ORDER BY embedding <-> example(1) LIMIT 1;
INSERT INTO item SELECT i, 0, example(i) FROM generate_series(1, 300) i;
SELECT i, vdist.index_check(i, true) FROM unnest('{item_l2,item_ip,item_cosine,item_l1}'::regclass[]) i;
SELECT o, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) o, compare(o, example(22)) c;
DROP TABLE item;

-- 10,000 equal vectors and one other
CREATE TABLE same (id serial, embedding vector(3));
INSERT INTO same (embedding) SELECT '[1,2,3]' FROM generate_series(1, 5000);
CREATE INDEX same_index ON same USING vdist_hnsw (embedding);
INSERT INTO same (embedding) SELECT '[1,2,3]' FROM generate_series(1, 5000);
INSERT INTO same (embedding) VALUES ('[3,2,1]');
SELECT rows, heap_rows, pages < 25 AS small FROM vdist.index_info('same_index');
SELECT vdist.index_check('same_index', true);
SET enable_seqscan = off;
SELECT array_agg(id) FROM (SELECT id FROM same ORDER BY embedding <-> '[3,2,1]' LIMIT 4) s;
SELECT count(DISTINCT id), count(*) FROM (SELECT id FROM same ORDER BY embedding <-> '[3,2,1]') s;
DELETE FROM same WHERE id BETWEEN 3 AND 9990;
VACUUM same;
SELECT vdist.index_check('same_index', true);
INSERT INTO same (embedding) SELECT '[1,2,3]' FROM generate_series(1, 3000);
SELECT rows, heap_rows, pages < 25 AS small FROM vdist.index_info('same_index');
SELECT count(DISTINCT id), count(*) FROM (SELECT id FROM same ORDER BY embedding <-> '[3,2,1]') s;

-- cosine of zero vectors is NaN: they come last, and a zero query has no order
CREATE TABLE zero (id integer, embedding vector(3));
CREATE INDEX ON zero USING vdist_hnsw (embedding vector_cosine_ops);
INSERT INTO zero VALUES (1, '[0,0,0]'), (2, '[1,1,1]'), (3, NULL), (4, '[1,1,2]');
SELECT id FROM zero ORDER BY embedding <=> '[1,1,1]';
SELECT count(*) FROM (SELECT id FROM zero ORDER BY embedding <=> '[0,0,0]') s;
SELECT count(*) FROM (SELECT id FROM zero ORDER BY embedding <=> NULL) s;

-- expression, partial, unlogged, temporary, concurrently, wide, narrow
CREATE TABLE other (id integer, a real[], embedding vector);
INSERT INTO other SELECT i, ARRAY[i, i % 7, 1], ARRAY[i, i % 5] FROM generate_series(1, 100) i;
CREATE INDEX other_expression ON other USING vdist_hnsw ((a::vector(3)) vector_l2_ops);
CREATE INDEX CONCURRENTLY other_partial ON other USING vdist_hnsw ((embedding::vector(2))) WHERE id > 50;
SELECT id FROM other ORDER BY a::vector(3) <-> '[50,1,1]' LIMIT 3;
SELECT id FROM other WHERE id > 50 ORDER BY embedding::vector(2) <-> '[0,0]' LIMIT 3;
REINDEX INDEX CONCURRENTLY other_partial;
SELECT vdist.index_check('other_partial', true);
CREATE UNLOGGED TABLE unlogged (embedding vector(2));
CREATE INDEX unlogged_index ON unlogged USING vdist_hnsw (embedding);
INSERT INTO unlogged SELECT ARRAY[i, i % 5] FROM generate_series(1, 100) i;
SELECT vdist.index_check('unlogged_index', true);
CREATE TEMPORARY TABLE temporary (embedding vector(2));
CREATE INDEX temporary_index ON temporary USING vdist_hnsw (embedding);
INSERT INTO temporary SELECT ARRAY[i, i % 5] FROM generate_series(1, 100) i;
SELECT vdist.index_check('temporary_index', true);
SELECT embedding FROM temporary ORDER BY embedding <-> '[7,2]' LIMIT 2;
CREATE TABLE wide (id integer, embedding vector(16000));
INSERT INTO wide SELECT i, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 16000) j)::real[] FROM generate_series(1, 30) i;
CREATE INDEX wide_index ON wide USING vdist_hnsw (embedding vector_l2_ops);
INSERT INTO wide SELECT i, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 16000) j)::real[] FROM generate_series(31, 60) i;
SELECT vdist.index_check('wide_index', true);
SELECT id FROM wide ORDER BY embedding <-> (SELECT embedding FROM wide WHERE id = 44) LIMIT 1;
DELETE FROM wide WHERE id % 2 = 0;
VACUUM wide;
SELECT vdist.index_check('wide_index', true);
SELECT count(*) FROM (SELECT id FROM wide ORDER BY embedding <-> (SELECT embedding FROM wide WHERE id = 43)) s;
CREATE TABLE narrow (id integer, embedding vector(1));
CREATE INDEX narrow_index ON narrow USING vdist_hnsw (embedding vector_l2_ops) WITH (m = 2, ef_construction = 4, quantization = '8');
INSERT INTO narrow SELECT i, ARRAY[i * i] FROM generate_series(1, 2600) i;
SELECT vdist.index_check('narrow_index', true);
SELECT id FROM narrow ORDER BY embedding <-> '[101]' LIMIT 2;
SELECT code_bits, slots >= 4 AS slots FROM vdist.index_info('narrow_index');

-- inserts into full lists cut no row off
CREATE TABLE crowd (id integer, embedding vector(16));
CREATE INDEX crowd_index ON crowd USING vdist_hnsw (embedding) WITH (m = 3, ef_construction = 16);
SELECT setseed(0.01);
CREATE TEMP TABLE middle AS
SELECT k, ARRAY(SELECT random() * 20 FROM generate_series(1, 16) WHERE k = k) AS m FROM generate_series(1, 40) k;
CREATE TEMP TABLE around AS
SELECT i, ARRAY(SELECT m + random() * 10 FROM unnest(middle.m) m WHERE i = i)::vector(16) AS e
FROM generate_series(1, 11000) i JOIN middle ON k = i * 7919 % 40 + 1;
INSERT INTO crowd SELECT * FROM around WHERE i <= 8000;
REINDEX INDEX crowd_index;
INSERT INTO crowd SELECT * FROM around WHERE i > 8000;
SELECT vdist.index_check('crowd_index', true);
DELETE FROM crowd WHERE id % 2 = 0;
VACUUM crowd;
INSERT INTO crowd SELECT * FROM around WHERE i % 3 = 0;
SELECT vdist.index_check('crowd_index', true);

-- what cannot be
CREATE INDEX ON other USING vdist_hnsw (embedding);
CREATE INDEX ON narrow USING vdist_hnsw (embedding) WITH (m = 1);
CREATE INDEX ON narrow USING vdist_hnsw (embedding) WITH (m = 101);
CREATE INDEX ON narrow USING vdist_hnsw (embedding) WITH (ef_construction = 1001);
CREATE INDEX ON narrow USING vdist_hnsw (embedding) WITH (m = 20, ef_construction = 30);
CREATE INDEX ON narrow USING vdist_hnsw (embedding) WITH (quantization = '3');
CREATE INDEX ON narrow USING vdist_hnsw (embedding, embedding);
CREATE UNIQUE INDEX ON narrow USING vdist_hnsw (embedding);
SET vdist.hnsw_ef_search = 0;
SET vdist.hnsw_ef_search = 10001;
SELECT id FROM narrow ORDER BY embedding <-> '[1,2]' LIMIT 1;
SELECT vdist.index_check('narrow');
SELECT vdist.index_info('item_missing');
-- what a build leaves that failed
CREATE TABLE failed (embedding vector);
INSERT INTO failed VALUES ('[1,2,3]');
CREATE INDEX CONCURRENTLY failed_index ON failed USING vdist_hnsw ((embedding::vector(2)));
SELECT vdist.index_info('failed_index');
SELECT vdist.index_check('failed_index', true);
UPDATE failed SET embedding = '[1,2]';
REINDEX INDEX failed_index;
SELECT vdist.index_check('failed_index', true);
DROP TABLE failed;
CREATE TABLE parted (id integer, embedding vector(3)) PARTITION BY HASH (id);
CREATE INDEX parted_index ON parted USING vdist_hnsw (embedding);
SELECT vdist.index_info('parted_index');
DROP TABLE parted;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        -- that a plan was disabled and taken all the same is said from PostgreSQL 18 on
        CONTINUE WHEN line LIKE '%Disabled: true';
        RETURN NEXT line;
    END LOOP;
END $$;
SELECT plan('SELECT count(*) FROM narrow');
DROP TABLE same, zero, other, unlogged, temporary, wide, narrow, crowd;
DROP FUNCTION compare, example, plan;
