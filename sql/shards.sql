-- Options of shards and user mappings; shards added and removed, in other databases of this server.

CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (host 'localhost');
-- The hint lists what this libpq knows.
\set VERBOSITY terse
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'localhost', hots 'x');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'localhost', password 'x');
\set VERBOSITY default
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts '');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'a:5432,,b');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'a:0');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'a:65536');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'a:');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts '::1');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts '[::1');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts '[::1]x');
CREATE SERVER s FOREIGN DATA WRAPPER vdist_fdw
  OPTIONS (hosts 'a, b:5433,[::1]:5434,/var/run/postgresql:5435', dbname 'd', sslmode 'prefer');
SELECT * FROM vdist.shards;
ALTER SERVER s OPTIONS (SET hosts 'a:x');
CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (table_name 'x');

CREATE ROLE regress_vdist_user;
CREATE ROLE regress_vdist_admin;
GRANT USAGE ON FOREIGN SERVER s TO regress_vdist_user;
SET ROLE regress_vdist_user;
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("user" 'u', password_required 'false');
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (sslcert '/x');
\set VERBOSITY terse
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("user" 'u', password 'p', sslmode 'require');
\set VERBOSITY default
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("user" 'u', password 'p');
ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (ADD password_required 'false');
RESET ROLE;
ALTER USER MAPPING FOR regress_vdist_user SERVER s OPTIONS (ADD password_required 'maybe');
ALTER USER MAPPING FOR regress_vdist_user SERVER s OPTIONS (ADD password_required 'false');
SELECT vdist.remove_shard('s');

-- Who may administer
SET ROLE regress_vdist_user;
SELECT vdist.add_shard('s', 'localhost');
SELECT vdist.remove_shard('s');
SELECT vdist.create_distributed_table('pg_class', 'oid');
SELECT vdist.undistribute_table('pg_class');
SELECT vdist.alter_distributed_table('pg_class', 'ADD COLUMN x int');
SELECT vdist.run_command_on_shards('SELECT 1');
SELECT count(*) FROM vdist.shards;
SELECT vdist.ring_slots('{a}') IS NOT NULL AS anybody;
RESET ROLE;

-- Shards for real: two databases of this server
SET client_min_messages = warning;
CREATE DATABASE vdist_regress1;
CREATE DATABASE vdist_regress2;
SELECT split_part(current_setting('unix_socket_directories'), ',', 1) || ':'
  || current_setting('port') AS hosts \gset
SELECT vdist.add_shard(NULL, :'hosts');
SELECT vdist.add_shard(repeat('x', 64), :'hosts', 'vdist_regress1');
SELECT vdist.add_shard('s1', :'hosts', 'vdist_regress1');
SELECT vdist.add_shard('s1', :'hosts', 'vdist_regress2');
SELECT vdist.add_shard('s2', :'hosts', 'vdist_regress1');
SELECT vdist.add_shard('vdist', :'hosts', 'vdist_regress2');
SELECT vdist.add_shard('s2', :'hosts');
\set VERBOSITY sqlstate
SELECT vdist.add_shard('s2', :'hosts', 'vdist_regress2', options => '{"port": "1"}');
SELECT vdist.add_shard('s2', :'hosts', 'no_such_database');
SELECT vdist.add_shard('s2', :'hosts', 'vdist_regress2', 'no_such_user');
\set VERBOSITY default
SELECT name, dbname, tables, slots FROM vdist.shards;
SELECT vdist.add_shard('s2', :'hosts', 'vdist_regress2', options => '{"application_name": "two"}');
SELECT name, dbname, tables, slots FROM vdist.shards ORDER BY name;
SELECT * FROM vdist.run_command_on_shards('SELECT extversion FROM pg_extension WHERE extname = ''vdist''');

-- Nothing of a shard stays when its transaction does not.
BEGIN;
SELECT vdist.remove_shard('s2');
SELECT name FROM vdist.shards;
ROLLBACK;
SELECT name FROM vdist.shards ORDER BY name;

-- One shard's failure is its own.
SELECT * FROM vdist.run_command_on_shards('SELECT 1/(length(current_database()) - 14) AS x');
SELECT * FROM vdist.run_command_on_shards('SELECT 10 / right(current_database(), 1)::int - 5 + 1 / (right(current_database(), 1)::int - 2)');
SELECT * FROM vdist.run_command_on_shards('CREATE TABLE note (a int)');
CREATE SCHEMA other;
SET search_path = other, public;
SELECT * FROM vdist.run_command_on_shards('SELECT * FROM current_schemas(false)');
RESET search_path;
DROP SCHEMA other;
SELECT * FROM vdist.run_command_on_shards('INSERT INTO note VALUES (1), (2)');
SELECT * FROM vdist.run_command_on_shards('INSERT INTO public.note VALUES (1), (2)');
SELECT * FROM vdist.run_command_on_shards('SELECT a FROM public.note WHERE a > 5');
SELECT * FROM vdist.run_command_on_shards('VACUUM note');
SELECT * FROM vdist.run_command_on_shards('CREATE INDEX CONCURRENTLY ON note (a)');
SELECT * FROM vdist.run_command_on_shards('SHOW search_path');
SELECT * FROM vdist.run_command_on_shards('');
SELECT * FROM vdist.run_command_on_shards('SELEC');
SELECT * FROM vdist.run_command_on_shards(NULL);
SELECT * FROM vdist.run_command_on_shards('DROP TABLE public.note');

-- In a transaction that has written there, it is part of it, and its failure is not.
CREATE TABLE part (a int PRIMARY KEY);
BEGIN;
SELECT vdist.create_distributed_table('part', 'a');
SELECT * FROM vdist.run_command_on_shards('INSERT INTO part VALUES (length(current_database()) - 5 - right(current_database(), 1)::int)');
SELECT * FROM vdist.run_command_on_shards('INSERT INTO part VALUES (length(current_database()) - 5 - right(current_database(), 1)::int)');
SELECT * FROM vdist.run_command_on_shards('SELECT count(*) FROM part');
COMMIT;
SELECT * FROM vdist.run_command_on_shards('SELECT count(*) FROM part');
BEGIN;
DROP FOREIGN TABLE part;
SELECT * FROM vdist.run_command_on_shards('SELECT count(*) FROM part');
ROLLBACK;
SELECT * FROM vdist.run_command_on_shards('SELECT count(*) FROM part');
DROP FOREIGN TABLE part;
SELECT * FROM vdist.run_command_on_shards('SELECT count(*) FROM part');

-- A role that was granted administration, with a user mapping of its own
GRANT EXECUTE ON FUNCTION vdist.run_command_on_shards(text) TO regress_vdist_admin;
SET ROLE regress_vdist_admin;
\set VERBOSITY sqlstate
SELECT * FROM vdist.run_command_on_shards('SELECT 1');
\set VERBOSITY default
RESET ROLE;

SELECT vdist.remove_shard('s3');
SELECT vdist.remove_shard('vdist');
SELECT vdist.remove_shard('s1');
SELECT vdist.remove_shard('s2');
SELECT * FROM vdist.run_command_on_shards('SELECT 1');
DROP DATABASE vdist_regress1 WITH (FORCE);
DROP DATABASE vdist_regress2 WITH (FORCE);
DROP OWNED BY regress_vdist_user, regress_vdist_admin;
DROP ROLE regress_vdist_user;
DROP ROLE regress_vdist_admin;
