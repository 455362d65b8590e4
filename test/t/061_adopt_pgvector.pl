# vdist.adopt_pgvector and the way back, in a database with the real pgvector: nothing but the types
# changes, whatever depends on them; who interrupts it finds the database as it was.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;
$ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 40;
use Time::HiRes qw(sleep);

plan skip_all => 'pgvector is not installed' if !Pgvector::is_installed();

my $node = Pgvector::server('both');
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->restart;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub fails
{
	my ($sql, $pattern, $name) = @_;
	my ($out, $err) = ('', '');
	isnt($node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1), 0, $name);
	like($err, $pattern, "$name: message");
	return;
}

# The schema, as pg_dump tells it.
sub dump_of
{
	my ($out, $err) = run_command([ 'pg_dump', '-s', '-h', $node->host, '-p', $node->port, '-d', 'postgres' ]);
	return $out =~ s/^\\(un)?restrict .*\n?//mgr;
}

sql(<<'SQL');
CREATE EXTENSION vector;
CREATE ROLE reader;
CREATE ROLE keeper;
GRANT ALL ON SCHEMA public TO keeper;
CREATE SCHEMA "odd schema" AUTHORIZATION keeper;
GRANT USAGE ON SCHEMA "odd schema" TO reader;

-- a table with all that can depend on a column
CREATE TABLE "odd schema"."Items" (id int PRIMARY KEY, "the vector" vector(3) DEFAULT '[1,2,3]' NOT NULL,
  plain vector CHECK (vector_dims(plain) > 1),
  norm float8 GENERATED ALWAYS AS (vector_norm("the vector")) STORED,
  unit vector(3) GENERATED ALWAYS AS (l2_normalize("the vector")) STORED);
ALTER TABLE "odd schema"."Items" ALTER plain SET STORAGE PLAIN, OWNER TO keeper;
INSERT INTO "odd schema"."Items" SELECT i, ARRAY[i, 2, 3], ARRAY[1, i] FROM generate_series(1, 500) i;
CREATE INDEX cosine ON "odd schema"."Items" USING hnsw ("the vector" vector_cosine_ops) WITH (m = 8);
CREATE INDEX lists ON "odd schema"."Items" USING ivfflat ("the vector") WITH (lists = 5);
CREATE INDEX part ON "odd schema"."Items" USING hnsw ((plain::vector(2)) vector_l2_ops) WHERE id > 10;
CREATE INDEX ordered ON "odd schema"."Items" ("the vector");
CREATE INDEX including ON "odd schema"."Items" (id) INCLUDE (plain) WHERE vector_norm(plain) > 3;
CREATE INDEX units ON "odd schema"."Items" USING hnsw (unit vector_ip_ops);
COMMENT ON INDEX "odd schema".cosine IS 'by angle';
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too long'; END $$;
CREATE TRIGGER long BEFORE INSERT OR UPDATE ON "odd schema"."Items" FOR EACH ROW
  WHEN (vector_norm(NEW."the vector") > 10000) EXECUTE FUNCTION refuse();
ALTER TABLE "odd schema"."Items" ENABLE ALWAYS TRIGGER long;
CREATE POLICY short ON "odd schema"."Items" FOR SELECT TO reader, keeper USING (vector_norm("the vector") < 450);
GRANT SELECT ON "odd schema"."Items" TO reader;

-- views over views, and materialized ones
CREATE VIEW near WITH (security_barrier) AS
  SELECT id, "the vector" FROM "odd schema"."Items" ORDER BY "the vector" <-> '[100.1,2,3]';
CREATE VIEW nearest AS SELECT id FROM near LIMIT 3;
GRANT SELECT ON nearest TO reader;
GRANT SELECT (id) ON near TO reader;
COMMENT ON COLUMN near.id IS 'its id';
CREATE MATERIALIZED VIEW means AS SELECT id % 10 AS k, avg("the vector") AS mean FROM "odd schema"."Items" GROUP BY 1;
ALTER MATERIALIZED VIEW means OWNER TO keeper;
GRANT SELECT ON means TO reader;
CREATE UNIQUE INDEX means_k ON means (k);
CREATE INDEX means_mean ON means USING hnsw ((mean::vector(3)) vector_l2_ops);
CREATE MATERIALIZED VIEW unfilled AS SELECT mean FROM means WITH NO DATA;

