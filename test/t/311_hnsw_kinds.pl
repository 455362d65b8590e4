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
		"SET client_min_messages = warning; DROP INDEX IF EXISTS ${name}_index; CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding $class) " . ($options // ''));
	return;
}

sub recall
{
	my ($name, $ef) = @_;
	$ef //= 40;
	return $node->safe_psql('postgres',
		"SET vdist.hnsw_ef_search = $ef; SELECT vdist.recall('${name}_index', (SELECT array_agg(embedding) FROM ${name}_query), 10)");
}

sub info { return $node->safe_psql('postgres', "SELECT $_[1] FROM vdist.index_info('$_[0]')") }

# Crowds whose middles lie anywhere.
sub crowds
{
	my ($n, $dims, $deviation) = @_;
	my @middles = map { [ map { normal() } 1 .. $dims ] } 1 .. $n;
	return sub { my $m = $middles[ rand @middles ]; return map { $_ + $deviation * normal() } @$m };
}

# The same with lengths that differ much.
sub lengths
{
	my ($row) = @_;
	return sub { my $length = exp(normal()); return map { $length * $_ } $row->() };
}

# Vectors of positive components whose sum is 1, of which a third is not 0.
sub histograms
{
	my ($n, $dims) = @_;
	my @kinds = map { [ map { exp(2 * normal()) } 1 .. $dims ] } 1 .. $n;
	return sub {
		my $p = $kinds[ rand @kinds ];
		my @x = map { rand() < 0.3 ? $_ * exp(normal()) : 0 } @$p;
		my $sum = 1e-9;
		$sum += $_ foreach @x;
		return map { $_ / $sum } @x;
	};
}

# Of each crowd there are two or three routing rows. Searches that rank one in eight of them miss crowds: .88.
load('crowds', 18000, 200, crowds(60, 40, 0.6));
build('crowds', 'vector_l2_ops', "WITH (quantization = '4')");
cmp_ok(info('crowds_index', 'routing'), '>', 128, 'crowds: routing rows of which one in eight might be ranked');
cmp_ok(recall('crowds'), '>=', 0.98, 'crowds: recall of a build');

# 2,000 rows of the sample are too few to meet others of their crowd: it takes all of it to see that codes of 1
# bit are too short, which find .66.
load('lengths', 20000, 200, lengths(crowds(150, 64, 0.7)));
build('lengths', 'vector_cosine_ops');
cmp_ok(recall('lengths'), '>=', 0.93, 'crowds that overlap, by the angle: recall of a build');

# Near duplicates differ by less than the operator's sums of floats round, and it is the operator that says which are the
# nearest. Bounds from codes, which know better, found .33.
load('twins', 6000, 100, crowds(20, 256, 0.001));
build('twins', 'vector_cosine_ops');
cmp_ok(recall('twins', 400), '>=', 0.98, 'near duplicates by the angle: recall of a build');

# Few components are large, and those are what matters: codes that end at four deviations find .57.
load('histogram', 6000, 100, histograms(100, 128));
build('histogram', 'vector_l1_ops');
cmp_ok(recall('histogram'), '>=', 0.9, 'histograms by the taxicab distance: recall of a build');
build('histogram', 'vector_l2_ops');
cmp_ok(recall('histogram'), '>=', 0.98, 'histograms: recall of a build');

# Of many dimensions there is room for 1 bit. Codes for L1 itself find .5 of such histograms among four times as many, those of square
# roots .97.
load('wide', 3000, 100, histograms(100, 768));
build('wide', 'vector_l1_ops');
is(info('wide_index', 'code_bits, rows_per_page'), '1|2', 'histograms of 768 dimensions: no larger than vectors');
cmp_ok(recall('wide'), '>=', 0.93, 'histograms of 768 dimensions by the taxicab distance: recall of a build');
is( $node->safe_psql(
		'postgres', q{
	SET enable_seqscan = off;
	SELECT bool_and(d >= before) FROM (SELECT d, lag(d, 1, 0) OVER () AS before FROM
	  (SELECT embedding <+> (SELECT embedding FROM wide_query LIMIT 1) AS d FROM wide
	   ORDER BY embedding <+> (SELECT embedding FROM wide_query LIMIT 1) LIMIT 100) near) rows}),
	't', 'and rows come in order');

# Codes of roots tell how near rows are: 10 are returned, and not all of 40 are read from the table, at four buffers each.
my $explain = "SET enable_seqscan = off; EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off)
  SELECT 1 FROM wide ORDER BY embedding <+> (SELECT embedding FROM wide_query LIMIT 1) LIMIT 10";
my ($buffers) = $node->safe_psql('postgres', "$explain; $explain") =~ /.*Buffers: shared hit=(\d+)/;
cmp_ok($buffers, '<', 130, 'and few of those that were found are read from the table');

# In crowds codes by L2, which are rotated, find more than L1's own of as many bits (.88 of the nearest instead of .74) or of roots.
load('near', 6000, 100, crowds(20, 128, 0.02));
build('near', 'vector_l1_ops');
is(info('near_index', 'ef_factor'), 1, 'crowds by the taxicab distance: codes are good enough');
cmp_ok(recall('near'), '>=', 0.9, 'crowds by the taxicab distance: recall of a build');
is( $node->safe_psql(
		'postgres', q{
	SET enable_seqscan = off;
	SELECT count(*), count(DISTINCT id), bool_and(d >= before) FROM
	  (SELECT id, d, lag(d, 1, 0) OVER () AS before FROM
	    (SELECT ctid AS id, embedding <+> (SELECT embedding FROM near_query LIMIT 1) AS d FROM near
	     ORDER BY embedding <+> (SELECT embedding FROM near_query LIMIT 1) LIMIT 250) near) rows}),
	'250|250|t', 'and more rows come in order than a search looks at');
is( $node->safe_psql(
		'postgres', q{
	SET enable_seqscan = off;
	SELECT count(*), count(DISTINCT id) FROM
	  (SELECT ctid AS id FROM near ORDER BY embedding <+> (SELECT embedding FROM near_query LIMIT 1) OFFSET 0) rows}),
	'6000|6000', 'and all of them, once each');
done_testing();
