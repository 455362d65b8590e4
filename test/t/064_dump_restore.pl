# Dumps: of a real pgvector restored under its name on vdist, of vdist, in all formats, and pg_upgrade. What
# comes out is what went in, to the letter of another dump, and indexes are whole.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

my $copy = Pgvector::copy('dump');
my ($rc, $output) = Pgvector::shim($copy, 'install', '1');
is($rc, 0, 'extension vector installed') or diag($output);
my $node = Pgvector::server('dump', $copy);
my $directory = $PostgreSQL::Test::Utils::tmp_check;
sub sql { my ($sql, $db) = @_; return $node->safe_psql($db, $sql); }

# What a database with vectors has: all types and operator classes, options, partial, expression and
# partitioned indexes, views, functions, generated columns, defaults, domains.
my $contents = <<'SQL';
CREATE SCHEMA shop;
CREATE TABLE shop.items (id bigserial PRIMARY KEY, name text, embedding vector(3) DEFAULT '[0,0,0]', plain vector,
  half halfvec(3), sparse sparsevec(5), code bit(8),
  norm float8 GENERATED ALWAYS AS (vector_norm(embedding)) STORED,
  unit halfvec(3) GENERATED ALWAYS AS (l2_normalize(half)) STORED,
  CONSTRAINT long CHECK (vector_dims(plain) > 1));
ALTER TABLE shop.items ALTER embedding SET STORAGE PLAIN;
INSERT INTO shop.items (name, embedding, plain, half, sparse, code)
  SELECT 'item ' || i, ARRAY[i % 50, i % 7, 1.5], ARRAY[1, i], ARRAY[i % 20, 1, 0.25],
    ARRAY[0, i % 9, 0, 1, 0]::vector::sparsevec, (i % 256)::bit(8)
  FROM generate_series(1, 3000) i;
INSERT INTO shop.items (name, embedding) VALUES ('none', NULL), ('zero', '[0,0,0]');
CREATE INDEX items_l2 ON shop.items USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 40);
CREATE INDEX items_ip ON shop.items USING hnsw (embedding vector_ip_ops);
CREATE INDEX items_cosine ON shop.items USING hnsw (embedding vector_cosine_ops);
CREATE INDEX items_l1 ON shop.items USING hnsw (embedding vector_l1_ops);
CREATE INDEX items_half ON shop.items USING hnsw (half halfvec_cosine_ops);
CREATE INDEX items_unit ON shop.items USING hnsw (unit halfvec_l1_ops);
CREATE INDEX items_hamming ON shop.items USING hnsw (code bit_hamming_ops);
CREATE INDEX items_jaccard ON shop.items USING hnsw (code bit_jaccard_ops);
CREATE INDEX items_sparse_l2 ON shop.items USING hnsw (sparse sparsevec_l2_ops);
CREATE INDEX items_sparse_cosine ON shop.items USING hnsw (sparse sparsevec_cosine_ops);
CREATE INDEX items_lists ON shop.items USING ivfflat (embedding) WITH (lists = 10);
CREATE INDEX items_lists_half ON shop.items USING ivfflat (half halfvec_ip_ops) WITH (lists = 20);
CREATE INDEX items_some ON shop.items USING hnsw ((plain::vector(2)) vector_l2_ops) WHERE id > 100;
CREATE INDEX items_bits ON shop.items USING hnsw ((binary_quantize(embedding)::bit(3)) bit_hamming_ops);
CREATE INDEX items_order ON shop.items (embedding, id);
CREATE UNIQUE INDEX items_sparse ON shop.items (sparse, id);
CREATE TABLE shop.parts (id int, v vector(2)) PARTITION BY HASH (id);
CREATE TABLE shop.part0 PARTITION OF shop.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.part1 PARTITION OF shop.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX parts_v ON shop.parts USING hnsw (v vector_l2_ops);
INSERT INTO shop.parts SELECT i, ARRAY[i, i] FROM generate_series(1, 500) i;
CREATE UNLOGGED TABLE shop.fast (id int, v vector(2));
CREATE INDEX fast_v ON shop.fast USING hnsw (v vector_cosine_ops);
CREATE DOMAIN shop.color AS vector(3) CHECK (vector_norm(VALUE) < 1000);
CREATE TYPE shop.pair AS (a vector(2), b halfvec);
CREATE TABLE shop.odd (id int, c shop.color, p shop.pair, vs vector[], v vector(3)[]);
INSERT INTO shop.odd VALUES (1, '[1,2,3]', ROW('[1,2]', '[3]'), ARRAY['[1]', '[2,3]']::vector[], ARRAY['[1,2,3]']::vector(3)[]);
CREATE VIEW shop.near AS SELECT id, embedding <-> '[3,1,2]' AS d FROM shop.items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
CREATE MATERIALIZED VIEW shop.means AS SELECT id % 3 AS k, avg(embedding) AS mean, sum(half) AS total FROM shop.items GROUP BY 1;
CREATE INDEX means_mean ON shop.means USING hnsw ((mean::vector(3)) vector_l2_ops);
CREATE FUNCTION shop.search(q vector, k int) RETURNS SETOF bigint LANGUAGE sql STABLE
  AS $$ SELECT id FROM shop.items ORDER BY embedding <=> q LIMIT k $$;
