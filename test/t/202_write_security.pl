# Who may reach a shard: passwords of non-superusers, changed mappings, privileges, connections.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 2);

$cluster->sql(q{CREATE TABLE t (id int PRIMARY KEY, x text);
	SELECT vdist.create_distributed_table('t', 'id');
	INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g;
	CREATE ROLE alice LOGIN; GRANT SELECT, INSERT, UPDATE ON t TO alice});
foreach my $n (1 .. 2)
{
	$cluster->sql_on($n, q{CREATE ROLE bob LOGIN PASSWORD 'secret-of-bob'});
	$cluster->sql_on($n, 'GRANT SELECT, INSERT, UPDATE, DELETE ON t TO bob');
}

sub as_alice { my ($sql) = @_; return $cluster->try($sql, extra_params => [ '-U', 'alice' ]); }

sub mapping
{
	my ($do, $options) = @_;
	$cluster->sql("$do USER MAPPING FOR alice SERVER shard$_ OPTIONS ($options)") foreach 1 .. 2;
	return;
}

my ($rc, $out, $err) = as_alice('SELECT count(*) FROM t');
like($err, qr/ERROR:  42704: user mapping not found for .*"alice"/, 'no user mapping');

mapping('CREATE', "user 'bob'");
($rc, $out, $err) = as_alice('SELECT count(*) FROM t');
like($err, qr/ERROR:  2F003: password is required to reach shard "shard\d".*must provide a password/s,
	'no password in the mapping');
($rc, $out, $err) = as_alice(q{INSERT INTO t VALUES (1000, 'y')});
like($err, qr/ERROR:  2F003: password is required/, 'neither for a write');

mapping('ALTER', "ADD password 'secret-of-bob'");
($rc, $out, $err) = as_alice('SELECT count(*) FROM t');
like($err, qr/ERROR:  2F003: .*Non-superusers cannot connect if the shard does not request a password/s,
	"the shard trusts the server process, not alice");

foreach my $n (1 .. 2)
{
	my $hba = $cluster->shard($n)->data_dir . '/pg_hba.conf';
	my $lines = slurp_file($hba);
	open my $fh, '>', $hba or die;
	print $fh "local all bob scram-sha-256\n$lines";
	close $fh;
	$cluster->shard($n)->reload;
	$cluster->shard($n)->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_hba_file_rules WHERE user_name = '{bob}'});
}
($rc, $out, $err) = as_alice(q{INSERT INTO t VALUES (1000, 'y') RETURNING x; SELECT count(*) FROM t;
	UPDATE t SET x = 'z' WHERE id = 1000; COPY t FROM PROGRAM 'echo'});
like($out, qr/^y\n101$/m, 'with a password that is asked for');
like($err, qr/42501/, 'though COPY FROM PROGRAM stays forbidden');
is($cluster->sql_on_all(q{SELECT count(DISTINCT usename) FROM pg_stat_activity WHERE usename = 'bob'}) . '',
	'2', 'two shards asked');

($rc, $out, $err) = as_alice('DELETE FROM t WHERE id = 1000');
like($err, qr/ERROR:  42501: permission denied for .*table t/, 'privileges of the foreign table');
unlike($err, qr/shard/, 'are checked here');
$cluster->sql('GRANT DELETE, TRUNCATE ON t TO alice');
($rc, $out, $err) = as_alice('DELETE FROM t WHERE id = 1000');
is($rc, 0, 'granted');
($rc, $out, $err) = as_alice('TRUNCATE t');
like($err, qr/ERROR:  42501: permission denied for table t.*CONTEXT:  shard "shard\d"/s,
	'and those of the role on the shard');

# The session of a superuser keeps its own connections beside alice's.
is($cluster->sql(q{SELECT count(*) FROM t; SET ROLE alice; SELECT count(*) FROM t; RESET ROLE;
	SELECT count(*) FROM t}), "100\n100\n100", 'SET ROLE');

# A view runs with its owner's mapping.
$cluster->sql(q{CREATE VIEW v AS SELECT * FROM t; CREATE ROLE carol LOGIN;
	GRANT SELECT, INSERT ON v TO carol});
