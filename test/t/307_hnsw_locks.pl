# vdist_hnsw where two processes meet in the middle of their work: an insert that has chosen rows which VACUUM
# then frees, an insert beside VACUUM's last look at equal rows, a search of an index that becomes a graph
# under it, inserts that are killed in the middle. perl/Hold.pm lets one of them stand still until the other is
# where it must be.
use strict;
use warnings;

use Hold;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
Hold::start($node);
sql(q{
	CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
	CREATE FUNCTION example(i integer) RETURNS vector LANGUAGE sql IMMUTABLE AS
	  $$ SELECT array_agg(sin(i * j * 0.7) + cos(i % 31 + j))::real[]::vector(48) FROM generate_series(1, 48) j $$});

# Use up what is free, so that the next row needs a new page.
my $example = 100000;
my $row = 'example(i)';
sub fill_pages
{
	foreach (1 .. 5)
	{
		my $free = sql("SELECT free FROM vdist.index_info('item_index')");
		last if $free == 0;
		my $from = $example;
		$example += $free;
		sql("INSERT INTO item (embedding) SELECT $row FROM generate_series($from, $example - 1) i");
	}
	return;
}

# Insert until a row more is no routing row any more: then only edges lead to it.
sub fill_routing
{
	my ($before, $now) = (-1, 0);
	for (my $i = 0; $i < 1000 && $before < $now; $i++)
	{
		$before = $now;
		$example++;
		$now = sql("INSERT INTO item (embedding) SELECT $row FROM generate_series($example, $example) i;
			SELECT routing FROM vdist.index_info('item_index')");
	}
	return;
}

# ---- an insert has chosen its neighbors, and needs a new page for itself, when VACUUM comes ----
sql('INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2500) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding);
	DELETE FROM item WHERE id = 1; VACUUM (INDEX_CLEANUP on) item');
fill_pages();
sql('DELETE FROM item WHERE id BETWEEN 500 AND 600');
my $extension = hold('hold_extension');
my $insert = begin('INSERT INTO item (embedding) SELECT array_agg(x + 0.001)::real[] FROM unnest(example(550)::real[]) x');
ok(stands($insert, 'Lock extend'), 'an insert stands still between search and row');
my $vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
ok(wait_for(sub { place($vacuum) =~ /^(Lock page)?$/ }), 'VACUUM waits for it or is through');
release($extension);
is(end($insert) . end($vacuum), '', 'both end');
is(problems(), '', 'the insert links to no row that VACUUM freed');

# ---- an insert while VACUUM mends lists: it must not choose what is about to be freed ----
sql('INSERT INTO item (embedding) SELECT example(99999)');
fill_pages();
# an equal one: nothing changes by which the session remembers what the first pages say
my $inserts = $node->background_psql('postgres');
$inserts->query_safe('INSERT INTO item (embedding) SELECT example(99999)');
sql('DELETE FROM item WHERE id BETWEEN 900 AND 1100');
my $size = blocks();
my $end_of_pass = hold('hold_page', $size - 1);
$vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
ok(stands($vacuum, 'LWLock BufferContent'), 'VACUUM has marked the dead and is at the last page');
my $first_page = hold('hold_page', 1);
release($end_of_pass);
ok(stays($vacuum, 'LWLock BufferContent'), 'now it begins to mend lists');
$inserts->query_safe('INSERT INTO item (embedding) SELECT array_agg(x + 0.001)::real[] FROM unnest(example(1000)::real[]) x');
is(place($vacuum), 'LWLock BufferContent', 'an insert does not wait for it');
cmp_ok(blocks(), '>', $size, 'and is on a page that VACUUM will not see');
release($first_page);
is(end($vacuum), '', 'VACUUM ends');
$inserts->quit;
is(problems(), '', 'no insert links to a row that was freed');

# ---- an insert has written its row when VACUUM looks for rows that nothing leads to: both link it ----
sql('DROP TABLE item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
	INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2500) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 2, ef_construction = 4)');
$example = 100000;
fill_routing();
fill_pages();
my $new = 'array_agg(x + 0.001)::real[]::vector FROM unnest(example(1000)::real[]) x';
# the rows that may get an edge to it
my %owners = map { page_of($_) => 1 } split /\n/, sql("SELECT ctid FROM item ORDER BY embedding <-> (SELECT $new) LIMIT 20");
sql('DELETE FROM item WHERE id BETWEEN 100 AND 200');
$size = blocks();
$end_of_pass = hold('hold_page', $size - 1);
$vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
ok(stands($vacuum, 'LWLock BufferContent'), 'VACUUM has marked the dead');
$first_page = hold('hold_page', 1);
release($end_of_pass);
ok(stays($vacuum, 'LWLock BufferContent'), 'and begins to mend lists');
$extension = hold('hold_extension');
$insert = begin("INSERT INTO item (embedding) SELECT $new");
ok(stands($insert, 'Lock extend'), 'an insert has chosen its neighbors');
my @holds = map { hold('hold_page', $_) } grep { $_ != 1 } keys %owners;
release($extension);
ok(stands($insert, 'LWLock BufferContent'), 'and is about to make edges');
stop_there($insert);
release($_) foreach @holds;
release($first_page);
is(end($vacuum), '', 'VACUUM goes on to its end');
go_on();
is(end($insert), '', 'and then the insert');
is(problems(), '', 'no list has the row twice');

# ---- inserts that have all decided what to do before one of them does it ----

# Begin inserts and let them stand still there; then let them go.
sub insert_at_once
{
	my (@vectors) = @_;
	my $extension = hold('hold_extension');
	my @inserts = map { begin("INSERT INTO item (embedding) SELECT $_") } @vectors;
	is(join(', ', map { stands($_, 'Lock extend') ? 'ready' : place($_) } @inserts), join(', ', map { 'ready' } @vectors), 'all are ready');
	release($extension);
	is(join('', map { end($_) } @inserts), '', 'all end');
	return;
}
# neighbors of each other: they are about to change the same lists. Rows are so large that the pages which they take
# make the index want hardly a routing row more for their sake.
$row = 'long(example(i))';
sql(q{DROP TABLE item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(2000));
	CREATE FUNCTION long(v vector) RETURNS vector LANGUAGE sql IMMUTABLE AS $$ SELECT (v::real[] || array_fill(0::real, ARRAY[1952]))::vector $$;
	INSERT INTO item (embedding) SELECT long(example(i)) FROM generate_series(1, 1100) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 2, ef_construction = 4)});
