# Random queries give the same rows on distributed tables as on local copies of them: plain and
# prepared, with generic and custom plans.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use QueryGenerator;
use VdistCluster;

my $queries = $ENV{VDIST_QUERIES} // 200;
my $seed = $ENV{VDIST_SEED} // 1;

my $cluster = VdistCluster->new(shards => 4);

# Types that columns have must exist on the shards; the function must not be needed there.
foreach my $node ($cluster->coordinator, map { $cluster->shard($_) } 1 .. $cluster->shards)
{
	$node->safe_psql('postgres', q{CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')});
}

$cluster->sql(<<'EOSQL');
CREATE FUNCTION own_function(bigint) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT ($1 % 3)::int';

CREATE TABLE items (id bigint PRIMARY KEY, cat int, dropped int, title text, price numeric(10,2), day date,
	at timestamptz, tags text[], doc jsonb, code text COLLATE "C", mood mood, emb vector(4));
ALTER TABLE items DROP COLUMN dropped;
INSERT INTO items
SELECT i, CASE WHEN i % 17 > 0 THEN i % 10 END, 'title ' || i * 7919 % 100,
	CASE WHEN i % 23 > 0 THEN (i * 31 % 977) / 10.0 END, date '2024-01-01' + (i % 90)::int,
	timestamptz '2024-01-01 00:00+00' + i * interval '1 hour',
	CASE WHEN i % 5 > 0 THEN ARRAY['t' || i % 3, 't' || i % 5] END,
	jsonb_build_object('a', i % 4, 'b', ARRAY[i % 6]), chr(65 + (i % 26)::int) || chr(97 + (i * 7 % 26)::int),
	(ARRAY['sad', 'ok', 'glad', NULL])[1 + i % 4]::mood,
	CASE WHEN i % 41 > 0 THEN ARRAY[i % 5, i / 5 % 5, i / 25 % 5, i % 7]::vector(4) END
FROM generate_series(1, 1300) i;
CREATE TABLE local_items AS SELECT * FROM items;

CREATE TABLE cats (cat int PRIMARY KEY, name text, weight numeric);
INSERT INTO cats SELECT i, chr(97 + i * 5 % 26) || i, i * 1.5 FROM generate_series(0, 11) i;
CREATE TABLE local_cats AS SELECT * FROM cats;

CREATE TABLE probes (n int, v vector(4));
INSERT INTO probes SELECT i, ARRAY[i, 1, i % 3, 2]::vector FROM generate_series(1, 5) i;
EOSQL
$cluster->sql("SELECT vdist.create_distributed_table('items', 'id')");
$cluster->sql("SELECT vdist.create_distributed_table('cats', 'cat')");
$cluster->sql('ANALYZE');

# Run statements for all queries in one session. The answer to query n is a list of executions, each
# a list of lines whose last one says SQLSTATE.
sub run_all
{
	my ($queries, $prefix, $key) = @_;
	my $script = "\\set VERBOSITY verbose\nSET client_min_messages = error;\n";

	foreach my $query (@$queries)
	{
		my $sql = $query->{$key} // next;
		$sql =~ s/\b(items|cats)\b/$prefix$1/g;
		if ($query->{types})
		{
			my $times = $query->{mode} eq 'auto' && $key eq 'sql' ? 7 : 2;
			$script .= "SET plan_cache_mode = $query->{mode};\n";
			$script .= "PREPARE p ($query->{types}) AS $sql;\n";
			$script .= "\\echo \@\@ $query->{number}\nEXECUTE p ($query->{values});\n\\echo \@= :SQLSTATE\n" x $times;
			$script .= "DEALLOCATE p;\n";
		}
		else
		{
			$script .= "\\echo \@\@ $query->{number}\n$sql;\n\\echo \@= :SQLSTATE\n";
		}
	}

	my ($out, $err) = ('', '');
	$cluster->coordinator->psql('postgres', $script, stdout => \$out, stderr => \$err, on_error_stop => 0);
	my @answers;
	foreach my $part (split /^\@\@ /m, $out)
	{
		my ($number, @lines) = split /\n/, $part;
		push @{ $answers[$number] }, \@lines if defined $number && $number =~ /^\d+$/;
	}
	return (\@answers, $err);
}

sub is_same
{
	my ($query, $expected, $got, $all) = @_;

	return "SQLSTATE $got->[-1], expected $expected->[-1]" if $got->[-1] ne $expected->[-1];
	return '' if $got->[-1] ne '@= 00000';
	return scalar(@$got) . ' lines, expected ' . scalar(@$expected) if @$got != @$expected;
	if ($query->{check} eq 'ties')
	{
		my %left;
		$left{$_}++ foreach @$all;
		foreach my $i (0 .. $#$got)
		{
			my ($key) = split /\|/, $got->[$i];
			my ($expected_key) = split /\|/, $expected->[$i];
			return "key $key, expected $expected_key" if $key ne $expected_key;
			return "row $got->[$i] is not one of the table" if !$left{ $got->[$i] }--;
		}
		return '';
	}
	my @got = @$got;
	my @expected = @$expected;
	if ($query->{check} eq 'rows')
	{
		@got = sort @got;
		@expected = sort @expected;
	}
	foreach my $i (0 .. $#got)
	{
		return "row $got[$i], expected $expected[$i]" if $got[$i] ne $expected[$i];
	}
	return '';
}

my $generator = QueryGenerator->new(seed => $seed);
my @queries = map { $generator->next } 1 .. $queries;
my ($expected, $expected_err) = run_all(\@queries, 'local_', 'sql');
my ($all) = run_all(\@queries, 'local_', 'sql_all');
my ($got, $got_err) = run_all(\@queries, '', 'sql');

my $answered = 0;
foreach my $query (@queries)
{
	my $n = $query->{number};
	my $wrong = '';

	foreach my $i (0 .. $#{ $expected->[$n] })
	{
		$wrong = is_same($query, $expected->[$n][$i], $got->[$n][$i], $all->[$n][0]) if !$wrong;
	}
	$answered++ if $expected->[$n][0][-1] eq '@= 00000';
	ok(!$wrong, "query $n ($query->{check}" . ($query->{mode} ? ", $query->{mode})" : ')'))
	  or diag "$wrong\n$query->{sql}\n" . ($query->{values} ? "parameters: $query->{values}\n" : '');
}
cmp_ok($answered, '>', 0.9 * $queries, 'most queries have an answer');
unlike($got_err, qr/server closed|terminated/, 'no session was lost');
diag $got_err if $got_err;

done_testing();
