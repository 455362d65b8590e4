-- The ring, slots of keys, and the catalogs' own checks; no shard needs to exist.

-- Even, whatever the number of shards: loads differ by one at most.
SELECT n, min(c), max(c), max(c) - min(c) <= 1 AS even, count(*) = n AS complete
FROM (SELECT n, shard, count(*) AS c
      FROM unnest('{1,2,3,5,7,16,100,1024}'::int[]) n,
        LATERAL (SELECT array_agg('shard' || i) AS names FROM generate_series(1, n) i) s,
        unnest(vdist.ring_slots(names)) shard
      GROUP BY 1, 2) loads
GROUP BY n ORDER BY n;

-- The same names give the same ring, in any order.
SELECT vdist.ring_slots('{a,b,c}') = vdist.ring_slots('{c,a,b}') AS same;
SELECT md5(vdist.ring_slots('{a,b,c,d}')::text) AS stays_for_ever;

-- A new shard takes its share from the others, and nothing else moves.
WITH old AS (SELECT vdist.ring_slots('{a,b,c}') AS o),
  new AS (SELECT o, vdist.ring_slots('{a,b,c,d}', o) AS n FROM old)
SELECT count(*) FILTER (WHERE o[i] <> n[i]) AS moved,
  count(*) FILTER (WHERE o[i] <> n[i] AND n[i] <> 'd') AS moved_elsewhere,
  count(*) FILTER (WHERE n[i] = 'd') AS on_new
FROM new, generate_series(1, 1024) i;

-- A shard less leaves its slots to the others, and nothing else moves.
WITH old AS (SELECT vdist.ring_slots('{a,b,c,d}') AS o),
  new AS (SELECT o, vdist.ring_slots('{a,b,d}', o) AS n FROM old)
SELECT count(*) FILTER (WHERE o[i] <> n[i]) AS moved,
  count(*) FILTER (WHERE o[i] <> n[i] AND o[i] <> 'c') AS moved_needlessly
FROM new, generate_series(1, 1024) i;

-- Nothing moves when nothing has to.
WITH old AS (SELECT vdist.ring_slots('{a,b,c}') AS o)
SELECT vdist.ring_slots('{b,c,a}', o) = o AS unmoved FROM old;

-- Consistent without knowing the past, too: few more than 1024/4 slots differ.
SELECT count(*) < 300 AS few
FROM generate_series(1, 1024) i, vdist.ring_slots('{a,b,c}') o, vdist.ring_slots('{a,b,c,d}') n
WHERE o[i] <> n[i];

SELECT vdist.ring_slots('{}');
SELECT vdist.ring_slots('{a,b,a}');
SELECT vdist.ring_slots('{a,NULL}');
SELECT vdist.ring_slots('{a}', '{a}');

-- A placement by hand: what catalogs and cache make of it.
CREATE SERVER east FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'localhost:1');
CREATE SERVER west FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'localhost:2');
CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
CREATE FOREIGN TABLE parcels (id bigint, name text) SERVER vdist;
SELECT vdist.slot_of('parcels', 1);
INSERT INTO vdist.distributed VALUES ('parcels', 'id', 1);
SELECT vdist.slot_of('parcels', 1);
INSERT INTO vdist.slot_map SELECT 'parcels', shard, array_agg(slot - 1)
FROM unnest(vdist.ring_slots('{east,west}')) WITH ORDINALITY r (shard, slot) GROUP BY shard;

-- The slot of a key does not depend on how the key is written.
SELECT vdist.slot_of('parcels', 42) AS "int", vdist.slot_of('parcels', 42::bigint) AS "bigint",
  vdist.slot_of('parcels', '42') AS literal, vdist.slot_of('parcels', 42::positive) AS domain,
  vdist.slot_of('parcels', 42.0::numeric(3)) AS "numeric";
