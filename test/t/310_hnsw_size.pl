# 310_hnsw_size: what an index has beside its rows: nothing but the metapage where vectors are large. Means that the
# metapage cannot hold; indexes of older formats, which have all of it on pages of their own.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use OldFormat;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
# With checksums, which are the default since PostgreSQL 18, it is PostgreSQL that finds a changed page.
$node->init(no_data_checksums => 1);
$node->append_conf('postgresql.conf', "max_parallel_maintenance_workers = 1\njit = off\nautovacuum = off\n");
$node->start;

# Rows in $crowds crowds about places along a few directions, all of them $off away from zero.
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION vdist;
	CREATE FUNCTION vectors(n int, dim int, crowds int, off float8, seed float8) RETURNS SETOF vector LANGUAGE plpgsql AS $$
	DECLARE
		middles vector[];
		directions vector[];
		x vector;
	BEGIN
		PERFORM setseed(0.25);
		FOR i IN 1 .. 30 LOOP
			directions[i] := (SELECT array_agg((random() - 0.5) / sqrt(i)) FROM generate_series(1, dim))::real[]::vector;
		END LOOP;
		FOR i IN 1 .. crowds LOOP
			middles[i] := (SELECT array_agg(off + (random() - 0.5) * CASE crowds WHEN 1 THEN 0.1 ELSE 200 END)
			  FROM generate_series(1, dim))::real[]::vector;
		END LOOP;
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			x := middles[i % crowds + 1];
			FOR j IN 1 .. 30 LOOP
				x := x + directions[j] * array_fill(random() - 0.5, ARRAY[dim])::real[]::vector;
			END LOOP;
			RETURN NEXT x;
		END LOOP;
	END $$});

sub make
{
	my ($name, $rows, $dim, $crowds, $off, $options) = @_;
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE $name (id int GENERATED ALWAYS AS IDENTITY, embedding vector($dim));
		INSERT INTO $name (embedding) SELECT * FROM vectors($rows, $dim, $crowds, $off, 0.5);
		CREATE TABLE ${name}_query AS SELECT * FROM vectors(50, $dim, $crowds, $off, 0.75) embedding;
		CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding vector_l2_ops) $options});
	return;
}

sub info { return $node->safe_psql('postgres', "SELECT $_[1] FROM vdist.index_info('$_[0]_index')") }

sub recall
{
	return $node->safe_psql('postgres',
		"SELECT vdist.recall('$_[0]_index', (SELECT array_agg(embedding) FROM $_[0]_query), 10)");
}

sub sound
{
	my ($name, $what) = @_;
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('${name}_index', true)"), '', "$name: $what");
	return;
}

# ---- large vectors: pages of rows, and the metapage ----
foreach ([ 640, 3400, 2 ], [ 768, 2801, 2 ], [ 1536, 1500, 1 ])
{
	my ($dim, $rows, $per_page) = @$_;
	my $name = "large$dim";
	make($name, $rows, $dim, 1, 0, "WITH (quantization = '1')");
	is(info($name, 'rows, rows_per_page'), "$rows|$per_page", "$name: rows a page");
	is(info($name, 'pages'), int(($rows + $per_page - 1) / $per_page) + 1, "$name: pages of rows and one more");
	cmp_ok(info($name, 'routing'), '>=', 8, "$name: searches have where to begin");
	cmp_ok(recall($name), '>=', 0.95, "$name: recall");
	sound($name, 'a sound index');
}

# fewer slots where that puts another row on a page of few
$node->safe_psql(
	'postgres', q{
	CREATE TABLE few200 (embedding vector(200));
	INSERT INTO few200 SELECT * FROM vectors(2100, 200, 1, 0, 0.5);
	CREATE INDEX few200_index ON few200 USING vdist_hnsw (embedding) WITH (quantization = '2');
	CREATE TABLE few512 (embedding vector(512));
	INSERT INTO few512 SELECT * FROM vectors(2100, 512, 1, 0, 0.5);
	CREATE INDEX few512_index ON few512 USING vdist_hnsw (embedding vector_l1_ops) WITH (quantization = '1')});
