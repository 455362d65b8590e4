# vdist_hnsw on pages that are not what they should be: index_check reports what is wrong, and scans, inserts
# and VACUUM end with a result or an error that names the block, never with a crash or without an end.
#
# Each case is a copy of one database, whose files are damaged before anybody connects to it. A few seeds
# of random damage are tried, or those of VDIST_FUZZ_SEEDS=first-last.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dims = 8;
my $node = PostgreSQL::Test::Cluster->new('node');
# With checksums, which are the default since PostgreSQL 18, it is PostgreSQL that finds the damage.
$node->init(no_data_checksums => 1);
$node->append_conf('postgresql.conf',
	"autovacuum = off\nshared_buffers = 32MB\nmax_wal_size = 1GB\nlog_statement = none\n");
$node->start;

# Many different vectors, and one with a long chain of heap rows.
$node->safe_psql('postgres', qq{
	CREATE DATABASE base;
	\\c base
	CREATE EXTENSION vdist;
	CREATE TABLE item (id serial PRIMARY KEY, embedding vector($dims));
	INSERT INTO item (embedding) SELECT array_agg(sin(i * j * 0.7))::real[]
	  FROM generate_series(1, 2500) i, generate_series(1, $dims) j GROUP BY i;
	INSERT INTO item (embedding) SELECT array_fill(0.5, ARRAY[$dims])::real[] FROM generate_series(1, 400);
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding vector_l2_ops) WITH (m = 8);

	-- pages of every other kind: centres, rows of several pages and more routing rows than the metapage holds, rows
	-- without a graph
	CREATE TABLE crowds (id serial PRIMARY KEY, embedding vector($dims));
	INSERT INTO crowds (embedding) SELECT array_agg(100 * sin((i % 20 + 1) * j * 1.3) + sin(i * j * 0.7) / 2)::real[]
	  FROM generate_series(1, 2500) i, generate_series(1, $dims) j GROUP BY i;
	CREATE INDEX crowds_index ON crowds USING vdist_hnsw (embedding) WITH (m = 8);
	CREATE TABLE wide (id serial PRIMARY KEY, embedding vector(3000));
	INSERT INTO wide (embedding) SELECT array_agg(sin(i * j * 0.7))::real[]
	  FROM generate_series(1, 1000) i, generate_series(1, 3000) j GROUP BY i;
	CREATE INDEX wide_index ON wide USING vdist_hnsw (embedding) WITH (quantization = 1);
	CREATE TABLE flat (id serial PRIMARY KEY, embedding vector($dims));
	INSERT INTO flat (embedding) SELECT embedding FROM item WHERE id <= 500;
	CREATE INDEX flat_index ON flat USING vdist_hnsw (embedding);

	-- a graph of which hardly a row is left, and equal ones
	CREATE TABLE few (id serial PRIMARY KEY, embedding vector($dims));
	INSERT INTO few (embedding) SELECT embedding FROM item WHERE id <= 2500;
	CREATE INDEX few_index ON few USING vdist_hnsw (embedding) WITH (m = 8);
	DELETE FROM few WHERE id > 12;
	VACUUM few;
	INSERT INTO few (embedding) SELECT array_fill(0.5, ARRAY[$dims])::real[] FROM generate_series(1, 400);
});
my ($rows_per_page, $row_bytes, $slots, $pages) = split /\|/, $node->safe_psql('base',
	"SELECT rows_per_page, row_bytes, slots, pages FROM vdist.index_info('item_index')");
is($node->safe_psql('base', "SELECT vdist.index_check('item_index', true)"), '', 'sound to begin with');
$node->safe_psql('postgres', 'CHECKPOINT');

# Run code over the raw bytes of an index in a fresh copy of the database.
sub damaged
{
	my ($code, $index) = @_;
	$index //= 'item_index';
	$node->safe_psql('postgres',
		'DROP DATABASE IF EXISTS broken; CREATE DATABASE broken TEMPLATE base STRATEGY file_copy');
	my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'broken'");
	my $file = $node->safe_psql('base', "SELECT pg_relation_filenode('$index')");
	my $path = $node->data_dir . "/base/$oid/$file";
	my $bytes = slurp_raw($path);
	$code->(\$bytes);
	open my $fh, '>:raw', $path or die "$path: $!";
	print $fh $bytes;
	close $fh or die $!;
	return;
}

