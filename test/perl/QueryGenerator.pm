# QueryGenerator: random queries over the tables of 101_differential.pl, the same for the same seed.
#
#	my $generator = QueryGenerator->new(seed => 1);
#	my $query = $generator->next;
#
# A query is a hash: sql (with items and cats where the tables' names go; preparing when it has
# parameters), check: 'rows' (any order), 'order' (this order) or 'ties' (column 1 in this order,
# rows out of all; then sql_all is the query without LIMIT).
package QueryGenerator;

use strict;
use warnings;

sub new
{
	my ($class, %opt) = @_;

	# An own generator: Perl's rand differs between platforms.
	return bless { state => $opt{seed}, number => 0 }, $class;
}

sub random
{
	my ($self, $n) = @_;
	$self->{state} = ($self->{state} * 1103515245 + 12345) % 2147483648;
	return int($self->{state} / 65536) % $n;
}

sub pick { my ($self, @choices) = @_; return $choices[ $self->random(scalar @choices) ]; }
sub chance { my ($self, $percent) = @_; return $self->random(100) < $percent; }

# A value: a literal, or a parameter when the query is prepared.
sub value
{
	my ($self, $type, $literal) = @_;
	return "$literal\::$type" if !$self->{prepared} || $self->chance(30);
	push @{ $self->{types} }, $type;
	push @{ $self->{values} }, $literal;
	return '$' . scalar @{ $self->{types} };
}

sub vector
{
	my ($self) = @_;
	return "'[" . join(',', map { $self->random(5) } 1 .. 4) . "]'";
}

sub distance
{
	my ($self, $alias) = @_;
	my $operator = $self->pick('<->', '<->', '<#>', '<+>', '<=>');
	my $query =
	  $self->chance(20)
	  ? '(SELECT v FROM probes WHERE n = ' . $self->value('int', 1 + $self->random(5)) . ')'
	  : $self->value('vector', $self->vector);
	return "$alias.emb $operator $query";
}

