# Writes to distributed tables: every statement runs on the distributed table and on a local copy,
# and both must hold the same rows, report the same counts and return the same rows.
use strict;
use warnings;

use Test::More;
use VdistCluster;

my $cluster = VdistCluster->new(shards => 3);

# Types that cross in binary, as text, and by name of an object; a generated and an identity column.
$cluster->sql(q{
	CREATE TABLE t (id bigint PRIMARY KEY, name text, n int DEFAULT 7 CHECK (n < 1000000),
		e vector(3), tags text[], j jsonb, at timestamptz, span interval, f float8, c regclass,
		r int4range, twice int GENERATED ALWAYS AS (n * 2) STORED, "odd ""name" varchar(10));
	CREATE TABLE l (LIKE t INCLUDING ALL);
	SELECT vdist.create_distributed_table('t', 'id');
});

# Run on both; %T is the table. What psql prints (rows and command tags) must be the same, and the
# rows of both tables afterwards.
sub both
{
	my ($name, $sql) = @_;
	my @outputs;
	foreach my $table ('t', 'l')
	{
		(my $text = $sql) =~ s/%T/$table/g;
		my ($out, $err) = ('', '');
		$cluster->coordinator->psql('postgres', "\\set QUIET off\n$text", stdout => \$out,
			stderr => \$err, on_error_stop => 0);
		push @outputs, $out . ($err =~ /ERROR:/ ? 'ERROR' : '');
	}
	is($outputs[0], $outputs[1], "$name: same answer");
	my $same = $cluster->sql(q{
		SELECT count(*) FROM ((TABLE t EXCEPT ALL TABLE l) UNION ALL (TABLE l EXCEPT ALL TABLE t)) x});
	is($same, '0', "$name: same rows");
	return $outputs[0];
}

both('one row', q{INSERT INTO %T (id, name) VALUES (1, 'one')});
both('all types', q{INSERT INTO %T VALUES (2, E'tab\tnl\n\\\\N"', 5, '[1,2,3]', '{a,"b,c",NULL}',
	'{"a": [1, null]}', '2024-02-29 12:34:56.789+02', '1 year 2 days 03:04:05', 1e-300, 'pg_class',
	'[1,5)', DEFAULT, 'x')});
both('nulls', q{INSERT INTO %T (id) VALUES (3), (4), (5)});
both('many rows', q{INSERT INTO %T (id, name, n, e)
	SELECT g, 'row ' || g, g, ARRAY[g, g + 1, g + 2]::vector FROM generate_series(10, 3000) g});
both('returning', q{INSERT INTO %T (id, name) VALUES (4001, 'a'), (4002, 'b')
	RETURNING id, name, n, twice, e});
both('nothing at all', q{INSERT INTO %T (id) SELECT g FROM generate_series(1, 0) g});
both('duplicate key', q{INSERT INTO %T (id) VALUES (10)});
both('duplicate key among many', q{INSERT INTO %T (id) SELECT g FROM generate_series(2990, 9000) g});
both('check constraint', q{INSERT INTO %T (id, n) SELECT g, g FROM generate_series(999990, 1000010) g});
both('on conflict do nothing',
	q{INSERT INTO %T (id, name) SELECT g, 'conflict' FROM generate_series(2995, 3005) g
	ON CONFLICT DO NOTHING});
both('on conflict do nothing, returning', q{WITH x AS (INSERT INTO %T (id, name)
	SELECT g, 'conflict' FROM generate_series(3000, 3010) g ON CONFLICT DO NOTHING RETURNING id)
	SELECT count(*), min(id), max(id) FROM x});
both('default values in a list', q{INSERT INTO %T VALUES (4100, DEFAULT, DEFAULT), (4101, 'x', NULL)});
both('from itself', q{INSERT INTO %T (id, name, e) SELECT id + 100000, name, e FROM %T});
both('session settings do not matter', q{SET datestyle = 'SQL, DMY'; SET intervalstyle = iso_8601;
	SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -5; SET bytea_output = escape;
	INSERT INTO %T (id, at, span, f, c) VALUES (5000, '01/02/2023 03:04', 'P1Y', 1.0/3, 't')});
both('too long', q{INSERT INTO %T (id, "odd ""name") VALUES (5001, 'much too long for ten')});
both('too long, cut', q{INSERT INTO %T (id, "odd ""name") VALUES (5001, 'blanks            ')});