-- functions, and what depends on them
CREATE FUNCTION search(q vector, k int DEFAULT 3) RETURNS TABLE (id int, distance float8) LANGUAGE sql STABLE
  AS $$ SELECT i.id, i."the vector" <-> q FROM "odd schema"."Items" i ORDER BY i."the vector" <-> q LIMIT k $$;
ALTER FUNCTION search OWNER TO keeper;
REVOKE ALL ON FUNCTION search FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search TO reader;
COMMENT ON FUNCTION search IS 'nearest';
CREATE FUNCTION parsed(v vector DEFAULT '[1,1,1]') RETURNS float8 LANGUAGE sql IMMUTABLE
  BEGIN ATOMIC SELECT l2_distance(v, '[0,0,0]'); END;
CREATE INDEX by_function ON "odd schema"."Items" (parsed("the vector"));
CREATE VIEW via_function AS SELECT * FROM search('[100.1,2,3]', 2);
CREATE PROCEDURE put(v vector(3)) LANGUAGE sql AS $$ INSERT INTO "odd schema"."Items" VALUES (-1, v, '[1,1]') $$;

-- aggregates, and operators
CREATE AGGREGATE total(halfvec) (SFUNC = halfvec_add, STYPE = halfvec, COMBINEFUNC = halfvec_add, INITCOND = '[0,0]', PARALLEL = safe);
ALTER AGGREGATE total(halfvec) OWNER TO keeper;
REVOKE ALL ON FUNCTION total(halfvec) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION total(halfvec) TO reader;
COMMENT ON AGGREGATE total(halfvec) IS 'sum';
CREATE FUNCTION take(vector[], vector) RETURNS vector[] LANGUAGE sql IMMUTABLE AS 'SELECT array_append($1, $2)';
CREATE FUNCTION first(vector[], int) RETURNS vector LANGUAGE sql IMMUTABLE AS 'SELECT $1[$2]';
CREATE AGGREGATE "the nth"(int ORDER BY vector) (SFUNC = take, STYPE = vector[], FINALFUNC = first);
COMMENT ON AGGREGATE "the nth"(int ORDER BY vector) IS 'of those that come';
CREATE AGGREGATE public.total(vector) (SFUNC = vector_add, STYPE = vector, SSPACE = 100,
  MSFUNC = vector_add, MINVFUNC = vector_sub, MSTYPE = vector, SORTOP = operator(<));
