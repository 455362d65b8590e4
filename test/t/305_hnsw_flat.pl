# An index that begins on an empty table: flat until there are rows enough to choose codes from, then a
# graph, which an insert makes: beside scans and other inserts, through kills, on a standby.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdistCluster;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf',
	"shared_buffers = 64MB\nautovacuum = off\nhot_standby_feedback = on\nmax_prepared_transactions = 5\n");
$primary->start;
my $dims = 48;
$primary->safe_psql('postgres', qq{
	CREATE EXTENSION vdist;
	CREATE TABLE example AS SELECT i AS id, array_agg(sin(i * j * 0.7) + cos(i % 31 + j) + 3)::real[]::vector($dims) AS v
	  FROM generate_series(1, 5000) i, generate_series(1, $dims) j GROUP BY i;
	ALTER TABLE example ADD PRIMARY KEY (id);
	CREATE TABLE item (id serial PRIMARY KEY, embedding vector($dims));
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops);
	ALTER DATABASE postgres SET enable_seqscan = off;
	CREATE TABLE query AS SELECT * FROM example WHERE id % 250 = 0;
});

sub fill
{
	my ($from, $to, $table) = @_;
	$table //= 'item';
	return "INSERT INTO $table (embedding) SELECT v FROM example WHERE id BETWEEN $from AND $to ORDER BY id";
}

sub problems
{
	my ($node, $index) = @_;
	return $node->safe_psql('postgres', "SELECT * FROM vdist.index_check('" . ($index // 'item_index') . "', true)");
}

sub bits
{
	return shift->safe_psql('postgres', "SELECT code_bits FROM vdist.index_info('item_index')");
}

my $nearest = 'SELECT query.id, array_agg(i.id) FROM query, LATERAL (
	SELECT id FROM item ORDER BY embedding <-> query.v LIMIT 12) i GROUP BY query.id ORDER BY query.id';
my $sorted = "SET enable_indexscan = off; $nearest";

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# flat: exact
$primary->safe_psql('postgres', fill(1, 900) . '; DELETE FROM item WHERE id % 3 = 0; VACUUM item; ' . fill(1, 300));
is(bits($primary), '0', 'an index of few rows is flat');
is(problems($primary), '', 'and sound');
is($primary->safe_psql('postgres', $nearest), $primary->safe_psql('postgres', $sorted), 'a scan of it is exact');

# the graph is made beside a scan, in a transaction that is rolled back
my $reader = $primary->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE c CURSOR FOR
	SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM query LIMIT 1); FETCH 5 FROM c');
my $before = $primary->safe_psql('postgres', 'SELECT count(*) FROM item');
$primary->safe_psql('postgres', 'BEGIN; ' . fill(1, 5000) . '; ROLLBACK');
isnt(bits($primary), '0', 'many rows make it a graph');
is(problems($primary), '', 'which is sound');
my $rest = $reader->query_safe('FETCH ALL FROM c');
is(scalar(split /\n/, $rest), $before - 5, 'a scan that began before gets every row');
$reader->query_safe('COMMIT');
$reader->quit;
$primary->safe_psql('postgres', 'VACUUM item; ' . fill(1, 5000));
is(problems($primary), '', 'also after vacuum and more rows');
cmp_ok($primary->safe_psql('postgres', "SELECT vdist.recall('item_index')"), '>', 0.95, 'recall');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
is($standby->safe_psql('postgres', $nearest), $primary->safe_psql('postgres', $nearest), 'the standby answers the same');

# clients that insert and search across the change
foreach my $round (1 .. 2)
{
	$primary->safe_psql('postgres', 'TRUNCATE item');
	is(bits($primary), '0', 'TRUNCATE makes it flat again');
	my $script = $primary->basedir . '/mix.sql';
	unlink $script;
	append_to_file($script, q{
\set id random(1, 5000)
INSERT INTO item (embedding) SELECT v FROM example WHERE id BETWEEN :id AND :id + 9;
SELECT 1 / (count(*) = least(10, (SELECT count(*) FROM item)))::integer FROM (SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM example WHERE id = :id) LIMIT 10) s;
});
	$primary->command_ok([ 'pgbench', '-n', '-c', '6', '-t', '70', '-f', $script, $primary->connstr('postgres') ],
		'clients insert and search beside each other');
	is(problems($primary), '', 'index is sound');
	isnt(bits($primary), '0', 'and has its graph');
}
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
is($standby->safe_psql('postgres', $nearest), $primary->safe_psql('postgres', $nearest), 'the standby still answers the same');

