# harness.pl [SUITE...]: run the suites, all of which speak TAP, and end with one line that counts
# them: "N passed, N failed". Called by test/run in a directory of its own; $ENV{T} names the tests
# to run when not all of a suite. One line a test; a failing one shows its output.
use strict;
use warnings;

use TAP::Parser;
use Time::HiRes qw(time);

$| = 1;

my %suite = (
	includes => sub { 'test/check_includes.pl' },
	format => sub { 'test/check_format.pl' },
	unit => sub { glob 'unit-programs/*' },
	regress => sub { 'test/regress.pl' },
	isolation => sub { 'test/regress.pl isolation' },
	tap => sub { glob 'test/t/*.pl' },);

# Servers of one test wait for each other most of the time, so two run at once; more would make
# what they measure and wait for depend on the neighbours.
my $jobs = $ENV{VDIST_TEST_JOBS} || 2;

my ($passed, $failed, $skipped) = (0, 0, 0);

mkdir 'output';
foreach my $name (@ARGV ? @ARGV : qw(includes format unit regress isolation tap))
{
	my $files = $suite{$name} or die "no test suite \"$name\"\n";
	my @tests = $files->();

	# pg_regress and its like pick their files by themselves.
	if ($ENV{T} && $name !~ /^(regress|isolation)$/)
	{
		my @words = split ' ', $ENV{T};
		@tests = grep {
			my $test = $_;
			grep { index($test, $_) >= 0 } @words
		} @tests;
	}

	print "== $name\n";
	my %running;
	while (@tests || %running)
	{
		while (@tests && keys %running < ($name eq 'tap' ? $jobs : 1))
		{
			my $test = shift @tests;
			$running{ start($test) } = { test => $test, start => time };
		}
		my $done = delete $running{ wait() };
		report($done->{test}, $?, time - $done->{start});
	}
}

print "\n$passed passed, $failed failed" . ($skipped ? ", $skipped skipped" : '') . "\n";
exit($failed || !($passed + $skipped) ? 1 : 0);

# Where the output of a test goes.
sub output { return 'output/' . $_[0] =~ s{/}{.}gr; }

# Start a test in a process of its own; returns the process's id.
sub start
{
	my ($test) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;
	open STDOUT, '>', output($test) or die $!;
	open STDERR, '>&', \*STDOUT;
	my ($file, @arguments) = split / /, $test;
	exec $file =~ /\.pl$/ ? ($^X, $file, @arguments) : $file;
	die "could not run $test: $!";
}

# Count a finished test and print its line.
sub report
{
	my ($test, $status, $seconds) = @_;
	open my $fh, '<', output($test) or die $!;
	my @lines = <$fh>;
	# The parser dies of nothing at all.
	my $parser = TAP::Parser->new({ tap => join '', "\n", @lines });
	$parser->run;

	# A program that dies half way, or bails out, has failed even if every test it reached passed.
	my $bad = $parser->failed;
	$bad = 1 if !$bad && ($status || $parser->has_problems || grep { /^Bail out!/ } @lines);
	my $good = $parser->passed - $parser->skipped - $parser->todo;
	my $skips = $parser->skip_all ? 1 : $parser->skipped;

	$passed += $good;
	$failed += $bad;
	$skipped += $skips;
	printf "%-32s %6.1f s  %d passed%s%s\n", $test, $seconds, $good,
	  $bad ? ", $bad FAILED" : '', $skips ? ", $skips skipped" : '';

	show_end("output of $test", 300, grep { !/^ok / } @lines) if $bad;
	if ($bad && $test =~ m{test/t/([^/]+)\.pl$} && open my $log, '<', "tmp_check/log/regress_log_$1")
	{
		show_end("log of $test (with the servers' in .build/test-logs)", 40, <$log>);
	}
	return;
}

sub show_end
{
	my ($what, $max, @lines) = @_;
	splice @lines, 0, -$max if @lines > $max;
	print "---- $what\n", @lines, "----\n";
	return;
}
