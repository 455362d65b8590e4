# Every function of the extension that SQL can call, over odd arguments of every type: NULL, empty, the largest
# and the smallest, what does not exist, what is of another kind. None crashes or speaks of an internal error.
# The arguments are the same in every run; VDIST_FUZZ=n tries n times as many.
use strict;
use warnings;

use Test::More;
use VdistCluster;

srand(4);
my $most = 200 * ($ENV{VDIST_FUZZ} || 1);
my $cluster = VdistCluster->new(shards => 1);

$cluster->sql(q{
	CREATE TABLE item (id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(9), b bit(5), t text);
	INSERT INTO item (id, v, h, b, t) SELECT i, ARRAY[i, 1, 2]::real[], ARRAY[i, 1, 2]::real[], i::bit(5), 'word ' || i
	  FROM generate_series(1, 30) i;
	CREATE INDEX item_v ON item USING vdist_hnsw (v vector_l2_ops);
	CREATE INDEX item_b ON item USING vdist_hnsw (b bit_hamming_ops);
	CREATE TABLE empty (v vector(3), h halfvec);
	CREATE INDEX empty_v ON empty USING vdist_hnsw (v vector_cosine_ops);
	CREATE TABLE parted (id int, v vector(3)) PARTITION BY LIST (id);
	CREATE INDEX parted_v ON parted USING vdist_hnsw (v vector_ip_ops);
	CREATE VIEW seen AS SELECT * FROM item;
	CREATE TABLE spread (id int PRIMARY KEY, v vector(3));
	SELECT vdist.create_distributed_table('spread', 'id');
	-- The error of a statement, whose effects are undone; P9999 when there is none.
	CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RAISE EXCEPTION USING ERRCODE = 'P9999';
	EXCEPTION WHEN others THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
	END $$;
});

my @relations = map { "'$_'" } qw(item item_v item_b item_pkey empty empty_v parted parted_v seen spread pg_class item_id);
my @texts = (q{''}, q{'item'}, q{'a b'}, q{E'\'";--\\\\'}, q{repeat('x', 100000)}, q{E'\u00e4\n'}, q{'0'}, "'{'",
	q{'shard1'}, q{'v::text'}, q{'localhost:1'}, q{'start'});
my @numbers = qw(0 1 -1 3 4 1e-40 1e38 -1e300 'nan' 'inf' '-inf');
my @shapes = (q{'{}'}, q{'{NULL}'}, q{'{1}'}, q{'{1,2,3}'}, q{'{3,1,2,3}'}, q{'{0,1,2,3}'}, q{'{-1,1,2,3}'}, q{'{1,NULL,3}'},
	q{'{{1,2},{3,4}}'}, q{'[-5:-3]={1,2,3}'}, q{array_fill(1, ARRAY[16001])}, q{'{2147483647,1}'});
