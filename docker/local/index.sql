-- A graph index on each shard, all built at once; without the access method searches are exact scans.
-- Run by quickstart.
DO $$
DECLARE
  failed text;
BEGIN
  IF EXISTS (SELECT FROM pg_am WHERE amname = 'vdist_hnsw') THEN
    SELECT string_agg(shard || ': ' || result, E'\n') INTO failed
      FROM vdist.run_command_on_shards(
        'CREATE INDEX ON public.documents USING vdist_hnsw (embedding public.vector_cosine_ops)')
      WHERE NOT success;
    IF failed IS NOT NULL THEN
      RAISE EXCEPTION E'the index could not be built\n%', failed;
    END IF;
  END IF;
END
$$;
