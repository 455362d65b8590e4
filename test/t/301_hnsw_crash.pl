# vdist_hnsw when the server dies in the middle of a build, of inserts and of a vacuum; and on a standby,
# which must give the same rows in the same order.
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
	"shared_buffers = 64MB\nautovacuum = off\nmax_wal_size = 2GB\nhot_standby_feedback = on\n");
$primary->start;
my $dims = 24;
$primary->safe_psql('postgres', qq{
	CREATE EXTENSION vdist;
	CREATE TABLE item (id serial PRIMARY KEY, embedding vector($dims));
	CREATE FUNCTION example() RETURNS vector LANGUAGE sql VOLATILE AS \$\$
	  SELECT array_agg(random() + random() + random())::vector FROM generate_series(1, $dims) \$\$;
	CREATE TABLE query AS SELECT i AS id, array_agg(random() * 3)::real[]::vector($dims) AS v
	  FROM generate_series(1, 20) i, generate_series(1, $dims) j GROUP BY i;
});
my $fill = "INSERT INTO item (embedding) SELECT array_agg(random() + random() + random())::real[]
	FROM generate_series(1, %d) i, generate_series(1, $dims) j GROUP BY i";
$primary->safe_psql('postgres', sprintf($fill, 8000));

# What is wrong with the index; nothing when all is well.
sub problems
{
	return shift->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)");
}

# Start statements, let them run for a while, and kill the server under them.
sub kill_during
{
	my ($seconds, $statements) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $primary->connstr('postgres'), '-f', '-' ],
		'<', \$statements, '>', \$out, '2>', \$err);
	usleep($seconds * 1_000_000);
	VdistCluster::kill_node($primary);
	eval { $run->finish };
	$primary->start;
}

kill_during(0.3, 'CREATE INDEX killed ON item USING vdist_hnsw (embedding vector_l2_ops)');
is($primary->safe_psql('postgres', "SELECT count(*) FROM item"), '8000', 'rows outlive a killed build');
$primary->safe_psql('postgres', 'DROP INDEX IF EXISTS killed;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops)');
is(problems($primary), '', 'index is sound');

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $ids = 'SET enable_seqscan = off;
	SELECT query.id, array_agg(item.id) FROM query, LATERAL (
	  SELECT item.id FROM item ORDER BY embedding <-> query.v LIMIT 30) item
	GROUP BY query.id ORDER BY query.id';

sub same_on_standby
{
	my ($name) = @_;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	is($standby->safe_psql('postgres', $ids), $primary->safe_psql('postgres', $ids),
		"standby gives the same rows in the same order $name");
}
same_on_standby('after the build');

foreach my $round (1 .. 3)
{
	kill_during(0.2 + 0.3 * $round, sprintf("$fill;", 50) x 200);
	is(problems($primary), '', "index is sound after kill $round in the middle of inserts");
}
same_on_standby('after killed inserts');

foreach my $round (1 .. 3)
{
	$primary->safe_psql('postgres', "DELETE FROM item WHERE id % 4 = $round");
	kill_during(0.05 + 0.1 * $round, 'VACUUM (INDEX_CLEANUP on) item');
	is(problems($primary), '', "index is sound after kill $round in the middle of vacuum");
}
$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) item');
is(problems($primary), '', 'index is sound after a vacuum that was let through');
is($primary->safe_psql('postgres', "SELECT dead FROM vdist.index_info('item_index')"), '0',
	'and has no dead row left');
is( $primary->safe_psql('postgres', 'SET enable_seqscan = off;
	SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM query WHERE id = 1)) s'),
	$primary->safe_psql('postgres', 'SELECT count(*) FROM item'),
	'a scan to the end returns every row');
same_on_standby('after vacuum');
cmp_ok($primary->safe_psql('postgres', "SELECT vdist.recall('item_index')"), '>', 0.9, 'recall');

# The standby searches, to the end of the index, too, while it replays inserts, vacuum, and inserts that
# reuse the rows. A search fails by itself if its rows are not in order or not distinct.
my $script = $standby->basedir . '/search.sql';
append_to_file($script, q{
\set id random(1, 20)
\set limit random(1, 4) * random(1, 4) * 50
SET enable_seqscan = off;
SELECT 1 / CASE WHEN bool_or(d < before) OR count(DISTINCT id) < count(*) THEN 0 ELSE 1 END
FROM (SELECT id, d, lag(d) OVER () AS before FROM (
  SELECT id, embedding <-> (SELECT v FROM query WHERE id = :id) AS d FROM item
  ORDER BY embedding <-> (SELECT v FROM query WHERE id = :id) LIMIT :limit) s OFFSET 0) s;
SELECT 1 / CASE WHEN count(*) = (SELECT count(*) FROM item) AND count(DISTINCT id) = count(*) THEN 1 ELSE 0 END FROM (
  SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM query WHERE id = :id) OFFSET 0) s;
});
my ($out, $err) = ('', '');
my $searches = IPC::Run::start(
	[ 'pgbench', '-n', '-c', '2', '-T', '4', '-f', $script, $standby->connstr('postgres') ],
	'>', \$out, '2>', \$err);
for (my $end = time + 4; time < $end;)
{
	$primary->safe_psql('postgres', 'DELETE FROM item WHERE id % 7 = 0');
	$primary->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on, TRUNCATE off) item');
	$primary->safe_psql('postgres', sprintf($fill, 500));
}
ok($searches->finish, 'the standby searches while it replays') or diag $err;
unlike($err, qr/ERROR|aborted/, 'without an error');
same_on_standby('after searches during replay');
is(problems($standby), '', 'index is sound on the standby');

$standby->promote;
$standby->safe_psql('postgres', sprintf($fill, 100));
is(problems($standby), '', 'index is sound on the promoted standby');

# a page that is not what it should be
my $path = $primary->data_dir . '/'
  . $primary->safe_psql('postgres', "SELECT pg_relation_filepath('item_index')");
$primary->stop;
open my $file, '+<:raw', $path or die "$path: $!";
seek $file, 8192 * 3, 0;
print $file 'x' x 8192;
seek $file, 24, 0;
print $file 'y' x 8;
close $file;
$primary->start;
(my $rc, $out, $err) = $primary->psql('postgres', $ids);
isnt($rc, 0, 'a corrupted metapage is an error');
like($err, qr/corrupted metapage at block 0|invalid page/, 'that names the block');
is($primary->safe_psql('postgres', 'SELECT 1'), '1', 'and no crash');

done_testing();
