-- What VACUUM leaves of a vdist_hnsw index: no row without heap rows, room that later rows take, a graph as good as
-- a new one. index_info counts.
SET client_min_messages = warning;
SET enable_seqscan = off;
CREATE TABLE item (id serial PRIMARY KEY, embedding vector(16));
CREATE FUNCTION example(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(sin(i * j * 0.7) + cos(i % 31 + j) ORDER BY j)::real[]::vector(16) FROM generate_series(1, 16) j
$$;
INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 3000) i;
CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 8);
CREATE VIEW state AS
SELECT rows - 3000 AS more_rows, heap_rows - (SELECT count(*) FROM item) AS more_heap_rows, dead,
  (SELECT count(*) FROM vdist.index_check('item_index', true)) AS problems FROM vdist.index_info('item_index');

-- of rows that are not in the table, the 10 nearest
CREATE FUNCTION recall() RETURNS float8 LANGUAGE sql AS $$
  SELECT vdist.recall('item_index', (SELECT array_agg(example(i)) FROM generate_series(20001, 20300) i), 10)
$$;

-- 1,000 equal vectors: four heap rows are in their row, the others in rows of their own
INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 1000);
SELECT * FROM state;
-- those in the row go first, those of the chain later: then nothing of it is left
DELETE FROM item WHERE id IN (SELECT id FROM item WHERE embedding = example(0) ORDER BY id LIMIT 4);
VACUUM (INDEX_CLEANUP on) item;
SELECT * FROM state;
DELETE FROM item WHERE embedding = example(0);
VACUUM (INDEX_CLEANUP on) item;
SELECT * FROM state;
SELECT free > 0 AS free, pages AS pages_before FROM vdist.index_info('item_index') \gset
-- the other way round
INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 1000);
DELETE FROM item WHERE id IN (SELECT id FROM item WHERE embedding = example(0) ORDER BY id OFFSET 4);
VACUUM (INDEX_CLEANUP on) item;
SELECT * FROM state;
SELECT count(*) FROM (SELECT embedding FROM item ORDER BY embedding <-> example(0) LIMIT 6) i WHERE embedding = example(0);
DELETE FROM item WHERE embedding = example(0);
VACUUM (INDEX_CLEANUP on) item;
SELECT * FROM state;
-- what is free is used again, also what was part of a chain
SELECT :'free' AS free, pages - :pages_before AS more_pages FROM vdist.index_info('item_index');
-- room in the middle of a chain
INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 1000);
SELECT pages AS pages_before, free AS free_before FROM vdist.index_info('item_index') \gset
DELETE FROM item WHERE embedding = example(0) AND id % 2 = 0;
VACUUM (INDEX_CLEANUP on) item;
INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 480);
SELECT pages - :pages_before AS more_pages, :free_before - free AS taken FROM vdist.index_info('item_index');
SELECT * FROM state;
DELETE FROM item WHERE embedding = example(0);
VACUUM (INDEX_CLEANUP on) item;

-- a long chain of which each row loses one is not counted again and again
INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 30000);
DELETE FROM item WHERE id IN (SELECT id FROM item WHERE embedding = example(0) ORDER BY id LIMIT 4) OR embedding = example(0) AND id % 100 = 0;
SELECT pg_stat_force_next_flush();
SELECT idx_blks_hit + idx_blks_read AS blocks_before FROM pg_statio_user_indexes WHERE indexrelname = 'item_index' \gset
VACUUM (INDEX_CLEANUP on) item;
SELECT pg_stat_force_next_flush();
SELECT idx_blks_hit + idx_blks_read - :blocks_before < 3000 AS few_blocks FROM pg_statio_user_indexes WHERE indexrelname = 'item_index';
SELECT * FROM state;
DELETE FROM item WHERE embedding = example(0);
VACUUM (INDEX_CLEANUP on) item;
SELECT * FROM state;

-- half of the rows go: lists stay full, searches begin at enough rows, and recall is that of a new index
INSERT INTO item (embedding) SELECT example(i) FROM generate_series(10001, 11600) i;
SELECT routing AS routing_before FROM vdist.index_info('item_index') \gset
DELETE FROM item WHERE id % 2 > 0;
VACUUM (INDEX_CLEANUP on) item;
SELECT reltuples - (SELECT count(*) FROM item) AS uncounted FROM pg_class WHERE relname = 'item_index';
SELECT degree / slots > 0.95 AS lists_are_full, routing > 0.9 * :routing_before AS searches_begin_at_enough FROM vdist.index_info('item_index');
SELECT count(*) AS problems FROM vdist.index_check('item_index', true);
SELECT recall() AS recall_after \gset
REINDEX INDEX item_index;
SELECT :recall_after > recall() - 0.01 AS recall;
-- as many others come: the index does not grow
SELECT pages AS pages_before FROM vdist.index_info('item_index') \gset
DELETE FROM item WHERE id % 4 = 0;
VACUUM (INDEX_CLEANUP on) item;
INSERT INTO item (embedding) SELECT example(i) FROM generate_series(15001, 16000) i;
SELECT pages - :pages_before AS more_pages FROM vdist.index_info('item_index');
SELECT count(*) AS problems FROM vdist.index_check('item_index', true);
SELECT recall() AS recall_after \gset
REINDEX INDEX item_index;
SELECT :recall_after > recall() - 0.01 AS recall;

DROP TABLE item CASCADE;
DROP FUNCTION recall, example;
