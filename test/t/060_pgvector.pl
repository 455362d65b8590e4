# Extension "vector" on top of vdist: what clients and dumps of pgvector ask for.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

my $copy = Pgvector::copy('shim');
my $control = Pgvector::control($copy);

# ---- installing ----

# A hard link to the original would be written through.
unlink $control;
append_to_file($control, "comment = 'somebody else'\n");
my ($rc, $output) = Pgvector::shim($copy, 'install', '');
isnt($rc, 0, 'files of another extension are not overwritten');
like($output, qr/FORCE=1/, 'and what to do is said');
($rc, $output) = Pgvector::shim($copy, 'uninstall', '');
is(slurp_file($control), "comment = 'somebody else'\n", 'nor removed');
($rc, $output) = Pgvector::shim($copy, 'install', '1');
is($rc, 0, 'unless told') or diag($output);
($rc, $output) = Pgvector::shim($copy, 'install', '');
is($rc, 0, 'installing again needs no force') or diag($output);

my $node = Pgvector::server('shim', $copy);

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

sub fails
{
	my ($sql, $pattern, $name, $db) = @_;
	my ($out, $err) = ('', '');
	my $status = $node->psql(
		$db // 'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$out,
		stderr => \$err,
		on_error_stop => 1);
	isnt($status, 0, "$name fails");
	like($err, $pattern, "$name: message");
	return;
}

# ---- creating ----

sql('CREATE EXTENSION vector');
is( sql('SELECT extname, extnamespace::regnamespace FROM pg_extension ORDER BY 1'),
	"plpgsql|pg_catalog\nvdist|public\nvector|public",
	'CREATE EXTENSION vector brings vdist along');
fails('DROP EXTENSION vdist', qr{2BP01.*extension vector depends on}s, 'dropping vdist alone');

sql('CREATE DATABASE other');
sql('CREATE SCHEMA x', 'other');
sql('CREATE EXTENSION vdist SCHEMA x', 'other');
fails('CREATE EXTENSION vector', qr/55000.*another schema.*HINT:.*schema of "vdist"/s,
	'another schema than that of vdist', 'other');
sql("CREATE EXTENSION vector WITH SCHEMA x VERSION '0.8.0'", 'other');
is(sql('SELECT extversion FROM pg_extension WHERE extname = $$vector$$', 'other'), '0.8.0', 'a version that was asked for');
sql('ALTER EXTENSION vector UPDATE', 'other');
fails('DROP EXTENSION vdist', qr/2BP01/, 'dropping vdist after an update', 'other');
sql('DROP EXTENSION vector; DROP EXTENSION vdist; CREATE EXTENSION vector SCHEMA x', 'other');
is(sql('SELECT typnamespace::regnamespace FROM pg_type WHERE typname = $$vector$$', 'other'),
	'x', 'a new vdist goes into the schema that was asked for');

sql('CREATE ROLE plain LOGIN');
fails('SET ROLE plain; CREATE EXTENSION vector', qr/42501/, 'creating without privileges', 'template1');

# ---- indexes and settings ----

sql(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v vector(3));
SELECT setseed(0.5);
INSERT INTO t SELECT i, ARRAY[random(), random(), random()] FROM generate_series(1, 2000) i;
CREATE INDEX t_hnsw ON t USING hnsw (v vector_cosine_ops) WITH (m = 16, ef_construction = 64);
CREATE INDEX t_ivfflat ON t USING ivfflat (v vector_l2_ops) WITH (lists = 10);
SQL

sub scan
{
	my ($operator, @settings) = @_;
	return sql(join '', "SET enable_seqscan = off;SET enable_sort = off;", map({"SET $_;"} @settings),
		"SELECT count(*) FROM (SELECT FROM t ORDER BY v $operator '[1,2,3]') t");
}

like(sql("SET enable_seqscan = off; EXPLAIN SELECT FROM t ORDER BY v <=> '[1,2,3]' LIMIT 5"),
	qr/Index Scan using t_hnsw/, 'the index is used');
is( sql("SET enable_seqscan = off; SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 1"),
	sql("SET enable_indexscan = off; SELECT id FROM t ORDER BY v <=> '[1,2,3]' LIMIT 1"),
	'and right');
cmp_ok(sql("SELECT vdist.recall('$_')"), '>', 0.95, "recall of $_") foreach qw(t_hnsw t_ivfflat);
is(sql("SELECT vdist.index_info('t_hnsw') IS NOT NULL"), 't', 'functions for vdist_hnsw take it');
is(scan('<=>'), 2000, 'a scan returns all rows');
is(sql("SET enable_seqscan = off; SET hnsw.ef_search = 1; SELECT count(*) FROM (SELECT FROM t WHERE id % 100 = 0 ORDER BY v <=> '[1,2,3]' LIMIT 20) t"),
	20, 'a condition gets its rows');
is(scan('<=>', "hnsw.iterative_scan = $_"), 2000, "$_ goes on") foreach qw(relaxed_order strict_order);
is(scan('<=>', 'hnsw.iterative_scan = strict_order', 'hnsw.max_scan_tuples = 500'),
	500, 'up to max_scan_tuples');
is(scan('<=>', 'work_mem = 64', 'hnsw.scan_mem_multiplier = 2', 'hnsw.iterative_scan = strict_order'),
	2000, 'no row is lost for want of memory');
is(scan('<->'), 2000, 'a scan of ivfflat returns all rows');
is(scan('<->', 'ivfflat.iterative_scan = relaxed_order', 'ivfflat.probes = 2', 'ivfflat.max_probes = 3'),
	600, 'up to max_probes');

