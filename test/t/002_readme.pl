# What README.md shows first must work as it stands there; only the shards' addresses differ. And it
# names every setting, function and view.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 2, add => 0);
$cluster->sql('DROP EXTENSION vdist');

my $readme = slurp_file('README.md');
my ($sql) = $readme =~ /```sql\n(.*?)```/s;
like($sql, qr/CREATE EXTENSION vdist/, 'README.md begins with an example');
foreach my $n (1, 2)
{
	my $hosts = $cluster->hosts($n);
	ok($sql =~ s/'db$n\.example:5432'/'$hosts'/, "shard $n is in it");
}

my ($rc, $out, $err) = $cluster->try($sql);
is($rc, 0, 'it runs') or diag($err);
like($out, qr/shard1\|t\|CREATE INDEX\nshard2\|t\|CREATE INDEX\n1\|one\n2\|two$/, 'it finds');
is($cluster->sql('SELECT sum(slots) FROM vdist.placements'), '1024', 'the rows are on shards');

my $names = $cluster->sql(q{
	SELECT name FROM pg_settings WHERE name LIKE 'vdist.%'
	UNION SELECT proname FROM pg_proc
		WHERE pronamespace = 'vdist'::regnamespace
		  AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'fdw_handler'::regtype,
			'internal'::regtype)
		  AND proname NOT IN ('fdw_validator', 'exchange_types', 'grants', 'recreation', 'set_expression')
	UNION SELECT 'vdist.' || relname FROM pg_class
		WHERE relnamespace = 'vdist'::regnamespace AND relkind = 'v'});
is(join(' ', grep { $readme !~ /`\Q$_\E[`(]/ } split /\n/, $names), '', 'README.md names everything');

done_testing();
