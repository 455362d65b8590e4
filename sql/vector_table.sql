-- Vectors in tables: storage, btree, aggregates, COPY, plans.

-- in the row with a short header (30 dimensions and less), in the row, and out of line
CREATE TABLE stored (dim int, v vector);
INSERT INTO stored SELECT dim, (SELECT array_agg((i * 31 + dim) % 97) FROM generate_series(1, dim) AS i)::vector
FROM unnest(ARRAY[1, 3, 29, 30, 31, 32, 400, 499, 700, 1536, 16000]) AS dim;
SELECT dim, vector_dims(v), pg_column_size(v), v::text::vector = v AS same,
  v <-> v AS distance, (v <-> array_fill(0, ARRAY[dim])::vector)::numeric(10, 3) AS length
FROM stored ORDER BY dim;
SELECT dim, v FROM stored WHERE dim < 4;

-- COPY, text and binary
CREATE TABLE copied (LIKE stored);
COPY stored TO PROGRAM 'cat > vector_table.tmp';
COPY copied FROM PROGRAM 'cat vector_table.tmp; rm vector_table.tmp';
SELECT count(*) FROM stored JOIN copied USING (dim, v);
TRUNCATE copied;
COPY stored TO PROGRAM 'cat > vector_table.tmp' (FORMAT binary);
COPY copied FROM PROGRAM 'cat vector_table.tmp; rm vector_table.tmp' (FORMAT binary);
SELECT count(*) FROM stored JOIN copied USING (dim, v);
DROP TABLE copied;
COPY (SELECT '[1,2]'::vector) TO STDOUT;
COPY stored (v) FROM STDIN;
[1,2,3
\.

-- binary format: int16 dim, int16 0, float4 for each element
SELECT vector_send('[1,-2.5]');

-- btree: order, equality, uniqueness, merge join, grouping
CREATE TABLE sorted (id serial, v vector);
INSERT INTO sorted (v) SELECT ARRAY[i % 7, i % 3]::vector FROM generate_series(1, 42) AS i;
INSERT INTO sorted (v) VALUES (NULL), ('[1]'), ('[1,1,1]');
CREATE INDEX ON sorted (v);
ANALYZE sorted;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS off) SELECT v FROM sorted WHERE v >= '[1]' AND v < '[2]' ORDER BY v;
SELECT v, count(*) FROM sorted WHERE v >= '[1]' AND v < '[2]' GROUP BY v ORDER BY v;
SELECT count(*) FROM sorted WHERE v = '[3,0]';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT v FROM sorted ORDER BY v DESC NULLS LAST LIMIT 3;
SELECT count(DISTINCT v), min(id) FILTER (WHERE v IS NULL) FROM sorted;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM sorted AS a JOIN sorted AS b USING (v);
RESET enable_hashjoin;
RESET enable_nestloop;
CREATE UNIQUE INDEX ON sorted (v, id);
INSERT INTO sorted (id, v) SELECT id, v FROM sorted WHERE v = '[1]';
-- out of line, a vector does not fit into a btree page
CREATE INDEX ON stored (v);
DROP TABLE sorted;

-- aggregates
SELECT avg(v), sum(v) FROM unnest('{"[1,2]","[3,5]",NULL,"[-1,0.5]"}'::vector[]) AS v;
SELECT avg(v), sum(v) FROM unnest('{NULL}'::vector[]) AS v;
SELECT avg(v), sum(v) FROM unnest('{}'::vector[]) AS v;
SELECT avg(v) FROM unnest('{"[1]","[1,2]"}'::vector[]) AS v;
SELECT sum(v) FROM unnest('{"[1]","[1,2]"}'::vector[]) AS v;
SELECT sum(v) FROM unnest('{"[3e38]","[3e38]"}'::vector[]) AS v;
-- the sum of avg is double precision
SELECT avg(v) FROM unnest('{"[3e38]","[3e38]"}'::vector[]) AS v;
-- as window functions the state is read while it grows
SELECT i, avg(ARRAY[i, i * i]::vector) OVER w, sum(ARRAY[i, 1]::vector) OVER w
FROM generate_series(1, 4) AS i WINDOW w AS (ORDER BY i);
SELECT i, avg(ARRAY[i]::vector) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
FROM generate_series(1, 4) AS i;
-- grouped, both ways, and with two aggregates that share a state
SET enable_sort = off;
SELECT i % 2 AS odd, avg(ARRAY[i]::vector), avg(ARRAY[i]::vector) FILTER (WHERE i > 3)
FROM generate_series(1, 6) AS i GROUP BY 1;
RESET enable_sort;
SET enable_hashagg = off;
SELECT i % 2 AS odd, avg(ARRAY[i]::vector), sum(ARRAY[i]::vector)
FROM generate_series(1, 6) AS i GROUP BY 1;
RESET enable_hashagg;
-- states that nobody but a mischievous caller makes
SELECT vector_accum('{0}', '[1,2]'), vector_accum('{2,3,4}', '[1,2]'),
  vector_combine('{1,2,3}', '{2,10,20}'), vector_combine('{0}', '{2,10,20}'), vector_avg('{2,3,4}');
SELECT vector_accum('{1,2}', '[1,2]');
SELECT vector_accum('{}', '[1,2]');
SELECT vector_accum('{{1,2},{3,4}}', '[1,2]');
SELECT vector_accum('{1,NULL}', '[1]');
SELECT vector_accum('{1,1.7e308}', '[1]');
SELECT vector_combine('{1,1.7e308}', '{1,1.7e308}');
SELECT vector_combine('{1,2}', '{1,2,3}');
SELECT vector_combine('{1,2}', '{}');
SELECT vector_combine(array_fill(1.0::float8, ARRAY[16002]), '{0}');
SELECT vector_avg('{1}');
SELECT vector_avg('{1,NaN}');
SELECT vector_avg('{0,1}') IS NULL AS no_rows;

-- in parallel: integers, so that no order of addition shows
CREATE TABLE many AS SELECT ARRAY[i, i % 10, -i]::vector AS v FROM generate_series(1, 20000) AS i;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS off) SELECT avg(v), sum(v) FROM many;
SELECT avg(v) FROM many;
SELECT sum(v) FROM many WHERE v < '[1000]';
EXPLAIN (COSTS off) SELECT v FROM many ORDER BY v <-> '[5,5,5]' LIMIT 3;
SELECT v, v <-> '[5,5,5]' AS distance FROM many ORDER BY v <-> '[5,5,5]' LIMIT 3;
DROP TABLE many;

DROP TABLE stored;
