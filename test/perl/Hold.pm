# Hold: processes that meet in the middle of their work. A test lets them stand still where it wants: what one of them
# needs next is held (hold.c) until the other is where it must be. For tests of one index, item_index.
#
#	use Hold;
#	Hold::start($node);                              makes the server and the functions of hold.c
#	my $hold = hold('hold_page', 1);                 or hold('hold_extension')
#	my $insert = begin('INSERT ...');                a session of its own, which goes on beside the test
#	ok(stands($insert, 'LWLock BufferContent'));
#	release($hold);
#	is(end($insert), '', 'it ends without an error');
#
# No wait is without an end: a hold ends by itself after a minute, and a process that is stopped goes on
# in any case.
package Hold;

use strict;
use warnings;

use Cwd;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(sql problems blocks rows states page_of begin end wait_for place stands stays hold release stop_there go_on);

my $node;
my $stopped;
END { kill 'CONT', $stopped if $stopped; }

# The server. Its settings are those that hold what the test wants to see: pages are on disk when a CHECKPOINT writes them, and
# nobody else takes their locks. Without checksums the file shows what the pages hold.
sub start
{
	($node) = @_;
	my $library = getcwd() . '/hold';
	$node->init(no_data_checksums => 1);
	$node->append_conf('postgresql.conf',
		"shared_buffers = 64MB\nautovacuum = off\nbgwriter_lru_maxpages = 0\ncheckpoint_timeout = 1h\nmax_wal_size = 1GB\nrestart_after_crash = on\n");
	$node->start;
	sql(qq{
		CREATE EXTENSION vdist;
		CREATE FUNCTION hold_page(regclass, integer, text) RETURNS void STRICT LANGUAGE C AS '$library';
		CREATE FUNCTION hold_extension(regclass, text) RETURNS void STRICT LANGUAGE C AS '$library';
		ALTER DATABASE postgres SET enable_seqscan = off;
		ALTER DATABASE postgres SET enable_sort = off;
		ALTER DATABASE postgres SET statement_timeout = '100s'});
	return;
}

sub sql { return $node->safe_psql('postgres', shift, timeout => 120) }
sub problems { return sql("SELECT * FROM vdist.index_check('item_index', true)") }
sub blocks { return sql("SELECT pg_relation_size('item_index') / 8192") }

# For each page, as the file has it, its rows; none for a page of another kind. It takes no lock of a page that is not to be written.
sub rows
{
	sql('CHECKPOINT');
	my $file = slurp_file($node->data_dir . '/' . sql("SELECT pg_relation_filepath('item_index')"));
	my ($rows, $bytes) = unpack 'x20 S x2 L', substr $file, 24, 28;
	return map {
		my $page = substr $file, 8192 * $_, 8192;
		[ unpack('S', substr $page, 8188, 2) == 4 ? map { substr $page, 24 + $bytes * $_, $bytes } 0 .. $rows - 1 : () ];
	} 0 .. length($file) / 8192 - 1;
}

# The states of the rows on each page.
sub states
{
	return map { join '', map { ord($_) & 15 } @$_ } rows();
}

# The page with the row of the index for a row of the table.
sub page_of
{
	my ($block, $offset) = $_[0] =~ /(\d+),(\d+)/;
	my $tid = pack 'SSS', $block >> 16, $block & 0xFFFF, $offset;
	my @rows = rows();
	my ($page) = grep { grep { (ord($_) & 15) == 1 && substr($_, 12, 6) eq $tid } @{ $rows[$_] } } 0 .. $#rows;
	return $page;
}

# Begin a statement in a session of its own.
sub begin
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $session = { out => \$out, err => \$err };
	$session->{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
			'-c', 'SELECT pg_backend_pid()', '-c', $sql ], '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	$session->{run}->pump until $out =~ /^(\d+)\n/ or !$session->{run}->pumpable;
	($session->{pid}) = $out =~ /^(\d+)\n/ or die "no session: $err";
	return $session;
}

# Its output, when it is through.
sub end
{
	my ($session) = @_;
	$session->{run}->finish;
	return ${ $session->{out} } =~ s/^\d+\n//r . ${ $session->{err} };
}

# Wait for a condition, twenty seconds at most.
sub wait_for
{
	my ($condition) = @_;
	my $until = time + 20;
	while (time < $until)
	{
		return 1 if $condition->();
		usleep(5000);
	}
	return 0;
}

# Where a session stands: "Lock extend", "running", "" when it is through.
sub place
{
	my ($session) = @_;
	return sql("SELECT coalesce(wait_event_type || ' ' || wait_event, 'running') FROM pg_stat_activity
		WHERE pid = $session->{pid} AND state = 'active'");
}

sub stands
{
	my ($session, $where) = @_;
	return wait_for(sub { place($session) eq $where });
}

# The same where it stood there before, and may still have been there a moment ago.
sub stays
{
	my ($session, $where) = @_;
	my $since;
	return wait_for(sub { $since = place($session) =~ /^($where)$/ ? $since // time : undef; defined $since && time > $since + 0.15 });
}

# Hold something until release.
my $holds = 0;
sub hold
{
	my ($function, @arguments) = @_;
	my $file = $node->basedir . '/hold' . ++$holds;
	my $session = begin("SELECT $function(" . join(', ', "'item_index'", @arguments, "'$file'") . ')');
	$session->{file} = $file;
	wait_for(sub { -e $file }) or die "could not hold: ${ $session->{err} }";
	return $session;
}

sub release
{
	my ($session) = @_;
	unlink $session->{file};
	return end($session);
}

# Stop a session that waits for a page: there it holds nothing, and stays when the page is free.
sub stop_there
{
	my ($session) = @_;
	kill 'STOP', $stopped = $session->{pid};
	return;
}

sub go_on
{
	kill 'CONT', $stopped;
	$stopped = 0;
	return;
}

1;
