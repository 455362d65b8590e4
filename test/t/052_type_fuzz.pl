# Input of halfvec and sparsevec, text and binary, mutated, in a real server, under the rules of
# 050_vector_fuzz: what is accepted is right and survives a round trip, what is refused gets one of the
# documented errors, and nothing crashes. The input is the same in every run; VDIST_FUZZ=n makes n times
# as much.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

srand(2);
my $times = $ENV{VDIST_FUZZ} || 1;
my $cluster = VdistCluster->new(shards => 0);
my $node = $cluster->coordinator;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub pick { return $_[ int rand @_ ]; }

sub number
{
	my $kind = int rand 6;
	return int(rand 2000) - 1000 if $kind == 0;
	return sprintf('%.*g', 1 + int rand 12, (rand(2) - 1) * 10**(int(rand 14) - 9)) if $kind <= 3;
	return pick('nan', 'inf', '0x1.8p2', '1e999', '-1e-999', '-0', '0', '.5', '5.', '+3', '65519', '65520', '6e-8', '1e-46');
}

sub text_of
{
	my ($type) = @_;
	my $comma = pick(',', ', ', ' , ');
	return '[' . join($comma, map { number() } 0 .. int rand 8) . ']' if $type eq 'halfvec';
	my $dim = 1 + int rand 40;
	my %elements = map { 1 + int rand $dim => number() } 1 .. int rand 6;
	return '{' . join($comma, map { "$_" . pick(':', ' : ') . $elements{$_} } keys %elements) . '}/' . $dim;
}

