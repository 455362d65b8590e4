-- What can be distributed and what cannot, and what a distributed table allows: shards in two other
-- databases of this server.
SET client_min_messages = error;
CREATE DATABASE vdist_distribute1;
CREATE DATABASE vdist_distribute2;
SELECT split_part(current_setting('unix_socket_directories'), ',', 1) || ':'
  || current_setting('port') AS hosts \gset

CREATE TABLE item (id int PRIMARY KEY);
SELECT vdist.create_distributed_table('item', 'id');
SELECT vdist.add_shard('s1', :'hosts', 'vdist_distribute1');
SELECT vdist.add_shard('s2', :'hosts', 'vdist_distribute2');

-- No such thing
SELECT vdist.create_distributed_table('nothing', 'id');
SELECT vdist.create_distributed_table(0, 'id');
SELECT vdist.create_distributed_table('item', 'nothing');
SELECT vdist.create_distributed_table('item', 'ctid');
SELECT vdist.undistribute_table('item');
SELECT vdist.alter_distributed_table('item', 'ADD COLUMN a int');

-- Not that kind of relation
CREATE VIEW v AS SELECT 1 AS id;
CREATE SEQUENCE seq;
CREATE TEMP TABLE temporary (id int NOT NULL);
CREATE TABLE partitioned (id int NOT NULL) PARTITION BY HASH (id);
CREATE TABLE partition PARTITION OF partitioned FOR VALUES WITH (modulus 1, remainder 0);
CREATE TYPE composite AS (id int);
CREATE TABLE typed OF composite;
CREATE TABLE secured (id int NOT NULL);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE FOREIGN TABLE foreign_table (id int) SERVER vdist;
SELECT vdist.create_distributed_table('v', 'id');
SELECT vdist.create_distributed_table('seq', 'last_value');
SELECT vdist.create_distributed_table('temporary', 'id');
SELECT vdist.create_distributed_table('partitioned', 'id');
SELECT vdist.create_distributed_table('partition', 'id');
SELECT vdist.create_distributed_table('typed', 'id');
SELECT vdist.create_distributed_table('secured', 'id');
SELECT vdist.create_distributed_table('foreign_table', 'id');
SELECT vdist.create_distributed_table('item_pkey', 'id');
SELECT vdist.create_distributed_table('pg_class', 'oid');
SELECT vdist.create_distributed_table('information_schema.sql_parts', 'feature_id');
SELECT vdist.create_distributed_table('vdist.distributed', 'relation');
DROP VIEW v;
DROP SEQUENCE seq;
DROP TABLE temporary, partitioned, typed, secured;
DROP FOREIGN TABLE foreign_table;

-- Things that hang on it
CREATE TABLE parent (id int NOT NULL);
CREATE TABLE child () INHERITS (parent);
SELECT vdist.create_distributed_table('parent', 'id');
SELECT vdist.create_distributed_table('child', 'id');
DROP TABLE parent CASCADE;
CREATE TABLE ref (id int PRIMARY KEY REFERENCES item);
SELECT vdist.create_distributed_table('ref', 'id');
SELECT vdist.create_distributed_table('item', 'id');
DROP TABLE ref;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "my trigger" BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION noop();
SELECT vdist.create_distributed_table('item', 'id');
DROP TRIGGER "my trigger" ON item;
CREATE RULE nothing AS ON DELETE TO item DO INSTEAD NOTHING;
SELECT vdist.create_distributed_table('item', 'id');
DROP RULE nothing ON item;
CREATE POLICY mine ON item USING (true);
SELECT vdist.create_distributed_table('item', 'id');
DROP POLICY mine ON item;
CREATE PUBLICATION pub FOR TABLE item;
SELECT vdist.create_distributed_table('item', 'id');
DROP PUBLICATION pub;
CREATE VIEW items AS SELECT * FROM item;
CREATE FUNCTION f(item) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE holder (i item[]);
SELECT vdist.create_distributed_table('item', 'id');
DROP VIEW items;
DROP FUNCTION f(item);
DROP TABLE holder;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM item;
FETCH c;
SELECT vdist.create_distributed_table('item', 'id');
ROLLBACK;

-- Keys
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE COLLATION regress_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE keys (nullable int, v vector(2) NOT NULL, p point NOT NULL, m mood NOT NULL,
  ms mood[] NOT NULL, c composite NOT NULL, r regclass NOT NULL, ci text COLLATE regress_ci NOT NULL,
  g int GENERATED ALWAYS AS (1) STORED NOT NULL);
SELECT vdist.create_distributed_table('keys', 'nullable');
SELECT vdist.create_distributed_table('keys', 'v');
SELECT vdist.create_distributed_table('keys', 'p');
SELECT vdist.create_distributed_table('keys', 'm');
SELECT vdist.create_distributed_table('keys', 'ms');
SELECT vdist.create_distributed_table('keys', 'c');
SELECT vdist.create_distributed_table('keys', 'r');
SELECT vdist.create_distributed_table('keys', 'ci');
SELECT vdist.create_distributed_table('keys', 'g');
DROP TABLE keys;
DROP TYPE composite;

