# Catalogs: what a database consists of, as text that two databases can be compared by: every row of
# every system catalog, with names in place of OIDs and without what the use of a table changes.
#
#	is_deeply(Catalogs::difference(Catalogs::rows($node, 'a'), Catalogs::rows($node, 'b')), [], 'equal');
package Catalogs;

use strict;
use warnings;

# Columns left out: they depend on when objects were made, not on what they are, or stand, as trees with
# OIDs inside, in another column below.
my %without = (
	pg_class => [qw(oid relfilenode relpages reltuples relallvisible relallfrozen relfrozenxid relminmxid)],
	pg_rewrite => [qw(oid ev_qual ev_action)],
	pg_attrdef => [qw(oid adbin)],
	pg_constraint => [qw(oid conbin)],
	pg_index => [qw(indexprs indpred)],
	pg_trigger => [qw(oid tgqual)],
	pg_policy => [qw(oid polqual polwithcheck)],
	pg_proc => [qw(oid proargdefaults prosqlbody)],
	pg_type => [qw(oid typdefaultbin)],
	pg_database => undef, pg_statistic => undef, pg_largeobject => undef,
	pg_depend => undef, pg_shdepend => undef, pg_description => undef, pg_shdescription => undef,
	pg_init_privs => undef, pg_seclabel => undef, pg_shseclabel => undef);

# And what shows it instead, of a row c.
my %with = (
	pg_rewrite => q{'rule', pg_get_ruledef(c.oid)},
	pg_attrdef => q{'default', pg_get_expr(c.adbin, c.adrelid)},
	pg_constraint => q{'constraint', pg_get_constraintdef(c.oid)},
	pg_index => q{'index', pg_get_indexdef(c.indexrelid)},
	pg_trigger => q{'trigger', pg_get_triggerdef(c.oid)},
	pg_policy => q{'policy', pg_get_expr(c.polqual, c.polrelid) || pg_get_expr(c.polwithcheck, c.polrelid)},
	pg_proc => q{'arguments', pg_get_function_arguments(c.oid), 'body', pg_get_function_sqlbody(c.oid)});

# An object's name. Types and schemas of PostgreSQL's own are of no interest and many.
sub described
{
	my ($class, $object, $sub) = @_;
	return "CASE WHEN $object = 0 THEN '' ELSE coalesce(pg_describe_object($class, $object, $sub), $object\::text) END";
}

# Rows of a database, each a text, ascending.
sub rows
{
	my ($node, $db) = @_;
	my %references;
	foreach (split /\n/, $node->safe_psql($db, q{SELECT fktable, fkcols[1], pktable, is_array
		FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1 AND pkcols = '{oid}'}))
	{
		my ($table, $column, $to, $is_array) = split /\|/;
		$references{$table}{$column} = [ $to, $is_array eq 't' ];
	}
	my @queries;
	foreach my $table (split /\n/, $node->safe_psql($db,
		q{SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' ORDER BY 1}))
	{
		next if exists $without{$table} && !defined $without{$table};
		my @pairs;
		foreach my $column (sort keys %{ $references{$table} // {} })
		{
			my ($to, $is_array) = @{ $references{$table}{$column} };
			push @pairs, "'$column', " . ($is_array
				? "(SELECT array_agg(" . described("'$to'::regclass", 'x', 0) . " ORDER BY n) FROM unnest(c.$column\::oid[]) WITH ORDINALITY u(x, n))"
				: described("'$to'::regclass", "c.$column", 0));
		}
		push @pairs, $with{$table} if $with{$table};
		push @queries, "SELECT '$table ' || (to_jsonb(c) - '{" . join(',', @{ $without{$table} // ['oid'] })
		  . "}'::text[] || jsonb_build_object(" . join(', ', @pairs) . "))::text FROM $table c";
	}
	my $object = described('classid', 'objid', 'objsubid');
	push @queries,
	  "SELECT concat_ws(' ', 'pg_depend', $object, deptype, '->', " . described('refclassid', 'refobjid', 'refobjsubid') . ') FROM pg_depend',
	  "SELECT concat_ws(' ', 'pg_description', $object, description) FROM pg_description",
	  "SELECT concat_ws(' ', 'pg_init_privs', " . described('classoid', 'objoid', 'objsubid') . ', privtype, initprivs) FROM pg_init_privs';
	$queries[-2] =~ s/classid/classoid/g;
	$queries[-2] =~ s/objid/objoid/g;

	# Names with an OID inside are of toast tables, foreign keys' triggers and the like; some minor releases
	# note a version of their own in the columns of views.
	my $text = $node->safe_psql($db, "SET search_path = pg_catalog;\n" . join ";\n", @queries);
	return [ sort map { s/\b(pg_toast_|ConstraintTrigger_[ac]_|pg_attver=)\d+/$1N/gr } split /\n/, $text ];
}

# Rows that only one of two databases has, the first's with -, the second's with +.
sub difference
{
	my ($first, $second) = @_;
	my %count;
	$count{$_}-- foreach @$first;
	$count{$_}++ foreach @$second;
	return [ map { ($count{$_} < 0 ? '- ' : '+ ') . $_ } sort grep { $count{$_} != 0 } keys %count ];
}

1;