both('update by key', q{UPDATE %T SET name = 'changed' WHERE id = 20});
both('update by key, returning', q{UPDATE %T SET n = n + 1, tags = '{x}' WHERE id = 20
	RETURNING id, n, twice, tags});
both('update many', q{UPDATE %T SET n = n + 1, e = e + '[1,1,1]' WHERE id BETWEEN 100 AND 900});
both('update none', q{UPDATE %T SET n = 0 WHERE id = -1});
both('update, local condition', q{UPDATE %T SET n = n + 1
	WHERE id % 10 = 3 AND random() < 2 AND id < 1000});
both('update, local value', q{UPDATE %T SET name = upper(name) || (random() * 0)::int
	WHERE id BETWEEN 1000 AND 1500});
both('update, join', q{UPDATE %T SET name = 'j' || v.x FROM (VALUES (30, 1), (31, 2)) v(id, x)
	WHERE %T.id = v.id});
both('update, join with several matches', q{UPDATE %T SET name = 'several'
	FROM (VALUES (30), (30), (31)) v(id) WHERE %T.id = v.id});
both('update, join, returning', q{WITH u AS (UPDATE %T SET n = v.x
	FROM (VALUES (30, 1), (31, 2)) v(id, x) WHERE %T.id = v.id RETURNING %T.id, n, v.x, name)
	SELECT * FROM u ORDER BY id});
both('update, subquery', q{UPDATE %T SET n = (SELECT count(*) FROM %T) WHERE id < 30});
both('update, division by zero', q{UPDATE %T SET n = 1 / (id - 500) WHERE id BETWEEN 490 AND 510});
both('update, key to itself', q{UPDATE %T SET id = id, name = 'self' WHERE id = 40 RETURNING id, name});
both('update, default', q{UPDATE %T SET n = DEFAULT, name = DEFAULT WHERE id < 15});
both('update, quoted column', q{UPDATE %T SET "odd ""name" = 'q' WHERE id = 41 RETURNING "odd ""name"});
both('update, not null', q{UPDATE %T SET id = NULL WHERE id = 40});
both('update, check', q{UPDATE %T SET n = 2000000 WHERE id = 40});

both('delete by key', q{DELETE FROM %T WHERE id = 50});
both('delete, returning', q{DELETE FROM %T WHERE id = 51 RETURNING *});
both('delete range', q{DELETE FROM %T WHERE id BETWEEN 60 AND 80});
both('delete, local condition', q{DELETE FROM %T WHERE id BETWEEN 81 AND 90 AND random() < 2});
both('delete, join', q{DELETE FROM %T USING (VALUES (91), (92), (92)) v(id) WHERE %T.id = v.id});
both('delete, join, returning', q{WITH d AS (DELETE FROM %T USING (VALUES (93), (94)) v(id)
	WHERE %T.id = v.id RETURNING %T.id, name, e) SELECT * FROM d ORDER BY id});

both('rollback', q{BEGIN; INSERT INTO %T (id) SELECT g FROM generate_series(7000, 7999) g;
	UPDATE %T SET n = 1 WHERE id < 200; DELETE FROM %T WHERE id < 20; SELECT count(*) FROM %T;
	ROLLBACK});
both('own writes are seen', q{BEGIN; INSERT INTO %T (id, n) SELECT g, 1 FROM generate_series(7000, 7999) g;
	SELECT count(*), sum(n) FROM %T WHERE id >= 7000 AND id < 8000; COMMIT});
both('savepoints', q{BEGIN;
	INSERT INTO %T (id) VALUES (8001); SAVEPOINT a; INSERT INTO %T (id) VALUES (8002);
	SAVEPOINT b; INSERT INTO %T (id) VALUES (8003); ROLLBACK TO a; INSERT INTO %T (id) VALUES (8004);
	RELEASE a; SAVEPOINT a; INSERT INTO %T (id) VALUES (8005); RELEASE a; SAVEPOINT a;
	INSERT INTO %T (id) VALUES (8006); ROLLBACK TO a; SELECT count(*) FROM %T WHERE id > 8000 AND id < 9000;
	COMMIT});
both('error inside a savepoint', q{BEGIN; INSERT INTO %T (id) VALUES (8101); SAVEPOINT a;
	INSERT INTO %T (id) SELECT g FROM generate_series(8102, 7990, -1) g; ROLLBACK TO a;
	INSERT INTO %T (id) VALUES (8103); COMMIT});