CREATE VIEW totals AS SELECT total(h) AS h FROM (VALUES ('[1,2]'::halfvec), ('[3,4]')) AS v(h);
CREATE FUNCTION nearer(vector, float8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT vector_norm($1) < $2';
CREATE FUNCTION within(float8, vector) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT vector_norm($2) < $1';
CREATE OPERATOR public.<<~ (FUNCTION = nearer, LEFTARG = vector, RIGHTARG = float8, RESTRICT = scalarltsel);
CREATE OPERATOR public.~>> (FUNCTION = within, LEFTARG = float8, RIGHTARG = vector, COMMUTATOR = <<~);
ALTER OPERATOR public.<<~ (vector, float8) OWNER TO keeper;
COMMENT ON OPERATOR public.<<~ (vector, float8) IS 'shorter';
CREATE OPERATOR public.|? (FUNCTION = vector_norm, RIGHTARG = vector);

-- domains, composite types, arrays
CREATE DOMAIN color AS vector(3) DEFAULT '[0,0,0]' NOT NULL CONSTRAINT bright CHECK (vector_norm(VALUE) < 1000);
COMMENT ON DOMAIN color IS 'rgb';
CREATE DOMAIN place AS vector(2);
CREATE FUNCTION origin() RETURNS vector LANGUAGE sql IMMUTABLE AS $$ SELECT '[0,0]'::vector $$;
ALTER DOMAIN place SET DEFAULT origin();
CREATE FUNCTION is_near(vector) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT vector_norm($1) < 1000 $$;
CREATE DOMAIN home AS place CONSTRAINT near CHECK (is_near(VALUE));
COMMENT ON CONSTRAINT near ON DOMAIN home IS 'not far away';
CREATE DOMAIN palette AS vector(3)[] CHECK (cardinality(VALUE) < 9);
CREATE TABLE colors (id int, c color);
CREATE TABLE places (id int, p place, h home);
CREATE DOMAIN part AS vector(2) CHECK (vector_norm(VALUE) < 100);
CREATE TABLE palettes (id int, cs part[], p palette);
INSERT INTO palettes VALUES (1, ARRAY['[1,2]', '[4,5]']::part[], ARRAY['[1,2,3]']::vector(3)[]);
CREATE FUNCTION darker(color) RETURNS color LANGUAGE sql AS 'SELECT ($1 - $1)::color';
INSERT INTO colors SELECT i, ARRAY[i, 0, 1] FROM generate_series(1, 50) i;
INSERT INTO places SELECT i, ARRAY[i, i], ARRAY[i, 1] FROM generate_series(1, 50) i;
CREATE TYPE pair AS (a vector(2), b halfvec);
CREATE FUNCTION swap(pair) RETURNS pair LANGUAGE sql AS 'SELECT $1';
CREATE TABLE lists (id int, vs vector[]);
INSERT INTO lists VALUES (1, ARRAY['[1,2]', '[3]']::vector[]);
CREATE TABLE arrays (id int, r real[]);
INSERT INTO arrays SELECT i, ARRAY[i, 2, 3] FROM generate_series(1, 100) i;
CREATE INDEX of_array ON arrays USING hnsw ((r::vector(3)) vector_l2_ops);

-- partitions, children, keys, other types
CREATE TABLE parts (id int, v vector(2), n float8 GENERATED ALWAYS AS (vector_norm(v)) STORED) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (1000) TO (2000);
ALTER TABLE part2 ALTER v SET DEFAULT '[7,7]';
INSERT INTO parts SELECT i, ARRAY[i, i] FROM generate_series(1, 100) i;
CREATE INDEX ON parts USING hnsw (v vector_l2_ops);
CREATE TABLE parent (v vector(2) CHECK (vector_norm(v) > 0));
CREATE TABLE child (id int) INHERITS (parent);
INSERT INTO child SELECT ARRAY[i, i], i FROM generate_series(1, 10) i;
CREATE TABLE ones (v vector(2) UNIQUE, id vector(2) PRIMARY KEY);
CREATE TABLE refers (id vector(2) REFERENCES ones);
INSERT INTO ones VALUES ('[1,2]', '[3,4]');
INSERT INTO refers VALUES ('[3,4]');
CREATE TABLE kinds (id int, h halfvec(2), s sparsevec(3), b bit(2) DEFAULT B'01');
INSERT INTO kinds SELECT i, ARRAY[i, 1], ARRAY[i, 0, 1]::vector::sparsevec FROM generate_series(1, 100) i;
CREATE INDEX ON kinds (h);
CREATE INDEX kinds_b ON kinds USING hnsw (b bit_hamming_ops);
CREATE INDEX kinds_s ON kinds USING hnsw (s sparsevec_l2_ops);
CREATE STATISTICS two ON id, h FROM kinds;
CREATE STATISTICS lengths ON (vector_norm(h::vector)), id FROM kinds;
ALTER STATISTICS lengths SET STATISTICS 50;
CREATE PUBLICATION changes FOR TABLE kinds (id, h) WHERE (id > 5), parts WITH (publish = 'insert');
CREATE TABLE apart (id int, v vector(2), EXCLUDE USING btree (v WITH =));
INSERT INTO apart VALUES (1, '[1,2]');
CREATE TABLE marked (id int NOT NULL, k int PRIMARY KEY, v vector(2), UNIQUE (id) INCLUDE (v));
ALTER TABLE marked REPLICA IDENTITY USING INDEX marked_id_v_key;
CREATE INDEX marked_v ON marked (v);
ALTER TABLE marked CLUSTER ON marked_v;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE elsewhere (id int, v vector(2) DEFAULT '[1,1]') SERVER nowhere;
CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY, v vector(2) DEFAULT '[1,2]'::vector + '[1,1]');
INSERT INTO counted VALUES (DEFAULT), (DEFAULT);
CREATE RULE no_zeros AS ON INSERT TO kinds WHERE vector_norm(NEW.h::vector) = 0 DO INSTEAD NOTHING;
ANALYZE;

CREATE SCHEMA old;
ALTER EXTENSION vector SET SCHEMA old;
CREATE EXTENSION vdist;
SQL

