# regress.pl [isolation]: pg_regress over sql/*.sql, or pg_isolation_regress over test/specs/*.spec, on a
# server of its own, told in TAP. Which files: those whose names are words of $ENV{T}, or all. Install
# scripts (with -- in their names) live beside them.
use strict;
use warnings;

$| = 1;

my %wanted = map { $_ => 1 } split ' ', ($ENV{T} // '');
my $isolation = ($ARGV[0] // '') eq 'isolation';
my $input = $isolation ? 'test' : '.';
my $output = $isolation ? 'isolation' : 'regress';
my $program = $ENV{PG_REGRESS};
$program =~ s{regress/pg_regress$}{isolation/pg_isolation_regress} if $isolation;

my @tests = grep { !/--/ } map { m{([^/]+)\.(?:sql|spec)$} }
  sort glob($isolation ? 'test/specs/*.spec' : 'sql/*.sql');
@tests = grep { $wanted{$_} } @tests if %wanted;
if (!@tests)
{
	print "1..0 # SKIP no $output test\n";
	exit 0;
}
if (!-x $program)
{
	print "1..0 # SKIP no $program\n";
	exit 0;
}
print '1..', scalar @tests, "\n";

mkdir $output;
open my $conf, '>', "$output/temp.conf" or die $!;
# Plans that enable_seqscan = off leaves cost enough to be compiled, with PostgreSQL 17 for minutes in all.
print $conf "fsync = off\njit = off\nmax_prepared_transactions = 20\n";
# What VACUUM may remove must not depend on another one, nor what two searches find, one after the other.
print $conf "autovacuum = off\n";
close $conf;

my ($bindir) = split /:/, $ENV{PATH};
open my $run, '-|', $program, "--bindir=$bindir", "--inputdir=$input", "--outputdir=$output",
  "--temp-instance=$output/instance", "--temp-config=$output/temp.conf", '--encoding=UTF8',
  '--no-locale', '--load-extension=vdist', '--dbname=regression', @tests
  or die "could not run $program: $!";

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
	if (open my $diffs, '<', "$output/regression.diffs")
	{
		my @lines = <$diffs>;
		print STDERR @lines > 300 ? (@lines[ 0 .. 299 ], "...\n") : @lines;
	}
	else
	{
		print STDERR $rest;
		if (open my $log, '<', "$output/log/postmaster.log")
		{
			print STDERR <$log>;
		}
	}
	exit 1;
}