SELECT key, vdist.slot_of('parcels', key) AS slot, vdist.shard_of('parcels', key) AS shard
FROM unnest('{-1,0,1,2,9223372036854775807}'::bigint[]) key;
SELECT vdist.slot_of('parcels', NULL::bigint) IS NULL AS null_has_none;
SELECT vdist.slot_of('parcels', 'x');
SELECT count(DISTINCT vdist.slot_of('parcels', i)) FROM generate_series(1, 20000) i;
SELECT min(c) > 4500 AND max(c) < 5500 AS balanced
FROM (SELECT count(*) AS c FROM generate_series(1, 10000) i
      GROUP BY vdist.shard_of('parcels', i)) loads;

SELECT * FROM vdist.tables;
SELECT "table", shard, slots, slot_ranges @> 0 AS has_slot_0 FROM vdist.placements ORDER BY shard;
SELECT * FROM vdist.shards ORDER BY name;

-- A change reaches the cache at once, and goes with its transaction.
SELECT shard FROM vdist.slot_map WHERE 0 = ANY (slots) \gset
BEGIN;
UPDATE vdist.slot_map SET slots = CASE WHEN shard = 'east'
  THEN (SELECT array_agg(s) FROM generate_series(0, 1023) s) ELSE '{}' END;
UPDATE vdist.distributed SET epoch = epoch + 1;
SELECT DISTINCT vdist.shard_of('parcels', i) FROM generate_series(1, 100) i;
ROLLBACK;
SELECT count(DISTINCT vdist.shard_of('parcels', i)) FROM generate_series(1, 100) i;

BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE vdist.slot_map SET slots = CASE WHEN shard = 'west'
  THEN (SELECT array_agg(s) FROM generate_series(0, 1023) s) ELSE '{}' END;
SELECT DISTINCT vdist.shard_of('parcels', i) FROM generate_series(1, 100) i;
ROLLBACK;

-- A shard's new name
ALTER SERVER west RENAME TO "Wild West";
SELECT DISTINCT vdist.shard_of('parcels', i) FROM generate_series(1, 100) i ORDER BY 1;
ALTER SERVER "Wild West" RENAME TO west;

-- A shard with slots is not dropped.
DROP SERVER west;
DROP SERVER west CASCADE;
SELECT vdist.remove_shard('west');

-- Unless event triggers are off; another server of the name takes its place.
SELECT vdist.shard_of('parcels', 1);
BEGIN;
SET LOCAL session_replication_role = replica;
DROP SERVER west;
SELECT vdist.shard_of('parcels', 1);
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT vdist.shard_of('parcels', 1);
DROP SERVER west;
CREATE SERVER west FOREIGN DATA WRAPPER vdist_fdw OPTIONS (hosts 'localhost:3');
SELECT DISTINCT vdist.shard_of('parcels', i) FROM generate_series(1, 100) i ORDER BY 1;
ROLLBACK;

-- Placements that cannot be are told.
BEGIN;
UPDATE vdist.slot_map SET slots = slots || 5::smallint;
SELECT vdist.slot_of('parcels', 1);
ROLLBACK;
BEGIN;
UPDATE vdist.slot_map SET slots = array_remove(slots, 5::smallint);
SELECT vdist.slot_of('parcels', 1);
ROLLBACK;
BEGIN;
UPDATE vdist.slot_map SET shard = 'north' WHERE shard = 'west';
SELECT vdist.slot_of('parcels', 1);
ROLLBACK;
BEGIN;
UPDATE vdist.distributed SET key_column = 'nothing';
SELECT vdist.slot_of('parcels', 1);
ROLLBACK;

-- Only DROP through the catalogs alone works here: there is nobody at those addresses.
\set VERBOSITY sqlstate
DROP FOREIGN TABLE parcels;
\set VERBOSITY default
DELETE FROM vdist.slot_map;
DELETE FROM vdist.distributed;
SELECT vdist.slot_of('parcels', 1);
DROP FOREIGN TABLE parcels;
DROP DOMAIN positive;
SELECT vdist.remove_shard('east');
SELECT vdist.remove_shard('west');
SELECT * FROM vdist.shards;