my @kept = ('"odd schema"."Items"', 'part1', 'kinds', 'child', 'ones', 'refers', 'colors', 'places', 'apart', 'counted');
my @tables = (@kept, 'lists', 'palettes', 'arrays');
my %contents = map { $_ => sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM $_ t") } @tables;
my %file = map { $_ => sql("SELECT pg_relation_filenode('$_')") } @kept;
my $means = sql('SELECT md5(string_agg(t::text, $$,$$ ORDER BY k)) FROM means t');
my $before = dump_of();

sub same
{
	my ($when) = @_;
	is(sql("SELECT pg_relation_filenode('$_')"), $file{$_}, "$when: $_ was not rewritten") foreach @kept;
	is(sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM $_ t"), $contents{$_}, "$when: rows of $_") foreach @tables;
	is(sql('SELECT md5(string_agg(t::text, $$,$$ ORDER BY k)) FROM means t'), $means, "$when: rows of a materialized view");
	# all lists: pgvector's ivfflat may have put neighbors into two of them
	is(sql('SET ivfflat.probes = 5; SET ROLE reader; SELECT * FROM nearest'), "100\n101\n99", "$when: the view and its privileges");
	is(sql('SET ROLE reader; SELECT id FROM near LIMIT 1'), 100, "$when: privileges of a column");
	fails('SET ROLE reader; SELECT "the vector" FROM near', qr/permission denied/, "$when: of another column");
	is(sql('SET ROLE reader; SELECT count(*) FROM means'), 10, "$when: privileges of a materialized view");
	is( sql("SET enable_seqscan = off; SELECT id FROM \"odd schema\".\"Items\" ORDER BY \"the vector\" <=> '[7,2,3]' LIMIT 1"),
		7, "$when: the index");
	return;
}

# ---- who may, and interruptions ----

fails('SET ROLE keeper; SELECT * FROM vdist.adopt_pgvector()', qr/permission denied/, 'only for superusers');

# A table that another session reads is the last whose column is to change: stop there.
sql(q{CREATE TABLE zz (id int, v old.vector(2)); INSERT INTO zz VALUES (1, '[1,2]')});
$before = dump_of();
foreach my $how ('pg_cancel_backend', 'pg_terminate_backend', 'kill -9')
{
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT * FROM zz');
	my $out = '';
	my $adopting = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
		'-c', "SELECT 'said', * FROM vdist.adopt_pgvector()" ], '<', \undef, '>', \$out, '2>&1');
	my $waiting = q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%adopt_pgvector()' AND wait_event_type = 'Lock'};
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($waiting) w") or die 'it does not wait';
	my $pid = sql($waiting);
	if ($how eq 'kill -9')
	{
		kill 'KILL', $pid;
		$adopting->finish;
		eval { $reader->quit };
		foreach (1 .. 1200)
		{
			last if system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) == 0;
			sleep 0.1;
		}
	}
	else
	{
		sql("SELECT $how($pid)");
		$adopting->finish;
		$reader->quit;
	}
	unlike($out, qr/^said/m, "$how: nothing was done");
	is(dump_of(), $before, "$how: all is as it was");
}
sql('DROP TABLE zz');

