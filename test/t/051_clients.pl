# Client libraries: each program of test/clients sends and receives vectors in text and binary. A
# program whose library is not installed exits with 77 and is skipped.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 0);
my $node = $cluster->coordinator;
my %interpreter = (py => 'python3', js => 'node');

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
local $ENV{PGUSER} = $cluster->sql('SELECT current_user');
local $ENV{PYTHONDONTWRITEBYTECODE} = 1;

foreach my $program (sort glob 'test/clients/with_*')
{
	my ($extension) = $program =~ /\.(\w+)$/;
	my $interpreter = $interpreter{$extension};

	SKIP:
	{
		skip "$program: $interpreter is not installed", 1
		  if !grep { -x "$_/$interpreter" } split /:/, $ENV{PATH};
		my $output = `$interpreter $program 2>&1`;
		my $status = $? >> 8;
		chomp $output;
		skip "$program: $output", 1 if $status == 77;
		is($status, 0, $program) or diag($output);
	}
}

done_testing();
