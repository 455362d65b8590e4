# Updates of both extensions: a database that came from an older version is the same, to every row of
# every catalog, as one made anew. And the comparison sees what there is to see.
use strict;
use warnings;

use Catalogs;
use Digest::SHA;
use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

# Install scripts of released versions stay as they were: databases are made of them.
my %released = ('0.1.0' => '473ef41a5dde57f81b4a11407add796fc934f5cd43face8c1afd9c686fd23656');

my $copy = Pgvector::copy('versions');
my ($rc, $output) = Pgvector::shim($copy, 'install', '1');
is($rc, 0, 'extension vector installed') or diag($output);
my $node = Pgvector::server('versions', $copy);
my $directory = "$copy" . Pgvector::path('sharedir') . '/extension';

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# A database made by SQL.
sub database
{
	my ($db, $sql) = @_;
	sql("CREATE DATABASE $db TEMPLATE template0");
	sql($sql, $db);
	return $db;
}

sub same
{
	my ($db, $expected, $name) = @_;
	my @difference = @{ Catalogs::difference($expected, Catalogs::rows($node, $db)) };
	is(scalar @difference, 0, $name) or diag(join "\n", @difference[ 0 .. ($#difference > 30 ? 30 : $#difference) ]);
	return;
}

sub version { return sql("SELECT extversion FROM pg_extension WHERE extname = '$_[0]'", $_[1]); }

my ($default) = slurp_file("$directory/vdist.control") =~ /^default_version = '(.*)'$/m;
my @versions = sort map { m{vdist--([^-]+)\.sql$} } glob "$directory/vdist--*.sql";
is_deeply([ grep { $_ ne $default } @versions ], [ sort keys %released ], 'released versions can be installed');
foreach my $version (sort keys %released)
{
	my $sum = Digest::SHA->new(256)->addfile("$directory/vdist--$version.sql")->hexdigest;
	is($sum, $released{$version}, "the script of $version is as it was released");
}

# ---- vdist ----

database('fresh', 'CREATE EXTENSION vdist');
my $fresh = Catalogs::rows($node, 'fresh');
cmp_ok(scalar @$fresh, '>', 10000, 'catalogs have rows');
database('again', 'CREATE EXTENSION vdist');
same('again', $fresh, 'two installations are the same');

foreach my $version (grep { $_ ne $default } @versions)
{
	my $db = database("from_$version" =~ tr/./_/r, "CREATE EXTENSION vdist VERSION '$version'");
	is(version('vdist', $db), $version, "$version installed");
	isnt(scalar @{ Catalogs::difference($fresh, Catalogs::rows($node, $db)) }, 0, 'which is another');
	sql('ALTER EXTENSION vdist UPDATE', $db);
	same($db, $fresh, "$version updated is $default");
	sql('DROP EXTENSION vdist', $db);
}

# ---- vector, whose versions are pgvector's ----

my ($vector) = slurp_file("$directory/vector.control") =~ /^default_version = '(.*)'$/m;
database('vector', 'CREATE EXTENSION vector');
is(version('vector', 'vector'), $vector, 'version of vector');
my $fresh_vector = Catalogs::rows($node, 'vector');
my @vectors = map { m{vector--([^-]+)\.sql$} } glob "$directory/vector--*.sql";
cmp_ok(scalar @vectors, '>', 10, 'versions of vector');
is( sql(q{SELECT count(DISTINCT source) FROM pg_extension_update_paths('vector') WHERE target = '} . $vector . q{' AND path IS NOT NULL}),
	$#vectors, 'and a way from each');
foreach my $version (grep { $_ ne $vector } (sort @vectors)[ 0, $#vectors / 2, $#vectors ])
{
	my $db = database('vector_from', "CREATE EXTENSION vector VERSION '$version'");
	is(version('vector', $db), $version, "vector $version");
	sql('ALTER EXTENSION vector UPDATE', $db);
	same($db, $fresh_vector, "vector $version updated is $vector");
	sql("DROP DATABASE $db");
}
foreach my $version (grep { $_ ne $default } @versions)
{
	my $db = database("vector_on_$version" =~ tr/./_/r, "CREATE EXTENSION vdist VERSION '$version'; CREATE EXTENSION vector");
	sql('ALTER EXTENSION vdist UPDATE', $db);
	same($db, $fresh_vector, "vector on $version: an update of vdist updates it");
}

# ---- rows and indexes come along ----

foreach my $version (grep { $_ ne $default } @versions)
{
	my $db = database("used_$version" =~ tr/./_/r, <<"SQL");
CREATE EXTENSION vdist VERSION '$version';
CREATE TABLE t (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(8));
INSERT INTO t SELECT i, ARRAY[i, i % 7, 1], ARRAY[i % 100, 1, 0], ARRAY[0, i, 2]::vector::sparsevec, (i % 256)::bit(8)
  FROM generate_series(1, 1000) i;
CREATE INDEX t_v ON t USING vdist_hnsw (v vector_cosine_ops);
CREATE INDEX t_h ON t USING vdist_hnsw (h halfvec_l2_ops) WITH (m = 8);
CREATE INDEX t_b ON t USING vdist_hnsw (b bit_hamming_ops);
CREATE INDEX t_s ON t (s);
CREATE VIEW near AS SELECT id, v <-> '[1,2,3]' AS d FROM t;
CREATE FUNCTION doubled(v vector) RETURNS vector LANGUAGE sql AS 'SELECT v + v';
SQL
	my $contents = 'SELECT md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM t';
	my $before = sql($contents, $db);
	sql('ALTER EXTENSION vdist UPDATE', $db);
	is(sql($contents, $db), $before, "$version: rows");
	is(sql("SELECT count(*) FROM vdist.index_check('$_', true)", $db), 0, "$version: index $_") foreach qw(t_v t_h t_b);
	is(sql(q{SET enable_seqscan = off; SELECT id FROM t ORDER BY v <=> '[70,0,1]' LIMIT 1}, $db), 70, "$version: a search");
	is(sql(q{SELECT d FROM near WHERE id = 1}, $db), sql(q{SELECT '[1,1,1]'::vector <-> '[1,2,3]'}, $db), "$version: a view");
	is(sql(q{SELECT doubled('[1,2,3]')}, $db), '[2,4,6]', "$version: a function");
}

# ---- would a difference be seen? ----

foreach my $change (
	'ALTER FUNCTION l2_distance(vector, vector) COST 99',
	'ALTER FUNCTION l2_distance(vector, vector) VOLATILE',
	'ALTER FUNCTION vector_dims(vector) PARALLEL UNSAFE',
	'ALTER FUNCTION vdist.adopt_pgvector(boolean) SET search_path = public',
	q{CREATE OR REPLACE FUNCTION vector_dims(vector) RETURNS integer AS '$libdir/vdist', 'halfvec_dims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE},
	'CREATE OR REPLACE VIEW vdist.tables AS ' . sql(q{SELECT regexp_replace(pg_get_viewdef('vdist.tables'), ';$', ' LIMIT 5')}, 'fresh'),
	'GRANT EXECUTE ON FUNCTION vdist.adopt_pgvector(boolean) TO PUBLIC',
	'REVOKE SELECT ON vdist.tables FROM PUBLIC',
	'COMMENT ON TYPE vector IS NULL',
	q{COMMENT ON OPERATOR <-> (vector, vector) IS 'distance'},
	'ALTER TYPE vector SET (STORAGE = extended)',
	'ALTER OPERATOR < (vector, vector) SET (RESTRICT = NONE)',
	'ALTER OPERATOR FAMILY vector_l2_ops USING vdist_hnsw ADD OPERATOR 2 <#> (vector, vector) FOR ORDER BY float_ops',
	'ALTER EXTENSION vdist DROP OPERATOR CLASS vector_l2_ops USING vdist_hnsw',
	'ALTER EXTENSION vdist DROP CAST (integer[] AS vector); DROP CAST (integer[] AS vector)',
	'CREATE CAST (vector AS text) WITH INOUT',
	'ALTER TABLE vdist.slot_map ADD COLUMN more int',
	'ALTER TABLE vdist.slot_map DISABLE TRIGGER invalidate_placement',
	q{UPDATE pg_extension SET extcondition[2] = 'WHERE false' WHERE extname = 'vdist'},
	'ALTER EVENT TRIGGER vdist_drop DISABLE',
	'ALTER FUNCTION vdist_hnsw_handler(internal) OWNER TO other')
{
	my $db = database('changed', "CREATE EXTENSION vdist; CREATE ROLE other SUPERUSER");
	sql($change, $db);
	isnt(scalar @{ Catalogs::difference($fresh, Catalogs::rows($node, $db)) }, 0, 'seen: ' . substr($change, 0, 80));
	sql('DROP DATABASE changed; DROP ROLE other');
}

done_testing();