is(info('few200', 'rows_per_page, slots'), '4|30', 'four rows of 200 dimensions a page');
is(info('few512', 'rows_per_page, slots'), '3|30', 'three rows of 512 dimensions a page');
sound($_, 'a sound index') foreach 'few200', 'few512';

# vectors as random as can be: more bits would find little more, and take two to four times the pages
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION random_vectors(n int, dim int) RETURNS SETOF vector LANGUAGE sql AS $$
	  SELECT array_agg(random())::real[]::vector FROM generate_series(1, n) i, generate_series(1, dim) j GROUP BY i $$;
	SELECT setseed(0.5);
	CREATE TABLE random128 AS SELECT v::vector(128) AS embedding FROM random_vectors(2400, 128) v;
	CREATE INDEX random128_index ON random128 USING vdist_hnsw (embedding vector_l2_ops);
	CREATE TABLE random768 AS SELECT v::vector(768) AS embedding FROM random_vectors(2800, 768) v;
	CREATE INDEX random768_index ON random768 USING vdist_hnsw (embedding vector_cosine_ops)});
is(info('random128', 'code_bits, rows_per_page, centres'), '2|6|1', 'random vectors of 128 dimensions have 2 bits');
is(info('random768', 'code_bits, rows_per_page, centres, pages'), '1|2|1|1401', 'of 768 dimensions 1, and one page beside the rows');
sound($_, 'a sound index') foreach 'random128', 'random768';

# Whatever the metric and the data, no more pages than a graph of vectors has, whose rows take 288 bytes more than their vectors;
# but for those of centres.
foreach (
	[ 'products', 2400, 768, 'vector_ip_ops', "random_vectors(2400, 768)", 1 ],
	[ 'taxicab', 2400, 768, 'vector_l1_ops', "random_vectors(2400, 768)", 1 ],
	[ 'crowds', 2600, 768, 'vector_l2_ops', "vectors(2600, 768, 20, 0, 0.5)", 1.02 ],
	[ 'wide900', 2000, 900, 'vector_cosine_ops', "random_vectors(2000, 900)", 1 ],
	[ 'wide1024', 2200, 1024, 'vector_ip_ops', "random_vectors(2200, 1024)", 1 ],
	[ 'wide2000', 1100, 2000, 'vector_l2_ops', "random_vectors(1100, 2000)", 1 ],
	[ 'wide1900', 1200, 1900, 'vector_l2_ops', "random_vectors(1200, 1900)", 1 ])
{
	my ($name, $rows, $dim, $class, $from, $most) = @$_;
	$name = "bar_$name";
	$node->safe_psql(
		'postgres', qq{
		SELECT setseed(0.5);
		CREATE TABLE $name (embedding vector($dim));
		INSERT INTO $name SELECT * FROM $from;
		CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding $class)});
	is(info($name, 'rows, slots >= 24'), "$rows|t", "$name: rows and slots");
	cmp_ok(info($name, 'pages'), '<=', $most * (1 + $rows / (int(8160 / (4 * $dim + 288)) || 1)), "$name: no larger than a graph of vectors");
	sound($name, 'a sound index');
}

# and below no more than twice as many, with pages of routing rows
foreach ([ 64, 'vector_l1_ops' ], [ 64, 'vector_ip_ops' ], [ 128, 'vector_l1_ops' ], [ 128, 'vector_ip_ops' ], [ 150, 'vector_cosine_ops' ])
{
	my ($dim, $class) = @$_;
	my $name = "bar_${dim}_$class";
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE $name (embedding vector($dim));
		INSERT INTO $name SELECT * FROM random_vectors(4000, $dim);
		CREATE INDEX ${name}_index ON $name USING vdist_hnsw (embedding $class)});
	cmp_ok(info($name, 'pages'), '<=', 2 * (1 + 4000 / int(8160 / (4 * $dim + 288))) + 16, "$name: no more than twice as large");
	sound($name, 'a sound index');
}
cmp_ok(info('bar_taxicab', 'ef_factor'), '>', 1, 'where codes are rough, searches look at more rows');
is(info('large768', 'ef_factor'), 1, 'and only there');