sub slurp_raw
{
	my ($path) = @_;
	open my $fh, '<:raw', $path or die "$path: $!";
	local $/;
	return <$fh>;
}

# What a statement ends with: its output, or its error with the SQLSTATE. Ends the test if the server died.
sub result_of
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $timed_out = 0;
	my $rc = $node->psql('broken', $sql,
		stdout => \$out, stderr => \$err, on_error_stop => 1, timeout => 120, timed_out => \$timed_out,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	die "no end: $sql" if $timed_out || $err =~ /statement timeout/;
	die "server died: $sql: $err" if $rc == 2 || $err =~ /server closed|terminated/;
	return $rc ? $err : $out;
}

my $settings = "SET statement_timeout = '30s'; SET enable_seqscan = off; SET enable_sort = off; SET vdist.hnsw_ef_search = 100;";
my $query = "(SELECT array_fill(%s, ARRAY[$dims])::real[]::vector)";
my %statement = (
	check => "$settings SELECT vdist.index_check('item_index', true)",
	info => "$settings SELECT rows FROM vdist.index_info('item_index')",
	search => "$settings SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> "
	  . sprintf($query, '0.5') . ' LIMIT 500) s',
	scan => "$settings SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> "
	  . sprintf($query, '0.1') . ') s',
	insert => "$settings INSERT INTO item (embedding) SELECT array_agg(sin(i * j * 0.9))::real[]
	  FROM generate_series(1, 100) i, generate_series(1, $dims) j GROUP BY i",
	equal => "$settings INSERT INTO item (embedding) SELECT array_fill(0.5, ARRAY[$dims])::real[]
	  FROM generate_series(1, 300)",
	vacuum => "DELETE FROM item WHERE id % 3 = 0; SET statement_timeout = '30s'; VACUUM (INDEX_CLEANUP on) item");

# Everything that can be done with the index; returns what ended otherwise than with a result or an error
# that says what is wrong.
sub ends_well
{
	my $bad = '';
	foreach my $name (qw(check info search scan insert equal search vacuum scan check))
	{
		my $result = eval { result_of($statement{$name}) };
		return "$bad$name: $@\n" if !defined $result;
		$bad .= "$name: $result\n"
		  if $result =~ /ERROR|PANIC|FATAL/ && $result !~ /ERROR:  \w{5}: .*\bblocks? \d+/s;
	}
	return $bad;
}

# ---- damage of one kind ----

# Where a row begins in the file; its fields are those of HnswRow.
sub at
{
	my ($number) = @_;
	return 8192 * int($number / $rows_per_page) + 24 + $row_bytes * ($number % $rows_per_page);
}
my ($first, $live, $chained, $tids);    # rows of these kinds
damaged(
	sub {
		my ($bytes) = @_;
		foreach my $block (1 .. length($$bytes) / 8192 - 1)
		{
			my ($magic, $kind) = unpack 'LS', substr $$bytes, 8192 * $block + 8184, 6;
			next if $kind != 4;
			foreach my $slot (0 .. $rows_per_page - 1)
			{
				my $number = $block * $rows_per_page + $slot;
				my ($state, $nkept, $ntids, $n, $hash, $more) = unpack 'CCCCLL', substr $$bytes, at($number), 12;
				$first //= $number;
				$tids = $number if $state == 3;
				$chained = $number if $state == 1 && $more != 0x7FFFFFFF;
				$live = $number if $state == 1 && $more == 0x7FFFFFFF && $n > 8;
			}
		}
	});
ok(defined $live && defined $chained && defined $tids, 'rows of every kind are there');

sub flip { my ($bytes, $offset) = @_; vec($$bytes, $offset, 8) ^= 1; return; }
sub put { my ($bytes, $offset, $what) = @_; substr $$bytes, $offset, length $what, $what; return; }
my $beyond = $rows_per_page * $pages * 100;
my $routing = 24 + 96 + 2 * $dims;    # on the metapage: behind HnswMeta and the mean
my $special = 8192 * int($live / $rows_per_page) + 8184;