is($cluster->sql(q{SET ROLE carol; SELECT count(*) FROM v; INSERT INTO v VALUES (2000, 'v') RETURNING x}),
	"100\nv", "a view's owner");
$cluster->sql('DELETE FROM t WHERE id = 2000');

# Changed options count from the next transaction on, in sessions that are open, too.
my $psql = $cluster->session(0, extra_params => [ '-U', 'alice' ]);
is($psql->query('SELECT count(*) FROM t'), '100', 'a session of alice');
mapping('ALTER', "SET password 'wrong-secret'");
$out = $psql->query('SELECT count(*) FROM t');
like($psql->{stderr}, qr/could not connect to shard "shard\d".*password authentication failed/s,
	'a changed password is noticed');
unlike($psql->{stderr}, qr/secret/, 'no password in the message');
$psql->{stderr} = '';
mapping('ALTER', "SET password 'secret-of-bob'");
is($psql->query('SELECT count(*) FROM t'), '100', 'and again');
$psql->quit;

# A superuser may let a mapping do without.
($rc, $out, $err) = as_alice(q{ALTER USER MAPPING FOR alice SERVER shard1 OPTIONS (ADD password_required 'false')});
like($err, qr/ERROR:  42501/, 'alice may not lift the rule for herself');
mapping('ALTER', "SET user 'postgres', DROP password, ADD password_required 'false'")
	if $cluster->sql('SELECT current_user') eq 'postgres';
SKIP:
{
	skip 'the superuser is not called postgres', 1 if $cluster->sql('SELECT current_user') ne 'postgres';
	($rc, $out, $err) = as_alice('SELECT count(*) FROM t');
	is($out, '100', 'password_required false');
}

# An unreachable shard: named, in time, and what does not need it goes on.
$cluster->stop_shard(2);
my $id1 = $cluster->sql(q{SELECT min(g) FROM generate_series(1, 100) g WHERE vdist.shard_of('t', g) = 'shard1'});
my $id2 = $cluster->sql(q{SELECT min(g) FROM generate_series(1, 100) g WHERE vdist.shard_of('t', g) = 'shard2'});
($rc, $out, $err) = $cluster->try('SELECT count(*) FROM t');
like($err, qr/ERROR:  08001: could not connect to shard "shard2"/, 'a shard that is down');
($rc, $out, $err) = $cluster->try("UPDATE t SET x = 'alone' WHERE id = $id1; SELECT x FROM t WHERE id = $id1");
is($out, 'alone', 'the others can be written');
($rc, $out, $err) = $cluster->try("INSERT INTO t VALUES ($id2, 'x')");
like($err, qr/ERROR:  08001: could not connect to shard "shard2"/, 'it cannot');
$cluster->start_shard(2);
is($cluster->sql('SELECT count(*) FROM t'), '100', 'back');

# A shard that accepts and never answers runs into vdist.connect_timeout.
SKIP:
{
	require IO::Socket::UNIX;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $deaf = IO::Socket::UNIX->new(Local => "$dir/.s.PGSQL.5432", Listen => 5)
	  or skip "no socket in $dir", 3;
	chmod 0777, $dir, "$dir/.s.PGSQL.5432";
	$cluster->sql("ALTER SERVER shard2 OPTIONS (SET hosts '$dir:5432')");
	($rc, $out, $err) = $cluster->try('SET vdist.connect_timeout = 300; SELECT count(*) FROM t');
	like($err, qr/ERROR:  08001: could not connect to shard "shard2".*No answer within vdist.connect_timeout \(300 ms\)/s,
		'connect_timeout');
	($rc, $out, $err) = $cluster->try(
		'SET vdist.connect_timeout = 60000; SET statement_timeout = 300; SELECT count(*) FROM t');
	like($err, qr/ERROR:  57014: canceling statement due to statement timeout/, 'cancelled while it connects');
	my $hosts = $cluster->hosts(2);
	$cluster->sql("ALTER SERVER shard2 OPTIONS (SET hosts '$hosts')");
	is($cluster->sql('SELECT count(*) FROM t'), '100', 'back once more');
}

done_testing();
