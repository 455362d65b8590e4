# 308_hnsw_short: indexes of many dimensions, whose neighbors' codes are of some components alone so that one
# more row fits on a page. Built, grown from nothing, changed, vacuumed, crashed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dims = 700;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_parallel_maintenance_workers = 1\njit = off\n");
$node->start;

# Sums of a few of 30 vectors, of which each has another length: what real vectors have in common is that
# a few directions have most of the variance.
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION vdist;
	SELECT setseed(0.25);
	CREATE TABLE basis AS SELECT k, array_agg((random() - 0.5) / sqrt(k))::real[]::vector($dims) AS v
	  FROM generate_series(1, 30) k, generate_series(1, $dims) j GROUP BY k ORDER BY k;
	CREATE FUNCTION vectors(n int, seed float8) RETURNS SETOF vector LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM setseed(seed);
		RETURN QUERY SELECT sum(v * array_fill(random() - 0.5, ARRAY[$dims])::real[]::vector)
		  FROM generate_series(1, n) i, basis GROUP BY i ORDER BY i;
	END \$\$;
	CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, embedding vector($dims));
	INSERT INTO item (embedding) SELECT * FROM vectors(3300, 0.5);
	CREATE TABLE query AS SELECT * FROM vectors(50, 0.75) embedding;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops)});

sub info { return $node->safe_psql('postgres', "SELECT $_[1] FROM vdist.index_info('$_[0]')") }

sub recall
{
	return $node->safe_psql('postgres', "SELECT vdist.recall('$_[0]', (SELECT array_agg(embedding) FROM query), 10)");
}

sub sound
{
	my ($index, $name) = @_;
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('$index', true)"), '', $name);
}

is(info('item_index', 'code_bits, rows_per_page, centres'), '1|3|1', 'three rows a page, where two vectors would be');
cmp_ok(info('item_index', 'code_dims'), '<', $dims, 'codes are of some components');
cmp_ok(info('item_index', 'slots'), '>=', 28, 'and leave room for neighbors');
cmp_ok(recall('item_index'), '>=', 0.95, 'recall of a build');
sound('item_index', 'a sound index');

# one asked for by its bits has them all; so has one for inner products
$node->safe_psql(
	'postgres', q{
	CREATE INDEX item_bits ON item USING vdist_hnsw (embedding vector_l2_ops) WITH (quantization = '1');
	CREATE INDEX item_few ON item USING vdist_hnsw (embedding vector_l2_ops) WITH (m = 4, ef_construction = 32)});
is(info('item_bits', 'code_bits, code_dims'), "1|$dims", 'codes of as many bits as was asked for');
is(info('item_few', 'code_dims'), $dims, 'rows of few neighbors need no short codes');
$node->safe_psql('postgres', 'DROP INDEX item_bits, item_few');

# an index that begins flat and gets its graph from an insert
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE grown (id int GENERATED ALWAYS AS IDENTITY, embedding vector($dims));
	CREATE INDEX grown_index ON grown USING vdist_hnsw (embedding vector_cosine_ops);
	INSERT INTO grown (embedding) SELECT embedding FROM item});
cmp_ok(info('grown_index', 'code_dims'), '<', $dims, 'an index that begins flat gets short codes');
cmp_ok(recall('grown_index'), '>=', 0.95, 'recall of one row after the other');
sound('grown_index', 'a sound index after inserts');

# rows go, others come; then the server is killed
$node->safe_psql(
	'postgres', q{
	DELETE FROM item WHERE id % 2 = 0;
	VACUUM item;
	INSERT INTO item (embedding) SELECT * FROM vectors(1500, 0.1)});
cmp_ok(recall('item_index'), '>=', 0.95, 'recall after VACUUM and inserts');
sound('item_index', 'a sound index after VACUUM and inserts');
my $order = 'SET enable_seqscan = off; SELECT array_agg(id) FROM (SELECT id FROM item '
  . 'ORDER BY embedding <-> (SELECT embedding FROM query LIMIT 1) LIMIT 50) near';
my $before = $node->safe_psql('postgres', $order);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', $order), $before, 'the same rows in the same order after a crash');
sound('item_index', 'a sound index after a crash');

$node->safe_psql('postgres', 'REINDEX INDEX item_index');
sound('item_index', 'a sound index after REINDEX');

$node->stop;
done_testing();
