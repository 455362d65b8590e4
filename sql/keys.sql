-- Distribution columns of many types: each row is found by its key, here, by shard_of, and by a
-- prepared statement; shards in two other databases of this server.
SET client_min_messages = error;
CREATE DATABASE vdist_keys1;
CREATE DATABASE vdist_keys2;
SELECT split_part(current_setting('unix_socket_directories'), ',', 1) || ':'
  || current_setting('port') AS hosts \gset
SELECT vdist.add_shard('s1', :'hosts', 'vdist_keys1');
SELECT vdist.add_shard('s2', :'hosts', 'vdist_keys2');
CREATE DOMAIN code AS text CHECK (VALUE <> 'forbidden');
SELECT bool_and(success) FROM vdist.run_command_on_shards('CREATE DOMAIN code AS text CHECK (VALUE <> ''forbidden'')');

CREATE TABLE key_types (type text, value text);
INSERT INTO key_types
  SELECT 'smallint', i::text FROM generate_series(-20, 20) i
  UNION ALL SELECT 'integer', (i * 1000003)::text FROM generate_series(-20, 20) i
  UNION ALL SELECT 'bigint', (i * 100000000003)::text FROM generate_series(-20, 20) i
  UNION ALL SELECT 'numeric', (i * 1.25)::text FROM generate_series(-20, 20) i
  UNION ALL SELECT 'real', (i / 3.0)::real::text FROM generate_series(-20, 20) i
  UNION ALL SELECT 'double precision', (i / 3.0)::float8::text FROM generate_series(-20, 20) i
  UNION ALL VALUES ('double precision', 'NaN'), ('double precision', 'Infinity'),
    ('double precision', '1e300'), ('numeric', 'NaN'), ('numeric', '1e100'), ('boolean', 't'),
    ('boolean', 'f'), ('text', ''), ('text', ' '), ('text', E'a\tb\nc\\N'), ('text', 'ä€😀'),
    ('jsonb', '{"a": [1, 2.0, null]}'), ('jsonb', '7'), ('inet', '10.0.0.1'), ('inet', '::1/64'),
    ('date', 'infinity'), ('date', '0001-01-01 BC'), ('bytea', '\x'), ('"char"', 'x'), ('interval', '1 mon'),
    ('interval', '29 days'), ('oid', '4294967295'), ('name', 'a name'), ('integer[]', '{1,NULL,3}'),
    ('integer[]', '{}'), ('int4range', '[1,5)'), ('int4range', 'empty'), ('macaddr', '08:00:2b:01:02:03'),
    ('pg_lsn', '16/B374D848'), ('bit(3)', '101'), ('int4multirange', '{[1,3),[5,7)}')
  UNION ALL SELECT type, 'value ' || i
    FROM unnest(ARRAY['text', 'varchar(20)', 'char(10)', 'code', 'text COLLATE "C"']) type, generate_series(1, 40) i
  UNION ALL SELECT 'uuid', md5(i::text)::uuid::text FROM generate_series(1, 40) i
  UNION ALL SELECT 'date', (date '2024-02-20' + i)::text FROM generate_series(1, 40) i
  UNION ALL SELECT 'timestamptz', (timestamptz '2024-03-30 12:00Z' + i * interval '1 hour')::text
    FROM generate_series(1, 40) i
  UNION ALL SELECT 'bytea', sha256(i::text::bytea)::text FROM generate_series(1, 40) i;

-- bit has no hash, and says so.
CREATE TABLE keyed (key bit(3) PRIMARY KEY);
SELECT vdist.create_distributed_table('keyed', 'key');
DROP TABLE keyed;

CREATE FUNCTION try_type(type text, OUT keys bigint, OUT by_value bigint, OUT by_parameter bigint,
  OUT on_their_shards bigint, OUT back bigint) LANGUAGE plpgsql AS $$
DECLARE
  v text;
  n bigint;
BEGIN
  EXECUTE format('CREATE TABLE keyed (key %s PRIMARY KEY, value text)', type);
  EXECUTE format('INSERT INTO keyed SELECT value::%1$s, value FROM key_types WHERE type = $1', type)
    USING type;
  PERFORM vdist.create_distributed_table('keyed', 'key');
  SELECT count(*) INTO keys FROM keyed;
  by_value := 0;
  by_parameter := 0;
  on_their_shards := 0;
  FOR v IN SELECT value FROM key_types k WHERE k.type = try_type.type LOOP
    EXECUTE format('SELECT count(*) FROM keyed WHERE key = %L', v) INTO n;
    by_value := by_value + n;
    EXECUTE format('SELECT count(*) FROM keyed WHERE key = $1::%s', regexp_replace(type, ' COLLATE.*', ''))
      INTO n USING v;
    by_parameter := by_parameter + n;
    EXECUTE format('SELECT count(*) FROM vdist.run_command_on_shards(%L)'
      ' WHERE shard = vdist.shard_of(''keyed'', %L)::text AND result = ''1''',
      format('SELECT count(*) FROM keyed WHERE key = %L', v), v) INTO n;
    on_their_shards := on_their_shards + n;
  END LOOP;
  PERFORM vdist.undistribute_table('keyed');
  EXECUTE format('SELECT count(*) FROM keyed, key_types k WHERE k.type = $1 AND key = k.value::%s'
    ' AND keyed.value = k.value', regexp_replace(type, ' COLLATE.*', '')) INTO back USING type;
  DROP TABLE keyed;
END $$;
SELECT type, t.* FROM (SELECT DISTINCT type FROM key_types WHERE type <> 'bit(3)' ORDER BY 1) k,
  LATERAL try_type(type) t;

-- Equal keys that look different are on one shard: no duplicate slips in.
CREATE TABLE keyed (key numeric PRIMARY KEY);
SELECT vdist.create_distributed_table('keyed', 'key');
INSERT INTO keyed SELECT i FROM generate_series(1, 50) i;
\set VERBOSITY sqlstate
DO $$
DECLARE
  i int;
BEGIN
  FOR i IN 1 .. 50 LOOP
    BEGIN
      INSERT INTO keyed VALUES ((i || '.000')::numeric);
      RAISE 'slipped in: %', i;
    EXCEPTION WHEN unique_violation THEN
      NULL;
    END;
  END LOOP;
END $$;
\set VERBOSITY default
SELECT count(*) FROM keyed;
INSERT INTO keyed VALUES (NULL);
DROP FOREIGN TABLE keyed;

DROP FUNCTION try_type(text);
DROP TABLE key_types;
DROP DOMAIN code;
SELECT vdist.remove_shard('s1');
SELECT vdist.remove_shard('s2');
DROP DATABASE vdist_keys1 WITH (FORCE);
DROP DATABASE vdist_keys2 WITH (FORCE);
