-- Index scans that go on and on: from the first search to the stream, and from there, when work_mem is used up, to
-- the sort of all that is left; and searches that begin anew in the same scan, wherever the one before ended.
SET client_min_messages = warning;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE item (id integer PRIMARY KEY, embedding vector(16));
CREATE FUNCTION example(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(sin(i * j * 0.7) + cos(i % 31 + j) ORDER BY j)::real[]::vector(16) FROM generate_series(1, 16) j
$$;
-- few edges, so that rows are met late; equal vectors, NULLs, rows that VACUUM has taken and others that are dead
INSERT INTO item SELECT i, CASE WHEN i % 100 > 0 THEN example(i) END FROM generate_series(1, 6000) i;
INSERT INTO item SELECT i, example(i % 3) FROM generate_series(10001, 10900) i;
CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 3, ef_construction = 10);
DELETE FROM item WHERE id % 9 = 0;
VACUUM (INDEX_CLEANUP on) item;
INSERT INTO item SELECT i, example(i) FROM generate_series(7001, 9000) i;
DELETE FROM item WHERE id % 7 = 0;

-- One search to its end: is every row there once, and in what order are they? Those that were found late come
-- last, and in order, too.
CREATE FUNCTION look(memory text, query vector, OUT rows bigint, OUT complete boolean, OUT in_order boolean, OUT late_rows bigint)
LANGUAGE plpgsql AS $$
DECLARE
  ids integer[];
  distances float8[];
  falls bigint;
BEGIN
  PERFORM set_config('work_mem', memory, true);
  SELECT array_agg(id), array_agg(d) INTO ids, distances
  FROM (SELECT id, embedding <-> query AS d FROM item ORDER BY embedding <-> query) s;
  rows := cardinality(ids);
  complete := (SELECT array_agg(i ORDER BY i) FROM unnest(ids) i) =
    (SELECT array_agg(id ORDER BY id) FROM item WHERE embedding IS NOT NULL);
  SELECT count(*) FILTER (WHERE d < before), coalesce(rows - min(n) FILTER (WHERE d < before) + 1, 0) INTO falls, late_rows
  FROM (SELECT n, d, lag(d) OVER (ORDER BY n) AS before FROM unnest(distances) WITH ORDINALITY u(d, n)) s;
  in_order := falls <= 1;
END $$;
-- the less memory, the sooner everything is sorted: with 64kB so soon that it is chance whether any row is late
SELECT memory, bool_and(rows = (SELECT count(embedding) FROM item)) AS rows, bool_and(complete) AS complete, bool_and(in_order) AS in_order,
  CASE WHEN memory <> '64kB' THEN sum(late_rows) > 0 END AS some_late, max(late_rows) < 0.1 * max(rows) AS few_late
FROM unnest('{64kB,200kB,64MB}'::text[]) memory, generate_series(1, 8) q, look(memory, example(q * 777)) l
GROUP BY memory ORDER BY memory;

-- What a search takes while it goes on, beside what it needs to begin.
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS $$
  SELECT sum(total_bytes) FROM pg_backend_memory_contexts
  WHERE name LIKE 'vdist_hnsw%' OR name LIKE 'TupleSort%' OR name = 'Caller tuples'
$$;
CREATE TABLE many (embedding vector(3));
INSERT INTO many SELECT ARRAY[sin(i), cos(i * 0.7), i % 100 / 100.0]::real[] FROM generate_series(1, 20000) i;
CREATE INDEX many_index ON many USING vdist_hnsw (embedding);
CREATE FUNCTION read_on(memory text, rows integer, OUT more bigint) LANGUAGE plpgsql AS $$
DECLARE
  c refcursor;
  first bigint;
BEGIN
  PERFORM set_config('work_mem', memory, true);
  OPEN c FOR SELECT embedding FROM many ORDER BY embedding <-> '[0.1,0.2,0.3]';
  MOVE FORWARD 1 FROM c;
  first := memory();
  MOVE FORWARD rows - 1 FROM c;
  more := memory() - first;
  CLOSE c;
END $$;
-- lists double when they are full, and the sort has as much again for itself
SELECT rows, read_on('64kB', rows) < 500000 AS of_64kb, read_on('300kB', rows) < 1300000 AS of_300kb
FROM unnest('{11,100,1000,5000,20000}'::int[]) rows;
SELECT read_on('64MB', 20000) > 2000000 AS without_limit;
DROP TABLE many;

-- A search after the other in one scan: each gives what it gives alone, however far the one before came.
CREATE TABLE asked (n integer, query vector, rows integer);
INSERT INTO asked SELECT n, CASE WHEN n % 5 > 0 THEN example((n * 31)::int) END, rows
FROM unnest('{1,4000,30,6000,0,5,400,2000,12,300,7000,25,600,60,9}'::int[] || ARRAY(SELECT i * 1009 % 3000 FROM generate_series(1, 45) i)) WITH ORDINALITY u(rows, n);
CREATE FUNCTION alone(query vector, rows integer) RETURNS integer[] LANGUAGE sql AS $$
  SELECT array_agg(i.id) FROM (SELECT query AS q OFFSET 0) q, LATERAL (SELECT id FROM item ORDER BY embedding <-> q LIMIT rows) i
$$;
SET enable_seqscan = on;
EXPLAIN (COSTS OFF) SELECT q.n, i.id FROM asked q, LATERAL (SELECT id FROM item ORDER BY embedding <-> q.query LIMIT q.rows) i;
SET enable_seqscan = off;
CREATE FUNCTION together(memory text) RETURNS TABLE (searches bigint, others integer[]) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('work_mem', memory, true);
  RETURN QUERY SELECT count(*), array_agg(a.n ORDER BY a.n) FILTER (WHERE i.ids IS DISTINCT FROM alone(a.query, a.rows))
  FROM asked a LEFT JOIN (
    SELECT q.n, array_agg(i.id) AS ids
    FROM asked q, LATERAL (SELECT id FROM item ORDER BY embedding <-> q.query LIMIT q.rows) i
    GROUP BY q.n) i ON i.n = a.n;
END $$;
SELECT m, t.* FROM unnest('{64kB,200kB,64MB}'::text[]) m, together(m) t;

-- a search is not cut short because one before it met many equal vectors
INSERT INTO item SELECT i, example(3) FROM generate_series(20001, 40000) i;
TRUNCATE asked;
INSERT INTO asked VALUES (1, example(3), 100), (2, example(31), 400), (3, example(3), 20);
SELECT * FROM together('500kB');
DROP TABLE item, asked;
DROP FUNCTION example, look, memory, read_on, alone, together;
