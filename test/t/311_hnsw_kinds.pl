# 311_hnsw_kinds: vectors that indexes find hard. test/bench/kinds has them larger, and more of them, beside pgvector.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_parallel_maintenance_workers = 1\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION vdist');

# Perl's own generator: the same numbers everywhere.
srand(7);
sub normal { return sqrt(-2 * log(1 - rand)) * cos(6.283185307179586 * rand) }

# A table of rows, and another of queries like them; row() makes one, as a list.
sub load
{
	my ($name, $rows, $queries, $row) = @_;
	my @lines = map { sprintf "%s\n", '[' . join(',', map { sprintf '%.5g', $_ } $row->()) . ']' } 1 .. $rows + $queries;
	my $dims = () = $lines[0] =~ /,/g;
	$dims++;
	$node->safe_psql('postgres',
			"CREATE TABLE $name (embedding vector($dims)); CREATE TABLE ${name}_query (embedding vector($dims));\n"
		  . "COPY $name FROM stdin;\n"
		  . join('', @lines[ 0 .. $rows - 1 ])
		  . "\\.\nCOPY ${name}_query FROM stdin;\n"
		  . join('', @lines[ $rows .. $#lines ])
		  . "\\.\n");
	return;
}

sub build
{
	my ($name, $class, $options) = @_;
	$node->safe_psql('postgres',
		"DROP INDEX IF EXISTS ${name}_index; CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding $class) " . ($options // ''));
	return;
}

sub recall
{
	my ($name) = @_;
	return $node->safe_psql('postgres',
		"SELECT vdist.recall('${name}_index', (SELECT array_agg(embedding) FROM ${name}_query), 10)");
}

sub info { return $node->safe_psql('postgres', "SELECT $_[1] FROM vdist.index_info('$_[0]')") }

# Crowds whose middles lie anywhere.
sub crowds
{
	my ($n, $dims, $deviation) = @_;
	my @middles = map { [ map { normal() } 1 .. $dims ] } 1 .. $n;
	return sub { my $m = $middles[ rand @middles ]; return map { $_ + $deviation * normal() } @$m };
}

# Of each crowd there are two or three routing rows. Searches that rank one in eight of them miss crowds: .88.
load('crowds', 18000, 200, crowds(60, 40, 0.6));
build('crowds', 'vector_l2_ops', "WITH (quantization = '4')");
cmp_ok(info('crowds_index', 'routing'), '>', 128, 'crowds: routing rows of which one in eight might be ranked');
cmp_ok(recall('crowds'), '>=', 0.98, 'crowds: recall of a build');

done_testing();
