# VdistCluster: a coordinator and N shards as servers of their own on unix sockets, for TAP tests.
# A layer over PostgreSQL::Test::Cluster, whose nodes are there to be used directly.
#
#	my $cluster = VdistCluster->new(shards => 4);
#	$cluster->sql('SELECT ...');                     on the coordinator; dies on an error
#	$cluster->sql_on(2, 'SELECT ...');               on the second shard
#	my ($rc, $out, $err) = $cluster->try('SELECT');  on the coordinator, error and all
#	my $psql = $cluster->session;                    a session that stays (BackgroundPsql)
#	$cluster->kill_shard(3); $cluster->start_shard(3);
#
# new() takes: shards (number, default 4), conf (lines for every server's postgresql.conf),
# streaming (true: the servers can have standbys), name (prefix of the nodes' names, for a second
# cluster in one test) and add (false: start the servers, but add no shards). Shards are called
# shard1, shard2, ... in SQL, too. All of it ends with the test.
package VdistCluster;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

sub new
{
	my ($class, %opt) = @_;
	my $prefix = $opt{name} // '';
	my $self = bless { shards => [] }, $class;

	foreach my $i (0 .. $opt{shards} // 4)
	{
		my $node = PostgreSQL::Test::Cluster->new($prefix . ($i ? "shard$i" : 'coordinator'));
		$node->init(allows_streaming => $opt{streaming} // 0);
		$node->append_conf('postgresql.conf',
				"shared_buffers = 16MB\nmax_connections = 50\nmax_prepared_transactions = 50\n"
			  . ($opt{conf} // ''));
		$node->start;
		if ($i)
		{
			push @{ $self->{shards} }, $node;
		}
		else
		{
			$self->{coordinator} = $node;
		}
	}

	$self->sql('CREATE EXTENSION vdist');
	if ($opt{add} // 1)
	{
		$self->add_shard($_) foreach 1 .. $self->shards;
	}
	return $self;
}

# The nodes; shards count from 1.
sub coordinator { return $_[0]->{coordinator}; }
sub shard { return $_[0]->{shards}[ $_[1] - 1 ]; }
sub shards { return scalar @{ $_[0]->{shards} }; }

# "host:port", as vdist.add_shard takes it.
sub hosts
{
	my ($self, $n) = @_;
	my $node = $self->shard($n);
	return $node->host . ':' . $node->port;
}

# Make server n a shard of the coordinator.
sub add_shard
{
	my ($self, $n) = @_;
	my $hosts = $self->hosts($n);
	$self->sql("SELECT vdist.add_shard('shard$n', '$hosts', 'postgres')");
	return;
}

# Run SQL in a session of its own and return its output; die on an error.
sub sql { my ($self, $sql, %opt) = @_; return $self->coordinator->safe_psql('postgres', $sql, %opt); }
sub sql_on { my ($self, $n, $sql, %opt) = @_; return $self->shard($n)->safe_psql('postgres', $sql, %opt); }

# The same on every shard: a list of outputs.
sub sql_on_all { my ($self, $sql) = @_; return map { $self->sql_on($_, $sql) } 1 .. $self->shards; }

# Run SQL on the coordinator: (exit status of psql, output, messages). VERBOSITY is verbose, so that
# messages show SQLSTATE, detail and hint.
sub try
{
	my ($self, $sql, %opt) = @_;
	my ($out, $err) = ('', '');
	my $rc = $self->coordinator->psql(
		'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$out,
		stderr => \$err,
		on_error_stop => 1,
		%opt);
	return ($rc, $out, $err);
}

# A psql session on the coordinator, or on shard n, that stays open: ->query, ->query_safe, ->quit.
sub session
{
	my ($self, $n, %opt) = @_;
	my $node = $n ? $self->shard($n) : $self->coordinator;
	return $node->background_psql('postgres', on_error_stop => 0, %opt);
}

sub stop_shard { my ($self, $n, $mode) = @_; $self->shard($n)->stop($mode // 'fast'); return; }
sub start_shard { my ($self, $n) = @_; $self->shard($n)->start; return; }

# Wait for a server that somebody starts. A psql that it turns away may be gone before it is asked anything: that is
# no answer, either.
sub wait_for_server
{
	my ($node) = @_;

	foreach (1 .. 1800)
	{
		my $answer = eval { $node->psql('postgres', 'SELECT 1') };
		return if defined $answer && $answer == 0;
		usleep(100_000);
	}
	die 'the server does not come back';
}

# kill -9 a server with all its processes, as a crash of the machine does.
sub kill_shard { my ($self, $n) = @_; return kill_node($self->shard($n)); }

sub kill_node
{
	my ($node) = @_;
	my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

	# Stopped first: a backend that it starts while its children are counted would live on.
	kill 'STOP', $pid;
	my @children = children($pid);

	$node->kill9;
	kill 9, @children;
	foreach my $try (1 .. 6000)
	{
		last if !grep { alive($_) } $pid, @children;
		usleep(10_000);
	}

	# Where no init reaps orphans (a container), a dead postmaster stays visible as a zombie and the
	# next one would respect its lock files.
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	return;
}

# From /proc: ps is not there on a minimal system.
sub children
{
	my ($pid) = @_;
	return grep { (stat_of($_))[1] == $pid } map { m{/proc/(\d+)/stat} } glob '/proc/[0-9]*/stat';
}

# A process nobody has waited for yet (Z) holds nothing any more.
sub alive { my ($pid) = @_; return (stat_of($pid))[0] !~ /[ZX]/; }

# (state, parent) of a process, ('X', 0) when there is none.
sub stat_of
{
	my ($pid) = @_;
	open my $fh, '<', "/proc/$pid/stat" or return ('X', 0);
	my $line = <$fh> // '';
	return $line =~ /^\d+ \(.*\) (\S) (\d+)/s ? ($1, $2) : ('X', 0);
}

1;
