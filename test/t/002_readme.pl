# What README.md shows first must work as it stands there; only the shards' addresses differ.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 2, add => 0);
$cluster->sql('DROP EXTENSION vdist');

my ($sql) = slurp_file('README.md') =~ /```sql\n(.*?)```/s;
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

done_testing();
