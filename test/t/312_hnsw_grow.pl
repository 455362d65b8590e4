# Rows that are inserted one by one get as good a graph as rows that a build sees: in a table that grows tenfold, in one
# that was empty, in one whose rows go and others come. No row is left without a way to it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $node = PostgreSQL::Test::Cluster->new('grow');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$node->start;

# few neighbors a row, so that it shows when they are not well chosen
my $rows = 16000;
my $options = 'USING vdist_hnsw (embedding vector_l2_ops) WITH (m = 6)';
$node->safe_psql(
	'postgres', qq{
	CREATE EXTENSION vdist;
	ALTER DATABASE postgres SET vdist.hnsw_ef_search = 20;
	SELECT setseed(0.5);
	CREATE TABLE example AS SELECT i AS id, array_agg(random())::real[]::vector(8) AS embedding
	  FROM generate_series(1, $rows) i, generate_series(1, 8) GROUP BY i ORDER BY i;
	CREATE TABLE query AS SELECT array_agg(random())::real[]::vector(8) AS embedding
	  FROM generate_series(1, 500) i, generate_series(1, 8) GROUP BY i});
my ($dims, $examples, $queries) = (8, 'example', 'query');

sub recall
{
	return $node->safe_psql('postgres', "SELECT vdist.recall('item_index', (SELECT array_agg(embedding) FROM $queries), 10)");
}

# How an index is filled, on a table of item (id, embedding).
sub grown
{
	my ($name, @statements) = @_;
	$node->safe_psql('postgres', $_)
	  foreach 'DROP TABLE IF EXISTS item', "CREATE TABLE item (id int, embedding vector($dims))", @statements;
	my $recall = recall();
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '', "$name: a sound index");
	$node->safe_psql('postgres', 'REINDEX INDEX item_index');
	my $fresh = recall();
	note "$name: $recall, fresh $fresh";
	cmp_ok($recall, '>=', $fresh - 0.01, "$name: recall is that of a fresh index");
	return;
}

sub fill { return "INSERT INTO item SELECT * FROM $examples WHERE $_[0] ORDER BY id" }
my $index = "CREATE INDEX item_index ON item $options";

grown('a tenth was there', fill('id <= 1600'), $index, fill('id > 1600'));
grown('none was there', $index, fill('true'));
grown(
	'half go and others come',
	fill('id <= 10000'), $index, 'DELETE FROM item WHERE id % 2 = 0',
	'VACUUM item', fill('id > 10000'));

# with the fewest neighbors that there can be, most rows have few ways to them
$options = 'USING vdist_hnsw (embedding vector_l2_ops) WITH (m = 2, ef_construction = 4)';
$node->safe_psql('postgres', $_)
  foreach 'DROP TABLE item', 'CREATE TABLE item (id int, embedding vector(8))',
  "CREATE INDEX item_index ON item $options", fill('id <= 8000');
is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '', 'm = 2: a sound index');

# of those left, the routing rows that a search begins at do not lead to all, but routing rows do
$node->safe_psql('postgres', $_) foreach 'DELETE FROM item WHERE id % 10 <> 0', 'VACUUM item';
is($node->safe_psql('postgres', "SET vdist.hnsw_ef_search = 2000; SELECT vdist.recall('item_index', (SELECT array_agg(embedding) FROM query), 10)"),
	1, 'm = 2: a search of more rows than there are finds all');

# codes of 1 bit, too rough to tell which of two neighbors is nearer: rows in fourteen directions of many dimensions
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION rough(n int, seed float8) RETURNS SETOF vector LANGUAGE plpgsql AS $$
	DECLARE
		directions vector[];
		x vector;
	BEGIN
		PERFORM setseed(0.25);
		FOR i IN 1 .. 14 LOOP
			directions[i] := (SELECT array_agg(random() - 0.5) FROM generate_series(1, 256))::real[]::vector;
		END LOOP;
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			x := array_fill(0, ARRAY[256])::real[]::vector;
			FOR j IN 1 .. 14 LOOP
				x := x + directions[j] * array_fill(random() - 0.5, ARRAY[256])::real[]::vector;
			END LOOP;
			RETURN NEXT x;
		END LOOP;
	END $$;
	CREATE TABLE rough_example AS SELECT row_number() OVER () AS id, v AS embedding FROM rough(8400, 0.5) v;
	CREATE TABLE rough_query AS SELECT v AS embedding FROM rough(500, 0.75) v});
($dims, $examples, $queries) = (256, 'rough_example', 'rough_query');
$index = q{CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 6, ef_construction = 16, quantization = '1')};
grown('codes of 1 bit, half was there', fill('id <= 3000'), $index, fill('id > 3000 AND id <= 6000'));

# where most of a list died, the row has others near it than those its neighbors know
$index = q{CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 6, quantization = '1')};
grown('three quarters go', fill('true'), $index, 'DELETE FROM item WHERE id % 4 <> 0', 'VACUUM item');

done_testing();
