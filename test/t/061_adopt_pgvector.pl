# vdist.adopt_pgvector and the way back, in a database with the real pgvector.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'pgvector is not installed' if !Pgvector::is_installed();

my $node = Pgvector::server('both');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(<<'SQL');
CREATE EXTENSION vector;
CREATE ROLE reader;
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."Items" (id int PRIMARY KEY, "the vector" vector(3) DEFAULT '[1,2,3]' NOT NULL,
  plain vector CHECK (vector_dims(plain) > 1));
INSERT INTO "odd schema"."Items" SELECT i, ARRAY[i, 2, 3], ARRAY[1, i] FROM generate_series(1, 500) i;
CREATE INDEX cosine ON "odd schema"."Items" USING hnsw ("the vector" vector_cosine_ops) WITH (m = 8);
CREATE INDEX lists ON "odd schema"."Items" USING ivfflat ("the vector") WITH (lists = 5);
CREATE INDEX part ON "odd schema"."Items" USING hnsw ((plain::vector(2)) vector_l2_ops) WHERE id > 10;
CREATE INDEX ordered ON "odd schema"."Items" ("the vector");
COMMENT ON INDEX "odd schema".cosine IS 'by angle';
CREATE VIEW near WITH (security_barrier) AS
  SELECT id, "the vector" FROM "odd schema"."Items" ORDER BY "the vector" <-> '[100.1,2,3]';
CREATE VIEW nearest AS SELECT id FROM near LIMIT 3;
GRANT SELECT ON nearest TO reader;
CREATE TABLE parts (id int, v vector(2)) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
INSERT INTO parts SELECT i, ARRAY[i, i] FROM generate_series(1, 100) i;
CREATE INDEX ON parts USING hnsw (v vector_l2_ops);
CREATE TABLE kinds (id int, h halfvec(2), s sparsevec(3), b bit(2) DEFAULT B'01');
INSERT INTO kinds SELECT i, ARRAY[i, 1], ARRAY[i, 0, 1]::vector::sparsevec FROM generate_series(1, 100) i;
CREATE INDEX ON kinds (h);
CREATE TABLE lists (id int, vs vector[]);
INSERT INTO lists VALUES (1, ARRAY['[1,2]', '[3]']::vector[]);
CREATE FUNCTION left_over(vector) RETURNS int LANGUAGE sql AS 'SELECT 1';

CREATE SCHEMA old;
ALTER EXTENSION vector SET SCHEMA old;
CREATE EXTENSION vdist;
SQL

my @tables = ('"odd schema"."Items"', 'part1', 'kinds');
my %contents = map { $_ => sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM $_ t") } @tables, 'lists';
my %file = map { $_ => sql("SELECT pg_relation_filenode('$_')") } @tables;

sub same
{
	my ($when) = @_;
	foreach my $table (@tables)
	{
		is(sql("SELECT pg_relation_filenode('$table')"), $file{$table}, "$when: $table was not rewritten");
	}
	foreach my $table (sort keys %contents)
	{
		is(sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM $table t"),
			$contents{$table}, "$when: rows of $table");
	}
	is(sql('SET ROLE reader; SELECT * FROM nearest'), "100\n101\n99", "$when: the view and its privileges");
	is( sql("SET enable_seqscan = off; SELECT id FROM \"odd schema\".\"Items\" ORDER BY \"the vector\" <=> '[7,2,3]' LIMIT 1"),
		7, "$when: the index");
	return;
}

my $report = sql('SELECT object, action, command FROM vdist.adopt_pgvector()');
like($report, qr/^table "odd schema"."Items" \("the vector", plain\)\|type changed\|$/m, 'the table');
like($report, qr/^table public\.lists \(vs\)\|type changed, table rewritten\|$/m, 'arrays hold the type inside');
like($report, qr/^view public\.near\|created anew\|$/m, 'the view');
like($report, qr/^index "odd schema"\.cosine\|created anew\|$/m, 'the index');
like($report, qr/^function public\.left_over\(old\.vector\)\|still uses it\|$/m, 'what is left is told');
is( sql(q{SELECT atttypid::regtype, atttypmod, attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute
		LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid = '"odd schema"."Items"'::regclass AND attname IN ('the vector', 'plain') ORDER BY attnum}),
	"vector|3|t|'[1,2,3]'::vector\nvector|-1|f|", 'type, dimensions and default');
is(sql(q{SELECT count(*) FROM pg_cast WHERE castmethod = 'b' AND castsource = 'old.vector'::regtype}), 0, 'casts are gone');
is( sql(q{SELECT indexdef FROM pg_indexes WHERE indexname IN ('cosine', 'lists', 'part', 'part1_v_idx') ORDER BY indexname}),
	join("\n",
		q{CREATE INDEX cosine ON "odd schema"."Items" USING vdist_hnsw ("the vector" vector_cosine_ops) WITH (m='8')},
		q{CREATE INDEX lists ON "odd schema"."Items" USING vdist_hnsw ("the vector")},
		q{CREATE INDEX part ON "odd schema"."Items" USING vdist_hnsw (((plain)::vector(2))) WHERE (id > 10)},
		q{CREATE INDEX part1_v_idx ON public.part1 USING vdist_hnsw (v)}),
	'indexes');
is(sql('SELECT obj_description($$"odd schema".cosine$$::regclass)'), 'by angle', 'a comment');
is(sql('SELECT reloptions FROM pg_class WHERE relname = $$near$$'), '{security_barrier=true}', 'options of a view');
same('adopted');
my ($out, $err) = ('', '');
isnt($node->psql('postgres', 'INSERT INTO "odd schema"."Items" (id, plain) VALUES (0, $$[1]$$)', stderr => \$err), 0, 'the check holds');
isnt($node->psql('postgres', 'UPDATE "odd schema"."Items" SET "the vector" = $$[1]$$', stderr => \$err), 0, 'and the dimensions');

# ---- the way back, indexes by commands ----

$report = sql('SELECT object, action, command FROM vdist.return_to_pgvector(build_indexes => false)');
my @commands = $report =~ /\|(CREATE INDEX CONCURRENTLY .*)$/mg;
is(scalar @commands, 5, 'commands for indexes, but not of a partitioned table');
$node->psql('postgres', "SET search_path = old, public;\n$_", on_error_die => 1) foreach @commands;
is( sql(q{SELECT indexdef FROM pg_indexes WHERE indexname IN ('cosine', 'part') ORDER BY indexname}),
	join("\n",
		q{CREATE INDEX cosine ON "odd schema"."Items" USING hnsw ("the vector" old.vector_cosine_ops) WITH (m='8')},
		q{CREATE INDEX part ON "odd schema"."Items" USING hnsw (((plain)::old.vector(2)) old.vector_l2_ops) WHERE (id > 10)}),
	'indexes as they were');
sql('DROP EXTENSION vdist; ALTER EXTENSION vector SET SCHEMA public');
same('returned');

# ---- and over, for good ----

sql('BEGIN; ALTER EXTENSION vector SET SCHEMA old; CREATE EXTENSION vdist; SELECT * FROM vdist.adopt_pgvector(); COMMIT');
sql('DROP FUNCTION left_over; DROP EXTENSION vector');
same('without pgvector');
isnt($node->psql('postgres', 'SELECT * FROM vdist.adopt_pgvector()', stderr => \$err), 0, 'without pgvector there is nothing to adopt');
like($err, qr/pgvector is not installed in this database.*HINT/s, 'and this is said');

done_testing();