both('exceptions in a loop', q{DO $$ BEGIN FOR i IN 1..30 LOOP BEGIN
	INSERT INTO %T (id) VALUES (8200 + i % 10); EXCEPTION WHEN unique_violation THEN
	UPDATE %T SET n = n + 1 WHERE id = 8200 + i % 10; END; END LOOP; END $$});
both('nested savepoints that end well', q{DO $$ BEGIN
	BEGIN INSERT INTO %T (id) VALUES (8301);
		BEGIN INSERT INTO %T (id) VALUES (8302); EXCEPTION WHEN division_by_zero THEN NULL; END;
		PERFORM 1/0;
	EXCEPTION WHEN division_by_zero THEN INSERT INTO %T (id) VALUES (8303); END; END $$});
both('repeatable read', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM %T;
	INSERT INTO %T (id) VALUES (8401); SELECT count(*) FROM %T; COMMIT});
both('serializable', q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(n) FROM %T;
	UPDATE %T SET n = n + 1 WHERE id = 8401; COMMIT});
both('read only', q{BEGIN READ ONLY; SELECT count(*) FROM %T; INSERT INTO %T (id) VALUES (8402); COMMIT});
both('cursor with writes between', q{BEGIN; DECLARE c CURSOR FOR SELECT id, n FROM %T WHERE id < 3000 ORDER BY id;
	FETCH 3 FROM c; UPDATE %T SET n = 0 WHERE id < 100; FETCH 3 FROM c;
	INSERT INTO %T (id) VALUES (8501); FETCH 3 FROM c; CLOSE c; SELECT sum(n) FROM %T; COMMIT});
both('cursor held over the end', q{BEGIN; INSERT INTO %T (id) VALUES (8502);
	DECLARE c CURSOR WITH HOLD FOR SELECT id FROM %T WHERE id > 8400 AND id < 9000 ORDER BY id; COMMIT;
	DELETE FROM %T WHERE id = 8502; FETCH ALL FROM c; CLOSE c});
both('cursor left open at a rollback', q{BEGIN; SAVEPOINT a;
	DECLARE c CURSOR FOR SELECT id FROM %T; FETCH 1 FROM c \gset
	ROLLBACK TO a; SELECT count(*) FROM %T; COMMIT});
# Rows that a cursor still streams are read away, to disk, when a statement needs the connection.
$cluster->sql(q{INSERT INTO t (id, name) SELECT g, repeat('wide', 50) || g FROM generate_series(200000, 230000) g;
	INSERT INTO l (id, name) SELECT g, repeat('wide', 50) || g FROM generate_series(200000, 230000) g});
both('cursor read away to disk', q{SET work_mem = '64kB'; BEGIN;
	CREATE TEMP TABLE got AS SELECT * FROM %T LIMIT 0;
	DO $$ DECLARE c refcursor := 'c'; r record; i int := 0; BEGIN
		OPEN c FOR SELECT * FROM %T;
		LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; i := i + 1; INSERT INTO got SELECT r.*;
			IF i = 10 THEN UPDATE %T SET n = 3 WHERE id = 200000; END IF;
		END LOOP; END $$;
	SELECT count(*), count(DISTINCT id), sum(length(name)), sum(id), min(n) FROM got WHERE id <> 200000; COMMIT});
both('insert from itself, to disk', q{SET work_mem = '64kB';
	INSERT INTO %T (id, name, tags) SELECT id + 100000, name, tags FROM %T WHERE id >= 200000});
both('cursor closed early between writes', q{BEGIN; UPDATE %T SET n = n + 1 WHERE id = 200001;
	DECLARE c CURSOR FOR SELECT 1 AS one FROM %T; FETCH 1 FROM c; CLOSE c;
	SAVEPOINT a; DECLARE c CURSOR FOR SELECT 1 AS one FROM %T; FETCH 1 FROM c;
	UPDATE %T SET n = n + 1 WHERE id = 200002; FETCH 1 FROM c; RELEASE a; FETCH 1 FROM c; CLOSE c;
	SAVEPOINT a; DECLARE c CURSOR FOR SELECT 1 AS one FROM %T; FETCH 1 FROM c; RELEASE a; CLOSE c;
	UPDATE %T SET n = n + 1 WHERE id = 200003; COMMIT});
both('cleaning up', q{DELETE FROM %T WHERE id >= 200000});
both('writes in WITH', q{WITH d AS (DELETE FROM %T WHERE id BETWEEN 600 AND 650 RETURNING id, n),
	i AS (INSERT INTO %T (id, n) SELECT id + 50000, n FROM d RETURNING id)
	SELECT (SELECT count(*) FROM d), (SELECT sum(id) FROM i)});