# killed while it makes the graph
foreach my $round (1 .. 3)
{
	$primary->safe_psql('postgres', 'TRUNCATE item; ' . fill(1, 1900));
	my ($statement, $out, $err) = (fill(1901, 5000), '', '');
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $primary->connstr('postgres'), '-c', $statement ],
		'>', \$out, '2>', \$err);
	usleep(15_000 + 25_000 * $round);
	VdistCluster::kill_node($primary);
	eval { $run->finish };
	$primary->start;
	is(problems($primary), '', "index is sound after kill $round");
	$primary->safe_psql('postgres', fill(1901, 4000));
	is(problems($primary), '', 'and after the next inserts');
	isnt(bits($primary), '0', 'which make the graph');
}

# unlogged, wider than a page, other types
$primary->safe_psql('postgres', qq{
	CREATE UNLOGGED TABLE gone (id serial, embedding vector($dims));
	CREATE INDEX gone_index ON gone USING vdist_hnsw (embedding vector_cosine_ops);
	} . fill(1, 3000, 'gone') . qq{;
	CREATE TABLE wide (id serial, embedding halfvec(5000));
	CREATE INDEX wide_index ON wide USING vdist_hnsw (embedding halfvec_ip_ops);
	INSERT INTO wide (embedding) SELECT array_agg(sin(i * j))::real[]::vector(5000)::halfvec(5000)
	  FROM generate_series(1, 500) i, generate_series(1, 5000) j GROUP BY i;
	DELETE FROM wide WHERE id % 2 = 0; VACUUM wide;
	INSERT INTO wide (embedding) SELECT embedding FROM wide;
});
is(problems($primary, 'gone_index'), '', 'unlogged');
is(problems($primary, 'wide_index'), '', 'wide rows');
VdistCluster::kill_node($primary);
$primary->start;
$primary->safe_psql('postgres', fill(1, 3000, 'gone'));
is(problems($primary, 'gone_index'), '', 'unlogged, after a crash');

# crowds that overlap: the first rows are ten of each, which any code tells apart, but not the sixty that there are in the end
$primary->safe_psql('postgres', q{
	SELECT setseed(0.5);
	CREATE TEMP TABLE middle AS SELECT c, array_agg(random() + random() + random() - 1.5)::real[]::vector AS m
	  FROM generate_series(0, 199) c, generate_series(1, 96) GROUP BY c;
	CREATE TABLE crowds_all AS SELECT i AS id, m + v AS v
	  FROM (SELECT i, array_agg(0.7 * (random() + random() + random() - 1.5))::real[]::vector AS v
	    FROM generate_series(1, 12100) i, generate_series(1, 96) GROUP BY i) x JOIN middle ON c = i % 200});
foreach my $first (0, 3000)
{
	$primary->safe_psql('postgres', qq{
		CREATE TABLE crowds (id int, v vector(96));
		INSERT INTO crowds SELECT * FROM crowds_all WHERE id <= $first ORDER BY id;
		CREATE INDEX crowds_index ON crowds USING vdist_hnsw (v vector_l2_ops);
		INSERT INTO crowds SELECT * FROM crowds_all WHERE id BETWEEN $first + 1 AND 12000 ORDER BY id});
	cmp_ok($primary->safe_psql('postgres', q{
		SET jit = off;
		SELECT vdist.recall('crowds_index', (SELECT array_agg(v) FROM crowds_all WHERE id > 12000), 10)}),
		'>=', 0.95, "an index made on $first rows finds those that come later");
	$primary->safe_psql('postgres', 'DROP TABLE crowds');
}

done_testing();