# A condition on alias of items.
sub condition
{
	my ($self, $i) = @_;
	my @kinds = (
		sub { "$i.id = " . $self->value('bigint', $self->random(1300)) },
		sub { "$i.id = " . $self->value('int', $self->random(1300)) },
		sub { "$i.id IN (" . join(', ', map { $self->random(1300) } 1 .. 1 + $self->random(4)) . ')' },
		sub { "$i.id = ANY (" . $self->value('bigint[]', "'{3,77,500,NULL}'") . ')' },
		sub { "$i.id < " . $self->value('bigint', $self->random(1300)) },
		sub { "$i.id % 7 = " . $self->value('bigint', $self->random(7)) },
		sub { "$i.cat = " . $self->value('int', $self->random(10)) },
		sub { "$i.cat IN (1, 2, " . $self->value('int', $self->random(10)) . ')' },
		sub { "$i.cat NOT IN (3, 4)" },
		sub { "$i.cat IS " . $self->pick('NULL', 'NOT NULL') },
		sub { "$i.cat IS DISTINCT FROM " . $self->value('int', $self->random(10)) },
		sub { "coalesce($i.cat, -1) < " . $self->value('int', $self->random(10)) },
		sub { "$i.title LIKE " . $self->value('text', "'title " . $self->random(9) . "%'") },
		sub { "$i.title = " . $self->value('text', "'title " . $self->random(100) . "'") },
		sub { "$i.title > " . $self->value('text', "'title " . $self->random(100) . "'") },
		sub { "upper($i.title) = upper(" . $self->value('text', "'Title 42'") . ')' },
		sub { "$i.title COLLATE \"C\" < " . $self->value('text', "'title 5'") },
		sub { "$i.title COLLATE \"und-x-icu\" < 'title 5'" },
		sub { "$i.code = " . $self->value('text', "'A" . $self->pick('a' .. 'f') . "'") },
		sub { "$i.code < " . $self->value('text', "'" . $self->pick('A' .. 'Z') . "'") },
		sub { "length($i.title || $i.code) > " . $self->value('int', 9 + $self->random(3)) },
		sub { "$i.price BETWEEN " . $self->value('numeric', 10) . ' AND ' . $self->value('numeric', 60) },
		sub { "round($i.price) = " . $self->value('numeric', $self->random(98)) },
		sub { "$i.price > 1.5 * " . $self->value('float8', $self->random(60)) },
		sub { "$i.day >= " . $self->value('date', "'2024-0" . (1 + $self->random(9)) . "-15'") },
		sub { "extract(month FROM $i.day) = " . $self->value('int', 1 + $self->random(12)) },
		sub { "$i.at < now() - interval '1 day'" },
		sub { "$i.at > " . $self->value('timestamptz', "'2024-02-0" . (1 + $self->random(9)) . " 12:00+03'") },
		sub { "$i.at::date = '2024-01-1" . $self->random(10) . "'" },
		sub { "$i.tags @> " . $self->value('text[]', "'{t" . $self->random(3) . "}'") },
		sub { $self->value('text', "'t" . $self->random(5) . "'") . " = ANY ($i.tags)" },
		sub { "$i.tags[2] = 't" . $self->random(5) . "'" },
		sub { "cardinality($i.tags) = 2" },
		sub { "$i.doc ->> 'a' = " . $self->value('text', "'" . $self->random(4) . "'") },
		sub { "$i.doc @> " . $self->value('jsonb', "'{\"a\": " . $self->random(4) . "}'") },
		sub { "($i.doc ->> 'a')::int = " . $self->value('int', $self->random(4)) },
		sub { "$i.mood = " . $self->value('mood', "'" . $self->pick('sad', 'ok', 'glad') . "'") },
		sub { "$i.mood > " . $self->value('mood', "'" . $self->pick('sad', 'ok') . "'") },
		sub { $self->distance($i) . ' < ' . $self->value('float8', $self->random(6)) },
		sub { "$i.emb IS NULL" },
		sub { "vector_dims($i.emb) = 4 AND l2_norm($i.emb) > " . $self->random(4) },
		sub { "own_function($i.id) = " . $self->random(3) },
		sub { "random() >= 0" },
		sub { "CASE WHEN $i.cat > 5 THEN $i.id % 2 = 0 ELSE $i.price > 40 END" },
		sub { "CASE WHEN $i.cat <> 0 THEN 10 / $i.cat > 2 END" },
		sub { "(" . $self->condition($i) . ' OR ' . $self->condition($i) . ')' },
		sub { 'NOT (' . $self->condition($i) . ')' },
		sub { "EXISTS (SELECT 1 FROM cats x WHERE x.cat = $i.cat AND x.name < 'm')" },
		sub { "$i.cat IN (SELECT x.cat FROM cats x WHERE x.weight > " . $self->random(8) . ')' },
		sub { "$i.cat > (SELECT min(x.cat) FROM cats x)" },
		sub { "$i.cat = (SELECT max(x.cat) FROM cats x WHERE x.weight < $i.price)" },
		sub { "$i.id IN (SELECT n * 7 FROM probes)" },
		sub { "EXISTS (SELECT 1 FROM probes WHERE n = " . $self->value('int', $self->random(9)) . ')' },
		sub { "($i.cat, $i.id) < (" . $self->value('int', $self->random(10)) . ', 500)' },
		sub { "nullif($i.cat, 3) = greatest(" . $self->value('int', $self->random(10)) . ', 2)' });

	return $self->pick(@kinds)->();
}

sub where
{
	my ($self, $i) = @_;
	my $n = $self->pick(0, 1, 1, 1, 2, 2, 3);
	return '' if $n == 0;
	return ' WHERE ' . join(' AND ', map { $self->condition($i) } 1 .. $n);
}

sub column
{
	my ($self, $i) = @_;
	return $self->pick(
		map({ "$i.$_" } qw(id cat title price day at tags doc code mood emb)),
		"$i.id + 1", "$i.title || '-' || $i.code", "1 - ($i.emb <=> '[1,2,3,4]')", "vector_dims($i.emb)",
		"$i.emb + $i.emb", "$i.day + 1", "$i.doc -> 'b'", "coalesce($i.cat, 0) * 2", "own_function($i.id)",
		"row($i.id, $i.mood)", "to_jsonb($i)", "$i", "cardinality($i.tags)",
		"(SELECT x.name FROM cats x WHERE x.cat = $i.cat)", "$i.tags || '{z}'", "$i.cat IS NULL");
}

sub columns
{
	my ($self, $i) = @_;
	return join ', ', map { $self->column($i) } 1 .. 1 + $self->random(4);
}

sub sort_key
{
	my ($self, $i) = @_;
	my $key = $self->pick(
		map({ "$i.$_" } qw(id cat title price day at code mood)), "$i.cat % 3", "lower($i.title)",
		"$i.title COLLATE \"C\"", "$i.doc ->> 'a'", "own_function($i.id)", "-$i.price", "$i.tags",
		"coalesce($i.cat, 5)", $self->distance($i), $self->distance($i));
	return $key . $self->pick('', '', ' DESC') . $self->pick('', '', ' NULLS FIRST', ' NULLS LAST');
}

