# Every kind of type, odd names, and the settings that change how values look: reads of a distributed
# table give what a local copy gives.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use VdistCluster;

my $cluster = VdistCluster->new(shards => 3);

my $types = <<'EOSQL';
create schema "Odd";
create type "Odd".col as enum ('z','a','m');
create domain "Odd".posint as int check (value > 0);
create type "Odd".pair as (a int, d date, t text);
EOSQL
foreach my $node ($cluster->coordinator, map { $cluster->shard($_) } 1 .. $cluster->shards)
{
	$node->safe_psql('postgres', $types);
}

$cluster->sql(<<'EOSQL');
create table "Odd"."Weird ""T"(id uuid primary key, "select" int,
	"A b" text, c "Odd".col, ca "Odd".col[], dom "Odd".posint, p "Odd".pair, pa "Odd".pair[], r int4range, dr daterange, mr int4multirange,
	bp char(5), ch "char", nm name, b bit(3), vb varbit,
	iv interval, tt time, ttz timetz, ip inet, ba bytea, f4 float4, f8 float8, rc regclass, js json, xi xid, vc varchar(10),
	ts timestamp, va vector(2)[], o oid, tv tsvector, pt point, m macaddr, bo bool, num numeric, g int generated always as ("select" * 2) stored);
insert into "Odd"."Weird ""T"
select md5(i::text)::uuid, i, 'A'||i%5, (array['z','a','m'])[1+i%3]::"Odd".col, array['z','m']::"Odd".col[], 1+i%9, row(i, date '2020-02-03'+i, 'q,"'||i)::"Odd".pair, array[row(i, null, 'x')::"Odd".pair],
	int4range(i,i+5), daterange('2020-01-01', date '2020-01-01'+i), int4multirange(int4range(i,i+2),int4range(i+10,i+12)), 'b'||i%3,
	chr(97+i%5)::"char", 'n'||i, (i%8)::bit(3), (i%8)::bit(5)::varbit, i*interval '1 day 2 hours', time '01:02'+i*interval '1 min', '01:02+03', ('10.0.0.'||i)::inet,
	decode(md5(i::text),'hex'), i/3.0, i/7.0,
	'pg_class', '{"a":1}', '5', 'v'||i%4, timestamp '2020-01-01'+i*interval '1h', array['[1,2]']::vector(2)[],
	i, to_tsvector('english','cats and dogs '||i), point(i,i), '08:00:2b:01:02:03', i%2=0, case i when 1 then 'NaN' when 2 then 'Infinity' else i/3.0 end
from generate_series(1,60) i;
create table plain as select * from "Odd"."Weird ""T";
EOSQL
$cluster->sql(q{SELECT vdist.create_distributed_table('"Odd"."Weird ""T"', 'id')});

