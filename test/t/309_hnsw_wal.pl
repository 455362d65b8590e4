# What vdist_hnsw writes to the WAL: a standby that compares every page it replays with the primary's, files that are the same
# on both, and a server that dies with pages half written. Every kind of change comes after a checkpoint, when
# whole pages are logged, and again, when only what differs is.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use VdistCluster;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, no_data_checksums => 1);
$primary->append_conf('postgresql.conf', "shared_buffers = 64MB\nautovacuum = off\ncheckpoint_timeout = 1h\n"
	  . "max_wal_size = 4GB\nwal_keep_size = 4GB\nbgwriter_lru_maxpages = 0\nwal_consistency_checking = 'all'\njit = off\n");
$primary->start;
sub sql { return $primary->safe_psql('postgres', shift, timeout => 180) }

sql(q{
	CREATE EXTENSION vdist;
	CREATE FUNCTION example(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	  SELECT array_agg(sin(i * j * 0.7) + cos(i % 31 + j) ORDER BY j)::real[]::vector(32) FROM generate_series(1, 32) j $$;
	CREATE FUNCTION crowd(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	  SELECT array_agg(100 * sin((i % 20 + 1) * j * 1.3) + sin(i * j * 0.7) / 2 ORDER BY j)::real[]::vector(8) FROM generate_series(1, 8) j $$;
	CREATE TABLE item (id serial PRIMARY KEY, embedding vector(32), crowd vector(8));
	CREATE FUNCTION wide(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	  SELECT array_agg(sin(i * j * 0.7) + cos(i % 31 + j) ORDER BY j)::real[]::vector(300) FROM generate_series(1, 300) j $$;
	CREATE TABLE wide (id serial PRIMARY KEY, embedding vector(300));
	CREATE TABLE grown (id serial PRIMARY KEY, embedding vector(32));
	CREATE INDEX grown_index ON grown USING vdist_hnsw (embedding)});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my @indexes = qw(item_index wide_index item_crowds grown_index);
sub file { my ($node, $index) = @_; return $node->data_dir . '/' . sql("SELECT pg_relation_filepath('$index')") }

# The blocks of an index that are not the same in both servers' files.
sub different
{
	my ($index) = @_;
	my @files = map { slurp_file(file($_, $index)) } $primary, $standby;
	return ': other length' if length $files[0] != length $files[1];
	return join '', map { ": block $_" } grep { substr($files[0], 8192 * $_, 8192) ne substr($files[1], 8192 * $_, 8192) } 0 .. length($files[0]) / 8192 - 1;
}

sub same_on_standby
{
	my ($when) = @_;
	sql('CHECKPOINT');
	my $lsn = $primary->lsn('flush');
	my ($caught_up, $difference);
	foreach (1 .. 1800)
	{
		$caught_up = sql("SELECT replay_lsn >= '$lsn' FROM pg_stat_replication") eq 't';
		# it ends when it finds one
		($difference) = slurp_file($standby->logfile) =~ /(inconsistent page found.*|PANIC.*)/;
		last if $caught_up || $difference;
		usleep(100_000);
	}
	ok($caught_up && !$difference, "the standby replays all, $when") or BAIL_OUT($difference // 'it does not catch up');
	$standby->safe_psql('postgres', 'CHECKPOINT');
	is(join('; ', grep { /:/ } map { "$_" . different($_) } @indexes), '', 'indexes are the same to the last byte');
	return;
}

# Do something twice: with the pages as a checkpoint left them, and as they are then.
sub twice
{
	my ($what, @statements) = @_;
	sql('CHECKPOINT');
	sql($_) foreach @statements;
	same_on_standby($what);
	return;
}

# ---- builds ----
sql(q{INSERT INTO item (embedding, crowd) SELECT example(i), crowd(i) FROM generate_series(1, 2200) i;
	INSERT INTO item (embedding, crowd) SELECT example(7), crowd(i) FROM generate_series(2201, 2900) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding);
	INSERT INTO wide (embedding) SELECT wide(i) FROM generate_series(1, 2010) i;
	CREATE INDEX wide_index ON wide USING vdist_hnsw (embedding) WITH (m = 20, quantization = '8');
	CREATE INDEX item_crowds ON item USING vdist_hnsw (crowd)});
cmp_ok(sql("SELECT row_bytes FROM vdist.index_info('wide_index')"), '>', 8192, 'an index has rows wider than a page');
cmp_ok(sql("SELECT centres FROM vdist.index_info('item_crowds')"), '>', 1, 'another several centres');
same_on_standby('builds');

# ---- inserts: rows, edges, routing rows, chains of heap rows ----
sub insert { return "INSERT INTO item (embedding, crowd) SELECT example(i), crowd(i) FROM generate_series($_[0], $_[1]) i" }
twice('inserts', insert(3001, 3040), insert(3041, 3080));
my $equal = 'INSERT INTO item (embedding, crowd) SELECT example(7), crowd(7) FROM generate_series(1, %d)';
twice('inserts of wide rows', map { "INSERT INTO wide (embedding) SELECT wide(i) FROM generate_series($_, $_ + 9) i" } 3000, 4000);
twice('equal vectors', sprintf($equal, 10), sprintf($equal, 600));

# ---- a flat index, and the graph that it becomes ----
sub grow { return "INSERT INTO grown (embedding) SELECT example(i % 2300) FROM generate_series($_[0], $_[1]) i" }
is(sql("SELECT code_bits FROM vdist.index_info('grown_index')"), '0', 'an index is flat');
twice('inserts into it', grow(1, 300), grow(301, 900), 'DELETE FROM grown WHERE id % 5 = 0', 'VACUUM (INDEX_CLEANUP on) grown', grow(901, 1200));
# not one insert more, which would log the pages that it touches
twice('a graph made by an insert', grow(1201, 1800), q{DO $$ BEGIN FOR i IN 1801 .. 2800 LOOP
	INSERT INTO grown (embedding) SELECT example(i);
	EXIT WHEN (SELECT code_bits FROM vdist.index_info('grown_index')) > 0; END LOOP; END $$});
cmp_ok(sql("SELECT code_bits FROM vdist.index_info('grown_index')"), '>', 0, 'it is a graph now');
twice('inserts into it', grow(2801, 2900));

# ---- VACUUM, and what takes the room ----
my $vacuum = 'VACUUM (INDEX_CLEANUP on) item';
twice('VACUUM', 'DELETE FROM item WHERE id % 10 = 0', $vacuum, 'DELETE FROM wide WHERE id % 40 = 0', 'VACUUM (INDEX_CLEANUP on) wide', 'DELETE FROM item WHERE id % 5 = 0', $vacuum);
twice('inserts where rows were', insert(4001, 4200), 'DELETE FROM item WHERE embedding = example(7) AND id % 3 = 1', $vacuum, sprintf($equal, 100));
twice('REINDEX', 'REINDEX INDEX item_index', insert(5001, 5020));

# ---- a crash that leaves pages half written: their second half is anything ----
sql('CHECKPOINT');
my %files = map { $_ => file($primary, $_) } @indexes;
my $lsn = $primary->lsn('insert');
sql("$_; ") foreach insert(6001, 6030), 'DELETE FROM item WHERE id % 7 = 0', $vacuum, insert(6031, 6060), 'INSERT INTO wide (embedding) SELECT wide(5000)', sprintf($equal, 30), grow(2801, 2830);
my $fill_unlogged = 'INSERT INTO unlogged (embedding) SELECT example(i) FROM generate_series(1, 20) i';
sql("CREATE UNLOGGED TABLE unlogged (id serial PRIMARY KEY, embedding vector(32));
	CREATE INDEX unlogged_index ON unlogged USING vdist_hnsw (embedding); $fill_unlogged");
my $end = $primary->lsn('flush');
VdistCluster::kill_node($primary);
my ($wal) = run_command([ 'pg_waldump', '-p', $primary->data_dir . '/pg_wal', '-s', $lsn, '-e', $end ]);
my $torn = 0;
foreach my $index (@indexes)
{
	my ($relation) = $files{$index} =~ m{/(\d+)$};
	my %blocks = map { $_ => 1 } $wal =~ m{rel \d+/\d+/$relation blk (\d+)}g;
	open my $file, '+<:raw', $files{$index} or die "$files{$index}: $!";
	foreach my $block (grep { 8192 * $_ < -s $file } keys %blocks)
	{
		seek $file, 8192 * $block + 4096, 0;
		print $file "\xEE" x 4096;
		$torn++;
	}
	close $file;
}
cmp_ok($torn, '>', 100, 'pages are torn');
$primary->start;
foreach my $index (@indexes)
{
	is(sql("SELECT * FROM vdist.index_check('$index', true)"), '', "$index is sound after the crash");
}
same_on_standby('the crash');

# An unlogged table is empty then, and its index usable; on a standby that is promoted, too.
$primary->stop;
$standby->promote;
$primary->start;
foreach my $node ($primary, $standby)
{
	is($node->safe_psql('postgres', 'SELECT count(*) FROM unlogged'), '0', 'an unlogged table is empty');
	$node->safe_psql('postgres', $fill_unlogged);
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('unlogged_index', true)"), '', 'its index takes rows');
}
$standby->stop;
$primary->stop;
done_testing();
