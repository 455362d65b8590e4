# The settings of extension "vector": ranges and errors of pgvector's, and what each of them does.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

my $copy = Pgvector::copy('settings');
my ($rc, $output) = Pgvector::shim($copy, 'install', '1');
is($rc, 0, 'extension vector installed') or diag($output);
my $node = Pgvector::server('settings', $copy);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# ---- what they are ----

my $list = <<'SQL';
SELECT '[1]'::vector IS NULL;
SELECT name, vartype, context, boot_val, min_val, max_val, enumvals FROM pg_settings
  WHERE name ~ '^(hnsw|ivfflat)\.' ORDER BY 1
SQL
my $settings = join "\n", 'f',
  'hnsw.ef_search|integer|user|40|1|1000|',
  'hnsw.iterative_scan|enum|user|off|||{off,relaxed_order,strict_order}',
  'hnsw.max_scan_tuples|integer|user|20000|1|2147483647|',
  'hnsw.scan_mem_multiplier|real|user|1|1|1000|',
  'ivfflat.iterative_scan|enum|user|off|||{off,relaxed_order}',
  'ivfflat.max_probes|integer|user|32768|1|32768|',
  'ivfflat.probes|integer|user|1|1|32768|';
my @wrong = ('hnsw.ef_search = 0', 'hnsw.ef_search = 1001', "hnsw.ef_search = 'many'", 'hnsw.iterative_scan = on',
	'hnsw.max_scan_tuples = 0', 'hnsw.scan_mem_multiplier = 0.9', 'hnsw.scan_mem_multiplier = 1001',
	'ivfflat.probes = 0', 'ivfflat.probes = 32769', 'ivfflat.iterative_scan = strict_order',
	'ivfflat.max_probes = 0', 'hnsw.nonsense = 1', 'ivfflat.nonsense = 1');

# What a server says of a wrong value, with SQLSTATE, detail and hint, but not where in the source.
sub refusal
{
	my ($server, $setting) = @_;
	my ($out, $err) = ('', '');
	$server->psql('postgres', "\\set VERBOSITY verbose\nSELECT '[1]'::vector;SET $setting", stdout => \$out, stderr => \$err);
	return $err =~ s/^(psql:.*?: |LOCATION:.*\n?)//mgr;
}

sql('CREATE EXTENSION vector');
is(sql($list), $settings, 'names, ranges and defaults');
like(refusal($node, $_), qr/ERROR:  (22023|42602): /, $_) foreach @wrong;

SKIP:
{
	skip 'pgvector is not installed', 1 + @wrong if !Pgvector::is_installed();
	my $real = Pgvector::server('real');
	$real->safe_psql('postgres', 'CREATE EXTENSION vector');
	is($real->safe_psql('postgres', $list), $settings, 'as in pgvector');
	is(refusal($node, $_), refusal($real, $_), "$_ is refused as in pgvector") foreach @wrong;
	$real->stop;
}

# ---- where they may be set ----

is(sql('SET hnsw.ef_search = 77; SELECT \'[1]\'::vector IS NULL; SHOW hnsw.ef_search'), "f\n77", 'set before the library is loaded');
sql('ALTER DATABASE postgres SET hnsw.ef_search = 88');
is(sql('SELECT \'[1]\'::vector IS NULL; SHOW hnsw.ef_search'), "f\n88", 'of a database');
sql('ALTER DATABASE postgres RESET hnsw.ef_search');
$node->append_conf('postgresql.conf', 'ivfflat.probes = 9');
$node->reload;
is(sql('SELECT \'[1]\'::vector IS NULL; SHOW ivfflat.probes'), "f\n9", 'of the server');
$node->adjust_conf('postgresql.conf', 'ivfflat.probes', undef);
$node->reload;
is( sql(q{BEGIN; SET LOCAL ivfflat.probes = 3; SELECT '[1]'::vector IS NULL; COMMIT; SHOW ivfflat.probes}),
	"f\n1", 'of a transaction');

