# Reads when things go wrong: cancel, timeout, a shard killed in the middle of a scan or down at its
# start. The error names the shard, the session goes on, and nothing is left running or connected.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use VdistCluster;

my $cluster = VdistCluster->new(shards => 4);

$cluster->sql(<<'EOSQL');
CREATE TABLE docs (id int PRIMARY KEY, body text, v vector(3));
INSERT INTO docs SELECT i, repeat('x', 500), ARRAY[i % 10, i % 7, 1]::vector FROM generate_series(1, 60000) i;
SELECT vdist.create_distributed_table('docs', 'id');
CREATE TABLE counters (id int PRIMARY KEY, n int);
INSERT INTO counters VALUES (1, 0), (2, 0);
CREATE FUNCTION only_here(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
EOSQL

# Statements of the coordinator that shard n works on.
sub running
{
	my ($n) = @_;
	return $cluster->sql_on($n,
		"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FROM public.docs%' AND state = 'active' AND pid <> pg_backend_pid()");
}

sub wait_for
{
	my ($name, $test) = @_;
	foreach (1 .. 200)
	{
		return pass($name) if $test->();
		usleep(50_000);
	}
	return fail($name);
}

sub is_quiet
{
	my ($name) = @_;
	return wait_for("$name: nothing is left running on the shards", sub { !grep { running($_) } 1 .. 4 });
}

# A lock on one shard's table makes a scan wait there.
sub with_stuck_shard
{
	my ($code) = @_;
	my $lock = $cluster->session(2);
	$lock->query_safe('BEGIN; LOCK TABLE docs');
	$code->();
	$lock->query_safe('ROLLBACK');
	$lock->quit;
	return;
}

my $session = $cluster->session;
$session->query_safe('\set VERBOSITY verbose');
$session->query_safe('SELECT count(*) FROM docs');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$pid =~ s/\D//g;

# Run a statement that fails and return what psql said.
sub failure
{
	my ($sql) = @_;
	my $before = length $session->{stderr};
	$session->query($sql);
	my $err = $session->{stderr};
	$session->{stderr} = '';
	return $err;
}

with_stuck_shard(sub {
	my $start = time;
	like(failure("SET statement_timeout = '500ms'; SELECT id FROM docs ORDER BY v <-> '[1,2,3]' LIMIT 3"),
		qr/57014.*statement timeout/, 'statement_timeout ends a scan');
	cmp_ok(time - $start, '<', 10, 'soon');
	is_quiet('timeout');
});
is($session->query_safe("RESET statement_timeout; SELECT count(*) FROM docs"), 60000, 'the session goes on');

with_stuck_shard(sub {
	my $start = time;
	$session->query_until(qr/asked/, "\\echo asked\nSELECT id FROM docs ORDER BY v <-> '[1,2,3]' LIMIT 3;\n");
	wait_for('shard 2 is waiting', sub { running(2) });
	$cluster->sql("SELECT pg_cancel_backend($pid)");
	is_quiet('cancel');
	like(failure('SELECT 1'), qr/57014.*user request/, 'cancel ends a scan');
	cmp_ok(time - $start, '<', 15, 'soon');
});
is($session->query_safe('SELECT count(*) FROM docs'), 60000, 'the session goes on');

# A scan that stops early does not leave its streams running.
is($session->query_safe('SELECT 1 FROM docs WHERE only_here(id) LIMIT 1'), 1, 'a stream is left early');
is_quiet('early end');
is($session->query_safe('BEGIN; DECLARE c CURSOR FOR SELECT * FROM docs; FETCH 1 FROM c; CLOSE c; SELECT count(*) FROM docs; COMMIT') =~ /60000/,
	1, 'a cursor is closed early');
is_quiet('closed cursor');

# Kill a shard in the middle of a scan.
$session->query_safe('BEGIN; DECLARE c CURSOR FOR SELECT id, body FROM docs ORDER BY body, id; FETCH 3 FROM c');
$cluster->kill_shard(3);
my $err = failure('MOVE ALL FROM c');
like($err, qr/ERROR:  (08006|57P0\d)/, 'a shard killed in the middle of a scan: its SQLSTATE');
like($err, qr/shard3/, 'its name');
$session->query('ROLLBACK');
$session->{stderr} = '';

my $start = time;
$err = failure('SELECT count(*) FROM docs');
like($err, qr/ERROR:  08001|ERROR:  08006/, 'a shard that is down: its SQLSTATE');
like($err, qr/shard3/, 'its name');
cmp_ok(time - $start, '<', 10, 'at once');
my $elsewhere = $cluster->sql("SELECT id FROM generate_series(1, 100) id WHERE vdist.shard_of('docs', id) <> 'shard3' LIMIT 1");
is($session->query_safe("SELECT id FROM docs WHERE id = $elsewhere"), $elsewhere, 'rows of other shards can be read');
$cluster->start_shard(3);
is($session->query_safe('SELECT count(*) FROM docs'), 60000, 'after its restart the next statement works');

# A subtransaction survives a shard's failure, too.
is($session->query_safe(<<'EOSQL') =~ /survived/, 1, 'an error of a shard can be caught');
DO $$ BEGIN PERFORM 10 / (id - 5) FROM docs ORDER BY 10 / (id - 5) LIMIT 1; EXCEPTION WHEN division_by_zero THEN
	PERFORM set_config('application_name', 'survived', false); END $$;
SELECT current_setting('application_name'), count(*) FROM docs;
EOSQL
$err = failure('SELECT 10 / (id - 5) FROM docs ORDER BY 10 / (id - 5) LIMIT 1');
like($err, qr/22012.*division by zero/, "a shard's error keeps its SQLSTATE");
like($err, qr/shard "shard\d"/, 'and names the shard');

# A concurrent update: the row from the shard is checked again against the new version of the local one.
my $other = $cluster->session;
$other->query_safe('BEGIN; UPDATE counters SET n = 10 WHERE id = 1');
$session->query_until(qr/asked/, "\\echo asked\nUPDATE counters c SET n = c.n + d.id FROM docs d WHERE d.id = c.id AND d.body LIKE 'x%' AND c.n < 20;\n");
wait_for('the update waits', sub { $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event_type = 'Lock'") });
$other->query_safe('COMMIT');
is($session->query_safe('SELECT string_agg(n::text, \',\' ORDER BY id) FROM counters'), '11,2', 'rows are checked again after a concurrent update');
$other->quit;

# One connection a shard while the session lives, none after it.
foreach my $n (1 .. 4)
{
	is($cluster->sql_on($n, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"),
		1, "shard$n has one connection of the session");
}
$session->quit;
foreach my $n (1 .. 4)
{
	wait_for("shard$n has none after it", sub {
		!$cluster->sql_on($n, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
	});
}

done_testing();
