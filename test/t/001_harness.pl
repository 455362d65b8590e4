# The cluster the other tests stand on: servers start, die and come back.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 2, add => 0);

is($cluster->shards, 2, 'two shards');
is($cluster->sql("SELECT extname FROM pg_extension WHERE extname = 'vdist'"),
	'vdist', 'extension on the coordinator');
is(join(',', $cluster->sql_on_all('SELECT 1')), '1,1', 'shards answer');
isnt($cluster->sql('SELECT system_identifier FROM pg_control_system()'),
	$cluster->sql_on(1, 'SELECT system_identifier FROM pg_control_system()'),
	'servers of their own');

my ($rc, $out, $err) = $cluster->try('SELECT 1/0');
isnt($rc, 0, 'an error shows in the status');
like($err, qr/22012/, 'and its SQLSTATE in the message');

my $psql = $cluster->session(1);
is($psql->query_safe('SELECT 41 + 1'), '42', 'a session that stays');
$cluster->kill_shard(1);
$psql->{run}->kill_kill;
$cluster->start_shard(1);
is($cluster->sql_on(1, 'SELECT 1'), '1', 'a killed shard comes back');

done_testing();
