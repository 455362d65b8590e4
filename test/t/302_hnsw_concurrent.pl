# vdist_hnsw under clients that insert, delete, update and search while VACUUM and REINDEX CONCURRENTLY
# run; then the same while backends and the whole server are killed. VDIST_STRESS_SECONDS makes each
# part longer than the few seconds of the ordinary run, with a kill every VDIST_STRESS_KILL. A standby is
# searched meanwhile.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use VdistCluster;

my $seconds = $ENV{VDIST_STRESS_SECONDS} // 6;
my $kill_every = $ENV{VDIST_STRESS_KILL} // ($ENV{VDIST_STRESS_SECONDS} ? 30 : 3);
my $dims = 32;
my @indexes = qw(item_index item_wide item_cosine item_crowds);
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf',
	"shared_buffers = 64MB\nautovacuum = off\nmax_wal_size = 1GB\nwal_keep_size = 1GB\nrestart_after_crash = on\n");
$node->start;

# Seeds are drawn so that a few come often: many equal vectors beside many different ones. The rows of
# the second index are wider than a page; those of the last lie in crowds and have codes about several centres.
$node->safe_psql('postgres', qq{
	CREATE EXTENSION vdist;
	CREATE TABLE example (id integer PRIMARY KEY, v vector($dims), crowd vector(8));
	INSERT INTO example SELECT i, array_agg(sin(i * j * 0.7) + cos(i % 31 + j) ORDER BY j)::real[],
	    array_agg(100 * sin((i % 20 + 1) * j * 1.3) + sin(i * j * 0.7) / 2 ORDER BY j) FILTER (WHERE j <= 8)::real[]
	  FROM generate_series(1, 5000) i, generate_series(1, $dims) j GROUP BY i;
	CREATE TABLE item (id integer PRIMARY KEY, tag integer DEFAULT 0, embedding vector($dims), crowd vector(8))
	  WITH (vacuum_truncate = off);
	INSERT INTO item SELECT id, 0, v, crowd FROM example WHERE id <= 3000;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops);
	CREATE INDEX item_wide ON item USING vdist_hnsw (embedding vector_l2_ops)
	  WITH (m = 100, ef_construction = 200, quantization = 8) WHERE id % 4 = 0;
	CREATE INDEX item_cosine ON item USING vdist_hnsw (embedding vector_cosine_ops);
	CREATE INDEX item_crowds ON item USING vdist_hnsw (crowd vector_l2_ops);
	ANALYZE;
});
cmp_ok($node->safe_psql('postgres', "SELECT centres FROM vdist.index_info('item_crowds')"), '>', 1, 'crowds have centres');

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
# A search may hold up what it replays, but VACUUM shall remove all it can. It must not truncate the table: the
# standby then holds its lock, and waits without end for a search that waits for this lock.
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
$standby->start;

# A search fails by itself, with a division by zero, if its rows are not in order or not distinct.
my $search = q{
SELECT 1 / CASE WHEN bool_or(d < before) OR count(DISTINCT id) < count(*) THEN 0 ELSE 1 END
FROM (SELECT id, d, lag(d) OVER () AS before FROM (
  SELECT id, embedding <-> (SELECT v FROM example WHERE id = :seed) AS d FROM item
  ORDER BY embedding <-> (SELECT v FROM example WHERE id = :seed) LIMIT 20) s OFFSET 0) s;
};
my $crowds = $search =~ s/\bv\b|embedding/crowd/gr;
my $script = $node->basedir . '/mix.sql';
my $search_script = $node->basedir . '/search.sql';
append_to_file($search_script, "\\set seed random(1, 5000)\n$search$crowds");
append_to_file($script, q{
\set seed random_zipfian(1, 5000, 1.1)
\set id random(1, 6000)
\set kind random(1, 10)
\if :kind <= 3
INSERT INTO item SELECT :id + i, 0, v, crowd FROM example, generate_series(0, 1) i WHERE example.id = :seed ON CONFLICT DO NOTHING;
\elif :kind = 4
DELETE FROM item WHERE id BETWEEN :id AND :id + 3;
\elif :kind = 5
UPDATE item SET embedding = v, crowd = example.crowd FROM example WHERE item.id = :id AND example.id = :seed;
\elif :kind = 6
UPDATE item SET tag = tag + 1 WHERE id BETWEEN :id AND :id + 3;
\elif :kind = 7
BEGIN;
DELETE FROM item WHERE id = :id;
INSERT INTO item SELECT :id, 1, v, crowd FROM example WHERE id = :seed ON CONFLICT DO NOTHING;
ROLLBACK;
\elif :kind <= 9
} . $search . "\\else\n$crowds" . q{
\endif
});

my ($out, $err);

sub start_clients
{
	my ($time) = @_;
	($out, $err) = ('', '');
	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', '8', '-T', $time, '-f', $script, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
}

# Vacuum, and now and then reindex, until the clock says so; errors are for the log.
sub maintain_until
{
	my ($end) = @_;
	my $rounds = 0;
	while (time < $end)
	{
		$node->psql('postgres', 'VACUUM (INDEX_CLEANUP on) item');
		$node->psql('postgres', "REINDEX INDEX CONCURRENTLY $indexes[ $rounds / 3 % @indexes ]")
		  if $rounds % 3 == 2 && time < $end;
		$rounds++;
	}
	return $rounds;
}

