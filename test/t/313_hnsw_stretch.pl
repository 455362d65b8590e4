# 313_hnsw_stretch: a search looks at as many rows as its query needs, and at about ef_search on the average.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use List::Util qw(max min sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
# The server does not find the page that is changed here, as those since PostgreSQL 18 do by default.
$node->init(no_data_checksums => 1);
$node->append_conf('postgresql.conf', "max_parallel_maintenance_workers = 1\njit = off\nautovacuum = off\n");
$node->start;

# Rows fill three directions of sixteen dimensions; every eleventh query lies far off.
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION vdist;
	CREATE FUNCTION vectors(n int, spread float8, seed float8) RETURNS SETOF vector LANGUAGE plpgsql AS $$
	DECLARE
		x real[];
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			x := ARRAY(SELECT CASE WHEN j <= 3 THEN random() ELSE 0 END + random() * 0.02 FROM generate_series(1, 16) j);
			IF i % 11 = 0 THEN
				x[9] := x[9] + spread;
			END IF;
			RETURN NEXT x::vector;
		END LOOP;
	END $$;
	CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, embedding vector(16));
	INSERT INTO item (embedding) SELECT * FROM vectors(6000, 0, 0.5);
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops);
	CREATE TABLE query (id int GENERATED ALWAYS AS IDENTITY, embedding vector(16));
	INSERT INTO query (embedding) SELECT * FROM vectors(110, 3, 0.75);
	CREATE FUNCTION buffers(query vector, n int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		plan json;
	BEGIN
		EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT id FROM item ORDER BY embedding <-> %L LIMIT %s',
		  query, n) INTO plan;
		RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::int + (plan->0->'Plan'->>'Shared Read Blocks')::int;
	END $$});

# What each query touches at an ef_search.
sub looked
{
	my ($ef, $where, $n) = @_;
	$n ||= 1;
	return split /\n/, $node->safe_psql('postgres',
		"SET enable_seqscan = off; SET vdist.hnsw_ef_search = $ef; SELECT buffers(embedding, $n) FROM query WHERE $where ORDER BY id");
}

sub mean { return sum(@_) / @_ }

my ($near, $far) = ('id % 11 <> 0', 'id % 11 = 0');
foreach my $ef (40, 160)
{
	my @near = looked($ef, $near);
	my @far = looked($ef, $far);
	cmp_ok(mean(@near), '>', 0.75 * $ef, "at $ef, a mean of that");
	cmp_ok(mean(@near), '<', 1.3 * $ef, "at $ef, not much more");
	cmp_ok(min(@near), '>=', int($ef * 2 / 3), "at $ef, two thirds for the easiest");
	cmp_ok(min(@near), '<', $ef, "at $ef, fewer for the easiest");
	cmp_ok(mean(@far), '>', 1.5 * mean(@near), "at $ef, more for those all rows are far from");
	cmp_ok(max(@far), '<=', 4 * $ef + 60, "at $ef, at most four times as many");
}
is(mean(looked(1, $near)), mean(looked(20, $near)), 'never fewer than for 20');
cmp_ok(mean(looked(20, $near, 10)), '<', mean(looked(40, $near, 10)), 'less is looked at with less');
cmp_ok($node->safe_psql('postgres', "SELECT vdist.recall('item_index', (SELECT array_agg(embedding) FROM query), 10)"),
	'>=', 0.97, 'recall');

# all rows, each once, in order, however far the first search looked
is($node->safe_psql(
		'postgres', q{
		SET enable_seqscan = off;
		SELECT q.id FROM (SELECT * FROM query LIMIT 12) q, LATERAL (
		  SELECT count(DISTINCT id) AS n, bool_and(d >= previous) AS ordered FROM (
		    SELECT id, d, coalesce(lag(d) OVER (ORDER BY n), 0) previous FROM (
		      SELECT id, d, row_number() OVER () n FROM (
		        SELECT id, embedding <-> q.embedding d FROM item ORDER BY embedding <-> q.embedding LIMIT 100) a) b) c) found
		WHERE NOT (found.n = 100 AND found.ordered)}),
	'', 'what comes behind the first search is in order, too');

# Rows that fill all directions come and go: VACUUM measures anew how far to look among those that are left.
my $alone = mean(looked(40, $near));
$node->safe_psql(
	'postgres', q{
	CREATE TABLE kept AS TABLE item;
	INSERT INTO item (embedding)
	  SELECT ARRAY(SELECT random() * 0.5 + i * 0 FROM generate_series(1, 16) j)::vector
	  FROM generate_series(1, 6000) i;
	REINDEX INDEX item_index});
my $mixed = mean(looked(40, $near));
cmp_ok($mixed, '<', 0.85 * $alone, 'among rows of another kind');
$node->safe_psql('postgres', 'DELETE FROM item WHERE embedding NOT IN (SELECT embedding FROM kept); VACUUM item');
is($node->safe_psql('postgres', 'SELECT count(*) FROM item'), 6000, 'half of the rows deleted');
cmp_ok(abs(mean(looked(40, $near)) - $alone), '<', 0.15 * $alone, 'as without the others');

# The same in an index that has grown, whose graph was made with its first rows.
$node->safe_psql(
	'postgres', q{
	TRUNCATE item;
	INSERT INTO item (embedding) SELECT embedding FROM kept LIMIT 3000;
	INSERT INTO item (embedding)
	  SELECT ARRAY(SELECT random() * 0.5 + i * 0 FROM generate_series(1, 16) j)::vector
	  FROM generate_series(1, 6000) i});
my $grown = mean(looked(40, $near));
$node->safe_psql('postgres', 'VACUUM item');
my $measured = mean(looked(40, $near));
cmp_ok($measured, '<', 0.9 * $grown, 'VACUUM of a grown table');
$node->safe_psql('postgres', 'VACUUM item');
is(mean(looked(40, $near)), $measured, 'and no other one while it stays so large');
$node->safe_psql('postgres', 'TRUNCATE item; INSERT INTO item (embedding) SELECT embedding FROM kept; REINDEX INDEX item_index');

# an index without a stretch, as older formats are, and one that a disk has spoilt
my $path = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('item_index')");
foreach ([ 'none', 0, 0 ], [ 'not a number', 'nan', 'nan' ], [ 'infinite', 'inf', 'inf' ], [ 'negative', -1, -1 ])
{
	my ($what, @stretch) = @$_;
	$node->stop;
	open my $file, '+<:raw', $path or die $!;
	seek $file, 24 + 84, 0;
	print $file pack 'ff', map { 0 + $_ } @stretch;
	close $file or die $!;
	$node->start;
	my @near = looked(40, $near);
	my @far = looked(40, $far);
	cmp_ok(min(@near), '>=', 36, "$what: as many rows for every query") if $what eq 'none';
	cmp_ok(max(@near, @far), '<=', 4 * 40 + 60, "$what: no more than four times as many");
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '', "$what: a sound index");
}

$node->stop;
done_testing();