# ---- what they do ----

sql(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v vector(24));
SELECT setseed(0.25);
INSERT INTO t SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 24) WHERE i > 0)
  FROM generate_series(1, 10000) i;
CREATE INDEX t_hnsw ON t USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 16, quantization = 1);
CREATE INDEX t_ivfflat ON t USING ivfflat (v vector_ip_ops) WITH (lists = 100, m = 4, ef_construction = 16, quantization = 1);
SET enable_indexscan = off;
CREATE TABLE exact AS SELECT id AS query, ARRAY(SELECT id FROM t ORDER BY v <-> q.v, id LIMIT 10) AS l2,
    ARRAY(SELECT id FROM t ORDER BY v <#> q.v, id LIMIT 10) AS ip
  FROM t q WHERE id <= 100;
SQL
my $query = '[' . join(',', map { $_ / 24 } 1 .. 24) . ']';

sub with
{
	my ($sql, @settings) = @_;
	return sql(join '', map({"SET $_;"} 'enable_seqscan = off', 'enable_sort = off', @settings), $sql);
}

# Of the exact nearest, how many come through the index, in percent of a hundred queries' ten.
sub recall
{
	my ($operator, $column, @settings) = @_;
	return with(<<"SQL", @settings);
SELECT sum(found) / 10 FROM exact, LATERAL (SELECT count(*) AS found FROM
  (SELECT id FROM t ORDER BY v $operator (SELECT v FROM t WHERE id = query) LIMIT 10) near
  WHERE id = ANY ($column)) x
SQL
}

# Rows that come from a scan of the index, and pages it looked at.
sub scan
{
	my ($operator, $limit, @settings) = @_;
	my $plan = with("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF)
		SELECT id FROM t ORDER BY v $operator '$query' LIMIT $limit", @settings);
	my ($rows, $buffers) = $plan =~ /Index Scan using \w+ on t .*\(actual rows=(\d+).*\n(?: +\w.*\n)*? *Buffers: (.*)/ or diag($plan);
	my $pages = 0;
	$pages += $_ foreach $buffers =~ /(?:hit|read)=(\d+)/g;
	return ($rows, $pages);
}

my ($few, $some, $many) = map { recall('<->', 'l2', "hnsw.ef_search = $_") } 1, 40, 1000;
cmp_ok($few + 10, '<', $some, "ef_search finds more: $few of 100 with 1, $some with 40");
cmp_ok($some + 2, '<', $many, "$many with 1000");
is(recall('<->', 'l2', 'vdist.hnsw_ef_search = 1000', 'ivfflat.probes = 100'), $some, 'other settings do not matter to hnsw');

my ($one, $half, $all) = map { recall('<#>', 'ip', "ivfflat.probes = $_") } 1, 50, 100;
cmp_ok($one + 2, '<', $all, "probes find more: $one of 100 with 1, $half with 50, $all with all lists");
cmp_ok($all, '==', 100, 'all lists are exact');
is(recall('<#>', 'ip', 'hnsw.ef_search = 1000'), $one, 'other settings do not matter to ivfflat');

# iterative_scan and max_scan_tuples: after so many rows a scan ends, though not within its first search
is((scan('<->', 20000, @$_))[0], 10000, "@$_: all rows")
  foreach ['hnsw.iterative_scan = off'], ['hnsw.iterative_scan = off', 'hnsw.max_scan_tuples = 100'],
  ['hnsw.iterative_scan = strict_order'], ['hnsw.iterative_scan = relaxed_order'];
foreach my $mode ('strict_order', 'relaxed_order')
{
	is((scan('<->', 20000, "hnsw.iterative_scan = $mode", 'hnsw.max_scan_tuples = 1234'))[0], 1234, "$mode: max_scan_tuples");
	is( (scan('<->', 20000, "hnsw.iterative_scan = $mode", 'hnsw.max_scan_tuples = 1', 'hnsw.ef_search = 60'))[0],
		60, "$mode: the first search is not cut short");
}

# scan_mem_multiplier: with more memory a scan goes on searching, with less it reads and sorts the rest
my ($rows, $sorting) = scan('<->', 500, 'work_mem = 64', 'hnsw.scan_mem_multiplier = 1');
is($rows, 500, 'past its memory a scan goes on');
($rows, my $searching) = scan('<->', 500, 'work_mem = 64', 'hnsw.scan_mem_multiplier = 1000');
is($rows, 500, 'within its memory, too');
cmp_ok(2 * $searching, '<', $sorting, "with the multiplier $searching pages, without $sorting");

# max_probes
is((scan('<#>', 20000, @$_))[0], 10000, "@$_: all rows")
  foreach ['ivfflat.probes = 1'], ['ivfflat.probes = 100'], ['ivfflat.max_probes = 5'], ['ivfflat.iterative_scan = relaxed_order'];
is((scan('<#>', 20000, 'ivfflat.iterative_scan = relaxed_order', 'ivfflat.max_probes = 7'))[0], 700, 'max_probes ends a scan');
is( (scan('<#>', 20000, 'ivfflat.iterative_scan = relaxed_order', 'ivfflat.probes = 30', 'ivfflat.max_probes = 7'))[0],
	3000, 'but not before probes');

# the planner knows of them
sub cost
{
	my ($operator, @settings) = @_;
	my ($cost) = with("EXPLAIN SELECT id FROM t ORDER BY v $operator '$query' LIMIT 10", @settings) =~ /cost=(\d+\.\d+)/;
	return $cost;
}
foreach my $pair (['<->', 'hnsw.ef_search'], ['<#>', 'ivfflat.probes'])
{
	my ($operator, $setting) = @$pair;
	cmp_ok(cost($operator, "$setting = 40"), '>', cost($operator, "$setting = 1") + 10, "$setting has a price");
	is(cost($operator, 'vdist.hnsw_ef_search = 1000'), cost($operator), 'no other has');
}

# ---- zero vectors ----

sql(<<'SQL');
CREATE TABLE z (id int, v vector(3), h halfvec(3), b bit(3));
INSERT INTO z SELECT i, ARRAY[i % 7, i % 5, i % 3], ARRAY[i % 7, i % 5, i % 3], (i % 8)::bit(3) FROM generate_series(1, 2100) i;
CREATE INDEX z_v ON z USING hnsw (v vector_cosine_ops);
CREATE INDEX z_h ON z USING ivfflat (h halfvec_cosine_ops);
CREATE INDEX z_b ON z USING hnsw (b bit_jaccard_ops);
CREATE INDEX z_l2 ON z USING hnsw (v vector_l2_ops);
SQL
sub count_of { my ($order, @settings) = @_; return with("SELECT count(*) FROM (SELECT FROM z ORDER BY $order) x", @settings); }

my $nonzero = sql(q{SELECT count(*) FROM z WHERE vector_norm(v) > 0});
cmp_ok($nonzero, '<', 2100, 'there are zero vectors');
foreach my $column ('v', 'h')
{
	foreach my $setting ('work_mem = 4096', 'work_mem = 64')
	{
		is(count_of("$column <=> '$_'", $setting), $nonzero, "$column <=> $_, $setting: none comes from an index by cosine")
		  foreach '[1,2,3]', '[0,0,0]';
	}
}
is(count_of("v <-> '[1,2,3]'"), 2100, 'other distances take them');
is(count_of("b <%> '000'"), 2100, 'and of bits every distance');
sql('DROP INDEX z_v; CREATE INDEX z_v ON z USING vdist_hnsw (v vector_cosine_ops)');
is(count_of("v <=> '[1,2,3]'"), 2100, 'vdist_hnsw has them, as the last');

done_testing();
