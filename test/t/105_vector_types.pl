# halfvec, sparsevec and bit in a distributed table: written and read as in a local one, nearest
# neighbors ordered and limited on the shards, there by an index.
use strict;
use warnings;

use Test::More;

use VdistCluster;

my $cluster = VdistCluster->new(shards => 3);

# Multiples of 1/8, so that a sum of distances does not depend on the order of addition.
$cluster->sql(<<'SQL');
CREATE TABLE items (id bigint PRIMARY KEY, h halfvec(16), s sparsevec(1000), b bit(70), v vector(16));
INSERT INTO items
SELECT i, h, format('{%s:1,%s:%s}/1000', 1 + i % 7, 500 + i, i % 5 + 0.5)::sparsevec,
  binary_quantize(h || h || h || h || subvector(h, 1, 6)), h
FROM (SELECT i, (SELECT array_agg((hashint4(i * 100 + j) % 64) / 8.0) FROM generate_series(1, 16) AS j)::halfvec AS h
  FROM generate_series(1, 400) AS i) AS t;
INSERT INTO items (id) VALUES (401);
CREATE INDEX items_h ON items USING vdist_hnsw (h);
CREATE INDEX items_b ON items USING vdist_hnsw (b);
CREATE TABLE local_items AS SELECT * FROM items;
SQL
$cluster->sql(q{SELECT vdist.create_distributed_table('items', 'id')});

my @distances = ('<->', '<#>', '<=>', '<+>');
my @queries = (
	(map { "SELECT id, h $_ (SELECT h FROM T WHERE id = 7) FROM T WHERE h IS NOT NULL ORDER BY 2, id LIMIT 5" } @distances),
	(map { "SELECT id FROM T ORDER BY s $_ '{1:1,507:2}/1000', id LIMIT 9" } @distances),
	(map { "SELECT id, b $_ B'" . '10' x 35 . "' FROM T ORDER BY 2, id LIMIT 9" } qw(<~> <%>)),
	'SELECT avg(h), sum(h) FILTER (WHERE id < 4), count(h) FROM T',
	'SELECT id, h::halfvec(16), (v::text)::varchar(7), (id / 7.0)::numeric(9, 2) FROM T WHERE (id / 7.0)::numeric(9, 1) = 2.1',
	'SELECT id FROM T WHERE h < ARRAY[0]::halfvec ORDER BY h DESC LIMIT 4',
	'SELECT s, id FROM T ORDER BY s, id LIMIT 4',
	q{SELECT id FROM T WHERE s = '{1:1,507:2.5}/1000'::sparsevec OR s IS NULL ORDER BY id},
	'SELECT id, h::vector - v, l2_norm(s), vector_dims(h) FROM T WHERE id % 50 = 0 ORDER BY id',
	'SELECT count(*) FROM T a JOIN T b USING (h) WHERE a.id = b.id',
	'SELECT binary_quantize(h), subvector(h, 2, 3), h::real[], s::vector::halfvec::sparsevec FROM T WHERE id IN (3, 5) ORDER BY id');

sub same
{
	my ($what) = @_;
	foreach my $query (@queries)
	{
		my ($distributed, $local) = ($query, $query);
		$distributed =~ s/\bT\b/items/g;
		$local =~ s/\bT\b/local_items/g;
		is($cluster->sql($distributed), $cluster->sql($local), "$what: $query");
	}
	return;
}
same('loaded');

# The plan a client gets: one prepared statement, its order and limit on the shards.
my $plan = $cluster->sql(<<'SQL');
PREPARE nearest (halfvec) AS SELECT id FROM items ORDER BY h <-> $1 LIMIT 3;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS off) EXECUTE nearest('[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]');
SQL
like($plan, qr/Remote SQL:.*ORDER BY.*LIMIT/s, 'order and limit go to the shards');
is($cluster->sql(<<'SQL'), "1\n1", 'an ordered scan finds a row by its own value');
SELECT count(*) FROM (SELECT id FROM items ORDER BY h <-> (SELECT h FROM local_items WHERE id = 123) LIMIT 1) AS t WHERE id = 123;
SELECT count(*) FROM (SELECT id FROM items ORDER BY b <~> (SELECT b FROM local_items WHERE id = 123) LIMIT 1) AS t;
SQL
like($cluster->sql_on(1, q{SET enable_seqscan = off; SET enable_sort = off; EXPLAIN (COSTS off) SELECT id FROM items ORDER BY h <-> '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 3}),
	qr/Index Scan using items_h/, 'the shards have the indexes');

# Writes: by statement, row by row, COPY, RETURNING.
foreach my $table (qw(items local_items))
{
	$cluster->sql(<<"SQL");
INSERT INTO $table SELECT id + 1000, h + h, s, ~b, v FROM local_items WHERE id < 50;
INSERT INTO $table VALUES (2000, '[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]', '{}/1000', repeat('1', 70)::bit(70), NULL);
UPDATE $table SET h = h - ARRAY[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]::halfvec, s = '{3:0.125}/1000' WHERE id % 3 = 0;
UPDATE $table SET v = h WHERE h <-> '[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]' < 1;
DELETE FROM $table WHERE s <+> '{3:0.125}/1000' > 2 AND id % 7 = 0;
COPY $table FROM STDIN;
3000\t[0.5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]\t{1000:-1e-30}/1000\t${\('01' x 35)}\t\\N
\\.
SQL
}
same('changed');
foreach my $bad ([ q{'[1]'}, 'NULL', qr/22000.*expected 16 dimensions, not 1/s ], [ 'NULL', q{'{1:1}/5'}, qr/22000.*expected 1000 dimensions, not 5/s ],
	[ q{'[1e6]'}, 'NULL', qr/22003.*out of range for type halfvec/s ])
{
	my ($rc, $out, $err) = $cluster->try("INSERT INTO items (id, h, s) VALUES (5000, $bad->[0], $bad->[1])");
	like($err, $bad->[2], "$bad->[0], $bad->[1] is refused");
}

done_testing();
