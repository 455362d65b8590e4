# vdist_hnsw indexes of random types, dimensions and options under random statements, some of them at the same time, some
# killed with the server: after each the index is sound, a search of all rows gives what a sequential scan gives, in its
# order, and so does a standby. A few seeds are tried, or those of VDIST_FUZZ_SEEDS=first-last.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use VdistCluster;

my $steps = 10;
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf',
	"shared_buffers = 64MB\nautovacuum = off\nmax_wal_size = 1GB\nwal_keep_size = 1GB\nmaintenance_work_mem = 16MB\nrestart_after_crash = on\n");
$node->start;

# Values are the same in any plan: a share of 1 that follows from two numbers, and vectors of a kind made of such shares.
$node->safe_psql('postgres', q{
	CREATE EXTENSION vdist;
	CREATE FUNCTION share(i int, j int) RETURNS float8 LANGUAGE sql IMMUTABLE
	  RETURN abs(sin(i * 12.9898 + j * 78.233) * 43758.5453) -
	    floor(abs(sin(i * 12.9898 + j * 78.233) * 43758.5453));
	CREATE FUNCTION dense(i int, kind int, dim int) RETURNS real[] LANGUAGE sql IMMUTABLE
	  RETURN ARRAY(SELECT CASE kind
	    WHEN 0 THEN share(i, j)                                                         -- anywhere
	    WHEN 1 THEN 40 * share(i % 20, -j) + share(i, j)                                -- in crowds
	    WHEN 2 THEN share(i % 50, j)                                                    -- equal to many others
	    WHEN 3 THEN (share(i, j) < 0.5)::int                                            -- of few values
	    WHEN 4 THEN sin(share(i, 0) * j) + cos(share(i, -1) * (j + 3)) + share(i, j) / 50 -- in few directions
	    WHEN 5 THEN 1000 + share(i, j)                                                  -- far from zero
	    WHEN 6 THEN (share(i, j) - 0.5) * exp(4 * share(i, 0))                          -- of uneven lengths
	    ELSE CASE WHEN share(i, j) < 0.9 THEN 0 ELSE share(i, -j) END                   -- with many zeros
	    END FROM generate_series(1, dim) j ORDER BY j)
});

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

sub pick { return $_[ int rand @_ ]; }
sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my @log;
my ($type, $dim, $operator, $class, $condition, $rows, $next, $unlogged);

# ---- values ----

# Indexes of sparse values may have any dimension, so these are made here.
sub sparse
{
	my %elements = map { (1 + int rand $dim) => sprintf '%.4g', rand(2) - 1 } 1 .. 1 + int rand 20;
	return '{' . join(',', map { "$_:$elements{$_}" } sort { $a <=> $b } keys %elements) . "}/$dim";
}

sub make_examples
{
	my ($kind, $other) = (int rand 8, int rand 8);
	my $value = "dense(i, CASE WHEN i < $rows / 2 THEN $kind ELSE $other END, $dim)";

	push @log, "kinds $kind, $other";
	sql("DROP TABLE IF EXISTS item, example; CREATE TABLE example (id int PRIMARY KEY, v $type($dim))");
	if ($type eq 'sparsevec' && $dim > 1100)
	{
		my $file = $node->basedir . '/sparse';
		open my $fh, '>', $file or die $!;
		print $fh "$_\t" . sparse() . "\n" foreach 1 .. $rows;
		close $fh or die $!;
		sql("COPY example FROM '$file'");
		return;
	}
	$value = $type eq 'bit' ? "binary_quantize(($value)::vector - array_fill(0.5::real, ARRAY[$dim])::vector)"
	  : "($value)::vector::$type";
	sql("INSERT INTO example SELECT i, $value FROM generate_series(1, $rows) i");
	return;
}

# ---- statements ----

sub make_index
{
	my ($concurrently) = @_;
	my $m = pick(2, 3, 6, 16, 16, 40, 100);
	my %given = (m => $m, ef_construction => pick(4, 16, 64, 200));

	$given{ef_construction} = 2 * $m if $given{ef_construction} < 2 * $m;
	$given{quantization} = "'" . pick(1, 2, 4, 8) . "'" if $type ne 'bit' && rand() < 0.4;
	my $options = join ', ', map { "$_ = $given{$_}" } sort keys %given;
	return "CREATE INDEX $concurrently IF NOT EXISTS item_index ON item USING vdist_hnsw (v $class) WITH ($options) WHERE $condition";
}

