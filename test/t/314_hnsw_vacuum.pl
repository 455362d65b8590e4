# VACUUM of a vdist_hnsw index that is killed between its passes over the pages, with half of the rows deleted: a way leads
# to every row left, and the next VACUUM finishes the work. The same with an index of an older version, whose rows
# have no anchors until VACUUM gives them some.
use strict;
use warnings;

use Hold;
use OldFormat;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
Hold::start($node);

# few edges, so that many rows hang on dead ones; and pages of nothing but heap rows of one vector, behind all rows of the
# graph: VACUUM comes there once a pass, and on no other occasion
sql(q{
	SELECT setseed(0.5);
	CREATE TABLE example AS
	  SELECT i AS id, CASE WHEN i % 2 = 0 AND i > 3000 THEN array_fill(0.5::real, ARRAY[8]) ELSE array_agg(random())::real[] END::vector(8) AS embedding
	  FROM generate_series(1, 9000) i, generate_series(1, 8) GROUP BY i;
	CREATE TABLE query AS SELECT array_agg(random())::real[]::vector(8) AS embedding
	  FROM generate_series(1, 200) i, generate_series(1, 8) GROUP BY i});
my ($vacuum, $hold, @places);

sub begin_anew
{
	sql('DROP TABLE IF EXISTS item; CREATE TABLE item AS SELECT * FROM example WHERE id <= 3000 OR id % 2 = 0 ORDER BY id;
		CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 3, ef_construction = 12);
		DELETE FROM item WHERE id < 3000 AND id % 2 = 0');
	my @states = states();
	@places = grep { $states[$_] =~ /^3+$/ } 0 .. $#states;
	die 'too few pages of heap rows' if @places < 2 or grep { /[12]/ } @states[ $places[0] .. $#states ];
	return;
}

# What lists of live rows have: edges to dead rows, anchors of dead rows, anchors of live ones.
sub edges
{
	my @pages = rows();
	my @all = map { my $block = $_; map { [ $block * @{ $pages[$block] } + $_, $pages[$block][$_] ] } 0 .. $#{ $pages[$block] } } 0 .. $#pages;
	my %state = map { $_->[0] => ord($_->[1]) & 15 } @all;
	my ($dead, $anchors, %anchored) = (0, 0);
	foreach my $row (map { $_->[1] } grep { $state{ $_->[0] } == 1 } @all)
	{
		foreach my $to (unpack 'L*', substr $row, 36, 4 * unpack 'x3 C', $row)
		{
			my ($number, $anchor) = ($to & 0x7FFFFFFF, $to >> 31);
			$dead += !$anchor && $state{$number} == 2;
			$anchors += $anchor && $state{$number} == 2;
			$anchored{$number} = 1 if $anchor && $state{$number} == 1;
		}
	}
	return ($dead, $anchors, scalar keys %anchored);
}

# Begin VACUUM; it stands still near the end of its first pass.
sub begin_vacuum
{
	$hold = hold('hold_page', $places[0]);
	$vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
	stands($vacuum, 'LWLock BufferContent') or die 'VACUUM does not come to ' . $places[0];
	return;
}

# Let it go on to the same place in the next pass; false when it ends instead.
sub next_pass
{
	my $other = hold('hold_page', $places[1]);
	release($hold);
	# behind its passes it may have been there by chance, to measure the stretch
	stays($vacuum, 'LWLock BufferContent|') or die 'VACUUM does not come to ' . $places[1];
	if (place($vacuum) eq '')
	{
		$hold = $other;
		return 0;
	}
	$hold = hold('hold_page', $places[0]);
	release($other);
	return stays($vacuum, 'LWLock BufferContent|');
}

sub kill_server
{
	# what VACUUM wrote to the WAL is on disk
	sql("SELECT pg_logical_emit_message(true, 'test', '')");
	kill 9, $hold->{pid};
	end($_) foreach $hold, $vacuum;
	ok(wait_for(sub { defined eval { sql('SELECT 1') } }), 'the server comes back');
	return;
}

sub sound { my ($name) = @_; return is(problems(), '', "$name: the index is sound") }

sub complete
{
	my ($name) = @_;
	is(sql('SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM item ORDER BY embedding <-> (SELECT embedding FROM query LIMIT 1) OFFSET 0) i'),
		sql('SELECT count(*), count(*) FROM item'), "$name: a scan to its end returns every row once");
	return;
}

# VACUUM is let through, and others come.
sub go_through
{
	sql('VACUUM (INDEX_CLEANUP on) item; INSERT INTO item SELECT * FROM example WHERE id > 3000 AND id % 2 = 1 ORDER BY id LIMIT 500');
	return;
}

sub recall { return sql("SELECT vdist.recall('item_index', (SELECT array_agg(embedding) FROM query), 10)") }

# ---- one that is let through: what is so at the end of each pass ----
begin_anew();
begin_vacuum();
my @passes = [ edges() ];
push @passes, [ edges() ] while next_pass() and place($vacuum);
release($hold);
is(end($vacuum), '', 'VACUUM ends');
note "pass $_: " . join ', ', @{ $passes[$_] } foreach 0 .. $#passes;
go_through();
sound('a whole VACUUM');
my $whole = recall();
my ($repaired) = grep { $passes[$_][0] == 0 } 0 .. $#passes;
my ($mended) = grep { $passes[$_][2] > $passes[$repaired][2] } 0 .. $#passes;
my ($freed) = grep { $passes[$_][1] == 0 } 0 .. $#passes;
cmp_ok($passes[0][1], '>', 100, 'anchors of dead rows are in lists');
is($passes[$repaired][1], $passes[0][1], 'those alone stay when lists are repaired');
cmp_ok($mended, '<', $freed, 'rows have other anchors before they go');

# ---- killed after each of them ----
foreach ([ 'dead rows are marked', 0 ], [ 'lists are repaired', $repaired ], [ 'anchors are given', $mended ], [ 'nothing leads to dead rows', $freed ])
{
	my ($name, $pass) = @$_;
	begin_anew();
	begin_vacuum();
	next_pass() foreach 1 .. $pass;
	kill_server();
	is(join(', ', edges()), join(', ', @{ $passes[$pass] }), "$name: what was done is still there");
	is(sql("SELECT dead FROM vdist.index_info('item_index')"), 1499, "$name: dead rows are, too");
	sound("$name, and a kill");
	complete("$name, and a kill");
	go_through();
	is(sql("SELECT dead FROM vdist.index_info('item_index')"), 0, "$name: the next VACUUM frees them");
	sound("$name, and another VACUUM");
	cmp_ok(recall(), '>=', $whole - 0.005, "$name: recall is what it is without a kill");
}

# ---- an index of version 4, without anchors ----
sub change_file
{
	my ($change) = @_;
	my $path = $node->data_dir . '/' . sql("SELECT pg_relation_filepath('item_index')");
	$node->stop;
	$change->($path);
	$node->start;
	return;
}
begin_anew();
change_file(sub { make_old(shift, 4) });
is((edges())[2], 0, 'an index without anchors');
sound('an old index');
begin_vacuum();
next_pass() while (edges())[0] > 0 and place($vacuum);
kill_server();
sound('an old index, when lists are repaired');
sql('VACUUM (INDEX_CLEANUP on) item;
	INSERT INTO item SELECT * FROM example WHERE id > 3000 AND id % 2 = 1 ORDER BY id LIMIT 1500');
sound('an old index after VACUUM and inserts');
change_file(\&make_new);
sound('the same with the rules of version 5: anchors lead to every row');
complete('an old index');

$node->stop;
done_testing();
