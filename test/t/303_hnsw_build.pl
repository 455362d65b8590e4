# CREATE INDEX with little memory: maintenance_work_mem is kept, temporary files are limited and go
# away, and the index is as good as one that was built in memory.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 60000;
my $dims = 64;
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_buffers = 1MB\nautovacuum = off\nmax_wal_size = 2GB\nfsync = off\n");
$node->start;

# clusters, every tenth vector twice, and a crowd of equal ones
$node->safe_psql('postgres', qq{
	CREATE EXTENSION vdist;
	CREATE TABLE item (id integer, embedding vector($dims));
	CREATE FUNCTION example(i integer) RETURNS real[] LANGUAGE sql IMMUTABLE AS \$\$
	  SELECT array_agg(sin(i * j * 0.61) + 3 * cos(i % 37 * j)) FROM generate_series(1, $dims) j \$\$;
	INSERT INTO item SELECT i, example(CASE WHEN i % 20 = 0 THEN 7 WHEN i % 10 = 1 THEN i + 1 ELSE i END)
	  FROM generate_series(1, $rows) i;
});
my $create = 'CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops)';

sub temporary_files
{
	return glob $node->data_dir . '/base/pgsql_tmp/*';
}

# Peak of a backend's own memory in kB while it builds the index, beside that of a build of one row.
sub peak
{
	my ($memory) = @_;
	my $out = $node->safe_psql('postgres', qq{
		CREATE FUNCTION pg_temp.own() RETURNS integer LANGUAGE sql AS \$\$
		  SELECT sum(CASE m[1] WHEN 'VmHWM' THEN 1 ELSE -1 END * m[2]::integer) FROM
		    regexp_matches(pg_read_file('/proc/self/status', 0, 100000), '(VmHWM|RssShmem|RssFile):\\s+(\\d+)', 'g') m \$\$;
		SET maintenance_work_mem = '$memory';
		CREATE TEMPORARY TABLE one AS SELECT * FROM item LIMIT 1;
		CREATE INDEX ON one USING vdist_hnsw (embedding vector_l2_ops);
		SELECT pg_temp.own();
		$create;
		SELECT pg_temp.own();
	});
	my ($before, $after) = $out =~ /(\d+)/g;
	return $after - $before;
}

# AddressSanitizer keeps what is freed, and notes on all memory.
my $measurable = -r '/proc/self/status' && !$ENV{ASAN_OPTIONS};

my %info;
foreach my $memory ('64MB', '4MB')
{
	SKIP:
	{
		skip 'memory cannot be measured', 1 unless $measurable;
		my $peak = peak($memory);
		my ($bound) = $memory =~ /(\d+)/;
		# beside what malloc cannot give back and the sort of duplicates allocates
		cmp_ok($peak, '<', ($bound + 2) * 1024, "$memory are kept") or $info{failed} = 1;
		note "peak with $memory: $peak kB";
	}
	$node->safe_psql('postgres', $create) unless $measurable;
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('item_index', true)"), '',
		"$memory: index is sound");
	# .98, and of 100 queries alone sometimes .95
	cmp_ok($node->safe_psql('postgres', "SELECT vdist.recall('item_index', sample => 500)"), '>', 0.95,
		"$memory: recall");
	$info{$memory} = $node->safe_psql('postgres',
		"SELECT rows, heap_rows FROM vdist.index_info('item_index')");
	$node->safe_psql('postgres', 'DROP INDEX item_index');
	is(join(' ', temporary_files()), '', "$memory: no temporary file is left");
}
is($info{'4MB'}, $info{'64MB'}, 'equal vectors are found with little memory, too');

my ($rc, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nSET maintenance_work_mem = '2MB'; SET temp_file_limit = '3MB'; $create");
isnt($rc, 0, 'a build beyond temp_file_limit fails');
like($err, qr/ERROR:  53400: temporary file size exceeds "?temp_file_limit/, 'says so');
is(join(' ', temporary_files()), '', 'and leaves no temporary file');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'item_index'"), '0',
	'nor an index');

# more than the rows themselves, less than the graph: the limit is met when threads are at work
($rc, $out, $err) = $node->psql('postgres',
	"SET maintenance_work_mem = '2MB'; SET temp_file_limit = '14MB'; $create");
like($err, qr/temporary file size exceeds "?temp_file_limit/, 'a later phase meets the limit');
is(join(' ', temporary_files()), '', 'and leaves no temporary file');

($rc, $out, $err) = $node->psql('postgres',
	"SET maintenance_work_mem = '2MB'; SET statement_timeout = 400; $create");
like($err, qr/canceling statement due to statement timeout/, 'a build in files can be cancelled');
is(join(' ', temporary_files()), '', 'and leaves no temporary file');

# ---- a table with options, of workers or others ----

$node->safe_psql('postgres', 'CREATE TABLE options AS SELECT * FROM item LIMIT 5000');
foreach my $option ('autovacuum_enabled = false', 'fillfactor = 90', 'parallel_workers = 0', 'parallel_workers = 1')
{
	$node->safe_psql('postgres', "ALTER TABLE options SET ($option)");
	my ($column) = $create =~ /vdist_hnsw \((\w+)/;
	$node->safe_psql('postgres', "CREATE INDEX options_index ON options USING vdist_hnsw ($column vector_l2_ops)");
	is($node->safe_psql('postgres', "SELECT * FROM vdist.index_check('options_index', true)"), '', "$option: index is sound");
	$node->safe_psql('postgres', "DROP INDEX options_index; ALTER TABLE options RESET (autovacuum_enabled, fillfactor, parallel_workers)");
}

done_testing();
