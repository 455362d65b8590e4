-- Indexes vdist_hnsw over halfvec and bit: every operator class, beside the exact order.
CREATE TABLE items (id serial, h halfvec(24), b bit(128));
INSERT INTO items (h, b)
SELECT (SELECT array_agg(sin(i * j * 0.37 + i % 20)) FROM generate_series(1, 24) AS j)::halfvec,
  (SELECT string_agg((hashint4(i * 1000 + j / (1 + i % 7)) & 1)::text, '') FROM generate_series(1, 128) AS j)::bit(128)
FROM generate_series(1, 1500) AS i;
INSERT INTO items (h, b) VALUES (NULL, NULL), (array_fill(0, ARRAY[24])::halfvec, repeat('0', 128)::bit(128));
CREATE INDEX items_l2 ON items USING vdist_hnsw (h);
CREATE INDEX items_ip ON items USING vdist_hnsw (h halfvec_ip_ops);
CREATE INDEX items_cosine ON items USING vdist_hnsw (h halfvec_cosine_ops);
CREATE INDEX items_l1 ON items USING vdist_hnsw (h halfvec_l1_ops);
CREATE INDEX items_hamming ON items USING vdist_hnsw (b);
CREATE INDEX items_jaccard ON items USING vdist_hnsw (b bit_jaccard_ops);
-- rows that come later, some of them twice
INSERT INTO items (h, b) SELECT h + array_fill(i % 2, ARRAY[24])::halfvec, b
FROM items, generate_series(1, 2) AS i WHERE id <= 100;
UPDATE items SET b = ~b WHERE id % 100 = 0;
DELETE FROM items WHERE id % 100 = 50;

-- how many of the 10 nearest of 20 rows are found, and whether they come in order
CREATE FUNCTION found(col text, operator text, OUT index text, OUT share numeric, OUT ordered bool, OUT complete bool)
LANGUAGE plpgsql AS $$
DECLARE
  query text := format('SELECT array_agg(d) FROM (SELECT %1$I %2$s @ AS d FROM items ORDER BY %1$I %2$s @ LIMIT 10) AS t',
    col, operator);
  q text;
  line text;
  got float8[];
  want float8[];
BEGIN
  share := 0;
  ordered := true;
  FOR q IN EXECUTE format('SELECT %I FROM items WHERE id BETWEEN 201 AND 220', col) LOOP
    SET enable_seqscan = off;
    SET enable_indexscan = on;
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || replace(query, '@', quote_literal(q)) LOOP
      index := coalesce(substring(line FROM 'Index Scan using (\w+)'), index);
    END LOOP;
    EXECUTE replace(query, '@', quote_literal(q)) INTO got;
    ordered := ordered AND got = (SELECT array_agg(d ORDER BY d) FROM unnest(got) AS d);
    SET enable_seqscan = on;
    SET enable_indexscan = off;
    EXECUTE replace(query, '@', quote_literal(q)) INTO want;
    share := share + (SELECT count(*) FROM unnest(got) AS d WHERE d <= want[10]);
  END LOOP;
  share := share / 200;
  SET enable_seqscan = off;
  SET enable_indexscan = on;
  EXECUTE format('SELECT count(*) = count(DISTINCT id) AND count(*) = (SELECT count(%1$I) FROM items)
    FROM (SELECT id FROM items ORDER BY %1$I %2$s %3$L) AS t', col, operator, q) INTO complete;
  RESET enable_seqscan;
END
$$;
SELECT index, share > 0.9 AS recall, ordered, complete
FROM (VALUES ('h', '<->'), ('h', '<#>'), ('h', '<=>'), ('h', '<+>'), ('b', '<~>'), ('b', '<%>')) AS t (col, operator),
  found(col, operator);
VACUUM items;
SELECT indexrelid::regclass, vdist.index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'items'::regclass;

-- bits of vectors, the exact order from the vectors themselves
CREATE INDEX items_quantized ON items USING vdist_hnsw ((binary_quantize(h)::bit(24)) bit_hamming_ops);
SET enable_seqscan = off;
EXPLAIN (COSTS off)
SELECT id FROM (SELECT id, h FROM items ORDER BY binary_quantize(h)::bit(24) <~> binary_quantize(array_fill(1, ARRAY[24])::halfvec) LIMIT 20) AS t
ORDER BY h <=> array_fill(1, ARRAY[24])::halfvec LIMIT 3;
RESET enable_seqscan;

-- what cannot be indexed or asked for
SET enable_seqscan = off;
SELECT id FROM items ORDER BY h <-> '[1,2]' LIMIT 1;
SELECT id FROM items ORDER BY b <~> '101' LIMIT 1;
SELECT id FROM items ORDER BY b <%> '101' LIMIT 1;
SELECT count(*) FROM (SELECT id FROM items ORDER BY b <%> NULL LIMIT 5) AS t;
CREATE TABLE others (h halfvec, b varbit, long bit(16001));
CREATE INDEX ON others USING vdist_hnsw (h);
CREATE INDEX ON others USING vdist_hnsw (b);
CREATE INDEX ON others USING vdist_hnsw (long);
DROP TABLE items, others;
DROP FUNCTION found;