fill_routing();
fill_pages();
insert_at_once(map { "long(array_agg(x + $_ / 1000.0)::real[]::vector) FROM unnest(example(550)::real[]) x" } 1 .. 12);
is(problems(), '', 'each is in the lists of others, or searches begin at it');
$row = 'example(i)';

# neighbors of each other, again and again: what one drops from a list because another list has it, another may drop from that
sql('DROP TABLE item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
	INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2100) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 4, ef_construction = 8)');
$example = 100000;
fill_routing();
foreach my $at (20, 40, 60, 80)
{
	fill_pages();
	insert_at_once(map { "array_agg(x + $_ * 0.05 * sin(j * $_ * 7))::real[] FROM unnest(example($at)::real[]) WITH ORDINALITY u(x, j)" } 1 .. 12);
	is(problems(), '', 'no row loses its way');
}

# the same, and all are killed when they are about to change the list of the row that is the so many'th nearest
foreach my $nearest (2, 4, 6)
{
	my $at = 20 * $nearest + 5;
	my $extension;
	my @inserts;
	my $page;

	# anew: after a crash some free rows are known to nobody until VACUUM
	sql('DROP TABLE item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
		INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2100) i;
		CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 4, ef_construction = 8)');
	$example = 100000;
	fill_routing();
	fill_pages();
	$page = page_of(sql("SELECT ctid FROM item ORDER BY embedding <-> example($at) OFFSET $nearest - 1 LIMIT 1"));
	$extension = hold('hold_extension');
	@inserts = map { begin("INSERT INTO item (embedding) SELECT array_agg(x + $_ * 0.05 * sin(j * $_ * 7))::real[] FROM unnest(example($at)::real[]) WITH ORDINALITY u(x, j)") } 1 .. 12;
	is(scalar(grep { stands($_, 'Lock extend') } @inserts), 12, 'all are ready');
	my $hold = hold('hold_page', $page);
	release($extension);
	ok(wait_for(sub { !grep { place($_) !~ /^$|LWLock/ } @inserts }), 'all stand still or are through');
	my $blocked = grep { place($_) } @inserts;
	note "$blocked of them stand still";
	kill 9, $hold->{pid};
	end($_) foreach $hold, @inserts;
	ok(wait_for(sub { defined eval { sql('SELECT 1') } }), 'the server comes back');
	is(problems(), '', 'no row loses its way by a kill');
}