foreach my $setting ('hnsw.ef_search = 0', 'hnsw.ef_search = 1001', 'hnsw.iterative_scan = on',
	'hnsw.max_scan_tuples = 0', 'hnsw.scan_mem_multiplier = 1001', 'ivfflat.probes = 0',
	'ivfflat.probes = 32769', 'ivfflat.iterative_scan = strict_order', 'ivfflat.max_probes = 0')
{
	fails("SELECT '[1]'::vector; SET $setting", qr/22023/, $setting);
}
fails("SELECT '[1]'::vector; SET hnsw.nonsense = 1", qr/42602/, 'a setting that is none');
fails("CREATE INDEX ON t USING $_", qr/22023/, $_)
  foreach 'hnsw (v vector_l2_ops) WITH (m = 1)', 'hnsw (v vector_l2_ops) WITH (lists = 1)',
  'ivfflat (v vector_l2_ops) WITH (lists = 0)';
fails('CREATE INDEX ON t USING hnsw (v)', qr/42704/, 'hnsw without an operator class, as in pgvector');

# Two libraries cannot define one setting; this session has pgvector's.
SKIP:
{
	skip 'pgvector is not installed', 1
	  if !-f Pgvector::root() . Pgvector::path('pkglibdir') . '/vector.so';
	my ($out, $err) = ('', '');
	$node->psql('postgres',
		q{LOAD 'vector'; SET enable_seqscan = off; SELECT count(*) FROM (SELECT FROM t ORDER BY v <=> '[1,2,3]' LIMIT 5) t},
		stdout => \$out, stderr => \$err, on_error_stop => 1);
	is($out, 5, 'beside the library of pgvector');
	like($err, qr/WARNING.*belong to pgvector/, 'with a warning');
}

# ---- dumps ----

# What pg_dump writes of a database with pgvector.
my $dump = <<'SQL';
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.items (
    id integer NOT NULL,
    embedding public.vector(3) DEFAULT '[0,0,0]'::public.vector,
    plain public.vector,
    CONSTRAINT c CHECK ((public.vector_dims(plain) > 1))
);
CREATE VIEW public.near AS
 SELECT items.id
   FROM public.items
  ORDER BY (items.embedding OPERATOR(public.<->) '[3,1,2]'::public.vector);
COPY public.items (id, embedding, plain) FROM stdin;
1	[1,2,3]	[1,2]
2	[4,5,6]	[1,2,3]
3	\N	\N
\.
ALTER TABLE ONLY public.items ADD CONSTRAINT items_pkey PRIMARY KEY (id);
CREATE INDEX items_cosine ON public.items USING hnsw (embedding public.vector_cosine_ops) WITH (m='16', ef_construction='64');
CREATE INDEX items_default ON public.items USING ivfflat (embedding) WITH (lists='1');
CREATE INDEX items_dims ON public.items USING hnsw (((plain)::public.vector(3)) public.vector_l1_ops) WHERE (public.vector_dims(plain) = 3);
CREATE INDEX items_order ON public.items USING btree (embedding);
SQL

sub restore
{
	my ($db, $text) = @_;
	sql("CREATE DATABASE $db");
	my ($out, $err) = ('', '');
	my $status = $node->psql($db, $text, stdout => \$out, stderr => \$err, on_error_stop => 1);
	is($status, 0, "dump restored into $db") or diag($err);
	return;
}

sub dump_of
{
	my ($server, $db) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '-h', $server->host, '-p', $server->port, '-d', $db ]);

	# Of newer versions; different each time.
	return $out =~ s/^\\(un)?restrict .*\n?//mgr;
}

restore('restored', $dump);
is(sql('SELECT id FROM near', 'restored'), "1\n2\n3", 'what was restored works');
is(sql("SET enable_seqscan = off; SELECT id FROM items ORDER BY embedding <=> '[4,5,6]' LIMIT 1", 'restored'),
	2, 'by its index');
my $own = dump_of($node, 'restored');
restore('again', $own);
is(dump_of($node, 'again'), $own, 'a dump of what a dump restored');

SKIP:
{
	skip 'pgvector is not installed', 3 if !Pgvector::is_installed();
	my $real = Pgvector::server('real');
	$real->safe_psql('postgres', 'CREATE DATABASE source');
	$real->safe_psql('source', $dump);
	$real->safe_psql('source', "INSERT INTO items SELECT i, ARRAY[i, 2, 3], ARRAY[1, i] FROM generate_series(10, 500) i");
	restore('from_pgvector', dump_of($real, 'source'));
	my $contents = 'SELECT * FROM items ORDER BY id';
	is(sql($contents, 'from_pgvector'), $real->safe_psql('source', $contents), 'rows of a real pgvector');
	my $nearest = "SET enable_seqscan = off; SELECT id FROM items ORDER BY embedding <-> '[100.2,2,3]' LIMIT 20";
	is(sql($nearest, 'from_pgvector'), $real->safe_psql('source', "SET enable_indexscan = off; $nearest"), 'and its answers');
}

# ---- and away with it ----

sql('DROP EXTENSION vector CASCADE');
is(sql('SELECT count(*) FROM t'), 2000, 'columns stay, they are of vdist');
($rc, $output) = Pgvector::shim($copy, 'uninstall', '');
is($rc, 0, 'uninstalled');
ok(!-e $control, 'without a trace');

done_testing();