sub limit
{
	my ($self) = @_;
	my $limit = $self->pick(
		' LIMIT ' . $self->value('bigint', 1 + $self->random(20)),
		' LIMIT ' . $self->value('bigint', $self->random(3)),
		' LIMIT (SELECT count(*) FROM probes)',
		' LIMIT ' . $self->value('bigint', 'NULL'),
		' LIMIT ' . $self->value('bigint', 10 + $self->random(2000)));
	$limit .= ' OFFSET ' . $self->value('bigint', $self->random(15)) if $self->chance(35);
	return $limit;
}

sub next
{
	my ($self) = @_;
	my %query = (check => 'rows', number => ++$self->{number});

	$self->{prepared} = $self->chance(50);
	$self->{types} = [];
	$self->{values} = [];

	my @kinds = (
		sub { 'SELECT ' . $self->columns('i') . ' FROM items i' . $self->where('i') },
		(sub {
			$query{check} = 'order';
			'SELECT ' . $self->columns('i') . ' FROM items i' . $self->where('i') . ' ORDER BY '
			  . join(', ', (map { $self->sort_key('i') } 0 .. $self->random(2)), 'i.id') . $self->limit;
		}) x 4,
		(sub {
			$query{check} = 'order';
			my $distance = $self->distance('i');
			'SELECT ' . $self->columns('i') . ", $distance FROM items i" . $self->where('i')
			  . " ORDER BY $distance, i.id" . $self->limit;
		}) x 4,
		(sub {
			$query{check} = 'ties';
			my $key = $self->pick($self->distance('i'), 'i.cat', 'i.mood', 'i.day');
			my $order = $self->pick('', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST');
			my $sql = "SELECT $key AS k, i.id FROM items i" . $self->where('i');
			$query{sql_all} = $sql;
			"$sql ORDER BY k$order" . $self->limit;
		}) x 3,
		sub {
			$query{check} = 'order';
			'SELECT ' . $self->columns('i') . ' FROM items i' . $self->where('i') . ' ORDER BY '
			  . $self->sort_key('i') . ', i.id';
		},
		sub {
			$query{check} = 'ties';
			my $sql = 'SELECT 1 AS k, i.id FROM items i' . $self->where('i');
			$query{sql_all} = $sql;
			$sql . $self->limit;
		},
		(sub {
			my $group = $self->pick('i.cat', 'i.mood', 'i.code', 'i.cat, i.mood', 'lower(i.title)');
			"SELECT $group, " . join(', ', map { $self->pick('count(*)', 'min(i.title)', 'max(i.price)',
				'sum(i.id)', 'count(DISTINCT i.cat)', 'bool_or(i.cat > 5)', 'max(i.at)', 'avg(i.price)',
				'array_agg(i.id ORDER BY i.id)', 'min(i.emb <-> \'[1,2,3,4]\')') } 1 .. 3)
			  . ' FROM items i' . $self->where('i') . " GROUP BY $group" . $self->pick('', ' HAVING count(*) > 20');
		}) x 2,
		sub { 'SELECT count(*), count(i.emb), sum(i.price) FROM items i' . $self->where('i') },
		(sub {
			'SELECT ' . $self->columns('i') . ', c.name FROM items i '
			  . $self->pick('JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN') . ' cats c ON i.cat = c.cat'
			  . $self->pick('', ' AND c.weight > 3') . $self->where('i');
		}) x 2,
		sub {
			'SELECT a.id, b.id FROM items a JOIN items b ON '
			  . $self->pick('a.id = b.id + 5', 'a.id = b.cat', 'a.id = b.id', 'a.cat = b.cat AND a.id < b.id AND b.id < 60')
			  . $self->where('a');
		},
		sub {
			'SELECT p.n, ' . $self->column('i') . ' FROM probes p JOIN items i ON i.id = p.n * '
			  . (1 + $self->random(50)) . $self->where('i');
		},
		(sub {
			'SELECT p.n, x.* FROM probes p, LATERAL (SELECT i.id, i.emb <-> p.v AS d, i.title FROM items i'
			  . $self->where('i') . ' ORDER BY i.emb <-> p.v, i.id' . $self->limit . ') x';
		}) x 3,
		sub {
			'SELECT p.n, x.id FROM probes p LEFT JOIN LATERAL (SELECT * FROM items i WHERE i.cat = p.n AND '
			  . $self->condition('i') . ') x ON true';
		},
		sub {
			'WITH near AS ' . $self->pick('', 'MATERIALIZED ')
			  . '(SELECT i.id, i.cat, i.emb FROM items i' . $self->where('i')
			  . ' ORDER BY ' . $self->distance('i') . ', i.id LIMIT 30) '
			  . 'SELECT n.cat, count(*), min(n.id) FROM near n LEFT JOIN cats c USING (cat) GROUP BY n.cat';
		},
		sub {
			'SELECT i.id, i.cat FROM items i' . $self->where('i')
			  . $self->pick(' UNION ', ' UNION ALL ', ' EXCEPT ', ' INTERSECT ')
			  . 'SELECT i.id, i.cat FROM items i' . $self->where('i');
		},
		sub {
			$query{check} = 'order';
			'SELECT * FROM ((SELECT i.id, i.price FROM items i ORDER BY ' . $self->distance('i')
			  . ', i.id LIMIT 7) UNION ALL (SELECT i.id, i.price FROM items i' . $self->where('i')
			  . ' ORDER BY i.price, i.id LIMIT 5)) u ORDER BY 1, 2 LIMIT 9';
		},
		sub { 'SELECT DISTINCT i.cat, i.mood FROM items i' . $self->where('i') },
		sub {
			$query{check} = 'order';
			'SELECT DISTINCT ON (i.cat) i.cat, i.id, i.title FROM items i' . $self->where('i')
			  . ' ORDER BY i.cat, i.price DESC, i.id' . $self->limit;
		},
		sub {
			$query{check} = 'order';
			'SELECT i.id, rank() OVER (PARTITION BY i.cat ORDER BY i.price, i.id) FROM items i'
			  . $self->where('i') . ' ORDER BY i.id' . $self->limit;
		},
		sub {
			$query{check} = 'order';
			'SELECT i.id, i.ctid IS NOT NULL, i.tableoid = to_regclass(\'items\') FROM items i'
			  . $self->where('i') . ' ORDER BY ' . $self->sort_key('i') . ', i.id' . $self->limit;
		},
		sub { 'SELECT generate_series(1, 2), i.id FROM items i WHERE i.id < 9 AND ' . $self->condition('i') },
		sub {
			"SELECT c.name, x.u, x.z FROM cats c LEFT JOIN (SELECT i.cat, upper(i.title) AS u, coalesce(i.price, 0) AS z FROM items i"
			  . $self->where('i') . ') x ON x.cat = c.cat AND c.weight < ' . $self->random(15);
		},
		sub { 'SELECT i.cat, i.mood, count(*) FROM items i' . $self->where('i') . ' GROUP BY GROUPING SETS ((i.cat), (i.mood), ())' },
		sub {
			'SELECT c.* FROM cats c WHERE c.cat IN (SELECT i.cat FROM items i' . $self->where('i')
			  . ' ORDER BY ' . $self->distance('i') . ', i.id' . $self->limit . ')';
		},
		sub {
			'SELECT c.name, (SELECT i.id FROM items i WHERE i.cat = c.cat AND ' . $self->condition('i')
			  . ' ORDER BY ' . $self->sort_key('i') . ', i.id LIMIT 1) FROM cats c';
		},
		sub {
			'SELECT i.id, y.id FROM items i LEFT JOIN LATERAL (SELECT x.id FROM items x WHERE x.cat = i.cat AND x.id < i.id '
			  . 'ORDER BY x.id DESC LIMIT ' . $self->value('bigint', 1 + $self->random(2)) . ') y ON true WHERE i.id < 30 AND ' . $self->condition('i');
		},
		sub {
			'SELECT a.cat, b.cat FROM (SELECT DISTINCT i.cat FROM items i' . $self->where('i')
			  . ') a FULL JOIN (SELECT i.cat, count(*) FROM items i' . $self->where('i') . ' GROUP BY i.cat) b ON a.cat = b.cat';
		});

	my $sql = $self->pick(@kinds)->();
	if (@{ $self->{types} })
	{
		$query{types} = join ', ', @{ $self->{types} };
		$query{values} = join ', ', @{ $self->{values} };
		$query{mode} = $self->pick(qw(auto force_generic_plan force_custom_plan));
	}
	$query{sql} = $sql;
	return \%query;
}

1;