my @vectors = (q{'[1]'}, q{'[1,2,3]'}, q{'[0,0,0]'}, q{'[6e4,-6e4,1]'}, q{'[6e-8,0,0]'}, q{array_fill(1, ARRAY[16000])::real[]});
my %values = (
	vector => [ @vectors, q{'[3.4e38,-3.4e38,1]'}, q{'[1e-45,1,1]'} ],
	halfvec => \@vectors,
	sparsevec => [ q{'{}/1'}, q{'{}/1000000000'}, q{'{1:1,3:3}/3'}, q{'{1:3.4e38,3:-3.4e38}/3'}, q{'{1000000000:1e-45}/1000000000'} ],
	bit => [ q{B''}, q{B'1'}, q{B'10101'}, q{B'00000'}, q{repeat('10', 8000)::varbit} ],
	integer => [qw(0 1 -1 3 4 16000 16001 1000000000 2147483647 -2147483648)],
	smallint => [qw(0 1 -1 32767 -32768)],
	bigint => [qw(0 1 -1 16001 9223372036854775807 -9223372036854775808)],
	boolean => [qw(true false)],
	real => [qw(0 1 -1 3e38 1e-45 'nan' 'inf' '-inf')],
	'double precision' => \@numbers,
	numeric => \@numbers,
	text => \@texts,
	cstring => [ @texts, q{'[1,2,3]'}, q{'{1:1}/3'} ],
	name => [ q{''}, q{'id'}, q{'v'}, q{'t'}, q{'ctid'}, q{'nothing'}, q{'shard1'}, q{'item_v'} ],
	regclass => [ @relations[ 0 .. 10 ], '0', '4294967295' ],
	oid => [ qw(0 1 4294967295), q{'item'::regclass}, q{'vector'::regtype}, q{'vdist_fdw'::regproc} ],
	regtype => [ qw(0 4294967295), q{'vector'}, q{'int'} ],
	bytea => [ q{''}, q{'\x00'}, q{decode(repeat('ff', 1000), 'hex')} ],
	'integer[]' => \@shapes,
	'real[]' => [ @shapes, q{'{nan,inf}'} ],
	'double precision[]' => [ @shapes, q{'{nan,1,2,3}'}, q{'{1e308,1e308,1,1}'}, q{'{3,1e308,-1e308,nan}'}, q{'{0}'} ],
	'numeric[]' => [ @shapes, q{'{1e300,nan}'} ],
	'text[]' => [ q{'{}'}, q{'{NULL}'}, q{'{a,a}'}, q{'{{a,b},{c,d}}'}, q{array_fill('x'::text, ARRAY[3000])}, q{'{shard1}'}, q{'{,"",}'} ],
	'cstring[]' => [ q{'{}'}, q{'{3}'}, q{'{0}'}, q{'{-1}'}, q{'{x}'}, q{'{1,2}'}, q{'{99999999999}'}, q{'{NULL}'} ],
	jsonb => [ q{'{}'}, q{'null'}, q{'[]'}, q{'1'}, q{'{"word":1,"x":"y"}'}, q{'{"word":1e308,"item":-1e-300}'}, q{'{"word":null}'} ],
	regconfig => [ q{'simple'}, q{'english'}, qw(0 4294967295) ],
	'aclitem[]' => [ q{'{}'}, q{'{NULL}'}, q{acldefault('r', 10)} ],
	anyarray => [ q{ARRAY['[1,2,3]'::vector]}, q{ARRAY['[1,2]'::halfvec, NULL]}, q{'{}'::vector[]},
		q{ARRAY[B'10101']}, q{ARRAY[1]}, q{ARRAY['{1:1}/9'::sparsevec]}, q{ARRAY[ARRAY['[1,2,3]'::vector]]} ],
	'"any"' => [ qw(1 1.5), q{'x'::text}, q{'[1]'::vector}, q{NULL::int}, q{ROW(1, 2)}, q{'{}'::int[]} ],);

my @functions = map { [ split /\|/ ] } split /\n/, $cluster->sql(q{
	SELECT p.oid::regproc, p.prokind, array_to_string(ARRAY(SELECT format_type(a.t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n) ORDER BY n), ';')
	FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'vdist'
	WHERE NOT 'internal'::regtype = ANY (p.proargtypes) AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
	ORDER BY p.oid::regprocedure::text COLLATE "C"});
cmp_ok(scalar @functions, '>', 100, 'functions are found');

my %unknown;
foreach my $function (@functions)
{
	my ($name, $kind, $types) = @$function;
	my @types = split /;/, $types // '';
	my @choices;
	foreach my $type (@types)
	{
		$unknown{$type} = 1 unless $values{$type};
		my $cast = $type =~ /^any|^"any"/ ? '' : "::$type";
		push @choices, [ "NULL$cast", map { "($_)$cast" } @{ $values{$type} // [] } ];
	}
	my %calls;
	foreach my $try (1 .. $most)
	{
		# One odd argument beside plain ones, or all odd.
		my @arguments = map { $_->[ int rand @$_ ] } @choices;
		$calls{ join ', ', @arguments } = 1;
		last if !@arguments;
	}
	my @statements = map { $kind eq 'p' ? "CALL $name($_)" : "SELECT $name($_)" } sort keys %calls;
	my $list = join ",\n", map { my $s = s/'/''/gr; "('" . s/'/''/gr . "')" } @statements;
	my ($rc, $out, $err) = $cluster->try(qq{
		SET statement_timeout = '60s'; SET client_min_messages = error;
		SELECT statement || ' -> ' || error FROM (SELECT statement, attempt(statement) AS error
			FROM (VALUES $list) AS call (statement)) AS t WHERE error LIKE 'XX%'
			-- messages of PostgreSQL itself, and that of its aggregates
			AND error !~ '^XX000 (\\w+: expected state array|could not open relation with OID \\d+|cache lookup failed for text search configuration \\d+)\$' LIMIT 5;
		});
	is("$rc $out $err", '0  ', "$name($types)");
	$cluster->coordinator->psql('postgres', 'SELECT 1') == 0 or BAIL_OUT("the server died");
}
is(join(', ', sort keys %unknown), '', 'there are values of all types');
done_testing();
