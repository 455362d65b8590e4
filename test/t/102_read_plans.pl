# One round trip, one scan, no vector on the wire: what EXPLAIN says of reads, and that it says nothing
# it should not.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use VdistCluster;

my $cluster = VdistCluster->new(shards => 4);

$cluster->sql(<<'EOSQL');
CREATE TABLE docs (id int PRIMARY KEY, kind text, embedding vector(512));
INSERT INTO docs SELECT i, 'kind ' || i % 3, (SELECT array_agg(i * j % 100) FROM generate_series(1, 512) j)::vector
FROM generate_series(1, 400) i;
CREATE TABLE questions (n int, v vector(512));
INSERT INTO questions SELECT i, (SELECT array_agg(i * j % 7) FROM generate_series(1, 512) j)::vector FROM generate_series(1, 6) i;
CREATE FUNCTION only_here(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 % 2; END';
SELECT vdist.create_distributed_table('docs', 'id');
ANALYZE docs;
ANALYZE questions;
EOSQL

my $vector = "(SELECT v FROM questions WHERE n = 1)";

# The plan of a statement run by EXPLAIN ANALYZE, and all of its nodes.
sub plan_of
{
	my ($sql, %opt) = @_;
	my $script = ($opt{before} // '') . "\nEXPLAIN (ANALYZE, VERBOSE, FORMAT json) $sql;";
	my $out = $cluster->sql($script);
	return nodes(decode_json($out)->[0]{Plan});
}

sub nodes { my ($node) = @_; return ($node, map { nodes($_) } @{ $node->{Plans} // [] }); }

# A plan without the parts that InitPlans and subplans are.
sub main_nodes { return grep { ($_->{'Parent Relationship'} // '') !~ /InitPlan|SubPlan/ && !$_->{'Subplan Name'} } @_; }

sub foreign { return grep { $_->{'Node Type'} eq 'Foreign Scan' } @_; }
sub sum { my $sum = 0; $sum += $_ foreach @_; return $sum; }

sub is_one_scan
{
	my ($name, $sql, %opt) = @_;
	my @nodes = plan_of($sql, %opt);
	my ($scan) = foreign(@nodes);

	ok($scan && $nodes[0] == $scan && foreign(@nodes) == 1, "$name: one foreign scan is the whole plan")
	  or return diag explain \@nodes;
	my @shards = @{ $scan->{'Shard Details'} };
	is(sum(map { $_->{Requests} } @shards), $opt{requests} // 4, "$name: one request a shard");
	cmp_ok(sum(map { $_->{Rows} } @shards), '<=', $opt{rows}, "$name: no more rows than LIMIT asks of each");
	cmp_ok(sum(map { $_->{Bytes} } @shards), '<=', 100 * $opt{rows}, "$name: no vector came");
	unlike($scan->{'Remote SQL'}, $_, "$name: no value in the text") foreach @{ $opt{secret} // [] };
	return $scan;
}

my $scan = is_one_scan('subquery', "SELECT id FROM docs ORDER BY embedding <-> $vector LIMIT 5", rows => 20);
is($scan->{'On Shards'}, 'Sort, Limit', 'EXPLAIN says what the shards do');

my $literal = $cluster->sql('SELECT v FROM questions WHERE n = 1');
is_one_scan('literal', "SELECT id, kind FROM docs ORDER BY embedding <=> '$literal' LIMIT 7 OFFSET 3",
	rows => 40, secret => [ qr/\[/, qr/\d\d/ ]);
is_one_scan('with a condition', "SELECT id FROM docs WHERE kind = 'kind 1' AND id > 12345 - 12340 ORDER BY embedding <#> $vector LIMIT 5",
	rows => 20, secret => [ qr/kind 1/, qr/123/ ]);
is_one_scan('distance as output', "SELECT id, 1 - (embedding <+> $vector), vector_dims(embedding) FROM docs ORDER BY embedding <+> $vector LIMIT 5",
	rows => 20);
is_one_scan('any order', 'SELECT kind FROM docs ORDER BY kind DESC NULLS LAST, id LIMIT 5', rows => 20);
is_one_scan('no order', 'SELECT kind FROM docs LIMIT 5', rows => 20);
is_one_scan('no column', 'SELECT 1 FROM docs LIMIT 5', rows => 20);
is_one_scan('one shard', "SELECT id FROM docs WHERE id = 42 ORDER BY embedding <-> $vector LIMIT 5", rows => 1, requests => 1);
is_one_scan('two values', 'SELECT id FROM docs WHERE id IN (42) ORDER BY kind LIMIT 5', rows => 1, requests => 1);
is_one_scan('nothing to ask', "SELECT id FROM docs WHERE id = 42 ORDER BY kind LIMIT 0", rows => 0, requests => 0);

# The generic plan does what a custom one does, and the planner takes it by itself.
my $prepare = "PREPARE p (vector, int) AS SELECT id FROM docs ORDER BY embedding <-> \$1 LIMIT \$2;\n";
foreach my $mode (qw(force_custom_plan force_generic_plan))
{
	is_one_scan($mode, "EXECUTE p ('$literal', 5)", rows => 20, before => "SET plan_cache_mode = $mode;\n$prepare");
}
my $plans = $cluster->sql("$prepare" . "EXECUTE p ('$literal', 5);\n" x 8
	  . 'SELECT \'plans \' || generic_plans || \' \' || custom_plans FROM pg_prepared_statements');
like($plans, qr/^plans 3 5$/m, 'the generic plan is taken from the sixth execution on');

# A parameter on the distribution column chooses the shard at execution.
is_one_scan('key as parameter', 'EXECUTE k (42)', rows => 1, requests => 1,
	before => "SET plan_cache_mode = force_generic_plan;\nPREPARE k (int) AS SELECT id FROM docs WHERE id = \$1 LIMIT 3;\n");
is_one_scan('keys as parameter', "EXECUTE k ('{}')", rows => 0, requests => 0,
	before => "SET plan_cache_mode = force_generic_plan;\nPREPARE k (int[]) AS SELECT id FROM docs WHERE id = ANY (\$1) LIMIT 3;\n");
my ($pruned) = foreign(plan_of('SELECT * FROM docs WHERE id = 1 AND id = 2'));
cmp_ok(sum(map { $_->{Requests} } @{ ($pruned // {})->{'Shard Details'} // [] }), '<=', 1, 'contradictions ask one shard at most');

# LATERAL: one round trip for each outer row.
my @lateral = foreign(plan_of('SELECT q.n, x.id FROM questions q, LATERAL (SELECT id FROM docs ORDER BY embedding <-> q.v LIMIT 3) x'));
is(scalar(@lateral), 1, 'LATERAL: one foreign scan');
is(join(' ', map { $_->{Requests} } @{ $lateral[0]{'Shard Details'} }), '6 6 6 6', 'LATERAL: one request a shard and outer row');
is($lateral[0]{'On Shards'}, 'Sort, Limit', 'LATERAL: the shards sort and limit');

# What cannot be shipped is evaluated here, and then LIMIT stays here, too.
my @local = plan_of("SELECT id FROM docs WHERE only_here(id) = 1 ORDER BY embedding <-> $vector LIMIT 5");
is($local[0]{'Node Type'}, 'Limit', 'a condition of this server alone keeps LIMIT here');
my ($filtered) = grep { $_->{Filter} } foreign(@local);
ok($filtered, 'and is a filter of the scan');
unlike($filtered->{'Remote SQL'}, qr/only_here/, 'not sent');
my ($volatile) = foreign(plan_of('SELECT id FROM docs WHERE random() >= 0 AND kind > \'k\''));
unlike($volatile->{'Remote SQL'}, qr/random/, 'volatile functions stay here');
like($volatile->{'Remote SQL'}, qr/kind >/, 'beside conditions that are sent');
my ($stable) = foreign(plan_of("SELECT id FROM docs WHERE kind < current_setting('server_version')"));
unlike($stable->{'Remote SQL'}, qr/current_setting/, 'stable functions are evaluated here');
like($stable->{'Remote SQL'}, qr/kind < /, 'and their value is sent');
my ($collated) = foreign(plan_of('SELECT id FROM docs WHERE kind COLLATE "und-x-icu" < \'z\''));
unlike($collated->{'Remote SQL'}, qr/WHERE/, 'a collation that the column does not have stays here');

# ORDER BY alone: sorted streams, merged.
my ($sorted) = plan_of('SELECT id, kind FROM docs ORDER BY kind, id');
is($sorted->{'Node Type'}, 'Foreign Scan', 'ORDER BY alone is merged, not sorted here');

# Subqueries in WHERE and joins by key look rows up where they are.
my @nested = foreign(plan_of('SELECT d.kind FROM questions q JOIN docs d ON d.id = q.n + 1 WHERE q.n = 3'));
is(sum(map { $_->{Requests} } @{ $nested[0]{'Shard Details'} }), 1, 'a join by key asks one shard for each outer row');
is($nested[0]{'Shards Chosen By'}, 'distribution column', 'as EXPLAIN says');

# Without VERBOSE: the number of shards and what they do, no SQL.
my $text = $cluster->sql("EXPLAIN SELECT id FROM docs ORDER BY embedding <-> $vector LIMIT 5");
like($text, qr/^ *Shards: 4$/m, 'EXPLAIN shows the number of shards');
unlike($text, qr/SELECT/, 'and SQL only with VERBOSE');
$text = $cluster->sql("EXPLAIN (VERBOSE) SELECT id FROM docs ORDER BY embedding <-> $vector LIMIT 5");
like($text, qr/^ *Shard shard$_$/m, "VERBOSE names shard$_") foreach 1 .. 4;
$text = $cluster->sql("EXPLAIN (ANALYZE) SELECT id FROM docs ORDER BY embedding <-> $vector LIMIT 5");
like($text, qr/^ *Shard shard$_: rows=5 time=\d+\.\d+ ms bytes=\d+$/m, "ANALYZE: rows, time and bytes of shard$_") foreach 1 .. 4;

# LIMIT and OFFSET fail as they do on any table.
foreach my $clause ('LIMIT -1', 'LIMIT 1 OFFSET -1')
{
	my ($rc, $out, $err) = $cluster->try("SELECT id FROM docs $clause");
	like($err, qr/2201[WX]: (LIMIT|OFFSET) must not be negative/, "$clause is refused");
}
is($cluster->sql('SELECT count(*) FROM (SELECT id FROM docs ORDER BY id LIMIT 9223372036854775807 OFFSET 390) x'),
	10, 'LIMIT plus OFFSET may overflow');

# Row locks are taken on the shards.
my $locker = $cluster->session;
$locker->query_safe('BEGIN; SELECT kind FROM docs WHERE id = 42 FOR UPDATE');
my ($home) = $cluster->sql('SELECT vdist.shard_of(\'docs\', 42)') =~ /(\d+)/;
like($cluster->shard($home)->psql('postgres', 'SELECT id FROM docs WHERE id = 42 FOR UPDATE NOWAIT') // '',
	qr/3/, 'FOR UPDATE locks the row on its shard');
$locker->query_safe('COMMIT');
$locker->quit;
is($cluster->sql_on($home, 'SELECT id FROM docs WHERE id = 42 FOR UPDATE NOWAIT'), 42, 'until the transaction ends');

# A security barrier decides before anything that could leak is evaluated.
$cluster->sql(<<'EOSQL');
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, kind FROM docs WHERE kind = 'kind 1';
EOSQL
my ($barrier) = foreign(plan_of('SELECT * FROM barrier WHERE id / 1 > 3 AND id <> 0'));
like($barrier->{'Remote SQL'}, qr/\(kind = /, 'the condition of a barrier view is sent');
unlike($barrier->{'Remote SQL'}, qr{/}, 'one that could fail on hidden rows is not');

# Privileges are those of the foreign table; the view's owner's for a view.
$cluster->sql(<<'EOSQL');
CREATE ROLE reader;
GRANT SELECT ON barrier TO reader;
EOSQL
my ($rc, $out, $err) = $cluster->try("SET ROLE reader; SELECT count(*) FROM docs");
like($err, qr/42501: permission denied/, 'the privileges of the foreign table count');
is($cluster->sql('SET ROLE reader; SELECT count(*) FROM barrier'), 134, 'a view reads as its owner');
is($cluster->sql('SET ROLE reader; SELECT count(*) FROM (SELECT id FROM barrier ORDER BY id LIMIT 5) x'), 5,
	'also when the shards sort and limit');

# Cursors go forward by themselves, backward through core's Materialize.
is($cluster->sql(<<'EOSQL'), "1\n2\n3\n2\n3\n4", 'scroll cursor');
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM docs ORDER BY id;
FETCH 3 FROM c;
FETCH BACKWARD 1 FROM c;
FETCH 2 FROM c;
COMMIT;
EOSQL

# Two scans at once on the same connections.
is($cluster->sql(<<'EOSQL'), "1\n1\n2\n2\n400", 'interleaved cursors');
BEGIN;
DECLARE a CURSOR FOR SELECT id FROM docs ORDER BY id;
DECLARE b CURSOR FOR SELECT id FROM docs ORDER BY id;
FETCH 1 FROM a;
FETCH 1 FROM b;
FETCH 1 FROM a;
FETCH 1 FROM b;
SELECT count(*) FROM docs;
COMMIT;
EOSQL

# Oddities that have failed once, or well might.
is($cluster->sql('SELECT id FROM docs WHERE false ORDER BY id LIMIT 2'), '', 'a table excluded by its conditions');
foreach my $sql ('SELECT xmin FROM docs', 'SELECT xmin FROM docs ORDER BY id LIMIT 1')
{
	($rc, $out, $err) = $cluster->try($sql);
	like($err, qr/0A000: system column "xmin" of distributed table "docs" cannot be read/, "$sql is refused");
}
is($cluster->sql(<<'EOSQL'), "1\n2\n3\n4", 'a cursor outlives its transaction');
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM docs ORDER BY id;
FETCH 2 FROM h;
COMMIT;
FETCH 2 FROM h;
EOSQL
is($cluster->sql(<<'EOSQL'), "1\n2\n3", 'a cursor outlives a savepoint');
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM docs ORDER BY id;
FETCH 1 FROM c;
SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK TO s;
FETCH 1 FROM c;
COMMIT;
EOSQL
is($cluster->sql(<<'EOSQL'), '', 'a loop asks the shards whose rows it is reading');
DO $$
DECLARE
	r record;
	n int;
BEGIN
	FOR r IN SELECT id FROM docs ORDER BY id LOOP
		SELECT count(*) INTO n FROM docs WHERE id <= r.id;
		IF n <> r.id THEN
			RAISE EXCEPTION 'found % rows up to %', n, r.id;
		END IF;
		EXIT WHEN r.id = 100;
	END LOOP;
END $$;
EOSQL
is($cluster->sql('SELECT id FROM docs ORDER BY embedding <-> NULL::vector, id LIMIT 2'), "1\n2", 'a distance to NULL');

# Sorted answers can be merged only where both sides sort alike.
$cluster->sql_on(1, "CREATE DATABASE elsewhere TEMPLATE template0 LOCALE 'POSIX'");
($rc, $out, $err) = $cluster->try("SELECT vdist.add_shard('elsewhere', '" . $cluster->hosts(1) . "', 'elsewhere')");
like($err, qr/55000: the database of shard "elsewhere" has another default collation/, 'a shard that sorts otherwise is refused');
is($cluster->sql('SELECT count(*) FROM vdist.shards'), 4, 'and not added');

# ANALYZE: rows and columns of all shards.
is($cluster->sql("SELECT reltuples FROM pg_class WHERE relname = 'docs'"), 400, 'ANALYZE counts the rows of all shards');
is($cluster->sql("SELECT n_distinct, array_length(most_common_vals::text::text[], 1) FROM pg_stats WHERE tablename = 'docs' AND attname = 'kind'"),
	'3|3', 'and samples their columns');

done_testing();