# rows go and others come: what the metapage has of them changes; a crash loses nothing of that
my $before = info('large768', 'routing');
$node->safe_psql('postgres', 'DELETE FROM large768 WHERE id % 2 = 0; VACUUM large768');
sound('large768', 'after VACUUM');
$node->safe_psql('postgres', 'INSERT INTO large768 (embedding) SELECT * FROM vectors(1500, 768, 1, 0, 0.1)');
my $pages = info('large768', 'pages');
$node->stop('immediate');
$node->start;
sound('large768', 'after inserts and a crash');
cmp_ok(info('large768', 'routing'), '>=', $before / 2, 'large768: searches have where to begin');
cmp_ok(recall('large768'), '>=', 0.95, 'large768: recall');
cmp_ok($pages, '<=', 1600, 'large768: no page for where searches begin');

# grown from nothing, row by row
$node->safe_psql(
	'postgres', q{
	CREATE TABLE grown (id int GENERATED ALWAYS AS IDENTITY, embedding vector(768));
	CREATE INDEX grown_index ON grown USING vdist_hnsw (embedding vector_l2_ops) WITH (quantization = '1');
	INSERT INTO grown (embedding) SELECT embedding FROM large768;
	CREATE TABLE grown_query AS SELECT * FROM large768_query});
sound('grown', 'a sound index');
cmp_ok(recall('grown'), '>=', 0.95, 'grown: recall');

# ---- a mean far from zero, which halves would move; the older formats ----
my @far = (
	[ 'plain', 2500, 64, 1, 30000, "WITH (quantization = '8')", 1, 'centres', '1' ],
	[ 'crowds', 3000, 12, 20, 30000, '', 2, 'centres > 1', 't' ],
	[ 'short', 3300, 700, 1, 3000, '', 3, 'code_dims < 700', 't' ],
	[ 'here', 3000, 100, 1, 0, "WITH (quantization = '4')", 4, 'centres', '1' ]);
foreach (@far)
{
	my ($name, $rows, $dim, $crowds, $off, $options, $version, $what, $is) = @$_;
	make($name, $rows, $dim, $crowds, $off, $options);
	is(info($name, $what), $is, "$name: of the kind that is wanted");
	cmp_ok(recall($name), '>=', 0.95, "$name: recall far from zero");
	sound($name, 'a sound index far from zero');
}

sub order
{
	return $node->safe_psql('postgres', "SET enable_seqscan = off; SELECT array_agg(id) FROM (SELECT id FROM $_[0] "
	  . "ORDER BY embedding <-> (SELECT embedding FROM $_[0]_query LIMIT 1) LIMIT 50) near");
}

# A search by an older format expands as many rows whatever they are, as this one does without a stretch.
sub without_stretch
{
	my ($path) = @_;
	open my $file, '+<:raw', $path or die $!;
	seek $file, 24 + 84, 0;
	print $file pack 'ff', 0, 0;
	close $file or die $!;
	return;
}

my %path = map { ($_->[0] => $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_->[0]_index')")) } @far;
$node->stop;
without_stretch($path{ $_->[0] }) foreach @far;
$node->start;
my %order = map { ($_->[0] => order($_->[0])) } @far;
$node->stop;
make_old($path{ $_->[0] }, $_->[6]) foreach @far;
$node->start;
foreach (@far)
{
	my ($name, $rows, $dim, $crowds, $off, $options, $version, $what, $is) = @$_;
	is(info($name, $what), $is, "$name: version $version is read");
	is(order($name), $order{$name}, "$name: the same rows in the same order");
	sound($name, "a sound index of version $version");
	$node->safe_psql(
		'postgres', qq{
		INSERT INTO $name (embedding) SELECT * FROM vectors(100, $dim, $crowds, $off, 0.6);
		DELETE FROM $name WHERE id % 3 = 0;
		VACUUM $name;
		INSERT INTO $name (embedding) SELECT * FROM vectors(200, $dim, $crowds, $off, 0.7)});
	sound($name, "version $version after changes");
	cmp_ok(recall($name), '>=', 0.95, "$name: recall after changes");
}

# by the rules of version 5
$node->stop;
make_new($path{here});
$node->start;
sound('here', 'anchors, which VACUUM gave, lead to every row');

$node->stop;
done_testing();