my @cases = (
	[ 'magic of a page', [ $special, pack 'L', 1 ], qr/^block \d+ is not a page of this index/, 'scan', qr/XX002: .*block \d+/ ],
	[ 'kind of a page', [ $special + 4, pack 'S', 9 ], qr/^block \d+ is not a page of this index/, 'scan', qr/XX002: .*block \d+/ ],
	[ 'constants of the metapage', [ 24 + 10, pack 'S', 999 ], qr/XX002: .*corrupted metapage at block 0/, 'search', qr/XX002: .*corrupted metapage at block 0/ ],
	[ 'number of neighbors', [ at($live) + 3, pack 'C', 255 ], qr/^row $live claims 255 neighbors/, 'scan', qr/XX002: .*block \d+/ ],
	[ 'number of kept neighbors', [ at($live) + 1, pack 'C', 200 ], qr/^row $live claims \d+ neighbors, 200 kept/, 'insert', qr/^$/ ],
	[ 'number of heap rows', [ at($live) + 2, pack 'C', 99 ], qr/^row $live claims .* 99 heap rows/, 'vacuum', qr/XX002: .*block \d+/ ],
	[ 'state', [ at($live), pack 'C', 7 ], qr/^row $live has unknown state 7/, 'search', qr/^500$/ ],
	[ 'edge to nowhere', [ at($live) + 36, pack 'L', $beyond ], qr/^row $live has an edge to row $beyond, which does not exist/, 'scan', qr/XX00[12]: .*block \d+/ ],
	[ 'edge to a free row', [ at($live), "\0" ], qr/has an edge to row $live, which is not part of the graph/, 'search', qr/^500$/ ],
	[ 'edge to itself', [ at($live) + 36, pack 'L', $live ], qr/^row $live has an edge to itself/, 'search', qr/^500$/ ],
	[ 'lost heap row', [ at($live) + 2, pack 'C', 0 ], qr/^row $live is live without a heap row.*heap row \(\d+,\d+\) is not in the index/s, 'search', qr/^500$/ ],
	[ 'heap row twice', sub { my $b = shift; put($b, at($live) + 12, substr $$b, at($first) + 12, 6) }, qr/is in the index twice, in rows \d+ and \d+/, 'search', qr/^\d+$/ ],
	[ 'heap row that would be a new page', [ at($live) + 12, pack 'SSS', 0xFFFF, 0xFFFF, 1 ],
		qr/^row $live claims heap row \(4294967295,1\), which cannot exist/, 'scan', qr/XX002: .*block \d+/ ],
	[ 'heap row of several that would be a new page', [ at($chained) + 18, pack 'SSS', 0xFFFF, 0xFFFF, 1 ],
		qr/^row $chained claims heap row \(4294967295,1\), which cannot exist/, 'search', qr/XX002: .*block \d+/ ],
	[ 'heap row without an offset', [ at($live) + 16, pack 'S', 0 ],
		qr/^row $live claims heap row \(\d+,0\), which cannot exist/, 'vacuum', qr/XX002: .*block \d+/ ],
	[ 'number of a chain', [ at($tids) + 12, pack 'L', 0x7FFFFFF0 ], qr/^row $tids claims 2147483632 heap rows/, 'search', qr/XX002: .*block \d+/ ],
	[ 'negative number of a chain', [ at($tids) + 12, pack 'L', 0xFFFFFFF0 ], qr/^row $tids claims \d+ heap rows/, 'vacuum', qr/XX002: .*block \d+/ ],
	[ 'chain that never ends', [ at($tids) + 8, pack 'L', $tids ], qr/the heap rows of row $chained never end/, 'search', qr/XX002: .*block \d+/ ],
	[ 'chain of another row', [ at($tids) + 4, pack 'L', $live ], qr/row $chained leads to the heap rows of row $live.*to which its owner/s, 'search', qr/^500$/ ],
	[ 'chain that is cut off', [ at($chained) + 8, pack 'L', 0x7FFFFFFF ], qr/is in row \d+, to which its owner, row $chained, does not lead/, 'search', qr/^500$/ ],
	[ 'own code', sub { flip($_[0], at($live) + 36 + 4 * $slots) },
		qr/^row \d+ holds a wrong code of row $live\n.*has another vector than its row $live/ms, 'search', qr/^500$/ ],
	[ 'code of a neighbor', sub { flip($_[0], at($live) + 36 + 4 * $slots + 32) },
		qr/^row $live holds a wrong code of row \d+\z/, 'search', qr/^500$/ ],
	[ 'hash of a vector', sub { flip($_[0], at($live) + 4) }, qr/^heap row \S+ has another vector than its row $live\z/, 'search', qr/^500$/ ],
	[ 'code of a routing row', sub { flip($_[0], $routing + 4) },
		qr/^row \d+, where searches begin, has another code there$/, 'search', qr/^500$/ ],
	[ 'no routing rows', [ 24 + 76, pack 'L', 0 ], qr/no anchors lead to \d+ rows/, 'scan', qr/^2900$/ ],
	[ 'number of routing rows', [ 24 + 76, pack 'L', 100000 ], qr/XX002: .*block 0/, 'insert', qr/XX002: .*block 0/ ],
	[ 'number of all routing rows', [ 24 + 48, pack 'L', 2000 ], qr/^the metapage claims 2000 rows where searches begin, there are \d+$/, 'search', qr/^500$/ ],
	[ 'mean', sub { flip($_[0], 24 + 96) }, qr/XX002: .*corrupted metapage at block 0/, 'search', qr/XX002: .*corrupted metapage at block 0/ ],
	[ 'where the mean is', [ 24 + 68, pack 'L', 1 ], qr/XX002: .*corrupted metapage at block 0/, 'insert', qr/XX002: .*corrupted metapage at block 0/ ],
);
foreach my $case (@cases)
{
	my ($name, $damage, $check, $statement, $expected) = @$case;
	damaged(ref $damage eq 'CODE' ? $damage : sub { put($_[0], @$damage) });
	like(result_of($statement{check}), $check, "$name: index_check");
	like(result_of($statement{$statement}), $expected, "$name: $statement");
	is(ends_well(), '', "$name: everything else ends");
}

