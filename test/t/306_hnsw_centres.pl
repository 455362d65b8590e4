# 306_hnsw_centres: tables whose rows lie in crowds that are small beside the distances between them: codes
# about one mean cannot tell such rows apart. Built, grown from nothing, changed, vacuumed, crashed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
# With checksums, which are the default since PostgreSQL 18, it is PostgreSQL that finds a changed page.
$node->init(no_data_checksums => 1);
$node->append_conf('postgresql.conf', "max_parallel_maintenance_workers = 1\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION vdist');

# Rows of $crowds crowds, $spread apart and $radius wide, each component uniform; seeded, so always the same.
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION crowd_rows(n int, dim int, crowds int, spread float8, radius float8, seed float8)
	RETURNS SETOF vector LANGUAGE plpgsql AS $$
	DECLARE
		middles float8[] := '{}';
		x float8[];
	BEGIN
		PERFORM setseed(0.25);
		FOR i IN 1 .. crowds * dim LOOP
			middles[i] := random() * spread;
		END LOOP;
		PERFORM setseed(seed);
		FOR i IN 0 .. n - 1 LOOP
			FOR j IN 1 .. dim LOOP
				x[j] := middles[i % crowds * dim + j] + (random() - 0.5) * radius;
			END LOOP;
			RETURN NEXT x::vector;
		END LOOP;
	END $$});

sub recall
{
	my ($index, $table) = @_;
	return $node->safe_psql('postgres',
		"SELECT vdist.recall('$index', (SELECT array_agg(embedding) FROM $table), 10)");
}

sub info
{
	return $node->safe_psql('postgres', "SELECT $_[1] FROM vdist.index_info('$_[0]')");
}

sub sound
{
	my ($index, $name) = @_;
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('$index', true)"), '', $name);
}

my @sets = (
	[ 'two', 2, 20, 100, 1, 'vector_l2_ops' ],
	[ 'eight', 8, 20, 100, 1, 'vector_l2_ops' ],
	[ 'forty', 40, 20, 100, 1, 'vector_l2_ops' ],
	[ 'cosine', 24, 40, 10, 0.2, 'vector_cosine_ops' ],
	[ 'taxicab', 12, 20, 100, 1, 'vector_l1_ops' ],
	[ 'product', 12, 20, 100, 1, 'vector_ip_ops' ],
	[ 'near_duplicates', 48, 120, 1, 0.001, 'vector_l2_ops' ]);

foreach (@sets)
{
	my ($name, $dim, $crowds, $spread, $radius, $class) = @$_;
	my $rows = "crowd_rows(6000, $dim, $crowds, $spread, $radius, 0.5)";

	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE $name (id int GENERATED ALWAYS AS IDENTITY, embedding vector($dim));
		INSERT INTO $name (embedding) SELECT * FROM $rows;
		CREATE TABLE ${name}_query AS SELECT * FROM crowd_rows(100, $dim, $crowds, $spread, $radius, 0.75) embedding;
		CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding $class)});
	cmp_ok(recall("${name}_index", "${name}_query"), '>=', 0.98, "$name: recall of a build");
	sound("${name}_index", "$name: a sound index");
}
cmp_ok(info('eight_index', 'centres'), '>', 1, 'crowds have centres of their own');

# Many crowds, of a size that fills the pool of a search: the edges of the few crowds that it sees do not lead
# to the others, so searches begin near each of them.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE many (id int GENERATED ALWAYS AS IDENTITY, embedding vector(48));
	INSERT INTO many (embedding) SELECT * FROM crowd_rows(24000, 48, 1200, 1, 0.01, 0.5);
	CREATE TABLE many_query AS SELECT * FROM crowd_rows(200, 48, 1200, 1, 0.01, 0.75) embedding;
	CREATE INDEX many_index ON many USING vdist_hnsw (embedding vector_l2_ops)});
cmp_ok(recall('many_index', 'many_query'), '>=', 0.98, 'many: recall of a build');
sound('many_index', 'many: a sound index');

# Pairs in a cloud of many dimensions: the nearest of a row are scattered over many cells of the build. So few
# cells as are enough elsewhere give .83.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE pairs AS SELECT * FROM crowd_rows(24000, 64, 12000, 1, 0.01, 0.5) embedding;
	ALTER TABLE pairs ALTER embedding TYPE vector(64);
	CREATE TABLE pairs_query AS SELECT * FROM crowd_rows(200, 64, 1, 1, 1, 0.75) embedding;
	CREATE INDEX pairs_index ON pairs USING vdist_hnsw (embedding vector_l2_ops)});
cmp_ok(recall('pairs_index', 'pairs_query'), '>=', 0.85, 'pairs: recall of a build');

