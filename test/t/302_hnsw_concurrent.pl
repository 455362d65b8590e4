# vdist_hnsw under clients that insert, delete, update and search while VACUUM and REINDEX CONCURRENTLY
# run. VDIST_STRESS_SECONDS makes it longer than the few seconds of the ordinary run.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{VDIST_STRESS_SECONDS} // 10;
my $dims = 16;
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "shared_buffers = 64MB\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION vdist;
	CREATE TABLE item (id serial PRIMARY KEY, tag integer DEFAULT 0, embedding vector($dims));
	CREATE FUNCTION example(seed integer) RETURNS vector LANGUAGE sql IMMUTABLE AS \$\$
	  SELECT array_agg(sin(seed * j * 0.7) + cos(seed % 31 + j))::real[]::vector FROM generate_series(1, $dims) j \$\$;
	INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 3000) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops);
});

my $script = $node->basedir . '/mix.sql';
append_to_file($script, q{
\set seed random(1, 1000000)
\set id random(1, 5000)
\set kind random(1, 8)
\if :kind <= 3
INSERT INTO item (embedding) VALUES (example(:seed)), (example(7));
\elif :kind = 4
DELETE FROM item WHERE id IN (SELECT id FROM item WHERE id >= :id ORDER BY id LIMIT 3);
\elif :kind = 5
UPDATE item SET embedding = example(:seed) WHERE id = :id;
\elif :kind = 6
UPDATE item SET tag = tag + 1 WHERE id = :id;
\else
SELECT id FROM item ORDER BY embedding <-> example(:seed) LIMIT 10;
\endif
});
my ($out, $err) = ('', '');
my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', '8', '-T', $seconds, '-f', $script, $node->connstr('postgres') ],
	'>', \$out, '2>', \$err);
my $end = time + $seconds - 1;
my $rounds = 0;
while (time < $end)
{
	$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) item');
	$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY item_index') if $rounds % 3 == 2;
	$rounds++;
}
ok($bench->finish, "clients ran to the end beside $rounds vacuums") or diag $err;
unlike($err, qr/ERROR|aborted/, 'without an error');
is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '',
	'index is sound');
$node->safe_psql('postgres', 'VACUUM (INDEX_CLEANUP on) item');
is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '',
	'also after a last vacuum');
cmp_ok($node->safe_psql('postgres', "SELECT vdist.recall('item_index')"), '>', 0.95, 'recall');
is( $node->safe_psql('postgres', 'SET enable_seqscan = off;
	SELECT count(*) = (SELECT count(*) FROM item) FROM (SELECT id FROM item ORDER BY embedding <-> example(5)) s'),
	't', 'a scan to the end returns every row');

done_testing();