CREATE FUNCTION shop.angle(a vector, b vector DEFAULT '[1,0,0]') RETURNS float8 LANGUAGE sql IMMUTABLE
  BEGIN ATOMIC SELECT a <=> b; END;
CREATE AGGREGATE shop.total(vector) (SFUNC = vector_add, STYPE = vector);
SQL
my @indexes = map { "shop.$_" } qw(items_l2 items_ip items_cosine items_l1 items_half items_unit items_hamming items_jaccard items_sparse_l2 items_sparse_cosine
  items_lists items_lists_half items_some items_bits part0_v_idx part1_v_idx fast_v means_mean);

# Results by each index, as text.
sub answers
{
	my ($server, $db, @settings) = @_;
	@settings = ('enable_seqscan = off') if !@settings;
	my @orders = ("embedding <-> '[3,4,1]'", "embedding <#> '[3,4,1]'", "embedding <=> '[3,4,1]'", "embedding <+> '[3,4,1]'",
		"half <=> '[3,4,1]'", "half <#> '[3,4,1]'", "unit <+> '[1,0,0]'", "sparse <-> '{2:4}/5'", "sparse <=> '{2:4}/5'",
		"code <~> '01100110'", "code <%> '01100110'");
	my $all = join ";\n", map { "SELECT array_agg(d) FROM (SELECT round(($_)::numeric, 4) AS d FROM shop.items ORDER BY $_ LIMIT 15) x" } @orders;
	return $server->safe_psql($db, join('', map { "SET $_;" } @settings) . "$all;
		SELECT d FROM shop.near; SELECT * FROM shop.search('[1,2,3]', 1); SELECT shop.angle('[1,1,0]');
		SELECT * FROM shop.means ORDER BY k; SELECT * FROM shop.odd; SELECT shop.total(embedding) FROM shop.items");
}

sub whole
{
	my ($db, $name) = @_;
	my $wrong = sql(join(' UNION ALL ', map { "SELECT '$_', problem::text FROM vdist.index_check('$_', true) problem" } @indexes), $db);
	is($wrong, '', "$name: indexes are whole");
	is(sql('SELECT count(*) FROM pg_index WHERE NOT indisvalid', $db), 0, "$name: and valid");
	like(sql("SET enable_seqscan = off; EXPLAIN SELECT id FROM shop.items ORDER BY embedding <=> '[1,2,3]' LIMIT 5", $db),
		qr/Index Scan using items_cosine/, "$name: and used");
	return;
}

sub run
{
	my ($server, @command) = @_;
	my $bin = defined $server->{_install_path} ? "$server->{_install_path}/bin/" : '';
	my $program = shift @command;
	my ($out, $err) = run_command([ "$bin$program", '-h', $server->host, '-p', $server->port, @command ]);
	return ($out, $err);
}

# Of pgvector and of us, but for the extension that one of them has more, and what differs each time.
sub dump_of
{
	my ($server, $db) = @_;
	my ($out) = run($server, 'pg_dump', '-d', $db);
	$out =~ s/^\\(un)?restrict .*\n?//mg;
	$out =~ s/^--.*\n//mg;
	$out =~ s/^(CREATE|COMMENT ON) EXTENSION .*\n//mg;
	$out =~ s/^COPY vdist\..*\n\\\.\n//mg;
	$out =~ s/\n\n+/\n/g;
	return $out;
}

# Dump a database in a format and restore it into another.
sub move
{
	my ($from, $db, $format, $to) = @_;
	my $file = "$directory/$db.$format";
	my @jobs = $format eq 'directory' ? ('-j', 2) : ();
	run($from, 'pg_dump', '-d', $db, '-F', $format, @jobs, '-f', $file);
	sql("CREATE DATABASE $to TEMPLATE template0", 'postgres');
	my ($out, $err) = $format eq 'plain'
	  ? run($node, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $to, '-f', $file)
	  : run($node, 'pg_restore', '-e', '-d', $to, @jobs, $file);
	unlike($err, qr/ERROR|error:/, "$format restored into $to") or diag($err);
	return;
}

# ---- from pgvector ----

SKIP:
{
	skip 'pgvector is not installed', 1 if !Pgvector::is_installed();
	my $real = Pgvector::server('real');
	$real->safe_psql('postgres', 'CREATE DATABASE source TEMPLATE template0');
	$real->safe_psql('source', "CREATE EXTENSION vector; $contents");
	my $dump = dump_of($real, 'source');
	my $rows = $real->safe_psql('source', 'SELECT md5(string_agg(i::text, $$,$$ ORDER BY id)) FROM shop.items i');
	my $exact = answers($real, 'source', 'enable_indexscan = off');
	foreach my $format (qw(plain custom directory))
	{
		my $to = "from_pgvector_$format";
		move($real, 'source', $format, $to);
		is(dump_of($node, $to), $dump, "$to: a dump is the same");
		is(sql('SELECT md5(string_agg(i::text, $$,$$ ORDER BY id)) FROM shop.items i', $to), $rows, "$to: rows");
		whole($to, $to);
		is(answers($node, $to), $exact, "$to: answers");
	}
	$real->stop;
}

# ---- from vdist, by both names ----

my %contents = (vector => $contents, vdist => $contents);
$contents{vdist} =~ s/USING (hnsw|ivfflat)/USING vdist_hnsw/g;
$contents{vdist} =~ s/WITH \(lists = \d+\)/WITH (quantization = 8)/g;
foreach my $extension (qw(vdist vector))
{
	sql("CREATE DATABASE own_$extension TEMPLATE template0", 'postgres');
	sql("CREATE EXTENSION $extension; $contents{$extension}", "own_$extension");
	whole("own_$extension", "own_$extension") if $extension eq 'vector';
	my $dump = dump_of($node, "own_$extension");
	my $answers = answers($node, "own_$extension");
	foreach my $format (qw(plain custom directory))
	{
		my $to = "from_${extension}_$format";
		move($node, "own_$extension", $format, $to);
		is(dump_of($node, $to), $dump, "$to: a dump is the same");
		is(answers($node, $to), $answers, "$to: answers");
		whole($to, $to);
	}
}

# ---- pg_upgrade ----

my $bin = "$node->{_install_path}/bin";
SKIP:
{
	skip 'pg_upgrade is not installed', 1 if !-x "$bin/pg_upgrade";
	my %before = map { $_ => [ answers($node, "own_$_"), dump_of($node, "own_$_"),
			sql('SELECT oid, relfilenode FROM pg_class WHERE relname LIKE $$items%$$ ORDER BY 1', "own_$_") ] } qw(vdist vector);
	sql("DROP DATABASE $_", 'postgres') foreach split /\n/, sql(q{SELECT datname FROM pg_database WHERE datname LIKE 'from%'}, 'postgres');
	$node->stop;
	my $new = PostgreSQL::Test::Cluster->new('upgraded', install_path => $node->{_install_path});
	$new->init;
	chdir $directory;
	my $log = '';
	my $ok = IPC::Run::run([ "$bin/pg_upgrade", '-b', $bin, '-B', $bin, '-d', $node->data_dir, '-D', $new->data_dir,
		'-p', $node->port, '-P', $new->port, '-s', $node->host, '-U', (getpwuid $<)[0] ], '>', \$log, '2>&1');
	ok($ok, 'pg_upgrade') or diag($log);
	$new->start;
	$node = $new;
	foreach my $extension (qw(vdist vector))
	{
		my ($answers, $dump, $files) = @{ $before{$extension} };
		is(answers($node, "own_$extension"), $answers, "$extension upgraded: answers");
		is(dump_of($node, "own_$extension"), $dump, "$extension upgraded: a dump is the same");
		is(sql('SELECT oid, relfilenode FROM pg_class WHERE relname LIKE $$items%$$ ORDER BY 1', "own_$extension"),
			$files, "$extension upgraded: indexes came along as files");
		whole("own_$extension", "$extension upgraded");
		sql(q{INSERT INTO shop.items (embedding) SELECT ARRAY[i, 0, 0] FROM generate_series(1, 100) i; DELETE FROM shop.items WHERE id % 3 = 0}, "own_$extension");
		sql('VACUUM shop.items', "own_$extension");
		whole("own_$extension", "$extension upgraded and used");
	}
	is(sql('SET hnsw.ef_search = 99; SELECT $$[1]$$::vector; SHOW hnsw.ef_search', 'own_vector'), "[1]\n99", 'settings');
	sql('DROP EXTENSION vector CASCADE; DROP EXTENSION vdist CASCADE', 'own_vector');
}

done_testing();