sub mutate
{
	my ($text) = @_;
	return $text if rand() < 0.3;
	foreach (1 .. 1 + int rand 2)
	{
		my $at = int rand(length($text) + 1);
		my $char = pick(split(//, '0123456789.,:/eE+-[]{} xXinfa"\\()'), "\t", "\n", "\x{e4}");
		my $what = int rand 4;
		substr($text, $at, $what == 0 ? 1 : 0) = $char if $what <= 1 && $at < length $text;
		substr($text, $at, 1 + int rand 4) = '' if $what == 2 && $at < length $text;
		substr($text, $at, 0) = substr($text, int rand(length($text) || 1), 1 + int rand 6) if $what == 3;
	}
	return $text;
}

# What must be the value of an accepted text: for halfvec by way of an array of real, for sparsevec by
# the parts of the text.
my %oracle = (
	halfvec => q{translate(input, '[]', '{}')::real[]::halfvec},
	sparsevec => q{(SELECT coalesce(array_agg(coalesce(e.x, 0) ORDER BY i), '{}')
		FROM generate_series(1, least((regexp_match(input, '/\s*\+?(\d+)'))[1]::numeric, 16000)::int) AS i
		LEFT JOIN (SELECT m[1]::numeric AS i, m[2]::real AS x
			FROM regexp_matches(input, '[{,]\s*\+?(\d+)\s*:\s*([^,}]*)', 'g') AS m) AS e USING (i))::sparsevec});

foreach my $type (qw(halfvec sparsevec))
{
	my @texts = map { mutate(text_of($type)) } 1 .. 12_000 * $times;
	push @texts, '[' x 100_000, '[' . '1,' x 100_000, '{' . '1:1,' x 100_000, '{' . '1' x 100_000 . ':1}/5', '{1:0.' . '0' x 100_000 . '1}/5',
		'{}/' . '9' x 100_000, '{' . ' ' x 100_000 . '}/3', '{' . join(',', map { "$_:1" } reverse 1 .. 16_000) . '}/16000';
	foreach (@texts)
	{
		utf8::encode($_);
		s/\\/\\\\/g;
		s/\n/\\n/g;
		s/\t/\\t/g;
	}
	append_to_file("$dir/$type", join('', map { "$_\n" } @texts));
	my $result = $cluster->sql(<<"SQL");
CREATE TABLE ${type}_texts (t text);
COPY ${type}_texts FROM '$dir/$type';
CREATE TABLE ${type}_result (t text, state text, message text);
DO \$\$
DECLARE
	input text;
	v $type;
	want $type;
BEGIN
	FOR input IN SELECT t FROM ${type}_texts LOOP
		BEGIN
			v := input::$type;
		EXCEPTION WHEN others THEN
			INSERT INTO ${type}_result VALUES (input, SQLSTATE, SQLERRM);
			CONTINUE;
		END;
		INSERT INTO ${type}_result VALUES (input, '00000');
		IF ${type}_send(v::text::$type) <> ${type}_send(v) THEN
			RAISE EXCEPTION '"%" does not survive: %', input, v;
		END IF;
		BEGIN
			want := $oracle{$type};
		EXCEPTION WHEN numeric_value_out_of_range OR invalid_text_representation THEN
			-- real refuses what underflows, and PostgreSQL 15 hexadecimal numbers
			CONTINUE;
		END;
		IF want <> v AND want::text NOT LIKE '%/16000' THEN
			RAISE EXCEPTION '"%" was read as %, not %', input, v, want;
		END IF;
	END LOOP;
END
\$\$;
SELECT state, count(*) FROM ${type}_result GROUP BY state ORDER BY state;
SQL
	note($result);
	my %states = map { split /\|/ } split /\n/, $result;
	is(join(' ', sort keys %states), '00000 22000 22003 22P02 54000', "no other errors of ${type}_in");
	cmp_ok($states{'00000'}, '>', @texts / 5, 'many texts were accepted');
	cmp_ok($states{'22P02'}, '>', @texts / 10, 'and many refused');
	is($cluster->sql("SELECT left(message, 100) FROM ${type}_result WHERE length(message) > 1200"), '', 'no message was long');
}

# Binary. The oracle is the description of the format.
sub half_binary
{
	my $dim = 1 + int rand 6;
	my @bits = map { my $h = int rand 2**16; ($h & 0x7c00) == 0x7c00 ? $h & 0xbfff : $h } 1 .. $dim;
	my $kind = int rand 8;
	$bits[ int rand $dim ] = pick(0x7c00, 0xfc00, 0x7c01, 0xffff) if $kind == 0;
	return pack('n n n*', $kind == 2 ? pick(0, $dim + 1, $dim - 1, 0xffff, 16_001) : $dim, $kind == 1 ? pick(1, 0xffff) : 0, @bits);
}

sub half_valid
{
	my ($payload) = @_;
	return 0 if length $payload < 4;
	my ($dim, $unused, @bits) = unpack('n n n*', $payload);
	return 0 if $dim < 1 || $dim > 16_000 || $unused != 0 || length $payload != 4 + 2 * $dim;
	return !grep { ($_ & 0x7c00) == 0x7c00 } @bits;
}

sub sparse_binary
{
	my $dim = 1 + int rand 30;
	my %at = map { int rand $dim => 1 + int rand 0x7f7fffff } 1 .. int rand 6;
	my @indices = sort { $a <=> $b } keys %at;
	my @values = map { $at{$_} | pick(0, 0x80000000) } @indices;
	my $nnz = @indices;
	my $kind = int rand 9;
	@indices = reverse @indices if $kind == 0;
	$indices[ int rand @indices ] = pick(-1, $dim, 0x7fffffff, $indices[0]) if $kind == 1 && @indices;
	$values[ int rand @values ] = pick(0, 0x80000000, 0x7f800000, 0x7fc00000) if $kind == 2 && @values;
	$nnz = pick(-1, $nnz + 1, 16_001, 0x7fffffff, $dim + 1) if $kind == 3;
	$dim = pick(0, -1, 1_000_000_001, 0x7fffffff) if $kind == 4;
	return pack('N N N N* N*', $dim & 0xffffffff, $nnz & 0xffffffff, $kind == 5 ? pick(1, 0xffffffff) : 0,
		(map { $_ & 0xffffffff } @indices), @values);
}

sub sparse_valid
{
	my ($payload) = @_;
	return 0 if length $payload < 12;
	my ($dim, $nnz, $unused, @rest) = unpack('l> l> l> l>*', $payload);
	return 0 if $dim < 1 || $dim > 1_000_000_000 || $nnz < 0 || $nnz > 16_000 || $nnz > $dim || $unused != 0;
	return 0 if length $payload != 12 + 8 * $nnz;
	foreach my $i (0 .. $nnz - 1)
	{
		return 0 if $rest[$i] < 0 || $rest[$i] >= $dim || ($i > 0 && $rest[$i] <= $rest[ $i - 1 ]);
		my $value = $rest[ $nnz + $i ];
		return 0 if ($value & 0x7fffffff) == 0 || ($value & 0x7f800000) == 0x7f800000;
	}
	return 1;
}

foreach my $case ([ 'halfvec', \&half_binary, \&half_valid ], [ 'sparsevec', \&sparse_binary, \&sparse_valid ])
{
	my ($type, $make, $valid) = @$case;
	my @rows;
	foreach my $i (0 .. 2_500 * $times)
	{
		my $payload = $make->();
		my $kind = int rand 10;
		$payload = substr($payload, 0, int rand length $payload) if $kind == 0;
		$payload .= pack('C*', map { int rand 256 } 0 .. int rand 6) if $kind == 1;
		substr($payload, int rand length $payload, 1) = chr int rand 256 if $kind == 2;
		append_to_file("$dir/$type.$i",
			"PGCOPY\n\xff\r\n\0" . pack('N N n N', 0, 0, 1, length $payload) . $payload . pack('n', 0xffff));
		push @rows, join("\t", $i, '\\\\x' . unpack('H*', $payload), $valid->($payload) ? 't' : 'f');
	}
	append_to_file("$dir/$type.rows", join('', map { "$_\n" } @rows));
	my $result = $cluster->sql(<<"SQL");
CREATE TABLE ${type}_binaries (i int, payload bytea, valid bool);
COPY ${type}_binaries FROM '$dir/$type.rows';
CREATE TABLE ${type}_received (v $type);
CREATE TABLE ${type}_states (state text);
DO \$\$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT * FROM ${type}_binaries LOOP
		BEGIN
			EXECUTE format('COPY ${type}_received FROM %L (FORMAT binary)', '$dir/$type.' || c.i);
		EXCEPTION WHEN others THEN
			INSERT INTO ${type}_states VALUES (SQLSTATE);
			IF c.valid THEN
				RAISE EXCEPTION 'valid % refused: %', c.payload, SQLERRM;
			END IF;
			CONTINUE;
		END;
		INSERT INTO ${type}_states VALUES ('00000');
		IF NOT c.valid THEN
			RAISE EXCEPTION 'invalid % accepted', c.payload;
		END IF;
		IF (SELECT ${type}_send(v) FROM ${type}_received) <> c.payload THEN
			RAISE EXCEPTION '% does not survive', c.payload;
		END IF;
		DELETE FROM ${type}_received;
	END LOOP;
END
\$\$;
SELECT state, count(*) FROM ${type}_states GROUP BY state ORDER BY state;
SQL
	note($result);
	my %states = map { split /\|/ } split /\n/, $result;
	is(join(' ', sort keys %states), '00000 08P01 22000 22P03 54000', "no other errors of ${type}_recv");
	cmp_ok($states{'00000'}, '>', @rows / 10, 'many binaries were accepted');
}
is($cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"), '1', 'the server is up');
unlike(slurp_file($node->logfile), qr/was terminated|PANIC|TRAP/, 'and never crashed');

done_testing();