-- Uniqueness that no shard can enforce alone
CREATE TABLE uniq (id int PRIMARY KEY, a text NOT NULL, b int4range NOT NULL,
  CONSTRAINT a_b UNIQUE (a, b), EXCLUDE USING gist (b WITH &&));
SELECT vdist.create_distributed_table('uniq', 'a');
ALTER TABLE uniq DROP CONSTRAINT uniq_pkey;
SELECT vdist.create_distributed_table('uniq', 'b');
SELECT vdist.create_distributed_table('uniq', 'a');
ALTER TABLE uniq DROP CONSTRAINT uniq_b_excl;
CREATE UNIQUE INDEX lower_a ON uniq (lower(a));
SELECT vdist.create_distributed_table('uniq', 'a');
DROP INDEX lower_a;
CREATE UNIQUE INDEX a_ci ON uniq (a COLLATE regress_ci);
SELECT vdist.create_distributed_table('uniq', 'a');
DROP INDEX a_ci;
SELECT vdist.create_distributed_table('uniq', 'a');
DROP FOREIGN TABLE uniq;

-- What shards lack (which of them says so first is chance)
CREATE TABLE moods (id int PRIMARY KEY, m mood, ms mood[]);
SELECT vdist.create_distributed_table('moods', 'id');
SELECT * FROM vdist.run_command_on_shards('CREATE TYPE mood AS ENUM (''happy'', ''sad'')');
CREATE FUNCTION here_only(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE INDEX ON moods (here_only(id));
\set VERBOSITY terse
SELECT vdist.create_distributed_table('moods', 'id');
\set VERBOSITY default
DROP INDEX moods_here_only_idx;
SELECT * FROM vdist.run_command_on_shards('CREATE TABLE moods (a int)');
\set VERBOSITY terse
SELECT vdist.create_distributed_table('moods', 'id');
\set VERBOSITY default
SELECT * FROM vdist.run_command_on_shards('DROP TABLE moods');
-- Enum labels travel as text: the order of the labels differs there.
INSERT INTO moods SELECT i, (enum_range(NULL::mood))[1 + i % 2], enum_range(NULL::mood)
FROM generate_series(1, 100) i;
SELECT vdist.create_distributed_table('moods', 'id');
SELECT * FROM moods WHERE id < 3 ORDER BY id;
SELECT vdist.undistribute_table('moods');
SELECT m, count(*) FROM moods GROUP BY m ORDER BY m;
DROP TABLE moods;

-- Odd names, no columns but the key, a schema that the shards lack
CREATE SCHEMA "Sch ema";
CREATE TABLE "Sch ema"."It""em" ("K ey" text PRIMARY KEY);
INSERT INTO "Sch ema"."It""em" VALUES ('a'), (''), (E'tab\tnewline\nback\\slash'), ('\N');
SELECT vdist.create_distributed_table('"Sch ema"."It""em"', 'K ey');
SELECT count(*) FROM "Sch ema"."It""em";
SELECT vdist.undistribute_table('"Sch ema"."It""em"');
SELECT * FROM "Sch ema"."It""em" ORDER BY 1;
DROP TABLE "Sch ema"."It""em";
DROP SCHEMA "Sch ema";

-- A distributed table and its shards stay in step.
INSERT INTO item SELECT generate_series(1, 100);
ALTER TABLE item SET UNLOGGED;
SELECT vdist.create_distributed_table('item', 'id');
SELECT * FROM vdist.tables;
SELECT "table", shard, slots FROM vdist.placements ORDER BY shard;
SELECT sum(result::int) FROM vdist.run_command_on_shards('SELECT count(*) FROM item');
SELECT * FROM vdist.run_command_on_shards('SELECT relpersistence FROM pg_class WHERE relname = ''item''');
BEGIN;
SELECT vdist.undistribute_table('item');
SELECT relpersistence, amname FROM pg_class c JOIN pg_am m ON m.oid = relam WHERE relname = 'item';
ROLLBACK;
SELECT vdist.create_distributed_table('item', 'id');
ALTER TABLE item ADD COLUMN a int;
ALTER FOREIGN TABLE item ADD COLUMN a int;
ALTER TABLE item RENAME TO thing;
ALTER TABLE item RENAME COLUMN id TO key;
ALTER TABLE item ALTER COLUMN id TYPE bigint;
ALTER TABLE item ALTER COLUMN id DROP NOT NULL;
ALTER TABLE item DROP COLUMN id;
ALTER TABLE item SET SCHEMA vdist;
ALTER SCHEMA public RENAME TO private;
CREATE INDEX ON item (id);
CREATE TABLE parts (id int NOT NULL) PARTITION BY LIST (id);
ALTER TABLE parts ATTACH PARTITION item DEFAULT;
CREATE TABLE parent (id int NOT NULL);
ALTER FOREIGN TABLE item INHERIT parent;
DROP TABLE parent, parts;
ALTER TABLE item ALTER COLUMN id SET STATISTICS 10;
ALTER TABLE item ALTER COLUMN id SET DEFAULT 7;
ALTER TABLE item ALTER COLUMN id DROP DEFAULT;

SELECT vdist.alter_distributed_table('item', 'ADD COLUMN a mood DEFAULT ''happy'', ADD CHECK (id > 0)');
SELECT a, count(*) FROM item GROUP BY a;
SELECT vdist.alter_distributed_table('item', 'ALTER a SET DEFAULT ''angry''');
\set VERBOSITY terse
SELECT vdist.alter_distributed_table('item', 'ADD CHECK (id < 50)');
\set VERBOSITY default
SELECT vdist.alter_distributed_table('item', 'RENAME a TO b');
SELECT vdist.alter_distributed_table('item', 'RENAME id TO key');
SELECT vdist.alter_distributed_table('item', 'DROP id');
SELECT vdist.alter_distributed_table('item', 'ALTER id TYPE text');
SELECT vdist.alter_distributed_table('item', 'ALTER id DROP NOT NULL');
SELECT vdist.alter_distributed_table('item', 'ADD UNIQUE (id)');
SELECT vdist.alter_distributed_table('item', 'nonsense');
SELECT vdist.alter_distributed_table('item', 'DROP b; DROP TABLE item');
SELECT vdist.alter_distributed_table('item', 'RENAME TO thing');
SELECT "table" FROM vdist.tables;
SELECT b, count(*) FROM thing GROUP BY b;
BEGIN;
SELECT vdist.alter_distributed_table('thing', 'DROP b');
SELECT * FROM thing WHERE id = 1;
ROLLBACK;
SELECT * FROM thing WHERE id = 1;

-- Statements that shards have prepared follow a column's new type.
SELECT b FROM thing WHERE id = 1;
SELECT vdist.alter_distributed_table('thing', 'ALTER b DROP DEFAULT, ALTER b TYPE text USING b::text || ''!''');
SELECT b FROM thing WHERE id = 1;
BEGIN;
SELECT b FROM thing WHERE id = 1;
SELECT vdist.alter_distributed_table('thing', 'ALTER b TYPE int USING length(b)');
SELECT b FROM thing WHERE id = 1;
ROLLBACK;
SELECT b FROM thing WHERE id = 1;

CREATE VIEW things AS SELECT * FROM thing;
SELECT vdist.undistribute_table('thing');
DROP VIEW things;
CREATE TRIGGER again BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION noop();
SELECT vdist.undistribute_table('thing');
DROP TRIGGER again ON thing;

-- DROP goes with its transaction.
BEGIN;
DROP FOREIGN TABLE thing;
SELECT * FROM vdist.tables;
ROLLBACK;
SELECT count(*) FROM thing;
CREATE SCHEMA doomed;
\set VERBOSITY terse
SELECT vdist.alter_distributed_table('thing', 'SET SCHEMA doomed');
\set VERBOSITY default
SELECT * FROM vdist.run_command_on_shards('CREATE SCHEMA doomed');
SELECT vdist.alter_distributed_table('thing', 'SET SCHEMA doomed');
SELECT count(*) FROM doomed.thing;
DROP SCHEMA doomed CASCADE;
SELECT * FROM vdist.tables;
SELECT * FROM vdist.run_command_on_shards('SELECT to_regclass(''doomed.thing'')');

-- Nobody's operators run with the rights of vdist: a table owner's drop writes the catalogs.
CREATE ROLE regress_vdist_owner;
CREATE SCHEMA evil AUTHORIZATION regress_vdist_owner;
GRANT CREATE ON SCHEMA public TO regress_vdist_owner;
GRANT USAGE ON FOREIGN SERVER s1, s2 TO regress_vdist_owner;
GRANT EXECUTE ON FUNCTION vdist.create_distributed_table(regclass, name) TO regress_vdist_owner;
CREATE USER MAPPING FOR regress_vdist_owner SERVER s1 OPTIONS (password_required 'false', "user" :'USER');
CREATE USER MAPPING FOR regress_vdist_owner SERVER s2 OPTIONS (password_required 'false', "user" :'USER');
SET ROLE regress_vdist_owner;
CREATE FUNCTION evil.same(regclass, regclass) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN RAISE 'called by %', current_user; END $$;
CREATE OPERATOR evil.= (LEFTARG = regclass, RIGHTARG = regclass, FUNCTION = evil.same);
CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN RAISE 'called by %', current_user; END $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);
CREATE TABLE public.mine (id int PRIMARY KEY);
SET search_path = evil, pg_catalog, public;
SELECT 1::regclass = 1::regclass;
SELECT vdist.create_distributed_table('mine', 'id');
SELECT count(*) FROM mine;
DROP FOREIGN TABLE mine;
RESET search_path;
RESET ROLE;
SELECT * FROM vdist.tables;
DROP OWNED BY regress_vdist_owner CASCADE;
DROP ROLE regress_vdist_owner;

DROP FUNCTION noop(), here_only(int);
DROP TYPE mood;
DROP COLLATION regress_ci;
SELECT vdist.remove_shard('s1');
SELECT vdist.remove_shard('s2');
DROP DATABASE vdist_distribute1 WITH (FORCE);
DROP DATABASE vdist_distribute2 WITH (FORCE);