sql('DROP TABLE item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
	INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2500) i;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 2, ef_construction = 4)');
fill_pages();

# the fifth and the sixth of one vector: its row holds four
sql('INSERT INTO item (embedding) SELECT example(6000) FROM generate_series(1, 4)');
fill_pages();
insert_at_once('example(6000)', 'example(6000)');
is(problems(), '', 'none loses the heap row of the other');
is(sql('SELECT count(*) FROM (SELECT embedding FROM item ORDER BY embedding <-> example(6000) LIMIT 10) i
	WHERE embedding = example(6000)'), '6', 'all are found');

# ---- a VACUUM that is cancelled while it waits: what it found dead is left to the next one ----
# few edges, and most of them lead to dead rows
sql('INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 3000) i; DROP INDEX item_index;
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding) WITH (m = 2, ef_construction = 4)');
fill_pages();
sql('DELETE FROM item WHERE id % 5 > 0');
$extension = hold('hold_extension');
$insert = begin('INSERT INTO item (embedding) SELECT array_agg(x + 0.001)::real[] FROM unnest(example(750)::real[]) x');
ok(stands($insert, 'Lock extend'), 'an insert stands still again');
$vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
ok(stands($vacuum, 'Lock page'), 'VACUUM waits for it');
sql("SELECT pg_cancel_backend($vacuum->{pid})");
like(end($vacuum), qr/canceling statement due to user request/, 'and is cancelled');
release($extension);
is(end($insert), '', 'the insert ends');
cmp_ok(sql("SELECT dead FROM vdist.index_info('item_index')"), '>', 0, 'there are dead rows now');
is(problems(), '', 'and the index is sound');
sql('VACUUM (INDEX_CLEANUP on) item');
is(sql("SELECT dead FROM vdist.index_info('item_index')"), '0', 'the next VACUUM frees them');
is(problems(), '', 'and the index is sound');

# ---- VACUUM has found no heap row left of a vector when an insert brings one ----
sql('TRUNCATE item; DROP INDEX item_index;
	INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, 2500) i;
	INSERT INTO item (embedding) SELECT example(0) FROM generate_series(1, 4000);
	CREATE INDEX item_index ON item USING vdist_hnsw (embedding)');
$size = blocks();
for (my $i = 0; $i < 50 && blocks() == $size; $i++)
{
	sql("INSERT INTO item (embedding) SELECT example(3000 + $i)");
}
my @states = states();
my $last = $#states;
my ($chain) = grep { $states[$_] =~ /^3+$/ } 1 .. $last;
ok(defined $chain, 'a page has nothing but heap rows of one vector');
like($states[$last], qr/^1/, 'the last page has rows of the graph');
sql('DELETE FROM item WHERE embedding = example(0)');
$end_of_pass = hold('hold_page', $last);
$vacuum = begin('VACUUM (INDEX_CLEANUP on) item');
ok(stands($vacuum, 'LWLock BufferContent'), 'VACUUM is at the last page');
my $counting = hold('hold_page', $chain);
release($end_of_pass);
ok( wait_for(
		sub {
			sql("SELECT count(*) FROM pg_locks WHERE pid = $vacuum->{pid} AND locktype = 'page'") eq '1'
			  && place($vacuum) eq 'LWLock BufferContent';
		}),
	'VACUUM counts the heap rows of the vector');
$insert = begin('INSERT INTO item (embedding) SELECT example(0)');
ok(wait_for(sub { place($insert) =~ /^(Lock page)?$/ }), 'an insert of it waits or is through');
release($counting);
is(end($insert) . end($vacuum), '', 'both end');
is(problems(), '', 'the new row is in the index');
is(sql('SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> example(0) LIMIT 10) i
	JOIN item USING (id) WHERE embedding = example(0)'), '1', 'and is found');

# ---- a flat index gets its graph while others are in the middle of it ----

# Rows that fill a flat index: the next insert makes the graph.
sub fill_flat
{
	sql('DROP TABLE IF EXISTS item; CREATE TABLE item (id serial PRIMARY KEY, embedding vector(48));
		CREATE INDEX item_index ON item USING vdist_hnsw (embedding)');
	my $rows = sql("SELECT rows_per_page FROM vdist.index_info('item_index')");
	my $n = (int((2000 + $rows - 1) / $rows) - 2) * $rows;
	sql("INSERT INTO item (embedding) SELECT example(i) FROM generate_series(1, $n) i");
	is(is_graph(), '0', 'an index of few rows is flat');
	return $n;
}

sub is_graph { return sql("SELECT (code_bits > 0)::integer FROM vdist.index_info('item_index')"); }

# Stop a session that waits for a page: there it holds nothing, and stays when the page is free.
sub begin_and_stop
{
	my ($sql) = @_;
	my $page = hold('hold_page', 2);
	my $session = begin($sql);
	ok(stands($session, 'LWLock BufferContent'), 'it stands still: ' . $sql =~ s/ .*//sr);
	stop_there($session);
	release($page);
	return $session;
}

my $more = 'INSERT INTO item (embedding) SELECT example(i) FROM generate_series(5001, 6000) i';

# a search: its pages are used anew
my $n = fill_flat();
my $search = begin_and_stop('SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM item ORDER BY embedding <-> example(0) OFFSET 0) i');
$insert = begin($more);
ok(wait_for(sub { place($insert) eq '' }), 'inserts make the graph and go on');
is(is_graph(), '1', 'now there is a graph');
go_on();
is(end($insert), '', 'inserts end');
is(end($search), "$n|$n\n", 'the search returns the rows that it saw when it began');
is(problems(), '', 'the index is sound');

# another insert: it must not put its row where nobody looks any more
fill_flat();
my $other = begin_and_stop('INSERT INTO item (embedding) SELECT example(7000)');
$insert = begin($more);
ok(wait_for(sub { place($insert) =~ /^(Lock page)?$/ }), 'who makes the graph waits or is through');
go_on();
is(end($insert) . end($other), '', 'both end');
is(is_graph(), '1', 'now there is a graph');
is(problems(), '', 'the row is in the index');

# VACUUM: dead rows must not move where it has been
fill_flat();
sql('DELETE FROM item WHERE id % 3 > 0');
$vacuum = begin_and_stop('VACUUM (INDEX_CLEANUP on) item');
$insert = begin($more);
ok(wait_for(sub { place($insert) =~ /^(Lock page)?$/ }), 'who makes the graph waits or is through');
go_on();
is(end($insert) . end($vacuum), '', 'both end');
sql('INSERT INTO item (embedding) SELECT example(i) FROM generate_series(8001, 11000) i');
is(is_graph(), '1', 'now there is a graph');
is(problems(), '', 'no heap row that is used again is there under its old vector');

# two that find it full
$n = fill_flat();
$extension = hold('hold_extension');
$insert = begin('INSERT INTO item (embedding) SELECT example(7000)');
ok(stands($insert, 'Lock extend'), 'one is about to write the graph');
$other = begin('INSERT INTO item (embedding) SELECT example(7001)');
ok(wait_for(sub { place($other) =~ /^Lock|^$/ }), 'the other waits for it or is through');
release($extension);
is(end($insert) . end($other), '', 'both end');
is(problems(), '', 'the index is sound');
is(sql("SELECT heap_rows FROM vdist.index_info('item_index')"), $n + 2, 'and has each row once');

$node->stop;
done_testing();