sub insert
{
	my ($n) = @_;
	my $from = 1 + int rand $rows;
	my $first = $next;

	$next += $n;
	return "INSERT INTO item SELECT $first + n, 0, CASE WHEN n % 50 <> 7 THEN example.v END FROM generate_series(0, $n - 1) n
		JOIN example ON example.id = 1 + ($from + n) % $rows";
}

sub change
{
	my $share = pick(2, 3, 5, 20);
	my $rest = int rand $share;
	my $some = "id % $share = $rest";

	return pick(
		insert(1 + int rand 300), insert(pick(1, 50)), insert(int($rows / 3) + 1),
		"DELETE FROM item WHERE $some", "DELETE FROM item WHERE id % $share <> $rest",
		"UPDATE item SET v = example.v FROM example WHERE example.id = 1 + item.id % $rows AND item.$some",
		"UPDATE item SET tag = tag + 1 WHERE $some");
}

sub maintain
{
	return pick('VACUUM (INDEX_CLEANUP on) item', 'VACUUM (INDEX_CLEANUP on) item', 'REINDEX INDEX item_index',
		'REINDEX INDEX CONCURRENTLY item_index', 'VACUUM FULL item');
}

# Begin statements, each in a session of its own.
sub begin
{
	my @runs;
	foreach my $sql (@_)
	{
		my $run = { sql => $sql, out => '', err => '' };
		$run->{run} = IPC::Run::start([ 'psql', '-XAtqv', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql ],
			'<', \'', '>', \$run->{out}, '2>', \$run->{err});
		push @runs, $run;
	}
	return @runs;
}

# What was being built when it was killed goes, and an index that is gone comes back.
sub tidy
{
	sql(q{DO $$ DECLARE name regclass; BEGIN
		FOR name IN SELECT indexrelid FROM pg_index WHERE NOT indisvalid LOOP EXECUTE 'DROP INDEX ' || name; END LOOP; END $$});
	sql(make_index(''));
	return;
}