# Rows far from all others, one in eighty: too few among those that codes are tried on to say that codes about the mean are
# too rough for them. They come last, in the last pages of the table, or between the others.
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION far_rows(n int, seed float8) RETURNS SETOF vector LANGUAGE sql AS
	  'SELECT r + array_fill(10, ARRAY[64])::vector FROM crowd_rows(n, 64, 1, 1, 0.5, seed) r';
	CREATE TABLE far_query AS SELECT * FROM far_rows(100, 0.75) embedding;
	CREATE TABLE far_example AS SELECT i, embedding FROM crowd_rows(12000, 64, 1, 1, 1, 0.5) WITH ORDINALITY r (embedding, i)
	  UNION ALL SELECT 12000 + i, embedding FROM far_rows(150, 0.25) WITH ORDINALITY r (embedding, i)});
foreach ([ 'last', 'i' ], [ 'between', 'hashint8(i)' ])
{
	my ($name, $order) = @$_;

	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE far_$name (embedding vector(64));
		INSERT INTO far_$name SELECT embedding FROM far_example ORDER BY $order;
		CREATE INDEX far_${name}_index ON far_$name USING vdist_hnsw (embedding vector_l2_ops)});
	cmp_ok(recall("far_${name}_index", 'far_query'), '>=', 0.95, "rows far from all others, $name");
	sound("far_${name}_index", "$name: a sound index");
}

# one cloud needs none
$node->safe_psql(
	'postgres', q{
	CREATE TABLE cloud AS SELECT * FROM crowd_rows(4000, 12, 1, 1, 1, 0.5) embedding;
	ALTER TABLE cloud ALTER embedding TYPE vector(12);
	CREATE INDEX cloud_index ON cloud USING vdist_hnsw (embedding vector_l2_ops)});
is(info('cloud_index', 'centres'), '1', 'one cloud has one');

# an index that begins flat and gets its centres from an insert
$node->safe_psql(
	'postgres', q{
	CREATE TABLE grown (id int GENERATED ALWAYS AS IDENTITY, embedding vector(8));
	CREATE INDEX grown_index ON grown USING vdist_hnsw (embedding vector_l2_ops);
	INSERT INTO grown (embedding) SELECT * FROM crowd_rows(6000, 8, 20, 100, 1, 0.5)});
cmp_ok(info('grown_index', 'centres'), '>', 1, 'an index that begins flat gets centres');
cmp_ok(recall('grown_index', 'eight_query'), '>=', 0.98, 'recall of one row after the other');
sound('grown_index', 'a sound index after inserts');

# rows go, others come; then the server is killed
$node->safe_psql(
	'postgres', q{
	DELETE FROM eight WHERE id % 2 = 0;
	VACUUM eight;
	INSERT INTO eight (embedding) SELECT * FROM crowd_rows(3000, 8, 20, 100, 1, 0.1);
	INSERT INTO eight (embedding) SELECT * FROM crowd_rows(200, 8, 20, 100, 1, 0.1)});
cmp_ok(recall('eight_index', 'eight_query'), '>=', 0.98, 'recall after VACUUM and inserts');
sound('eight_index', 'a sound index after VACUUM and inserts');
my $order = 'SET enable_seqscan = off; SELECT array_agg(id) FROM (SELECT id FROM eight '
  . 'ORDER BY embedding <-> (SELECT embedding FROM eight_query LIMIT 1) LIMIT 50) near';
my $before = $node->safe_psql('postgres', $order);
$node->safe_psql('postgres',
	'INSERT INTO eight (embedding) SELECT * FROM crowd_rows(20, 8, 20, 5, 1, 0.1)');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', $order), $before, 'the same rows in the same order after a crash');
sound('eight_index', 'a sound index after a crash');

# a scan run to its end returns every row once
is( $node->safe_psql(
		'postgres', q{
		SET enable_seqscan = off;
		SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM eight ORDER BY embedding <-> '[1,2,3,4,5,6,7,8]') r}),
	$node->safe_psql('postgres', 'SELECT count(*), count(*) FROM eight'),
	'every row comes once');

# a format that is not known is refused, and says what to do
$node->safe_psql('postgres', 'CHECKPOINT');
my $path = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('eight_index')");
$node->stop;
open my $file, '+<:raw', $path or die $!;
seek $file, 24 + 4, 0;
read $file, my $version, 4;
is(unpack('V', $version), 5, 'the version of the format');
seek $file, 24 + 4, 0;
print $file pack('V', 9);
close $file;
$node->start;
my ($code, $out, $error) = $node->psql('postgres', $order);
like($error, qr/format version 9.*versions 1 to 5.*HINT:.*REINDEX/s, 'another version is refused');
$node->safe_psql('postgres', 'REINDEX INDEX eight_index');
sound('eight_index', 'REINDEX mends it');

$node->stop;
done_testing();