# What PostgreSQL does not do stops it, too.
sql('CREATE TABLE holder (c colors)');
$before = dump_of();
fails('SELECT * FROM vdist.adopt_pgvector()', qr/column "holder.c" uses its row type/, 'a column of a row type');
is(dump_of(), $before, 'a column of a row type: all is as it was');
sql('DROP TABLE holder');
$before = dump_of();
is(sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM $_ t"), $contents{$_}, "after interruptions: rows of $_") foreach @tables;

# ---- over ----

my $report = sql('SELECT object, action, command FROM vdist.adopt_pgvector()');
foreach my $line (
	'table "odd schema"."Items" ("the vector", plain, unit)|type changed|',
	'table public.lists (vs)|type changed, table rewritten|',
	'table public.palettes (cs, p)|type changed, table rewritten|',
	'table public.colors (c)|type changed|',
	'table public.places (p, h)|type changed|',
	'foreign table public.elsewhere (v)|type changed|',
	'domain public.color|created anew|',
	'type public.pair (a, b)|type changed|',
	'view public.near|created anew|',
	'materialized view public.means|created anew|',
	'index "odd schema".cosine|created anew|',
	'index public.of_array|created anew|',
	'function public.search(vector,integer)|created anew|',
	'policy short on table "odd schema"."Items"|created anew|',
	'trigger long on table "odd schema"."Items"|created anew|',
	'constraint refers_id_fkey on table public.refers|created anew|',
	'function public.total(halfvec)|created anew|',
	'operator public.<<~(vector,double precision)|created anew|',
	'statistics object public.lengths|created anew|',
	'publication of table public.kinds in publication changes|created anew|',
	'constraint apart_v_excl on table public.apart|created anew|')
{
	like($report, qr/^\Q$line\E$/m, $line);
}
unlike($report, qr/still uses it/, 'nothing still uses it');

# But for the names of schema and access methods, and which operator classes are defaults.
sub in_words_of_vdist
{
	my ($text) = @_;
	$text =~ s/^(CREATE INDEX .*) USING (?:hnsw|ivfflat) \(/$1 USING vdist_hnsw (/mg;
	$text =~ s/^(CREATE INDEX .*) WITH \(lists='5'\)/$1/mg;
	$text =~ s/^(CREATE INDEX .*) old\.(?:vector_l2|sparsevec_l2|bit_hamming)_ops/$1/mg;
	$text =~ s/\bold\./public./g;
	return $text;
}
my $after = dump_of();
my $expected = in_words_of_vdist($before);
is($after, $expected, 'the schema is the same in words of vdist');
is(sql(q{SELECT count(*) FROM pg_cast WHERE castmethod = 'b' AND castsource = 'old.vector'::regtype}), 0, 'casts are gone');
same('adopted');

# what came along works
is( sql(q{UPDATE "odd schema"."Items" SET "the vector" = '[0,3,4]' WHERE id = 1 RETURNING norm, unit}),
	'5|[0,0.6,0.8]', 'generated columns');
is(sql(q{INSERT INTO parts (id, v) VALUES (1500, '[3,4]') RETURNING n}), '5', 'of a partition');
is(sql(q{INSERT INTO part2 (id) VALUES (1501) RETURNING v}), '[7,7]', 'a default of a partition');
sql(q{UPDATE "odd schema"."Items" SET "the vector" = '[1,2,3]' WHERE id = 1; DELETE FROM parts WHERE id >= 1500});
fails('INSERT INTO "odd schema"."Items" (id, plain) VALUES (0, $$[1]$$)', qr/Items_plain_check/, 'a check');
fails('UPDATE "odd schema"."Items" SET "the vector" = $$[1]$$', qr/expected 3 dimensions/, 'dimensions');
fails('UPDATE "odd schema"."Items" SET "the vector" = $$[1,2,30000]$$', qr/too long/, 'a trigger');
fails(q{INSERT INTO colors VALUES (0, '[2000,0,0]')}, qr/bright/, 'a domain');
fails(q{INSERT INTO places VALUES (0, '[1,1]', '[2000,0]')}, qr/near/, 'a domain over a domain');
fails(q{INSERT INTO palettes VALUES (0, NULL, array_fill('[1,2,3]'::vector, ARRAY[9]))}, qr/palette_check/, 'a domain over arrays');
fails(q{INSERT INTO palettes VALUES (0, ARRAY['[1,200]'::vector(2)]::part[])}, qr/part_check/, 'an array of a domain');
fails(q{INSERT INTO apart VALUES (2, '[1,2]')}, qr/apart_v_excl/, 'an exclusion constraint');
is(sql(q{INSERT INTO counted DEFAULT VALUES RETURNING id > 2, v}), 't|[2,3]', 'an identity, and a computed default');
sql('DELETE FROM counted WHERE id > 2');
is( sql(q{SELECT h, public.total(v ORDER BY v), "the nth"(2) WITHIN GROUP (ORDER BY v) FROM totals, (VALUES ('[5]'::vector), ('[3]')) AS x(v) GROUP BY 1}),
	'[4,6]|[8]|[3]', 'aggregates');
is(sql(q{SELECT '[3,4]'::vector <<~ 6, 4 ~>> '[3,4]'::vector, |? '[3,4]'::vector}), 't|f|5', 'operators');
is(sql(q{SELECT oprcom::regoperator FROM pg_operator WHERE oprname = '<<~'}), '~>>(double precision,vector)', 'and how they belong together');
is(sql(q{SELECT count(*) FROM pg_stats_ext WHERE statistics_name IN ('two', 'lengths') AND n_distinct IS NOT NULL}), 2, 'statistics of several columns');
fails(q{INSERT INTO ones VALUES ('[1,2]', '[5,5]')}, qr/duplicate key/, 'a unique constraint');
fails(q{INSERT INTO refers VALUES ('[9,9]')}, qr/foreign key/, 'a foreign key');
sql('ALTER TABLE "odd schema"."Items" ENABLE ROW LEVEL SECURITY');
is(sql('SET ROLE reader; SELECT count(*) FROM "odd schema"."Items"'), 449, 'a policy');
sql('ALTER TABLE "odd schema"."Items" DISABLE ROW LEVEL SECURITY');
is(sql(q{SET ROLE reader; SELECT id FROM search('[100.1,2,3]', 2)}), "100\n101", 'a function and its privileges');
is(sql('SELECT id FROM via_function'), "100\n101", 'a view that calls it');
is(sql(q{SELECT parsed('[3,4,0]'), darker('[1,2,3]'), (swap(ROW('[1,2]', '[3]'))).a}), '5|[0,0,0]|[1,2]', 'other functions');
is(sql(q{SELECT count(*) FROM pg_stats WHERE tablename = 'Items' AND attname IN ('the vector', 'plain', 'unit')}), 3, 'statistics');
foreach my $index (qw("odd_schema".cosine "odd_schema".lists "odd_schema".part "odd_schema".units means_mean of_array kinds_b kinds_s part1_v_idx))
{
	my $name = $index =~ s/odd_schema/odd schema/r;
	is(sql("SELECT count(*) FROM vdist.index_check('$name', true)"), 0, "index $name is whole");
}
is(sql('SELECT count(*) FROM vdist.adopt_pgvector() WHERE action <> $$still uses it$$'), 0, 'a second call finds nothing to do');

# ---- the way back, indexes by commands ----

$report = sql('SELECT object, action, command FROM vdist.return_to_pgvector(build_indexes => false)');
my @commands = $report =~ /\|dropped, to be created by the command\|(CREATE (?:UNIQUE )?INDEX CONCURRENTLY .*)$/mg;
is(scalar @commands, 13, 'commands for indexes, but not of a partitioned table');
is(sql('SELECT count(*) FROM vdist.return_to_pgvector(false)'), 13, 'a second call repeats them');
my $last = pop @commands;
my ($other) = grep { / ordered ON / } @commands;
@commands = grep { $_ ne $other } @commands;
$node->psql('postgres', $_, on_error_die => 1) foreach @commands;
is(sql('SELECT count(*) FROM vdist.return_to_pgvector(false)'), 2, 'those that are done are no more told');

# A build that did not get to its end leaves an invalid index.
{
	my ($table) = $last =~ / ON (\S+) /;
	my $reader = $node->background_psql('postgres');
	$reader->query_safe("BEGIN; SELECT count(*) FROM $table; LOCK TABLE $table IN ROW EXCLUSIVE MODE");
	fails("SET statement_timeout = '300ms'; $last", qr/canceling statement/, 'a build is cancelled');
	$reader->quit;
	my $command = sql(q{SELECT command FROM vdist.return_to_pgvector(false) WHERE object = 'index public.of_array'});
	like($command, qr/^REINDEX INDEX CONCURRENTLY /, 'then it goes on by another command');
	sql($command);
}
is( sql('SELECT * FROM vdist.return_to_pgvector()'),
	'index "odd schema".ordered|created anew|', 'a call that is to build them builds what is left');
is(sql('SELECT count(*) FROM vdist.return_to_pgvector(false)'), 0, 'and all is done');
sql(q{COMMENT ON INDEX "odd schema".cosine IS 'by angle'});
sql(q{DROP INDEX "odd schema".lists; CREATE INDEX lists ON "odd schema"."Items" USING ivfflat ("the vector" old.vector_l2_ops) WITH (lists = 5)});
is(dump_of(), $before, 'all is as it was, but for the lists, which were a graph');
sql('DROP EXTENSION vdist; ALTER EXTENSION vector SET SCHEMA public');
same('returned');

# ---- operator classes of one's own, and a try that is rolled back ----

sql('CREATE DATABASE classes');
sub classes { return $node->safe_psql('classes', $_[0]); }
classes(<<'SQL');
CREATE EXTENSION vector;
CREATE FUNCTION shorter(a vector, b vector) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT vector_norm(a) < vector_norm(b)';
CREATE FUNCTION longer(a vector, b vector) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT vector_norm(a) > vector_norm(b)';
CREATE FUNCTION as_long(a vector, b vector) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT vector_norm(a) = vector_norm(b)';
CREATE FUNCTION longer_than(a vector, b float8) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN vector_norm(a) > b; END';
CREATE FUNCTION compare(a vector, b vector) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT sign(vector_norm(a) - vector_norm(b))::int';
CREATE FUNCTION compare(a vector, b float8) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT sign(vector_norm(a) - b)::int';
CREATE OPERATOR <<| (FUNCTION = shorter, LEFTARG = vector, RIGHTARG = vector, COMMUTATOR = |>>);
CREATE OPERATOR |>> (FUNCTION = longer, LEFTARG = vector, RIGHTARG = vector, COMMUTATOR = <<|);
CREATE OPERATOR |>> (FUNCTION = longer_than, LEFTARG = vector, RIGHTARG = float8);
CREATE OPERATOR |=| (FUNCTION = as_long, LEFTARG = vector, RIGHTARG = vector);
CREATE OPERATOR CLASS by_length FOR TYPE vector USING btree AS OPERATOR 1 <<|, OPERATOR 3 |=|, OPERATOR 5 |>>,
  FUNCTION 1 compare(vector, vector);
ALTER OPERATOR FAMILY by_length USING btree ADD OPERATOR 5 |>> (vector, float8), FUNCTION 1 compare(vector, float8);
COMMENT ON OPERATOR CLASS by_length USING btree IS 'the longest last';
CREATE OPERATOR CLASS mine FOR TYPE vector USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_l2_squared_distance(vector, vector);
CREATE OPERATOR CLASS mine FOR TYPE vector USING ivfflat AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_l2_squared_distance(vector, vector), FUNCTION 3 l2_distance(vector, vector);
CREATE OPERATOR CLASS angles DEFAULT FOR TYPE vector USING hnsw AS OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
  FUNCTION 1 vector_negative_inner_product(vector, vector), FUNCTION 2 vector_norm(vector);
CREATE TABLE t (id int, v vector(3));
INSERT INTO t SELECT i, ARRAY[i, 7, i % 5] FROM generate_series(1, 200) i;
CREATE INDEX t_length ON t (v by_length);
CREATE INDEX t_mine ON t USING hnsw (v mine);
CREATE INDEX t_lists ON t USING ivfflat (v mine) WITH (lists = 1);
CREATE INDEX t_angles ON t USING hnsw (v);
CREATE SCHEMA old;
ALTER EXTENSION vector SET SCHEMA old;
CREATE EXTENSION vdist;
SQL
sub dump_of_classes
{
	my ($out, $err) = run_command([ 'pg_dump', '-s', '-h', $node->host, '-p', $node->port, '-d', 'classes' ]);
	return $out =~ s/^\\(un)?restrict .*\n?//mgr;
}
my $classes = dump_of_classes();
is( classes('BEGIN; SELECT count(*) FROM vdist.adopt_pgvector(); ROLLBACK'), 21, 'a try tells what would be done');
is(dump_of_classes(), $classes, 'and does nothing');
$report = classes('SELECT object, action FROM vdist.adopt_pgvector()');
foreach my $line ('operator class public.by_length for access method btree', 'operator class public.mine for access method hnsw',
	'operator class public.angles for access method hnsw', 'index public.t_lists')
{
	like($report, qr/^\Q$line\E\|created anew$/m, $line);
}
unlike($report, qr/still uses it/, 'no class still uses pgvector');
classes('DROP EXTENSION vector');
is( classes(q{SELECT am.amname, c.opcname, c.opcdefault, obj_description(c.oid, 'pg_opclass') FROM pg_opclass c JOIN pg_am am ON am.oid = c.opcmethod
	  WHERE c.opcname IN ('by_length', 'mine', 'angles') ORDER BY 2}),
	"vdist_hnsw|angles|f|\nbtree|by_length|f|the longest last\nvdist_hnsw|mine|f|", 'classes');
is( classes(q{SELECT indexrelid::regclass, o.opcname FROM pg_index x JOIN pg_opclass o ON o.oid = x.indclass[0] WHERE indrelid = 't'::regclass ORDER BY indexrelid::regclass::text COLLATE "C"}),
	"t_angles|angles\nt_length|by_length\nt_lists|mine\nt_mine|mine", 'of indexes');
is(classes("SELECT count(*) FROM vdist.index_check('$_', true)"), 0, "$_ is whole") foreach qw(t_mine t_lists t_angles);
like(classes(q{SET enable_seqscan = off; EXPLAIN SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 1}), qr/using t_angles/, 'by an index of one');
like(classes(q{SET enable_seqscan = off; SET enable_bitmapscan = off; EXPLAIN SELECT id FROM t WHERE v |>> 200.0::float8}),
	qr/Index Cond: \(v \|>> '200'/, 'an operator that was added to a family');
is(classes(q{SET enable_seqscan = off; SELECT count(*) FROM t WHERE v |>> 199.0::float8}), 2, 'finds');
classes('CREATE EXTENSION vector SCHEMA old; SELECT vdist.return_to_pgvector()');
is( classes(q{SELECT count(*) FROM pg_opclass c JOIN pg_am am ON am.oid = c.opcmethod WHERE amname = 'hnsw' AND opcname IN ('mine', 'angles')}),
	2, 'the way back');
classes(q{DROP EXTENSION vdist});

# A distance that vdist_hnsw has no name for.
classes(q{CREATE EXTENSION vdist; CREATE FUNCTION public.far(old.vector, old.vector) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 1.0::float8';
	CREATE OPERATOR public.<==> (FUNCTION = public.far, LEFTARG = old.vector, RIGHTARG = old.vector);
	CREATE OPERATOR CLASS public.odd FOR TYPE old.vector USING hnsw AS OPERATOR 1 public.<==> FOR ORDER BY float_ops,
	  FUNCTION 1 old.vector_l2_squared_distance(old.vector, old.vector)});
my ($no, $why) = ('', '');
isnt($node->psql('classes', 'SELECT * FROM vdist.adopt_pgvector()', stdout => \$no, stderr => \$why, on_error_stop => 1), 0, 'a class of another distance');
like($why, qr/operator class public.odd has no counterpart in access method vdist_hnsw.*HINT:  Drop it/s, 'is told');
sql('DROP DATABASE classes');

# ---- over, for good, while clients work ----

sql(<<'SQL');
CREATE TABLE busy (id serial PRIMARY KEY, v vector(3), norm float8 GENERATED ALWAYS AS (vector_norm(v)) STORED);
INSERT INTO busy (v) SELECT ARRAY[i, i % 7, 1] FROM generate_series(1, 2000) i;
CREATE INDEX ON busy USING hnsw (v vector_l2_ops);
SQL
my $script = "$PostgreSQL::Test::Utils::tmp_check/busy.pgbench";
append_to_file($script, <<'SQL');
\set n random(1, 2000)
INSERT INTO busy (v) VALUES ('[:n,1,2]');
SELECT id, v FROM busy ORDER BY v <-> '[:n,2,3]' LIMIT 5;
UPDATE busy SET v = '[:n,3,4]' WHERE id = :n;
SQL
my $out = '';
my $clients = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '6', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$out, '2>&1');
sleep 2;
sql('BEGIN; ALTER EXTENSION vector SET SCHEMA old; CREATE EXTENSION vdist; SELECT * FROM vdist.adopt_pgvector(); COMMIT');
ok($clients->finish, 'clients see nothing of it') or diag($out);
unlike($out, qr/aborted|ERROR/, 'no error');
my ($done) = $out =~ /transactions actually processed: (\d+)/;
is(sql('SELECT count(*) FROM busy'), 2000 + $done, 'all rows are there');
is(sql(q{SELECT count(*) FROM vdist.index_check('busy_v_idx', true)}), 0, 'and in the index');
sql('DROP TABLE busy; DROP EXTENSION vector');
same('without pgvector');
fails('SELECT * FROM vdist.adopt_pgvector()', qr/pgvector is not installed in this database.*HINT/s, 'without pgvector there is nothing to adopt');

done_testing();
