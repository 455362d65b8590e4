# Writers side by side: nothing lost, nobody waits for ever, one transaction's rows all or none.
use strict;
use warnings;

use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 3);
$cluster->sql(q{CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, x text);
	SELECT vdist.create_distributed_table('t', 'id');
	INSERT INTO t SELECT g FROM generate_series(1, 300) g});

# Several statements for all shards at once would deadlock unseen if they did not take turns.
sub together
{
	my ($name, $script, $clients, $transactions) = @_;
	$cluster->coordinator->pgbench("--no-vacuum --client=$clients --transactions=$transactions",
		0, [qr{processed: @{[ $clients * $transactions ]}/@{[ $clients * $transactions ]}}], [qr/^(?!.*ERROR)/s],
		$name, { "203_$name" => "SET statement_timeout = '100s';\n$script" });
	return;
}
together('all_rows', 'UPDATE t SET n = n + 1;', 4, 10);
is($cluster->sql('SELECT DISTINCT n FROM t'), '40', 'every update counts');
together('row_by_row', 'UPDATE t SET n = n + 1 + (random() * 0)::int;', 3, 5);
is($cluster->sql('SELECT DISTINCT n FROM t'), '55', 'row by row, too');
together('one_row', "\\set id random(1, 10)\nUPDATE t SET n = n + 1 WHERE id = :id;", 6, 50);
is($cluster->sql('SELECT sum(n) FROM t'), 300 * 55 + 300, 'single rows');
together('read_committed_recheck',
	"BEGIN;\nSELECT n FROM t WHERE id = 20 FOR UPDATE \\gset\nUPDATE t SET n = :n + 1 WHERE id = 20;\nCOMMIT;", 4, 20);
is($cluster->sql('SELECT n FROM t WHERE id = 20'), 55 + 80, 'rows read FOR UPDATE stay as read');

# A transfer between rows of different shards is seen whole or not at all once it is committed.
$cluster->sql('UPDATE t SET n = 100');
together('transfer', join("\n",
	'\set a random(1, 150)', '\set b :a + 150',
	'BEGIN;', 'UPDATE t SET n = n - 1 WHERE id = :a;', 'UPDATE t SET n = n + 1 WHERE id = :b;', 'COMMIT;'), 6, 40);
is($cluster->sql('SELECT sum(n) FROM t'), '30000', 'transfers');

# Repeatable read: the shard's serialization failure comes through.
my $a = $cluster->session;
my $b = $cluster->session;
$a->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
$b->query_safe('UPDATE t SET n = 7 WHERE id = 5');
isnt($a->query('SELECT n FROM t WHERE id = 5'), '7', 'repeatable read keeps its snapshot on the shards');
$a->query('UPDATE t SET n = 8 WHERE id = 5');
like($a->{stderr}, qr/could not serialize access due to concurrent update/, 'and fails to overwrite what came later');
$a->{stderr} = '';
$a->query('ROLLBACK');
is($a->query('SELECT n FROM t WHERE id = 5'), '7', 'after which it sees it');

# COPY from many sessions.
together('insert', "\\set base random(1, 2000000000)\nINSERT INTO t (id, x) SELECT :base / 1000 * 100 + g, 'c' FROM generate_series(1, 100) g ON CONFLICT DO NOTHING;", 4, 3);
cmp_ok($cluster->sql(q{SELECT count(*) FROM t WHERE x = 'c'}), '>', 300, 'inserts');
is($cluster->sql(q{SELECT count(*) - count(DISTINCT id) FROM t}), '0', 'no row twice');
$a->quit;
$b->quit;

done_testing();
