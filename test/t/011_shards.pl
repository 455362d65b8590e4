# Which servers are accepted as shards, and what happens to distributed tables when shards are
# renamed, moved, removed, or treated badly.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use VdistCluster;

my $cluster = VdistCluster->new(shards => 2, add => 0, streaming => 1);
my ($first, $second) = ($cluster->shard(1), $cluster->shard(2));
my ($rc, $out, $err);

sub add
{
	my ($name, $hosts, $more) = @_;
	return ($cluster->try("SELECT vdist.add_shard('$name', '$hosts', 'postgres'" . ($more // '') . ')'))[2];
}

sub no_trace
{
	my ($name) = @_;
	is($cluster->sql('SELECT count(*) FROM vdist.shards; SELECT count(*) FROM pg_user_mappings'),
		"0\n0", "$name: nothing stays of it");
	return;
}

# Not every server will do.
like(add('away', $first->host . ':1'), qr/08001: could not connect to shard "away"/, 'nobody there');
no_trace('nobody there');
$first->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($first, 'copy', has_streaming => 1);
$standby->start;
like(add('asleep', $standby->host . ':' . $standby->port),
	qr/(55000: shard "asleep" is a standby.*HINT:  Add the primary|08001: could not connect)/s, 'a standby');
no_trace('a standby');
$standby->stop;

$first->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
like(add('plain', $cluster->hosts(1), ", 'plain'"),
	qr/HV000: could not create extension vdist on shard "plain".*permission denied.*HINT:.*superuser/s,
	'no right to create the extension there');
no_trace('no right');
is($first->safe_psql('postgres', 'SELECT count(*) FROM pg_extension'), '1', 'and nothing happened there');

$first->safe_psql('postgres', 'CREATE SCHEMA elsewhere; CREATE EXTENSION vdist SCHEMA elsewhere');
like(add('s1', $cluster->hosts(1)),
	qr/55000: shard "s1" has vdist in schema "elsewhere", this server in schema "public"/, 'another schema');
$first->safe_psql('postgres', 'DROP EXTENSION vdist; CREATE EXTENSION vdist');
$first->safe_psql('postgres', q(UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'vdist'));
like(add('s1', $cluster->hosts(1)), qr/55000: shard "s1" has vdist 0.0.9, this server has .*HINT:  Bring both/s,
	'another version');
$first->safe_psql('postgres', q(DROP EXTENSION vdist));
no_trace('another version');

# A transaction that goes away takes the shard along.
$cluster->sql("BEGIN; SELECT vdist.add_shard('s1', '" . $cluster->hosts(1) . "', 'postgres'); ROLLBACK");
no_trace('rolled back');
is($first->safe_psql('postgres', 'SELECT count(*) FROM pg_extension'), '1', 'rolled back there, too');

# A list of hosts of which one answers; an unusual name
is(add('The "first"', $first->host . ':1,' . $cluster->hosts(1)), '', 'the second host answers');
is($cluster->sql('SELECT name FROM vdist.shards'), 'The "first"', 'a shard with an unusual name');
is($first->safe_psql('postgres', q(SELECT extversion FROM pg_extension WHERE extname = 'vdist')),
	$cluster->sql(q(SELECT extversion FROM pg_extension WHERE extname = 'vdist')), 'extension created there');
is(add('s2', $cluster->hosts(2)), '', 'another one');

$cluster->sql(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 1000);
SELECT vdist.create_distributed_table('t', 'id');
SQL

# A standby of the coordinator answers the same queries.
my $coordinator = $cluster->coordinator;
$coordinator->backup('copy');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($coordinator, 'copy', has_streaming => 1);
$replica->start;
is($replica->safe_psql('postgres', 'SELECT count(*) FROM t; SELECT id FROM t WHERE id = 77; SELECT max(id) FROM t'),
	"1000\n77\n1000", 'read on a standby of the coordinator');
$cluster->sql('CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1);'
	  . " SELECT vdist.create_distributed_table('later', 'id')");
$coordinator->wait_for_catchup($replica);
is($replica->safe_psql('postgres', 'SELECT * FROM later'), '1', 'and a table that was distributed since');
$replica->stop;
$cluster->sql('DROP FOREIGN TABLE later');

# Renamed in one session, used in another that knows its old name
my $psql = $cluster->session;
is($psql->query_safe('SELECT count(*) FROM t'), '1000', 'read before');
$cluster->sql('ALTER SERVER s2 RENAME TO second');
is($psql->query_safe('SELECT count(*) FROM t'), '1000', 'read after a shard was renamed');
is($psql->query_safe('SELECT DISTINCT vdist.shard_of(\'t\', id) FROM t ORDER BY 1'),
	"The \"first\"\nsecond", 'under its new name');

# Moved to another port: the server is the same, the connections are new.
$second->stop;
my $old_port = $second->port;
my $new_port = PostgreSQL::Test::Cluster::get_free_port();
$second->append_conf('postgresql.conf', "port = $new_port");
$second->{_port} = $new_port;
$second->start;
($rc, $out, $err) = $cluster->try('SELECT count(*) FROM t');
like($err, qr/08001: could not connect to shard "second"/, 'moved away');
$cluster->sql("ALTER SERVER second OPTIONS (SET hosts '" . $cluster->hosts(2) . "')");
is($psql->query_safe('SELECT count(*) FROM t'), '1000', 'found again');
$psql->quit;

# Removal
($rc, $out, $err) = $cluster->try("SELECT vdist.remove_shard('second')");
like($err, qr/2BP01: cannot drop shard "second" .*These have slots there: public\.t\./s, 'not while it has slots');
$second->stop;
($rc, $out, $err) = $cluster->try('DROP FOREIGN TABLE t');
like($err, qr/08001: could not connect to shard "second"/, 'a table is not dropped by half');
is($first->safe_psql('postgres', 'SELECT count(*) > 0 FROM t'), 't', 'not even there');
# The way out when a shard never comes back: forget the table first.
$cluster->sql('BEGIN; DELETE FROM vdist.slot_map; DELETE FROM vdist.distributed; DROP FOREIGN TABLE t; COMMIT');
is($cluster->sql("SELECT vdist.remove_shard('second')"), '', 'removed though it is down');
is($cluster->sql('SELECT name FROM vdist.shards'), 'The "first"', 'one left');
$first->safe_psql('postgres', 'DROP TABLE t');

# A shard that is added takes part in tables made from then on.
$second->start;
is(add('s2', $cluster->hosts(2)), '', 'added again');
$cluster->sql('CREATE TABLE u (id text PRIMARY KEY, n int)');
$cluster->sql(q(INSERT INTO u SELECT 'key ' || i, i FROM generate_series(1, 1000) i));
$second->safe_psql('postgres', 'DROP TABLE t');
$cluster->sql("SELECT vdist.create_distributed_table('u', 'id')");
is($cluster->sql('SELECT count(*), sum(slots) FROM vdist.placements'), '2|1024', 'on both');

# What a shard says of a table is not run with more rights than the user has, nor whatever it is.
$cluster->sql(<<'SQL');
CREATE ROLE limited LOGIN;
GRANT EXECUTE ON FUNCTION vdist.undistribute_table(regclass) TO limited;
ALTER TABLE u OWNER TO limited;
GRANT CREATE ON SCHEMA public TO limited;
CREATE USER MAPPING FOR limited SERVER "The ""first""" OPTIONS ("user" 'postgres', password_required 'false');
CREATE USER MAPPING FOR limited SERVER s2 OPTIONS ("user" 'postgres', password_required 'false');
SQL
# A shard gone bad: its idea of an index is another statement.
$first->safe_psql('postgres', <<'SQL');
CREATE INDEX ON u (n);
SET allow_system_table_mods = on;
CREATE OR REPLACE FUNCTION pg_catalog.pg_get_indexdef(oid) RETURNS text STABLE LANGUAGE sql AS
  $$ SELECT 'ALTER ROLE limited SUPERUSER' $$;
SQL
($rc, $out, $err) = $cluster->try("SET ROLE limited; SELECT vdist.undistribute_table('u')");
like($err, qr/HV000: a shard gave an unexpected definition/, 'a bad shard is refused');
is($cluster->sql(q(SELECT rolsuper FROM pg_roles WHERE rolname = 'limited')), 'f', 'and has won nothing');

done_testing();