sub step
{
	my $kind = rand();
	my @statements;

	if ($kind < 0.35) { @statements = change() }
	elsif ($kind < 0.5) { @statements = maintain() }
	elsif ($kind < 0.56) { @statements = 'BEGIN; ' . join('; ', change(), change()) . '; ROLLBACK' }
	elsif ($kind < 0.6) { @statements = ('DROP INDEX item_index', make_index(pick('', 'CONCURRENTLY'))) }
	elsif ($kind < 0.62) { @statements = 'TRUNCATE item' }
	else
	{
		# inserts beside a VACUUM or REINDEX; a half of them do not come to their end
		my @together = (maintain(), insert(1 + int rand 400), insert(1 + int rand 400));
		my $kill = pick('', '', 'server', 'backend');
		my @runs = begin(@together);

		push @log, join ' | ', @together, $kill ? "kill $kill" : ();
		if ($kill)
		{
			sleep rand() < 0.5 ? 0.02 + rand() * 0.1 : rand() * 1.5;
			if ($kill eq 'server')
			{
				VdistCluster::kill_node($node);
			}
			else
			{
				my $pid = eval { sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
					AND pid <> pg_backend_pid() ORDER BY pid LIMIT 1") };
				kill 9, $pid if $pid;
			}
		}
		my $bad = '';
		foreach my $run (@runs)
		{
			$run->{run}->finish;
			$bad .= "$run->{sql}: $run->{err}" if $run->{err} ne '' && !$kill;
		}
		$node->start if $kill eq 'server';
		# it may not have noticed yet
		sleep 0.2 if $kill eq 'backend';
		VdistCluster::wait_for_server($node);
		tidy();
		return $bad;
	}
	foreach my $sql (@statements)
	{
		push @log, $sql;
		sql($sql);
	}
	return '';
}

# ---- what must hold ----

# Rows nearest to one of the examples, each with its distance: as an index scan or a sort of all rows returns them.
sub nearest
{
	my ($on, $id, $limit, $how) = @_;
	my $settings = $how eq 'sort' ? 'SET enable_indexscan = off' : 'SET enable_seqscan = off; SET enable_sort = off';
	return map { [ split /\|/ ] } split /\n/, $on->safe_psql('postgres', "$settings; SET vdist.hnsw_ef_search = 10000;
		SELECT id, v $operator q FROM (SELECT v FROM example WHERE id = $id) e (q), LATERAL (
		  SELECT id, v FROM item WHERE $condition AND v IS NOT NULL ORDER BY v $operator q LIMIT $limit OFFSET 0) i");
}

sub is_less { my ($x, $y) = @_; return $y eq 'NaN' ? $x ne 'NaN' : $x ne 'NaN' && $x < $y; }

# Of all rows each comes once. What comes first is in order, and what a sort gives.
sub order_problems
{
	my ($id, $limit) = @_;
	my @got = nearest($node, $id, $limit, 'index');
	my @all = nearest($node, $id, $limit, 'sort');
	my %ids = map { $_->[0] => 1 } @got;
	my $found = '';

	$found .= scalar(@got) . ' rows, ' . keys(%ids) . ' different ones, of ' . @all if @got != @all || keys %ids != @got;
	return $found if $limit > 100 || !@all;
	$found .= ', not in order' if grep { is_less($got[$_][1], $got[ $_ - 1 ][1]) } 1 .. $#got;
	my $near = grep { !is_less($all[-1][1], $_->[1]) } @got;
	$found .= ", $near of the nearest " . @all if $near < @all;
	return $found;
}

sub problems
{
	my $found = sql("SELECT * FROM vdist.index_check('item_index', true)");
	foreach my $limit (1, 10, 100, 100_000)
	{
		my $id = 1 + int rand $rows;
		my $problems = order_problems($id, $limit);
		$found .= "limit $limit, from $id: $problems\n" if $problems ne '';
	}
	return $found;
}

sub try_seed
{
	my ($seed) = @_;
	my $found = '';

	srand $seed;
	$type = pick('vector', 'vector', 'halfvec', 'sparsevec', 'bit');
	$dim = $type eq 'bit' ? pick(1, 8, 64, 77, 200, 1000, 2000) : $type eq 'sparsevec' ? pick(5, 90, 1024, 1025, 100_000)
	  : pick(1, 2, 3, 7, 8, 16, 31, 33, 64, 65, 100, 128, 200, 384, 769, 1025, 2001);
	my $metric = $type eq 'bit' ? pick([ '<~>', 'hamming' ], [ '<%>', 'jaccard' ])
	  : pick([ '<->', 'l2' ], [ '<->', 'l2' ], [ '<#>', 'ip' ], [ '<=>', 'cosine' ], [ '<+>', 'l1' ]);
	($operator, $class) = ($metric->[0], "${type}_$metric->[1]_ops");
	$rows = $dim <= 200 || $dim > 10_000 ? 2200 + int rand 2000 : $dim <= 800 ? 2300 : 1100;
	$condition = pick('true', 'true', 'id % 4 <> 1');
	$unlogged = rand() < 0.15;
	$next = 1;
	@log = ("$type($dim) $class, $rows rows, where $condition" . ($unlogged ? ', unlogged' : ''));
	make_examples();
	sql(sprintf 'CREATE %s TABLE item (id int, tag int, v %s(%d)) WITH (vacuum_truncate = off)', $unlogged ? 'UNLOGGED' : '', $type, $dim);
	foreach my $sql (rand() < 0.7 ? insert(int($rows * pick(0.3, 0.8, 1.2))) : (), make_index(''))
	{
		push @log, $sql;
		sql($sql);
	}
	foreach my $step (1 .. $steps)
	{
		$found = eval { step() . problems() } // "$@";
		last if $found ne '';
	}
	if ($found eq '' && !$unlogged)
	{
		$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
		foreach my $id (1, $rows)
		{
			my ($here, $there) = map { join ' ', map { $_->[0] } nearest($_, $id, 100_000, 'index') } $node, $standby;
			$found .= "the standby: $there\nand not $here\n" if $here ne $there;
		}
	}
	is($found, '', "seed $seed: $log[0]") or diag join "\n", @log;
	VdistCluster::wait_for_server($node);
	return;
}

my ($from, $to) = ($ENV{VDIST_FUZZ_SEEDS} // '1-3') =~ /^(\d+)-(\d+)$/;
try_seed($_) foreach $from .. $to;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?!9\b)/, 'nothing in the log');

done_testing();
