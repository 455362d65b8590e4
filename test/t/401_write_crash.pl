# Shards that die, sessions that are cancelled, while something is written: a clear error that names
# the shard, nothing half done that is not reported, and the next statement works after the restart.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use VdistCluster;

my $cluster = VdistCluster->new(shards => 3);

$cluster->sql(q{CREATE TABLE t (id int PRIMARY KEY, x text);
	SELECT vdist.create_distributed_table('t', 'id')});
my $psql = $cluster->session;

# Start SQL in the session without waiting for it.
sub begin
{
	my ($sql) = @_;
	$psql->query_until(qr/started/, "\\echo started\n$sql\n");
	return;
}

# Wait for what was begun; returns its messages.
sub finish
{
	$psql->query('SELECT 1');
	my $err = $psql->{stderr};
	$psql->{stderr} = '';
	return $err;
}

sub wait_for_shard
{
	my ($n, $condition) = @_;
	$cluster->shard($n)->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'vdist' AND $condition)")
	  or die "shard $n: never $condition";
	return;
}

sub rows { return $cluster->sql('SELECT count(*) FROM t'); }

$psql->query_safe('\set VERBOSITY verbose');

# The connection is cached, its shard restarted: nobody notices.
$psql->query_safe(q{INSERT INTO t SELECT g, 'old' FROM generate_series(1, 300) g});
foreach my $mode ('fast', 'immediate')
{
	$cluster->stop_shard($_, $mode) foreach 1 .. 3;
	$cluster->start_shard($_) foreach 1 .. 3;
	is($psql->query('SELECT count(*) FROM t'), '300', "read after a restart ($mode)");
	is($psql->{stderr}, '', 'without a word');
}
$cluster->kill_shard(2);
$cluster->start_shard(2);
is($psql->query(q{UPDATE t SET x = 'older' WHERE id <= 300; SELECT count(*) FROM t WHERE x = 'older'}),
	'300', 'write after kill -9 and restart');

# kill -9 in the middle of an INSERT.
begin(q{INSERT INTO t SELECT g, repeat('x', 1000) || pg_sleep(0.0002) FROM generate_series(1001, 30000) g;});
wait_for_shard(2, "query LIKE '%COPY%'");
$cluster->kill_shard(2);
my $start = time;
my $err = finish();
like($err, qr/ERROR:  08006: lost connection to shard "shard2".*CONTEXT:  shard "shard2", remote SQL: COPY/s,
	'kill -9 during INSERT');
cmp_ok(time - $start, '<', 15, 'noticed at once');
$psql->query('SELECT count(*) FROM t');
like($psql->{stderr}, qr/ERROR:  08001: could not connect to shard "shard2"/, 'the shard is down');
$psql->{stderr} = '';
$cluster->start_shard(2);
is($psql->query('SELECT count(*) FROM t'), '300', 'nothing was inserted; the session goes on');

# kill -9 in the middle of a COPY that waits for its input.
begin(q{COPY t FROM PROGRAM 'seq -f "%.0f	x" 1001 200000; sleep 1000';});
wait_for_shard(2, "query LIKE '%COPY%'");
$cluster->kill_shard(2);
$psql->{run}->kill_kill;
$psql = $cluster->session;
$psql->query_safe('\set VERBOSITY verbose');
$cluster->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY t FROM PROGRAM%'});
$cluster->start_shard(2);
is(rows(), '300', 'a COPY cut off leaves nothing');

# … and of one that streams.
begin(q{COPY t FROM PROGRAM 'seq -f "%.0f	x" 1001 100000; sleep 2; seq -f "%.0f	x" 100001 3000000';});
wait_for_shard(3, "query LIKE '%COPY%'");
$cluster->kill_shard(3);
$err = finish();
like($err, qr/ERROR:  08006: lost connection to shard "shard3"/, 'kill -9 during COPY');
$cluster->start_shard(3);
is($psql->query('SELECT count(*) FROM t'), '300', 'nothing was copied');

# Between the statements of a transaction.
$psql->query_safe(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(1001, 1300) g});
$cluster->kill_shard(1);
$psql->query('COMMIT');
like($psql->{stderr}, qr/ERROR:  08006: lost connection to shard "shard1"/, 'COMMIT notices a dead shard');
$psql->{stderr} = '';
$cluster->start_shard(1);
is($psql->query('SELECT count(*) FROM t'), '300', 'and nothing was committed anywhere');

$psql->query_safe(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(1001, 1300) g; SAVEPOINT a});
$cluster->kill_shard(1);
$psql->query('UPDATE t SET x = 1');
like($psql->{stderr}, qr/ERROR:  08006: lost connection to shard "shard1"/, 'so does the next statement');
$psql->{stderr} = '';
$cluster->start_shard(1);
$psql->query('ROLLBACK TO a; SELECT 1');
$psql->{stderr} = '';
$psql->query('SELECT count(*) FROM t; COMMIT');
like($psql->{stderr}, qr/lost connection to shard "shard1"/,
	'a savepoint does not bring back what the shard forgot');
$psql->{stderr} = '';
is($psql->query('ROLLBACK; SELECT count(*) FROM t'), '300', 'rolled back everywhere');
$psql->{stderr} = '';