# ---- routing rows on pages of their own ----
foreach my $case (
	[ 'code of a routing row', sub { flip($_[0], $_[1] + 32 + 4) }, qr/^row \d+, where searches begin, has another code there$/m ],
	[ 'no routing rows', sub { put($_[0], $_[1] + 28, pack 'L', 0) }, qr/^the metapage claims \d+ rows where searches begin, there are \d+\nno anchors lead to \d+ rows, one of them row \d+$/ ],
	[ 'number of routing rows', sub { put($_[0], $_[1] + 28, pack 'L', 100000) }, qr/XX002: .*block \d+/ ],
	[ 'pages without an end', sub { put($_[0], $_[1] + 24, pack 'L', $_[1] / 8192) }, qr/XX002: .*block \d+/ ])
{
	my ($name, $damage, $check) = @$case;
	my $pages = 0;
	damaged(
		sub {
			my $b = shift;
			foreach my $block (1 .. length($$b) / 8192 - 1)
			{
				next if unpack('S', substr $$b, 8192 * $block + 8188, 2) != 3;
				$pages++;
				$damage->($b, 8192 * $block);
			}
		},
		'wide_index');
	cmp_ok($pages, '>', 0, "$name: there are pages");
	like(result_of("$settings SELECT vdist.index_check('wide_index', true)"), $check, "$name on its page: index_check");
}

