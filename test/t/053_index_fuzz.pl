# Operators, casts and indexes of every type and operator class over odd values: the largest and the
# smallest floats, zero vectors, as many elements as the types allow. Nothing crashes, every error is
# one of the documented, every index returns every row, in order, and is sound. The values are the same in
# every run; VDIST_FUZZ=n makes n times as many.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use VdistCluster;

srand(3);
my $times = $ENV{VDIST_FUZZ} || 1;
my $cluster = VdistCluster->new(shards => 0);
my $dir = PostgreSQL::Test::Utils::tempdir;
my $errors = "'22000', '22003', '54000'";

sub pick { return $_[ int rand @_ ]; }

# Elements of a value are of one kind mostly, so that some values have only odd ones.
sub element
{
	my ($max, $min, $kind) = @_;
	return pick(0, $max, "-$max", $min, "-$min", 1, '1e-7') if $kind == 0;
	return pick($max, "-$max", 6e4) if $kind == 1;
	return pick($min, "-$min", 0) if $kind == 2;
	return 0 if $kind == 3;
	return sprintf '%.3g', rand(2) - 1;
}

sub dense
{
	my ($dim, $max, $min) = @_;
	my $kind = int rand 8;
	return '[' . join(',', map { element($max, $min, $kind) } 1 .. $dim) . ']';
}

sub sparse
{
	my ($dim, $most) = @_;
	my $kind = int rand 8;
	my $step = int($dim / $most) || 1;
	my %elements;
	foreach (1 .. pick(0, 1, 2, 10, $most))
	{
		my $x = element('3.4e38', '1.5e-45', $kind);
		$elements{ 1 + $step * int rand($dim / $step) } = $x if $x != 0;
	}
	return '{' . join(',', map { "$_:$elements{$_}" } sort { $a <=> $b } keys %elements) . "}/$dim";
}

sub bits
{
	my ($dim) = @_;
	my $ones = pick(0, 0.01, 0.5, 1);
	return join '', map { rand() < $ones ? 1 : 0 } 1 .. $dim;
}

my @vector_operators = ([ '<->', 'l2' ], [ '<#>', 'ip' ], [ '<=>', 'cosine' ], [ '<+>', 'l1' ]);
my @bit_operators = ([ '<~>', 'hamming' ], [ '<%>', 'jaccard' ]);

# type, name of its classes, rows, a value of it, operators
my @cases = (
	[ 'vector(1)', 'vector', 300, sub { dense(1, '3.4e38', '1.5e-45') }, \@vector_operators ],
	[ 'vector(70)', 'vector', 300, sub { dense(70, '3.4e38', '1.5e-45') }, \@vector_operators ],
	[ 'vector(16000)', 'vector', 6, sub { dense(16_000, '3.4e38', '1.5e-45') }, \@vector_operators ],
	[ 'halfvec(65)', 'halfvec', 300, sub { dense(65, '65504', '6e-8') }, \@vector_operators ],
	[ 'halfvec(16000)', 'halfvec', 6, sub { dense(16_000, '65504', '6e-8') }, \@vector_operators ],
	[ 'sparsevec(90)', 'sparsevec', 300, sub { sparse(90, 30) }, \@vector_operators ],
	[ 'sparsevec(1000000000)', 'sparsevec', 200, sub { sparse(1_000_000_000, 60) }, \@vector_operators ],
	[ 'sparsevec(20000)', 'sparsevec', 10, sub { sparse(20_000, 16_000) }, \@vector_operators ],
	[ 'bit(77)', 'bit', 300, sub { bits(77) }, \@bit_operators ],
	[ 'bit(16001)', 'bit', 30, sub { bits(16_001) }, \@bit_operators ],);

foreach my $case (@cases)
{
	my ($type, $class, $rows, $value, $operators) = @$case;
	my $file = "$dir/" . $type =~ s/\W/_/gr;
	append_to_file($file, join '', map { $value->() . "\n" } 1 .. $rows * $times);

	# what follows from two values
	my $pairs = $cluster->sql(<<"SQL");
DROP TABLE IF EXISTS items, refused;
CREATE TABLE items (id serial, v $type);
COPY items (v) FROM '$file';
CREATE TABLE refused (state text);
DO \$\$
DECLARE
	what text;
	a $type;
	b $type;
	d float8;
BEGIN
	FOR a, b IN SELECT x.v, y.v FROM items x, items y WHERE y.id - x.id IN (0, 1, 2) LOOP
		FOREACH what IN ARRAY ARRAY[@{[ join ', ', map { "'\$1 $_->[0] \$2'" } @$operators ]}] LOOP
			EXECUTE 'SELECT ' || what INTO d USING a, b;
			IF d IS NULL OR (what ~ '<->|<[+]>|<~>' AND d < 0) OR (what ~ '<=>|<%>' AND NOT (d BETWEEN 0 AND 2 OR d = 'nan'))
			THEN
				RAISE EXCEPTION '% of % and % is %', what, a, b, d;
			END IF;
		END LOOP;
		FOREACH what IN ARRAY ARRAY[@{[ $class eq 'bit' ? "'\$1::text'" :
			"'\$1::vector', '\$1::halfvec', '\$1::sparsevec', 'l2_norm(\$1)', 'l2_normalize(\$1)', '\$1 < \$2'"
			  . ($class eq 'sparsevec' ? '' : q{, '$1 + $2', '$1 - $2', '$1 * $2', '$1 || $2', 'binary_quantize($1)',
			'subvector($1, 1, 5)', '$1::real[]'}) ]}] LOOP
			BEGIN
				EXECUTE 'SELECT (' || what || ')::text' USING a, b;
			EXCEPTION WHEN others THEN
				INSERT INTO refused VALUES (SQLSTATE);
			END;
		END LOOP;
	END LOOP;
END
\$\$;
SELECT string_agg(DISTINCT state, ' ') FROM refused WHERE state NOT IN ($errors);
SQL
	is($pairs, '', "errors of operators and casts of $type");

	foreach my $operator (@$operators)
	{
		my ($symbol, $name) = @$operator;
		my $problems = $cluster->sql(<<"SQL");
DROP INDEX IF EXISTS items_index;
CREATE INDEX items_index ON items USING vdist_hnsw (v ${class}_${name}_ops);
INSERT INTO items (v) SELECT v FROM items WHERE id % 5 = 0;
DELETE FROM items WHERE id % 7 = 0;
VACUUM items;
INSERT INTO items (v) SELECT v FROM items WHERE id % 5 = 1;
DELETE FROM items WHERE id % 11 = 0;
VACUUM items;
SET enable_seqscan = off;
SET enable_sort = off;
DO \$\$
DECLARE
	query $type;
	got float8[];
BEGIN
	FOR query IN SELECT v FROM items ORDER BY id LIMIT 12 LOOP
		SELECT array_agg(d) INTO got FROM (SELECT v $symbol query AS d FROM items ORDER BY v $symbol query) AS t;
		IF cardinality(got) <> (SELECT count(*) FROM items) THEN
			RAISE EXCEPTION '% rows of %', cardinality(got), (SELECT count(*) FROM items);
		END IF;
		SELECT array_agg(d) INTO got FROM (SELECT v $symbol query AS d FROM items ORDER BY v $symbol query LIMIT 10) AS t;
		IF got <> (SELECT array_agg(d ORDER BY d) FROM unnest(got) AS d) THEN
			RAISE EXCEPTION 'not in order: %', got;
		END IF;
	END LOOP;
END
\$\$;
SELECT vdist.index_check('items_index', true);
SQL
		is($problems, '', "index of $type under $symbol");
	}
}

done_testing();
