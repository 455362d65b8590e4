# regress.pl: pg_regress over sql/*.sql on a server of its own, told in TAP. Which files: those whose
# names are words of $ENV{T}, or all. Install scripts (with -- in their names) live beside them.
use strict;
use warnings;

$| = 1;

my %wanted = map { $_ => 1 } split ' ', ($ENV{T} // '');
my @tests = grep { !/--/ } map { m{sql/(.*)\.sql} } sort glob 'sql/*.sql';
@tests = grep { $wanted{$_} } @tests if %wanted;
if (!@tests)
{
	print "1..0 # SKIP no regression test\n";
	exit 0;
}
print '1..', scalar @tests, "\n";

mkdir 'regress';
open my $conf, '>', 'regress/temp.conf' or die $!;
print $conf "fsync = off\nmax_prepared_transactions = 20\n";
close $conf;

my ($bindir) = split /:/, $ENV{PATH};
open my $run, '-|', $ENV{PG_REGRESS}, "--bindir=$bindir", '--inputdir=.', '--outputdir=regress',
  '--temp-instance=regress/instance', '--temp-config=regress/temp.conf', '--encoding=UTF8',
  '--no-locale', '--load-extension=vdist', '--dbname=regression', @tests
  or die "could not run pg_regress: $!";

# 15 says "test name ... ok   12 ms", later ones "ok 1  - name   12 ms".
my ($n, $bad, $rest) = (0, 0, '');
while (<$run>)
{
	if (/^test (?<name>\S+)\s+\.\.\. (?<bad>FAILED)?/ || /^(?<bad>not )?ok \d+\s+[-+] (?<name>\S+)/)
	{
		my ($name, $ok) = ($+{name}, !$+{bad});
		printf "%sok %d - %s\n", ($ok ? '' : 'not '), ++$n, $name;
		$bad++ if !$ok;
	}
	else
	{
		$rest .= $_;
	}
}
if (!close($run) || $bad)
{
	if (open my $diffs, '<', 'regress/regression.diffs')
	{
		my @lines = <$diffs>;
		print STDERR @lines > 300 ? (@lines[ 0 .. 299 ], "...\n") : @lines;
	}
	else
	{
		print STDERR $rest;
		if (open my $log, '<', 'regress/log/postmaster.log')
		{
			print STDERR <$log>;
		}
	}
	exit 1;
}