both('prepared', q{PREPARE p AS UPDATE %T SET n = $2, e = $3 WHERE id = $1;
	EXECUTE p(700, 1, '[1,1,1]'); EXECUTE p(701, 2, '[1,1,1]'); EXECUTE p(702, 3, NULL);
	EXECUTE p(703, 1, '[1,1,1]'); EXECUTE p(704, 2, '[1,1,1]'); EXECUTE p(705, 3, NULL);
	EXECUTE p(706, 1, '[1,1,1]'); EXECUTE p(NULL, 2, '[1,1,1]'); EXECUTE p(-1, 3, NULL)});

# Triggers of the foreign table run here, and see what was written before.
$cluster->sql(q{
	CREATE TABLE log (what text);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO log VALUES (TG_OP || ' ' || TG_WHEN || ' ' || coalesce(OLD.n::text, '-') || ' ' ||
			CASE WHEN TG_OP = 'DELETE' THEN '-' ELSE NEW.n::text || ' ' || NEW.id END);
		IF TG_WHEN = 'BEFORE' AND TG_OP <> 'DELETE' THEN NEW.name := NEW.name || '!'; END IF;
		RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END $$;
	CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON l FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON l FOR EACH ROW EXECUTE FUNCTION note();
});
both('triggers', q{TRUNCATE log; INSERT INTO %T (id, name) VALUES (9001, 'a'), (9002, 'b');
	UPDATE %T SET n = n + 1 WHERE id IN (9001, 9002); DELETE FROM %T WHERE id = 9001;
	SELECT * FROM log ORDER BY 1});
$cluster->sql('DROP TRIGGER a ON t; DROP TRIGGER b ON t; DROP TRIGGER a ON l; DROP TRIGGER b ON l');

# Views with CHECK OPTION.
$cluster->sql(q{CREATE VIEW tv AS SELECT * FROM t WHERE n < 100 WITH CHECK OPTION;
	CREATE VIEW lv AS SELECT * FROM l WHERE n < 100 WITH CHECK OPTION});
both('check option kept', q{INSERT INTO %Tv (id, n) VALUES (9101, 50)});
both('check option violated', q{INSERT INTO %Tv (id, n) VALUES (9102, 500)});
both('check option, update', q{UPDATE %Tv SET n = 500 WHERE id = 9101});

