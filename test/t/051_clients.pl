# Client libraries: each program of test/clients does what applications do with it, once with extension
# vdist and once with extension vector on top of it, in a database of its own. A program that does not
# apply, or whose library is not installed, exits with 77 and is skipped.
use strict;
use warnings;

use Pgvector;
use PostgreSQL::Test::Utils;
use Test::More;

my $copy = Pgvector::copy('clients');
my ($rc, $output) = Pgvector::shim($copy, 'install', '1');
is($rc, 0, 'extension vector installed') or diag($output);
my $node = Pgvector::server('clients', $copy);
my %interpreter = (py => 'python3', js => 'node', mjs => 'node');

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
local $ENV{PYTHONDONTWRITEBYTECODE} = 1;

foreach my $extension (qw(vdist vector))
{
	local $ENV{VDIST_CLIENT_EXTENSION} = $extension;
	foreach my $program (sort glob 'test/clients/with_*')
	{
		my ($name, $suffix) = $program =~ m{/([^/]+)\.(\w+)$};
		my $interpreter = $interpreter{$suffix};

	  SKIP:
		{
			skip "$program: $interpreter is not installed", 1
			  if !grep { -x "$_/$interpreter" } split /:/, $ENV{PATH};
			local $ENV{PGDATABASE} = "${name}_$extension";
			$node->safe_psql('postgres', "CREATE DATABASE ${name}_$extension");
			$node->safe_psql($ENV{PGDATABASE}, "CREATE EXTENSION $extension");
			my $said = `$interpreter $program 2>&1`;
			my $status = $? >> 8;
			chomp $said;
			skip "$program: $said", 1 if $status == 77;
			is($status, 0, "$program with extension $extension") or diag($said);
		}
	}
}

done_testing();