sub problems
{
	return $node->safe_psql('postgres', join ';',
		map { "SELECT '$_', * FROM vdist.index_check('$_', true)" } @indexes);
}

sub check_all
{
	my ($when) = @_;
	is(problems(), '', "indexes are sound $when");
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) item');
	is(problems(), '', 'also after a last vacuum');
	foreach my $index (@indexes)
	{
		cmp_ok($node->safe_psql('postgres', "SELECT vdist.recall('$index')"),
			'>', 0.95, "recall of $index");
		is($node->safe_psql('postgres', "SELECT dead FROM vdist.index_info('$index')"),
			'0', 'and no dead rows');
	}
	is( $node->safe_psql('postgres', 'SET enable_seqscan = off; SET enable_sort = off;
		SELECT count(*) = (SELECT count(*) FROM item) FROM (SELECT id FROM item
		  ORDER BY embedding <-> (SELECT v FROM example WHERE id = 5)) s'),
		't', 'a scan to the end returns every row');
	$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
	foreach my $column ([ 'embedding', 'v' ], [ 'crowd', 'crowd' ])
	{
		my $order = sprintf q{SET enable_seqscan = off; SELECT example.id, array_agg(i.id) FROM example, LATERAL (
			SELECT id FROM item ORDER BY %s <-> example.%s LIMIT 20) i WHERE example.id %% 100 = 0 GROUP BY 1 ORDER BY 1}, @$column;
		is($standby->safe_psql('postgres', $order), $node->safe_psql('postgres', $order),
			"the standby gives the same rows in the same order, by $column->[0]");
	}
	return;
}

# ---- without kills ----
my $bench = start_clients($seconds);
my ($standby_out, $standby_err) = ('', '');
# PostgreSQL itself has no lock on a standby against the end of REINDEX CONCURRENTLY: a search that is being
# planned then may miss the old index. It is another search's turn.
my $searches = IPC::Run::start(
	[ 'sh', '-c', "end=\$((\$(date +%s) + $seconds)); while left=\$((end - \$(date +%s))); [ \$left -gt 0 ]; do
		pgbench -n -T \$left -f $search_script '" . $standby->connstr('postgres') . "'; done" ],
	'>', \$standby_out, '2>', \$standby_err);
my $rounds = maintain_until(time + $seconds - 1);
$searches->finish;
like($standby_out, qr/actually processed: [1-9]/, 'the standby was searched meanwhile');
unlike($standby_err, qr/ERROR:(?!  could not open relation with OID)/, 'without an error');
ok($bench->finish, "clients ran to the end beside $rounds vacuums") or diag $err;
unlike($err, qr/ERROR|aborted/, 'without an error');
note $out;
check_all('after the clients');
unlike(slurp_file($node->logfile), qr/ERROR|PANIC|FATAL/, 'nor is there one in the log');

# ---- a vacuum whose workers each take an index ----
my ($vacuum_out, $vacuum_err) = ('', '');
$node->psql('postgres', q{SET min_parallel_index_scan_size = 0; DELETE FROM item WHERE id % 3 = 0;
	VACUUM (PARALLEL 2, VERBOSE, INDEX_CLEANUP on) item}, stdout => \$vacuum_out, stderr => \$vacuum_err);
like($vacuum_err, qr/launched 2 parallel vacuum workers for index vacuuming/, 'indexes are vacuumed in parallel');
check_all('after a parallel vacuum');

# ---- with kills: of one backend, which makes the server restart, and of the server ----
my $kills = int($seconds / $kill_every) || 1;
my $bad = '';
my $transactions = 0;
foreach my $kill (1 .. $kills)
{
	my $log = -s $node->logfile;

	$bench = start_clients($kill_every + 60);
	maintain_until(time + $kill_every - 1);
	my $maintenance = $kill % 3 == 0 ? 'REINDEX INDEX CONCURRENTLY item_index' : 'VACUUM (INDEX_CLEANUP on) item';
	my ($mout, $merr) = ('', '');
	my $vacuum = IPC::Run::start([ 'psql', '-Xqd', $node->connstr('postgres'), '-c', $maintenance ],
		'>', \$mout, '2>', \$merr);
	sleep 0.05 + rand() * 0.5;
	if ($kill % 2)
	{
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");
		kill 9, $pid;
		$bench->finish;
		$vacuum->finish;
	}
	else
	{
		VdistCluster::kill_node($node);
		$bench->finish;
		$vacuum->finish;
		$node->start;
	}
	$transactions += $out =~ /actually processed: (\d+)/ ? $1 : 0;
	VdistCluster::wait_for_server($node);

	# what an interrupted REINDEX CONCURRENTLY leaves is nobody's
	$node->safe_psql('postgres', q{DO $$ DECLARE name regclass; BEGIN
		FOR name IN SELECT indexrelid FROM pg_index WHERE NOT indisvalid LOOP
		  EXECUTE 'DROP INDEX ' || name; END LOOP; END $$});
	my $found = problems();
	$bad .= "kill $kill: $found\n" if $found ne '';
	$bad .= "kill $kill: $1\n"
	  if slurp_file($node->logfile, $log) =~
	  /((?:PANIC|ERROR)(?!:\s+canceling|:\s+could not serialize).*)/;
}
note "$transactions transactions";
is($bad, '', "nothing is wrong after $kills kills");
like(slurp_file($node->logfile), qr/was terminated by signal 9/, 'of backends, too');
check_all('after the kills');

done_testing();
