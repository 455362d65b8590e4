-- Rows come in the order of what the operator returns, whatever it is: infinite, no number, zero. Index scans of
-- everything, those without a graph beside a sort; those of a graph may find rows late, which come last, and in order.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vdist;
RESET client_min_messages;

-- elements of one scale in each vector, from the smallest to the largest, and zeros; the same every time
CREATE FUNCTION extremes(n int) RETURNS TABLE (id int, v vector(8)) LANGUAGE sql AS $$
  SELECT i, (SELECT array_agg((CASE i % 8 WHEN 0 THEN 3.4e38 WHEN 1 THEN 1e30 WHEN 2 THEN 1e19 WHEN 3 THEN 1e-40
                WHEN 4 THEN 1e-20 WHEN 5 THEN 0 ELSE 1 END
                * ((hashint4(i * 8 + j) % 1000) / 1000.0))::real ORDER BY j)
         FROM generate_series(1, 8) j)::vector
  FROM generate_series(1, n) i
$$;

-- queries of each scale, and the largest elements of one and of both signs
CREATE TABLE query AS
  SELECT id, v FROM extremes(8)
  UNION ALL VALUES (9, array_fill(3.4e38::real, ARRAY[8])::vector),
    (10, '[3.4e38,-3.4e38,3.4e38,-3.4e38,3.4e38,-3.4e38,3.4e38,-3.4e38]'),
    (11, array_fill(1e-45::real, ARRAY[8])::vector);

-- with an index of an operator class, which is made for that
CREATE FUNCTION look(class text, operator text) RETURNS TABLE (query int, plan text, complete boolean, in_order boolean, as_sorted boolean)
LANGUAGE plpgsql AS $$
DECLARE
  q record;
  ordered text;
  by_index int[];
  by_sort int[];
  distances float8[];
BEGIN
  EXECUTE format('CREATE INDEX item_index ON item USING vdist_hnsw (v %I)', class);
  FOR q IN SELECT * FROM query ORDER BY id LOOP
    ordered := format('SELECT id, v %1$s %2$L AS d, ctid FROM item ORDER BY v %1$s %2$L', operator, q.v);
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_sort = off;
    EXECUTE 'EXPLAIN (COSTS OFF) ' || ordered INTO plan;
    EXECUTE format('SELECT array_agg(id), array_agg(d) FROM (%s) s', ordered) INTO by_index, distances;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_sort = on;
    SET LOCAL enable_indexscan = off;
    EXECUTE format('SELECT array_agg(id) FROM (%s, ctid) s', ordered) INTO by_sort;
    SET LOCAL enable_indexscan = on;
    query := q.id;
    complete := (SELECT array_agg(i ORDER BY i) FROM unnest(by_index) i) = (SELECT array_agg(i ORDER BY i) FROM unnest(by_sort) i);
    in_order := (SELECT count(*) <= 1 FROM (SELECT d < lag(d) OVER (ORDER BY n) AS falls
      FROM unnest(distances) WITH ORDINALITY u(d, n)) s WHERE falls);
    as_sorted := by_index = by_sort;
    RETURN NEXT;
  END LOOP;
  DROP INDEX item_index;
END
$$;

-- an index with a graph
CREATE TABLE item (id int, v vector(8));
INSERT INTO item SELECT * FROM extremes(4000);
SELECT o.operator, l.query, l.plan, l.complete, l.in_order
FROM (VALUES ('vector_l2_ops', '<->'), ('vector_ip_ops', '<#>'), ('vector_cosine_ops', '<=>'), ('vector_l1_ops', '<+>')) o(class, operator),
  look(o.class, o.operator) l;

-- and one without
TRUNCATE item;
INSERT INTO item SELECT * FROM extremes(400);
SELECT o.operator, l.* FROM (VALUES ('vector_ip_ops', '<#>'), ('vector_cosine_ops', '<=>')) o(class, operator), look(o.class, o.operator) l;

-- what is no distance comes last, also when a search looks at few rows
TRUNCATE item;
INSERT INTO item SELECT * FROM extremes(4000);
CREATE INDEX ON item USING vdist_hnsw (v vector_cosine_ops);
SELECT count(*) FILTER (WHERE d = 'NaN') AS early
FROM (SELECT v <=> '[1,2,3,4,5,6,7,8]' AS d FROM item ORDER BY v <=> '[1,2,3,4,5,6,7,8]' LIMIT 100) s;

DROP TABLE item, query;
DROP FUNCTION look, extremes;
