# vector_in and vector_recv against mutated input in a real server: what is accepted is right and
# survives a round trip, what is refused gets one of the documented errors, and nothing crashes.
# The input is the same in every run; VDIST_FUZZ=n makes n times as much.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

srand(1);
my $times = $ENV{VDIST_FUZZ} || 1;
my $cluster = VdistCluster->new(shards => 0);
my $node = $cluster->coordinator;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub pick { return $_[ int rand @_ ]; }

sub load
{
	my ($table, $rows) = @_;
	append_to_file("$dir/$table", join('', map { "$_\n" } @$rows));
	$cluster->sql("COPY $table FROM '$dir/$table'");
	return;
}

# Text. The oracle is float4in, by way of an array with the same elements.
sub number
{
	my $kind = int rand 6;
	return int(rand 2000) - 1000 if $kind == 0;
	return sprintf('%.*g', 1 + int rand 20, (rand(2) - 1) * 10**(int(rand 90) - 48)) if $kind <= 2;
	return sprintf('%.*f', int rand 12, rand(200) - 100) if $kind == 3;
	return join('', map { int rand 10 } 0 .. int rand 30) . pick('', '.', '.5', 'e5', 'e-20') if $kind == 4;
	return pick('nan', 'inf', '-Infinity', '0x1.8p2', '1e999', '-1e-999', '-0', '.5', '5.', '+3');
}

