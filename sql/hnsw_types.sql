-- Indexes vdist_hnsw over halfvec, bit and sparsevec: every operator class, beside the exact order. Column w
-- has so many dimensions that its codes are made of projections.
CREATE TABLE items (id serial, h halfvec(24), b bit(128), s sparsevec(30), w sparsevec(1000000000));
INSERT INTO items (h, b, s, w)
SELECT (SELECT array_agg(sin(i * j * 0.37 + i % 20)) FROM generate_series(1, 24) AS j)::halfvec,
  (SELECT string_agg((hashint4(i * 1000 + j / (1 + i % 7)) & 1)::text, '') FROM generate_series(1, 128) AS j)::bit(128),
  (SELECT array_agg(CASE WHEN (i + j) % 3 = 0 THEN sin(i * j * 0.37 + i % 20) ELSE 0 END) FROM generate_series(1, 30) AS j)::real[]::sparsevec,
  (SELECT '{' || string_agg(format('%s:%s', (i % 20 * 31 + j) * 1000003 % 1000000000 + 1, 2 + sin(i * j * 0.37)), ',') || '}/1000000000'
   FROM generate_series(1, 30) AS j WHERE (i + j) % 3 <> 0)::sparsevec
FROM generate_series(1, 2300) AS i;
INSERT INTO items (h, b, s, w) VALUES (NULL, NULL, NULL, NULL),
  (array_fill(0, ARRAY[24])::halfvec, repeat('0', 128)::bit(128), '{}/30', '{}/1000000000');
CREATE INDEX items_l2 ON items USING vdist_hnsw (h);
CREATE INDEX items_ip ON items USING vdist_hnsw (h halfvec_ip_ops);
CREATE INDEX items_cosine ON items USING vdist_hnsw (h halfvec_cosine_ops);
CREATE INDEX items_l1 ON items USING vdist_hnsw (h halfvec_l1_ops);
CREATE INDEX items_hamming ON items USING vdist_hnsw (b);
CREATE INDEX items_jaccard ON items USING vdist_hnsw (b bit_jaccard_ops);
CREATE INDEX items_s_l2 ON items USING vdist_hnsw (s);
CREATE INDEX items_s_ip ON items USING vdist_hnsw (s sparsevec_ip_ops);
CREATE INDEX items_s_cosine ON items USING vdist_hnsw (s sparsevec_cosine_ops);
CREATE INDEX items_s_l1 ON items USING vdist_hnsw (s sparsevec_l1_ops);
CREATE INDEX items_w_l2 ON items USING vdist_hnsw (w);
CREATE INDEX items_w_ip ON items USING vdist_hnsw (w sparsevec_ip_ops) WITH (quantization = 4);
CREATE INDEX items_w_cosine ON items USING vdist_hnsw (w sparsevec_cosine_ops);
-- little memory: the graph goes to files
SET maintenance_work_mem = '1MB';
CREATE INDEX items_w_l1 ON items USING vdist_hnsw (w sparsevec_l1_ops);
RESET maintenance_work_mem;
SELECT i AS index, rows, heap_rows, code_bits, own_bits
FROM unnest(ARRAY['items_s_l2', 'items_w_l2', 'items_w_ip', 'items_w_l1']) AS i, vdist.index_info(i::regclass);
-- rows that come later, some of them twice
INSERT INTO items (h, b, s, w) SELECT h + array_fill(i % 2, ARRAY[24])::halfvec, b, s, w
FROM items, generate_series(1, 2) AS i WHERE id <= 100;
UPDATE items SET b = ~b, w = l2_normalize(w) WHERE id % 100 = 0;
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
FROM (VALUES ('h', '<->'), ('h', '<#>'), ('h', '<=>'), ('h', '<+>'), ('b', '<~>'), ('b', '<%>'),
  ('s', '<->'), ('s', '<#>'), ('s', '<=>'), ('s', '<+>'), ('w', '<->'), ('w', '<#>'), ('w', '<=>'), ('w', '<+>')) AS t (col, operator),
  found(col, operator);
VACUUM items;
SELECT indexrelid::regclass, vdist.index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'items'::regclass;

SELECT vdist.recall('items_s_cosine') > 0.9 AS s, vdist.recall('items_w_l2') > 0.9 AS w,
  vdist.recall('items_hamming') > 0.9 AS b, vdist.recall('items_l1', ARRAY[array_fill(1, ARRAY[24])::halfvec], 5) AS h;

-- a zero vector has no cosine distance and comes last; NULL is as far from every row
SET enable_seqscan = off;
SELECT number - (SELECT count(w) FROM items) AS before_last FROM (
  SELECT w, row_number() OVER () AS number
  FROM (SELECT w FROM items ORDER BY w <=> (SELECT w FROM items WHERE id = 1)) AS t) AS t
WHERE l2_norm(w) = 0;
SELECT count(*) FROM (SELECT id FROM items ORDER BY w <=> '{}/1000000000') AS t;
SELECT count(*) FROM (SELECT id FROM items ORDER BY w <-> NULL LIMIT 5) AS t;
RESET enable_seqscan;

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
SELECT id FROM items ORDER BY s <-> '{1:1}/29' LIMIT 1;
SELECT id FROM items ORDER BY w <+> '{1:1}/30' LIMIT 1;
INSERT INTO items (w) VALUES ('{1:1}/30');
CREATE TABLE others (h halfvec, b varbit(10), s sparsevec);
CREATE INDEX ON others USING vdist_hnsw (h);
CREATE INDEX ON others USING vdist_hnsw (b);
CREATE INDEX ON others USING vdist_hnsw (s);
DROP TABLE items, others;

