-- The same search, told by EXPLAIN: one request to each shard, merged here. Run by quickstart.
\pset tuples_only on
PREPARE search(text) AS
  SELECT body FROM documents
  ORDER BY embedding <=> vdist.text_to_vector('english', $1, 'word_weights') LIMIT 5;

-- Once unseen, so that what is shown runs on open connections, as all but the first do.
\o /dev/null
EXECUTE search(:'query');
\o
EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) EXECUTE search(:'query');