# T stands for the table.
my @queries = split /\n/, <<'EOSQL';
select count(*), (select count(*) from (select * from T) x) from T
select * from T order by "select"
select * from T order by c, id limit 4
select p, pa, va, ca, rc from T order by "select" desc limit 3
select "select", g from T where c = 'a' and c > 'z' order by id
select "select" from T where ca @> '{z}' order by 1 limit 2
select "select" from T where dom = 3 order by 1
select "select" from T where dom = 3::"Odd".posint order by 1
select "select" from T where p = row(3,'2020-02-06','q,"3')::"Odd".pair
select "select" from T where (p).a = 4
select "select" from T where r @> 7 order by 1
select "select" from T where r && int4range(3,5) order by 1
select "select" from T where mr @> 12 order by 1
select "select" from T where bp = 'b1' order by 1 limit 3
select "select" from T where bp = 'b1   '::char(7) order by bp, 1 limit 3
select "select" from T where ch = 'c' order by 1 limit 3
select "select" from T where nm = 'n7'
select nm, "select" from T order by nm desc limit 3
select "select" from T where b = B'101' order by 1 limit 3
select "select" from T where iv > interval '50 days' order by iv
select "select", iv, tt, ttz, ts from T order by iv desc limit 2
select "select" from T where ip << '10.0.0.0/29' order by ip
select "select" from T where ba = decode(md5('5'),'hex')
select f4, f8, num from T order by num desc nulls first, f8 limit 5
select "select" from T where num = 'NaN'
select "select" from T where f4 > 3.3 and f8 < 4 order by f4
select "select" from T where rc = 'pg_class'::regclass order by 1 limit 2
select "select" from T where rc::text = 'pg_class' order by 1 limit 2
select "select" from T where js->>'a' = '1' order by 1 limit 2
select "select" from T where vc = 'v1' order by vc, "select" limit 2
select vc from T where vc like 'v%' order by vc desc, "select" limit 2
select "select" from T where ts > '03/01/2020 04:00' order by ts
select "select" from T where tv @@ to_tsquery('english', 'dog & 7')
select "select" from T where tv @@ 'dog' order by "select" limit 1
select "select" from T where to_tsvector('english', "A b") @@ to_tsquery('english','A2') order by 1 limit 2
select "select" from T where pt <-> point(3,3) < 2 order by pt <-> point(3,3), 1
select "select" from T order by pt <-> point(7,7), 1 limit 4
select "select" from T where bo order by 1 limit 2
select "select" from T where bo is not true order by 1 limit 2
select "select" from T where id = md5('9')::uuid
select "select" from T where id = any(array[md5('9')::uuid, md5('11')::uuid, null]) order by 1
select "select" from T where id::text = md5('9')::uuid::text
select "select" from T where "A b" in ('A1','A2') and "select" < 8 order by 1
select "select" from T where "A b" ~ '^A[12]' and "A b" !~* 'a1' order by 1 limit 3
select "select" from T where "A b" ilike 'a1' order by 1 limit 2
select "select" from T where overlay("A b" placing 'x' from 1 for 1) = 'x1' order by 1 limit 2
select "select" from T where substring("A b" from 2) = '1' and position('A' in "A b") = 1 order by 1 limit 2
select "select" from T where extract(hour from ts) = 3 order by 1 limit 2
select "select" from T where date_trunc('day', ts) = '2020-01-02' order by 1 limit 2
select "select" from T where ts at time zone 'UTC' > '2020-01-03 00:00+00' order by 1 limit 2
select "select" from T where ts::date = '02/01/2020' order by 1 limit 2
select "select" from T where to_char(ts, 'HH24') = '05' order by 1 limit 2
select "select" from T where ("select", "A b") in ((1,'A1'),(2,'A2')) order by 1
select "select" from T where "select" between symmetric 5 and 3 order by 1
select "select" from T where "select" % 2 = 1 and not ("select" > 4) order by 1
select "select" from T where xi = '5' order by 1 limit 1
select "select" from T where o = 7
select c, count(*) from T group by c order by c
select max(c), min(vc), max(ip), min(iv) from T
select length(string_agg(vc, ',' order by "select")) from T
select x."select" from T x where exists (select from T y where y."select" = x."select" + 1 and y.c = 'a') order by 1 limit 3
select "select" from T where md5("A b") = md5('A3') order by 1 limit 2
select array_agg("select" order by "select") from T where "select" = any(array[1,2])
select "select" from T where ca[1] = 'z' and array_length(ca,1) = 2 order by 1 limit 2
select "select" from T where va[1] <-> '[1,2]' = 0 order by 1 limit 2
select t from T t where id = md5('9')::uuid
select row_to_json(t)->>'c' from T t order by "select" limit 2
select t.ctid is null, t.tableoid = 'T'::regclass from T t order by "select" limit 1
with recursive q(n) as (select 1 union all select n+1 from q where n < 5) select q.n, (select max("select") from T where "select" <= q.n * 3) from q
select "select" from T where "select" > all(select 55) order by 1
select coalesce(nullif("A b",'A1'),'none'), case "A b" when 'A1' then 1 when 'A2' then 2 end from T order by "select" limit 5
select "select" from T where case "A b" when 'A1' then true when 'A2' then "select" > 10 end order by 1 limit 5
select "select" from T where greatest("select", 58) = least("select", 100) order by 1
select "select" from T where "A b" || c::text = 'A1z' order by 1 limit 3
select "select" from T where concat("A b", vc) = 'A1v1' order by 1 limit 3
select "select" from T where num::text = 'NaN'
select "select" from T where "select"::text = '7'
select "select" from T where xmlserialize(content xmlparse(content '<a/>') as text) = '<a/>' order by 1 limit 1
select "select" from T where current_date > ts::date order by 1 limit 1
select "select" from T where "A b" = current_user || 'x'
select "select" from T order by "A b" collate "C" desc, "select" limit 2
select "select" from T order by "A b" using ~<~, "select" limit 2
select distinct c from T order by c
select "select" from T where "A b" similar to 'A(1|2)' order by 1 limit 2
select "select" from T where (num > 5) is distinct from (f8 > 1) order by 1
select "select" from T where "A b" = any(array['A1',null]) order by "select" limit 2
select "select" from T where "select" = 3 or ("select" = 5 and bo is false) order by 1
select "select" from T fetch first 0 rows only
EOSQL

# Not every server is built with libxml.
@queries = grep { !/xmlparse/ } @queries if $cluster->coordinator->psql('postgres', q{SELECT xmlparse(content '<a/>')}) != 0;

foreach my $settings ('SET plan_cache_mode = auto',
	"SET datestyle = 'SQL, DMY'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 0; SET bytea_output = 'escape'; SET timezone = 'Asia/Kolkata'")
{
	my %answer;
	foreach my $table ('plain', '"Odd"."Weird ""T"')
	{
		my $script = "\\set VERBOSITY sqlstate\nSET client_min_messages = error;\n$settings;\n";
		foreach my $i (0 .. $#queries)
		{
			my $sql = $queries[$i] =~ s/\bT\b/$table/gr;
			$script .= "\\echo \@\@ $i\n$sql;\n\\echo :SQLSTATE\n";
		}
		my $out = '';
		$cluster->coordinator->psql('postgres', $script, stdout => \$out, on_error_stop => 0);
		foreach my $part (split /^\@\@ /m, $out)
		{
			my ($i, $rest) = split /\n/, $part, 2;
			$answer{$table}[$i] = $rest if $i =~ /^\d+$/;
		}
	}
	foreach my $i (0 .. $#queries)
	{
		my ($expected, $got) = map { $answer{$_}[$i] } 'plain', '"Odd"."Weird ""T"';
		is($got, $expected, $queries[$i]);
	}
	my @failed = grep { $answer{plain}[$_] !~ /^00000$/m } 0 .. $#queries;
	is("@failed", '', 'every query has an answer') or diag $queries[$_] foreach @failed;
}

done_testing();