# An administrator ends the shard's backend.
$psql->query_safe(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(1001, 1300) g});
$cluster->sql_on(2, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vdist'});
$psql->query('DELETE FROM t');
like($psql->{stderr}, qr/ERROR:  08006: lost connection to shard "shard2"/, 'backend terminated');
$psql->{stderr} = '';
is($psql->query('ROLLBACK; SELECT count(*) FROM t'), '300', 'rolled back');

# A shard that dies between the commits: the error says which shards committed.
$cluster->sql_on(3, q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(1000); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION slow()});
begin(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(1001, 1300) g; COMMIT;});
wait_for_shard(3, "query LIKE 'COMMIT%' AND wait_event = 'PgSleep'");
$cluster->kill_shard(3);
$err = finish();
like($err, qr/ERROR:  08007: transaction was committed on some shards only/, 'kill -9 between the commits');
like($err, qr/Committed on "shard1", "shard2"\. Not known on "shard3"\. Rolled back on the coordinator\./,
	'says where it stands');
$cluster->start_shard(3);
is($cluster->sql(q{SELECT count(*) > 0 FROM t WHERE x = 'new'}), 't', 'and so it is');
$cluster->sql(q{DELETE FROM t WHERE x = 'new'});

# Cancelled in COMMIT: the same honesty.
begin(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(1001, 1300) g; COMMIT;});
wait_for_shard(3, "query LIKE 'COMMIT%' AND wait_event = 'PgSleep'");
$cluster->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COMMIT%'});
$err = finish();
like($err, qr/08007.*Committed on "shard1", "shard2"\. Not known on "shard3"/s, 'cancel between the commits');
$cluster->sql_on(3, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep';
	DROP TRIGGER slow ON t});
$cluster->sql(q{DELETE FROM t WHERE x = 'new'});
is(rows(), '300', 'cleaned up');

# Cancel and statement_timeout reach the shards, and leave usable connections.
my $locker = $cluster->session;
$locker->query_safe('BEGIN; UPDATE t SET x = x WHERE id = 7');
$start = time;
my ($rc, $out);
$psql->query(q{SET statement_timeout = 500; UPDATE t SET x = 'blocked' WHERE id < 10});
like($psql->{stderr}, qr/ERROR:  57014: canceling statement due to statement timeout/, 'statement_timeout');
$psql->{stderr} = '';
cmp_ok(time - $start, '<', 15, 'in time');
$psql->query(q{SET statement_timeout = 0});
is($cluster->shard($_)->poll_query_until('postgres',
		q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')}), 1,
	"nobody waits on shard $_ any more") foreach 1 .. 3;
$locker->query_safe('ROLLBACK');
is($psql->query(q{UPDATE t SET x = 'free' WHERE id = 7 RETURNING x}), 'free', 'the session goes on');

begin(q{UPDATE t SET x = x || pg_sleep(0.05);});
usleep(300_000);
$cluster->sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'UPDATE t SET x = x ||%'});
like(finish(), qr/ERROR:  57014: canceling statement due to user request/, 'cancel');
is($psql->query('SELECT count(*) FROM t'), '300', 'the session goes on');

# Cancel inside a savepoint keeps the rest of the transaction.
$locker->query_safe('BEGIN; UPDATE t SET x = x WHERE id = 7');
$psql->query_safe(q{BEGIN; INSERT INTO t VALUES (5001, 'kept'); SAVEPOINT a});
$psql->query(q{SET LOCAL statement_timeout = 300; UPDATE t SET x = 'blocked' WHERE id < 10});
like($psql->{stderr}, qr/57014/, 'timeout inside a savepoint');
$psql->{stderr} = '';
$psql->query_safe('ROLLBACK TO a; COMMIT');
$locker->query_safe('ROLLBACK');
is($cluster->sql(q{SELECT x FROM t WHERE id = 5001}), 'kept', 'what came before it stays');

# The coordinator's backend dies: its shards' transactions with it.
begin(q{BEGIN; INSERT INTO t SELECT g, 'new' FROM generate_series(6001, 6300) g; SELECT pg_sleep(1000);});
wait_for_shard(1, "state = 'idle in transaction'");
$cluster->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()});
$cluster->shard($_)->poll_query_until('postgres',
	q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%')})
  foreach 1 .. 3;
is($cluster->sql(q{SELECT count(*) FROM t WHERE id > 6000}), '0', 'terminated on the coordinator');
$psql->{run}->kill_kill;

# … also while a shard is waiting for a lock, and when the coordinator is gone without a word.
sub nobody_waits
{
	my ($name) = @_;
	is($cluster->shard($_)->poll_query_until('postgres', q{SELECT NOT EXISTS
		(SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')}), 1, "$name, shard $_") foreach 1 .. 3;
	return;
}
my @waiting = map { 'UPDATE t SET x = x WHERE id = ' . $cluster->sql(
		"SELECT min(id) FROM t WHERE vdist.shard_of('t', id) = 'shard$_'") } 1 .. 3;
my @lockers = map { $cluster->session($_) } 1 .. 3;
$lockers[$_]->query_safe("BEGIN; $waiting[$_]") foreach 0 .. 2;
foreach my $way ('terminate', 'kill')
{
	$psql = $cluster->session;
	begin('UPDATE t SET x = 1;');
	wait_for_shard($_, "wait_event_type = 'Lock'") foreach 1 .. 3;
	if ($way eq 'terminate')
	{
		$cluster->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'UPDATE t SET x = 1%'});
	}
	else
	{
		VdistCluster::kill_node($cluster->coordinator);
	}
	nobody_waits("coordinator: $way");
	$psql->{run}->kill_kill;
}
$_->quit foreach @lockers;
$locker->{run}->kill_kill;
$cluster->coordinator->start;
is(rows(), '301', 'the coordinator is back');

# No connection outlives its session.
foreach my $n (1 .. 3)
{
	is($cluster->shard($n)->poll_query_until('postgres',
			q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'vdist'}), 1,
		"no connection is left on shard $n");
}

done_testing();