sub mutated_text
{
	my $text = '[' . join(pick(',', ', ', ' , '), map { number() } 0 .. int rand 8) . ']';
	return $text if rand() < 0.15;
	foreach (1 .. 1 + int rand 3)
	{
		my $at = int rand(length($text) + 1);
		my $char = pick(split(//, '0123456789.,eE+-[] xXinfa"\\{}()'), "\t", "\n", "\x{e4}", "\x{2003}");
		my $what = int rand 4;
		substr($text, $at, $what == 0 ? 1 : 0) = $char if $what <= 1 && $at < length $text;
		substr($text, $at, 1 + int rand 4) = '' if $what == 2 && $at < length $text;
		substr($text, $at, 0) = substr($text, int rand(length($text) || 1), 1 + int rand 6) if $what == 3;
	}
	return $text;
}

my @texts = map { mutated_text() } 1 .. 30_000 * $times;
push @texts, '[' x 100_000, '[' . '1,' x 100_000, '[' . '1' x 1_000_000 . ']',
	'[0.' . '0' x 1_000_000 . '1]', '[1e' . '9' x 100_000 . ']', '[' . ' ' x 1_000_000 . '1]',
	'[' . '-' x 100_000 . '1]', ',' x 100_000, '[' . join(',', (1) x 16_000) . ']';
foreach (@texts)
{
	utf8::encode($_);
	s/\\/\\\\/g;
	s/\n/\\n/g;
	s/\t/\\t/g;
}

$cluster->sql('CREATE TABLE texts (t text)');
load('texts', \@texts);
my $result = $cluster->sql(<<'SQL');
CREATE TABLE text_result (t text, v vector, state text, message text);
DO $$
DECLARE
	input text;
	v vector;
	elements real[];
BEGIN
	FOR input IN SELECT t FROM texts LOOP
		BEGIN
			v := input::vector;
		EXCEPTION WHEN others THEN
			INSERT INTO text_result VALUES (input, NULL, SQLSTATE, SQLERRM);
			CONTINUE;
		END;
		INSERT INTO text_result VALUES (input, v, '00000');
		IF vector_send(v::text::vector) <> vector_send(v) THEN
			RAISE EXCEPTION '"%" does not survive: %', input, v;
		END IF;
		BEGIN
			elements := translate(input, '[]', '{}')::real[];
			IF elements <> v::real[] THEN
				RAISE EXCEPTION '"%" was read as %, not %', input, v, elements;
			END IF;
		EXCEPTION WHEN numeric_value_out_of_range THEN
			-- real refuses what underflows, vector takes it as zero
			IF NOT 0 = ANY (v::real[]) THEN
				RAISE;
			END IF;
		END;
	END LOOP;
END
$$;
SELECT state, count(*) FROM text_result GROUP BY state ORDER BY state;
SQL
note($result);
my %texts = map { split /\|/ } split /\n/, $result;
is(join(' ', sort keys %texts), '00000 22000 22003 22P02 54000', 'no other errors of vector_in');
cmp_ok($texts{'00000'}, '>', @texts / 10, 'many texts were accepted');
cmp_ok($texts{'22P02'}, '>', @texts / 10, 'and many refused');
is( $cluster->sql(<<'SQL'), '', 'no message was long');
SELECT left(message, 100) FROM text_result WHERE length(message) > 1200
SQL

# Binary. The oracle is the description of the format.
sub binary
{
	my $dim = 1 + int rand 6;
	my @bits = map { int rand 2**32 } 1 .. $dim;
	my $unused = 0;
	my $kind = int rand 8;

	$_ &= 0xbfffffff foreach @bits;    # no NaN, no infinity
	$bits[ int rand $dim ] = pick(0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff, 0x7f800001) if $kind == 0;
	$unused = pick(1, 0x8000, 0xffff, 256) if $kind == 1;
	my $said = $kind == 2 ? pick(0, $dim + 1, $dim - 1, 0xffff, 0x8000, 16_001, 16_000, 256 * $dim) : $dim;
	my $payload = pack('n n N*', $said, $unused, @bits);
	$payload = substr($payload, 0, int rand length $payload) if $kind == 3;
	$payload .= pack('C*', map { int rand 256 } 0 .. int rand 6) if $kind == 4;
	substr($payload, int rand length $payload, 1) = chr int rand 256 if $kind == 5;
	return $payload;
}

sub valid
{
	my ($payload) = @_;
	return 0 if length $payload < 4;
	my ($dim, $unused, @bits) = unpack('n n N*', $payload);
	return 0 if $dim < 1 || $dim > 16_000 || $unused != 0 || length $payload != 4 + 4 * $dim;
	return !grep { ($_ & 0x7f800000) == 0x7f800000 } @bits;
}

my @binaries = map { binary() } 1 .. 4_000 * $times;
push @binaries, pack('n n N*', 16_000, 0, (0x3f800000) x 16_000), pack('n n N*', 16_001, 0, (0x3f800000) x 16_001);
my @cases;
foreach my $i (0 .. $#binaries)
{
	my $payload = $binaries[$i];
	append_to_file("$dir/$i.bin",
		"PGCOPY\n\xff\r\n\0" . pack('N N n N', 0, 0, 1, length $payload) . $payload . pack('n', 0xffff));
	push @cases, join("\t", $i, '\\\\x' . unpack('H*', $payload), valid($payload) ? 't' : 'f');
}
$cluster->sql('CREATE TABLE binaries (i int, payload bytea, valid bool); CREATE TABLE received (v vector)');
load('binaries', \@cases);
$result = $cluster->sql(<<"SQL");
CREATE TABLE binary_result (i int, state text);
DO \$\$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT * FROM binaries LOOP
		BEGIN
			EXECUTE format('COPY received FROM %L (FORMAT binary)', '$dir/' || c.i || '.bin');
		EXCEPTION WHEN others THEN
			INSERT INTO binary_result VALUES (c.i, SQLSTATE);
			IF c.valid THEN
				RAISE EXCEPTION 'valid % refused: %', c.payload, SQLERRM;
			END IF;
			CONTINUE;
		END;
		INSERT INTO binary_result VALUES (c.i, '00000');
		IF NOT c.valid THEN
			RAISE EXCEPTION 'invalid % accepted', c.payload;
		END IF;
		IF (SELECT vector_send(v) FROM received) <> c.payload THEN
			RAISE EXCEPTION '% does not survive', c.payload;
		END IF;
		DELETE FROM received;
	END LOOP;
END
\$\$;
SELECT state, count(*) FROM binary_result GROUP BY state ORDER BY state;
SQL
note($result);
my %binaries = map { split /\|/ } split /\n/, $result;
is(join(' ', sort keys %binaries), '00000 08P01 22000 22P03 54000', 'no other errors of vector_recv');
cmp_ok($binaries{'00000'}, '>', @binaries / 10, 'many binaries were accepted');
is($cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"),
	'1', 'the server is up');
unlike(slurp_file($node->logfile), qr/was terminated|PANIC|TRAP/, 'and never crashed');

done_testing();
