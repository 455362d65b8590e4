# Pgvector: is a real pgvector here, and a PostgreSQL in which extension "vector" is ours.
package Pgvector;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;

# The PostgreSQL the tests run on: a copy below this directory, see test/run.
sub root
{
	my ($bindir) = split /:/, $ENV{PATH};
	my $path = path('bindir');
	$bindir =~ s/\Q$path\E$// or die "$bindir is not below the copy of PostgreSQL";
	return $bindir;
}

sub path { my ($what) = @_; chomp(my $path = `"$ENV{PG_CONFIG}" --$what`); return $path; }

# The control file of extension "vector" below a directory.
sub control { return "$_[0]" . path('sharedir') . '/extension/vector.control'; }

sub is_installed { return -f control(root()); }

# Another copy of PostgreSQL, of hard links.
sub copy
{
	my ($name) = @_;
	my $copy = root() . "-$name";
	system('cp', '-al', root(), $copy) == 0 or die "could not copy PostgreSQL";
	return $copy;
}

# (status, output) of make install-pgvector-shim and its counterpart.
sub shim
{
	my ($copy, $what, $force) = @_;
	local $ENV{DESTDIR} = $copy;
	local $ENV{FORCE} = $force;
	my $output = `sql/pgvector/install $what 2>&1`;
	return ($? >> 8, $output);
}

# A running server of such a copy.
sub server
{
	my ($name, $copy) = @_;
	my $install = defined $copy ? $copy . path('bindir') =~ s{/bin$}{}r : undef;
	my $node = PostgreSQL::Test::Cluster->new($name, defined $install ? (install_path => $install) : ());
	$node->init;
	$node->append_conf('postgresql.conf', "shared_buffers = 16MB\n");
	$node->start;
	return $node;
}

1;
