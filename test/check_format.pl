# check_format.pl: the rules of .editorconfig, and PostgreSQL's indentation for C. `make format` mends
# the latter, `make typedefs` its list of type names.
use strict;
use warnings;

use File::Find;
use Test::More;

my (@files, @bad);
my @mine = qw(Makefile README.md CHANGELOG.md vdist.control src sql test docker);
find(
	{
		no_chdir => 1,
		# Packages of clients lie there during tests.
		preprocess => sub { grep { $_ ne 'node_modules' } @_ },
		# What PostgreSQL's own test programs print is as it is.
		wanted => sub {
			push @files, $_ if -f && !/\.(o|so|bc|gcda|gcno|fvecs|bvecs|png)$/ && !m{^test/expected/};
		},
	},
	grep { -e } @mine);

foreach my $file (sort @files)
{
	open my $fh, '<:raw', $file or die "$file: $!\n";
	my $text = do { local $/; <$fh> } // '';
	next if $text eq '' || $text =~ /\0/;
	push @bad, "$file: no newline at its end" if $text !~ /\n\z/;
	push @bad, "$file: empty lines at its end" if $text =~ /\n\n\z/;
	my $n = 0;
	foreach my $line (split /\n/, $text)
	{
		$n++;
		push @bad, "$file:$n: white space at the end" if $line =~ /[ \t\r]$/;
		push @bad, "$file:$n: tab" if $file =~ /\.(sql|md|yml)$/ && $line =~ /\t/;
		push @bad, "$file:$n: indented with spaces"
		  if $file =~ /\.(c|h)$/ && $line =~ /^ {4}/;
	}
}
is(join("\n", @bad), '', 'white space');

my %known = map { $_ => 1 } split ' ', slurp('typedefs.list');
my @missing = grep { !$known{$_} } split ' ', qx{test/typedefs};
is("@missing", '', 'typedefs.list knows every type (make typedefs)');

SKIP:
{
	# Others indent a few things otherwise; this is the one of Debian 12.
	my $version = qx{pg_bsd_indent --version 2>/dev/null} // '';
	skip 'pg_bsd_indent 2.1.1 is not installed', 1 if $version !~ /2\.1\.1/;
	my $diff = qx{test/indent 2>&1};
	is($diff, '', 'indentation (make format)');
}
done_testing();

sub slurp
{
	my ($file) = @_;
	local $/;
	open my $fh, '<', $file or die "$file: $!\n";
	return scalar <$fh>;
}