# ---- a page of each kind in each index: not ours, gone, overwritten; the file cut off ----
my %kind = (1 => 'metapage', 2 => 'mean or centres', 3 => 'routing rows', 4 => 'graph', 5 => 'rest of a row', 6 => 'flat');
foreach my $table (qw(item crowds wide flat few))
{
	my $dim = $table eq 'wide' ? 3000 : $dims;
	my $near = "(SELECT embedding FROM $table WHERE id = 7)";
	my @try = (
		"$settings SELECT vdist.index_check('${table}_index', true)",
		"$settings SELECT rows FROM vdist.index_info('${table}_index')",
		"$settings SELECT count(*) FROM (SELECT id FROM $table ORDER BY embedding <-> $near OFFSET 0) s",
		"$settings SELECT count(*) FROM (SELECT id FROM $table ORDER BY embedding <-> $near LIMIT 10) s",
		"$settings INSERT INTO $table (embedding) SELECT array_agg(sin(i * j * 0.9))::real[]
		  FROM generate_series(1, 20) i, generate_series(1, $dim) j GROUP BY i",
		"DELETE FROM $table WHERE id % 3 = 0; SET statement_timeout = '30s'; VACUUM (INDEX_CLEANUP on) $table",
		"$settings SELECT vdist.index_check('${table}_index', true)");
	my @kinds;
	damaged(sub { my $b = shift; @kinds = map { unpack 'S', substr $$b, 8192 * $_ + 8188, 2 } 0 .. length($$b) / 8192 - 1 },
		"${table}_index");
	my $try = sub {
		my ($name, $damage) = @_;
		my ($bad, $seen) = ('', '');
		damaged($damage, "${table}_index");
		foreach my $statement (@try)
		{
			my $result = eval { result_of($statement) } // "no end: $@";
			$seen .= $result if $statement =~ /index_check/;
			$bad .= "$statement: $result\n"
			  if $result =~ /no end|PANIC|FATAL|ERROR/ && $result !~ /ERROR:  \w{5}: .*\bblocks? \d+/s;
			last if $result =~ /^no end/;
		}
		is($bad, '', "$table: $name: all ends");
		isnt($seen, '', "$table: $name: index_check sees it");
		return;
	};
	$try->('behind the metapage nothing', sub { substr ${ $_[0] }, 8192, length(${ $_[0] }) - 8192, '' });

	# most pages of an index with hardly a row are of no use
	foreach my $kind ($table eq 'few' ? () : 1 .. 6)
	{
		# the last of them: where there are centres, it is theirs and not the mean's
		my ($block) = grep { $kinds[$_] == $kind } reverse 0 .. $#kinds;
		next if !defined $block;
		my %damage = (
			'not ours' => sub { put($_[0], 8192 * $block + 8184, pack 'L', 1) },
			'gone' => sub { put($_[0], 8192 * $block, "\0" x 8192) },
			'overwritten' => sub { put($_[0], 8192 * $block + 24, join '', map { chr($_ * 7 % 251) } 1 .. 8160) });
		$try->("page of kind $kind{$kind} $_", $damage{$_}) foreach sort keys %damage;
	}
}

# ---- heap rows that would be new pages, where the bounds of a distance say enough ----
damaged(
	sub {
		my $b = shift;
		foreach my $block (1 .. length($$b) / 8192 - 1)
		{
			put($b, 8192 * $block + 36, pack 'SSS', 0xFFFF, 0xFFFF, 1)
			  if unpack('S', substr $$b, 8192 * $block + 8188, 2) == 4 && (ord(substr $$b, 8192 * $block + 24) & 15) == 1;
		}
	},
	'wide_index');
my $pages_of_table = result_of("SELECT pg_relation_size('wide')");
like(result_of("$settings SELECT id FROM wide ORDER BY embedding <-> (SELECT array_agg(sin(j))::real[]::vector FROM generate_series(1, 3000) j) LIMIT 3"),
	qr/XX002: .*block \d+/, 'heap rows that cannot be are an error');
is(result_of("SELECT pg_relation_size('wide')"), $pages_of_table, 'and the table does not grow');

# ---- random damage ----
my ($from, $to) = ($ENV{VDIST_FUZZ_SEEDS} // '1-3') =~ /^(\d+)-(\d+)$/;
foreach my $seed ($from .. $to)
{
	srand $seed;
	damaged(
		sub {
			my ($bytes) = @_;
			foreach (1 .. 200)
			{
				my $block = int rand(length($$bytes) / 8192);
				# Beginnings of rows, where their numbers are, as often as all the rest. Pages' own headers
				# are PostgreSQL's.
				my $row = 24 + $row_bytes * int rand $rows_per_page;
				my $offset = rand() < 0.5 ? $row + int rand 60 : 24 + int rand 8168;
				$offset = 24 if $offset > 8191;
				$block ||= 1 if rand() < 0.9;
				vec($$bytes, 8192 * $block + $offset, 8) ^= 1 << int rand 8;
			}
		});
	is(ends_well(), '', "seed $seed ends");
}

done_testing();
