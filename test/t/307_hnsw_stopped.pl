# vdist_hnsw while one process stands still in the middle of its work (SIGSTOP) and others do what it does
# not expect: an insert that makes the graph and never ends, an insert beside a whole VACUUM. Where a process
# stops is left to chance; much of its time is where it matters, and each case is tried several times.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time usleep);
use VdistCluster;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "shared_buffers = 64MB\nautovacuum = off\nmax_wal_size = 1GB\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION vdist; ALTER DATABASE postgres SET enable_seqscan = off');

sub sql { return $node->safe_psql('postgres', shift) }
sub problems { return sql("SELECT * FROM vdist.index_check('item_index', true)") }
sub bits { return sql("SELECT code_bits FROM vdist.index_info('item_index')") }

# A session that runs a statement, its process, and what it says in the end.
sub begin
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
			'-c', 'SELECT pg_backend_pid()', '-c', $sql ], '>', \$out, '2>', \$err);
	my $session = { run => $run, out => \$out, err => \$err };
	$run->pump until $out =~ /^(\d+)\n/ or !$run->pumpable;
	($session->{pid}) = $out =~ /^(\d+)\n/ or die "no session: $err";
	return $session;
}

sub end
{
	my ($session) = @_;
	eval { $session->{run}->finish };
	return ${ $session->{out} } =~ s/^\d+\n//r . ${ $session->{err} };
}

# Wait for a condition, so many seconds at most.
sub wait_for
{
	my ($seconds, $condition) = @_;
	my $until = time + $seconds;
	while (time < $until)
	{
		return 1 if $condition->();
		usleep(1000);
	}
	return 0;
}

# ---- an insert that is killed while it writes the graph's pages ----

# rows of two pages, so that writing them takes a while
my $many = 'SELECT array_agg(sin(i * j * 0.7))::real[] FROM generate_series(%d, %d) i, generate_series(1, 100) j GROUP BY i';
sql('CREATE TABLE item (id serial PRIMARY KEY, embedding vector(100));
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 100, ef_construction = 200, quantization = 8)');
sql('INSERT INTO item (embedding) ' . sprintf $many, 1, 1960);
is(bits(), '0', 'an index of few rows is flat');
my $file = $node->data_dir . '/' . sql("SELECT pg_relation_filepath('item_index')");
my $flat = -s $file;
my $left = 0;
foreach my $try (1 .. 20)
{
	my $insert = begin('INSERT INTO item (embedding) ' . sprintf $many, 1961, 2100);

	# to stop it is to hold what it has locked: a commit writes what it logged, a checkpoint would wait
	if (wait_for(30, sub { -s $file > $flat + 100 * 8192 || !kill 0, $insert->{pid} }))
	{
		kill 'STOP', $insert->{pid};
		sql('CREATE TABLE commit_this (); DROP TABLE commit_this');
	}
	VdistCluster::kill_node($node);
	end($insert);
	$node->start;
	$left = -s $file > $flat + 50 * 8192 && bits() eq '0';
	last if $left;
	sql('TRUNCATE item; INSERT INTO item (embedding) ' . sprintf $many, 1, 1960);
	$file = $node->data_dir . '/' . sql("SELECT pg_relation_filepath('item_index')");
}
ok($left, 'a crash left pages of a graph');
is(problems(), '', 'to which nothing leads');
sql('INSERT INTO item (embedding) ' . sprintf $many, 1961, 2100);
isnt(bits(), '0', 'the next insert makes the graph');
is(problems(), '', 'without what was left');
is(sql("SELECT rows = (SELECT count(*) FROM item) FROM vdist.index_info('item_index')"), 't', 'of the rows there are');
sql('DELETE FROM item WHERE id % 2 = 0; VACUUM item');
is(problems(), '', 'also after vacuum');

# ---- an insert that found rows which VACUUM frees before it links to them ----
my $bad = '';
sql('DROP TABLE item; CREATE TABLE item (id integer PRIMARY KEY, embedding vector(100));
	INSERT INTO item SELECT i, array_agg(sin(i * j * 0.7) + 10)::real[] FROM generate_series(1, 3000) i, generate_series(1, 100) j GROUP BY i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (ef_construction = 200)');
foreach my $try (1 .. 5)
{
	# deleted before the inserts begin: else their snapshots would keep the rows
	my $cluster = "SELECT %d + i, array_agg(sin((i + %d) * j * 0.7) / 10)::real[]
		FROM generate_series(1, 400) i, generate_series(1, 100) j GROUP BY i";
	sql('INSERT INTO item ' . sprintf $cluster, 10000, 1000 * $try);
	sql('CREATE TABLE next AS ' . sprintf $cluster, 20000, 1000 * $try + 500);
	sql('DELETE FROM item WHERE id > 10000');
	my $insert = begin('DO $$ DECLARE i integer; BEGIN FOR i IN 1..60 LOOP
		INSERT INTO item SELECT * FROM next OFFSET i - 1 LIMIT 1; COMMIT; END LOOP; END $$');
	usleep(200_000 + rand 300_000);
	kill 'STOP', $insert->{pid};
	my $vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
	wait_for(1.5, sub { !kill 0, $vacuum->{pid} });
	kill 'CONT', $insert->{pid};
	$bad .= end($insert) . end($vacuum);
	my $found = problems();
	$bad .= "try $try: $found\n" if $found ne '';
	sql('DROP TABLE next');
}
is($bad, '', 'no insert links to a row that vacuum freed');

done_testing();
