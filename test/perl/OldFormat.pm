# OldFormat: files of vdist_hnsw indexes in the formats that earlier versions wrote. The server must not have checksums,
# and must be stopped.
#
#	use OldFormat;
#	make_old($path, 4);                              of a fresh index: its version becomes 4, or 3, 2, 1
#	make_new($path);                                 of one that make_old has made version 4: it is 5 again
package OldFormat;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(make_old make_new);

sub crc32c
{
	my ($crc, $bytes) = (0xFFFFFFFF, @_);
	foreach my $byte (unpack 'C*', $bytes)
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? $crc >> 1 ^ 0x82F63B78 : $crc >> 1 foreach 1 .. 8;
	}
	return $crc ^ 0xFFFFFFFF;
}

# The versions before 5 had no anchors. Rows are as hnsw.h has them: a state, three counts, and the neighbors from byte 36 on.
sub without_anchors
{
	my ($bytes) = @_;
	my ($rows, $size) = unpack 'x20 S x2 L', substr $bytes, 24, 28;
	for (my $at = 8192; $at < length $bytes; $at += 8192)
	{
		next if unpack('S', substr $bytes, $at + 8188, 2) != 4;
		foreach my $row (map { $at + 24 + $_ * $size } 0 .. $rows - 1)
		{
			my ($state, $n) = unpack 'C x2 C', substr $bytes, $row, 4;
			next if ($state & 15) != 1 && ($state & 15) != 2;
			substr $bytes, $row + 36, 4 * $n, pack 'L*', map { $_ & 0x7FFFFFFF } unpack 'L*', substr $bytes, $row + 36, 4 * $n;
		}
	}
	return $bytes;
}

# The checksums of a metapage, from version 4 on; the mean follows what it begins with.
sub sign
{
	my ($bytes, $version) = @_;
	substr $bytes, 24 + 4, 4, pack 'L', $version;
	substr $bytes, 24 + 40, 4, pack 'L', crc32c(substr $bytes, 24, 40);
	my ($dim, $mean_block) = (unpack('S', substr $bytes, 24 + 10, 2), unpack('L', substr $bytes, 24 + 68, 4));
	my $head = $version < 5 ? 84 : 96;
	my $mean = $mean_block == 0xFFFFFFFF ? substr $bytes, 24 + $head, 2 * $dim : '';
	my $factor = $version < 5 ? '' : substr $bytes, 24 + 92, 4;
	substr $bytes, 24 + 72, 4, pack 'L', crc32c(substr($bytes, 24 + 68, 4) . $mean . $factor);
	return $bytes;
}

sub write_file
{
	my ($path, $bytes) = @_;
	open my $file, '+<:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file or die "$path: $!";
	return;
}

# Until version 5 the metapage had no stretch and no factor; until version 4 it had constants alone: the mean was on block 1,
# routing rows on pages of their own.
sub make_old
{
	my ($path, $version) = @_;
	my $bytes = without_anchors(slurp_file($path));
	if ($version == 4)
	{
		substr $bytes, 24 + 84, 12, '';
		substr $bytes, 8172, 0, "\0" x 12;
		write_file($path, sign($bytes, $version));
		return;
	}
	my ($code_size) = unpack 'L', substr $bytes, 24 + 32, 4;
	my ($mean_block, $crc, $here) = unpack 'LLL', substr $bytes, 24 + 68, 12;
	die "the mean is at block $mean_block" if $mean_block != 1;
	my $page = substr $bytes, 0, 8192;
	substr $page, 24, 8160, pack 'LLa8152', unpack('L', substr $bytes, 24 + 44, 4), $here,
	  substr $bytes, 24 + 96, $here * (4 + $code_size);
	substr $page, 8188, 2, pack 'S', 3;
	substr $bytes, 24 + 4, 4, pack 'L', $version;
	substr $bytes, 24 + 40, 8, pack 'LL', crc32c(substr $bytes, 24, 40), length($bytes) / 8192;
	substr $bytes, 24 + 68, 8160 - 68, "\0" x (8160 - 68);
	write_file($path, $bytes . $page);
	return;
}

# Version 4 to 5, where the metapage has room behind its routing rows.
sub make_new
{
	my ($path) = @_;
	my $bytes = slurp_file($path);
	die 'the metapage is full' if substr($bytes, 8172, 12) ne "\0" x 12;
	substr $bytes, 8172, 12, '';
	substr $bytes, 24 + 84, 0, pack 'ffL', 0, 0, 1;
	write_file($path, sign($bytes, 5));
	return;
}

1;