-- codes of bits are the bits: recall of 20 by few candidates, built and inserted (rotated, with 2 bits, it is .980 and .951)
CREATE TABLE codes (b bit(52));
INSERT INTO codes SELECT ('x' || md5(i::text))::bit(52) FROM generate_series(1, 5000) AS i;
CREATE INDEX codes_b ON codes USING vdist_hnsw (b bit_hamming_ops);
SELECT code_bits FROM vdist.index_info('codes_b');
CREATE FUNCTION codes_recall() RETURNS float8
  LANGUAGE sql SET enable_seqscan = off SET vdist.hnsw_ef_search = 20
  AS $$ SELECT avg((found.d <= farthest.d)::int)
    FROM (SELECT ('x' || md5((-i)::text))::bit(52) AS q FROM generate_series(1, 200) AS i) AS queries,
      LATERAL (SELECT b <~> q AS d FROM codes ORDER BY b <~> q LIMIT 20) AS found,
      LATERAL (SELECT max(d) AS d FROM (SELECT b <~> q AS d FROM codes ORDER BY (b <~> q) + 0 LIMIT 20) AS nearest) AS farthest $$;
SELECT codes_recall() >= 0.99;
TRUNCATE codes;
INSERT INTO codes SELECT ('x' || md5(i::text))::bit(52) FROM generate_series(1, 5000) AS i;
SELECT codes_recall() >= 0.97;
SELECT * FROM vdist.index_check('codes_b', true);
DROP TABLE codes CASCADE;
DROP FUNCTION codes_recall;

-- the most elements that a sparsevec can have, and many bits
CREATE TABLE wide (id serial, s sparsevec(20000), b bit(100000));
INSERT INTO wide (s, b)
SELECT (SELECT array_agg(CASE WHEN j % 5 = i % 5 THEN 0 ELSE sin(i + j % (3 + i)) END) FROM generate_series(1, 20000) AS j)::real[]::sparsevec,
  (SELECT string_agg((hashint4(j / (1 + i % 7)) & 1)::text, '') FROM generate_series(1, 100000) AS j)::bit(100000)
FROM generate_series(1, 28) AS i;
CREATE INDEX wide_s ON wide USING vdist_hnsw (s sparsevec_cosine_ops);
CREATE INDEX wide_hamming ON wide USING vdist_hnsw (b);
CREATE INDEX wide_jaccard ON wide USING vdist_hnsw (b bit_jaccard_ops);
INSERT INTO wide (s, b) SELECT s, ~b FROM wide WHERE id <= 7;
SELECT indexrelid::regclass, vdist.index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'wide'::regclass;
SET enable_seqscan = off;
SELECT array_agg(id) FROM (SELECT id FROM wide ORDER BY b <~> (SELECT b FROM wide WHERE id = 9) LIMIT 5) AS t;
SELECT array_agg(id) FROM (SELECT id FROM wide ORDER BY b <%> (SELECT b FROM wide WHERE id = 9) LIMIT 5) AS t;
SELECT array_agg(id) FROM (SELECT id FROM wide ORDER BY s <=> (SELECT s FROM wide WHERE id = 3) LIMIT 3) AS t;
SELECT id FROM wide ORDER BY b <~> '101' LIMIT 1;
RESET enable_seqscan;
DROP TABLE wide;
DROP FUNCTION found;

-- Projections have the dimensions that suit the values, and rows the size of these. They are chosen by an insert, by all
-- rows at once, and hold for those that come later. (An insert leaves room behind: pages of vectors as they were.)
CREATE TABLE terms (id int PRIMARY KEY, few sparsevec(100000), many sparsevec(100000));
CREATE FUNCTION terms(seed int, topics int, n int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
  SELECT ('{' || string_agg(k || ':' || 1 + j % 3, ',') || '}/100000')::sparsevec FROM (
    SELECT 1 + abs(hashint8(CASE j % 4 WHEN 0 THEN seed ELSE seed % topics END::bigint * 1000 + j)::bigint) % 100000 AS k, min(j) AS j
    FROM generate_series(1, n) AS j GROUP BY 1) AS t
$$;
CREATE INDEX terms_few ON terms USING vdist_hnsw (few sparsevec_cosine_ops);
CREATE INDEX terms_many ON terms USING vdist_hnsw (many);
CREATE FUNCTION state(index regclass) RETURNS TABLE (bytes_a_row text, recall bool, problems bigint) LANGUAGE sql AS $$
  SELECT CASE WHEN bytes < 1400 THEN 'at most 1400' WHEN bytes < 4500 THEN 'at most 4500' ELSE 'more' END,
    (SELECT recall FROM vdist.recall(index, 10, 50)) > 0.95, (SELECT count(*) FROM vdist.index_check(index, true))
  FROM (SELECT pg_relation_size(index) / count(*) AS bytes FROM terms) AS t
$$;
INSERT INTO terms SELECT i, terms(i, 200, 8), terms(i, 200, 150) FROM generate_series(1, 2500) AS i;
SELECT * FROM state('terms_few');
SELECT * FROM state('terms_many');
REINDEX TABLE terms;
SELECT * FROM state('terms_few');
SELECT * FROM state('terms_many');
INSERT INTO terms SELECT i, terms(i, 200, 8), terms(i, 200, 150) FROM generate_series(2501, 3000) AS i;
SELECT * FROM state('terms_few');
SELECT * FROM state('terms_many');
DROP TABLE terms;
DROP FUNCTION terms;
DROP FUNCTION state;