# COPY.
sub copy_both
{
	my ($name, $columns, $data, $options) = @_;
	my $file = $cluster->coordinator->data_dir . '/rows.txt';
	open my $fh, '>', $file or die;
	print $fh $data;
	close $fh;
	return both($name, "COPY %T ($columns) FROM '$file'" . ($options // ''));
}
copy_both('copy', 'id, name, e', join('', map { "$_\tname $_\t[$_,0,0]\n" } 20000 .. 29999));
copy_both('copy csv', 'id, name', "30000,\"a,b\"\n30001,\n", ' (FORMAT csv)');
copy_both('copy, bad line', 'id, name', "31000\tx\nbad\tx\n");
copy_both('copy, duplicate key late', 'id', join('', map { "$_\n" } 32000 .. 39999, 20005));
copy_both('copy, duplicate key early', 'id', join('', map { "$_\n" } 20005, 40000 .. 60000));
copy_both('copy, condition', 'id, name', "41000\ta\n41001\tb\n", ' WHERE name = $$b$$');
copy_both('copy, nothing', 'id', '');

# What only the distributed table says.
my ($rc, $out, $err) = $cluster->try(q{INSERT INTO t (name) VALUES ('no key')});
like($err, qr/23502.*null value in distribution column "id" of table "t".*HINT/s, 'a key is needed');
($rc, $out, $err) = $cluster->try(q{UPDATE t SET id = id + 1 WHERE id BETWEEN 1 AND 1000});
like($err, qr/0A000.*cannot move a row of table "t" to another shard by UPDATE.*HINT/s,
	'rows do not move by UPDATE');
($rc, $out, $err) = $cluster->try(q{INSERT INTO t (id) VALUES (10)});
like($err, qr/23505.*duplicate key.*DETAIL:.*CONTEXT:  shard "shard\d", remote SQL: INSERT/s,
	"a shard's error comes with SQLSTATE, detail, shard and statement");
($rc, $out, $err) = $cluster->try(q{BEGIN; INSERT INTO t (id) VALUES (-5); PREPARE TRANSACTION 'p'});
like($err, qr/0A000.*cannot PREPARE a transaction that has written to shards/, 'no PREPARE after writes');
is($cluster->sql('SELECT count(*) FROM t WHERE id = -5'), '0', 'and nothing is left of it');
($rc, $out, $err) = $cluster->try(q{BEGIN; SELECT count(*) FROM t; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'});
is($rc, 0, 'PREPARE after reads');

# Deferred constraints fail at COMMIT, on the shard: all or nothing when one shard wrote.
$cluster->sql(q{CREATE TABLE d (id int NOT NULL, x int, UNIQUE (id, x) DEFERRABLE INITIALLY DEFERRED);
	SELECT vdist.create_distributed_table('d', 'id')});
($rc, $out, $err) = $cluster->try(q{BEGIN; INSERT INTO d VALUES (1, 1); INSERT INTO d VALUES (1, 1); COMMIT});
like($err, qr/23505.*duplicate key.*Rolled back on/s, 'a shard that refuses to commit');
is($cluster->sql('SELECT count(*) FROM d'), '0', 'leaves nothing');

$cluster->sql(q{CREATE TABLE s (id bigint NOT NULL, b bigint GENERATED BY DEFAULT AS IDENTITY);
	SELECT vdist.create_distributed_table('s', 'id'); INSERT INTO s VALUES (1), (2), (3)});

# Settings that matter on the shards go there when they change, also back at a rollback.
$cluster->sql_on($_, q{CREATE FUNCTION note_settings() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN NEW.b := current_setting('vdist.hnsw_ef_search')::int; RETURN NEW; END $$;
	CREATE TRIGGER note BEFORE UPDATE ON s FOR EACH ROW EXECUTE FUNCTION note_settings()}) foreach 1 .. 3;
my $noted = 'UPDATE s SET b = 0 WHERE id < 10 RETURNING b';
is($cluster->sql(qq{SET vdist.hnsw_ef_search = 77; $noted; SET vdist.hnsw_ef_search = 78; $noted;
	BEGIN; SET LOCAL vdist.hnsw_ef_search = 79; $noted; ROLLBACK; $noted;
	BEGIN; $noted; SAVEPOINT a; SET LOCAL vdist.hnsw_ef_search = 80; $noted; ROLLBACK TO a; $noted; COMMIT;
	RESET vdist.hnsw_ef_search; $noted}),
	join("\n", map { ($_) x 3 } 77, 78, 79, 78, 78, 80, 78, 40), 'settings follow');
$cluster->sql_on($_, 'DROP TRIGGER note ON s') foreach 1 .. 3;
my $locker = $cluster->session;
$locker->query_safe('BEGIN; UPDATE s SET b = 1 WHERE id = 1');
($rc, $out, $err) = $cluster->try('SET lock_timeout = 200; UPDATE s SET b = 2 WHERE id = 1');
like($err, qr/ERROR:  55P03: canceling statement due to lock timeout/, 'lock_timeout');
$locker->quit;

# EXPLAIN: the statement for the shards, which were asked, no values.
my $plan = $cluster->sql(q{EXPLAIN (ANALYZE, VERBOSE) UPDATE s SET b = 123456 WHERE id = 2});
like($plan, qr/Remote SQL: UPDATE public.s SET b = \(\$1\)::\w+ WHERE/, 'EXPLAIN of a direct UPDATE');
is(scalar(() = $plan =~ /Shard shard\d: rows=1 time=[\d.]+ ms/g), 1, 'one shard has changed a row');
is(scalar(() = $plan =~ /Shard shard\d: not asked/g), 2, 'the others were not asked');
unlike($plan, qr/123456/, 'no value in EXPLAIN');
like($cluster->sql(q{EXPLAIN (VERBOSE) DELETE FROM s WHERE random() < 2}),
	qr/Remote SQL: DELETE FROM public.s WHERE ctid = \$1.*Remote SQL: SELECT .* FOR UPDATE/s,
	'EXPLAIN of a DELETE row by row');

# TRUNCATE.
$cluster->sql('BEGIN; TRUNCATE t, s; ROLLBACK');
is($cluster->sql('SELECT count(*) FROM s'), '3', 'TRUNCATE is rolled back');
both('truncate', 'TRUNCATE %T RESTART IDENTITY');
is($cluster->sql('SELECT count(*) FROM t'), '0', 'truncated');

done_testing();
