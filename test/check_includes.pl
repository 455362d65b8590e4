# check_includes.pl: the floors of the house. Arrows run down only, the two wings do not know each
# other, kernel/ and quant/ know nothing of PostgreSQL, version differences live in compat.h, settings
# and hooks in vdist.c.
use strict;
use warnings;

use Test::More;

# What the files of a folder may include, besides compat.h and PostgreSQL.
my %below = (
	kernel => [qw(kernel)],
	quant => [qw(quant kernel)],
	type => [qw(type quant kernel)],
	index => [qw(index type quant kernel)],
	hnsw => [qw(hnsw index type quant kernel)],
	pgvector => [qw(pgvector hnsw index type quant kernel)],
	ivf => [qw(ivf index type quant kernel)],
	cluster => [qw(cluster quant kernel)],
	fdw => [qw(fdw cluster quant kernel)],);

my @files = (glob('src/*.[ch]'), glob('src/*/*.[ch]'));
my (@includes, @postgres, @versions, @roof);

foreach my $file (@files)
{
	my ($folder) = $file =~ m{^src/(?:([^/]+)/)?};
	open my $fh, '<', $file or die "$file: $!\n";
	my $text = do { local $/; <$fh> };

	# Comments may speak of everything; keep their line ends for the numbers.
	$text =~ s{(/\*.*?\*/)}{ $1 =~ s/[^\n]//gr }gse;

	my $n = 0;
	foreach my $line (split /\n/, $text)
	{
		my $where = "$file:" . ++$n . ": $line";

		push @versions, $where if $line =~ /\bPG_VERSION_NUM\b/ && $file ne 'src/compat.h';
		push @roof, $where
		  if $file ne 'src/vdist.c'
		  && $line =~ /\b(DefineCustom\w+Variable|MarkGUCPrefixReserved|\w+_hook\s*=[^=])/;

		next if !defined $folder;
		next if $line !~ /^\s*#\s*include\s*([<"])([^>"]+)[>"]/;
		my ($bracket, $name) = ($1, $2);
		my $allowed = $below{$folder};
		my ($to) = $name =~ m{^([^/]+)/};

		# Ours: in the same folder, or below src/.
		if ($bracket eq '"' && (-e "src/$name" || -e "src/$folder/$name"))
		{
			$to = $folder if !-e "src/$name";
			next if $name eq 'compat.h' && $folder !~ /^(kernel|quant)$/;
			push @includes, $where if !$allowed || !grep { $_ eq ($to // '') } @$allowed;
		}
		elsif ($folder =~ /^(kernel|quant)$/
			&& ($bracket eq '"' || $name =~ /postgres|^pg_|libpq|^utils\/|^storage\//))
		{
			push @postgres, $where;
		}
	}
}

cmp_ok(scalar @files, '>', 0, 'there are files to check');
none(\@includes, 'no include runs up the floors or across the wings');
none(\@postgres, 'kernel/ and quant/ include nothing of PostgreSQL');
none(\@versions, 'PG_VERSION_NUM stands in compat.h alone');
none(\@roof, 'settings and hooks are installed in vdist.c alone');
done_testing();

sub none
{
	my ($found, $name) = @_;
	is(scalar @$found, 0, $name) or diag(join "\n", @$found);
	return;
}
