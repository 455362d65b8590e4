/*
 * catalog.c: which tables are distributed, and which shard has which slot. Reads and writes the
 * catalogs vdist.distributed and vdist.slot_map, with a cache per backend. Called by everything that
 * plans, runs or administers a distributed table; calls nothing but PostgreSQL.
 *
 * Tables of an extension have no syscache. A row trigger on both catalogs sends a relcache
 * invalidation of the foreign table for each changed row, whoever changes it (C, a restore, a
 * superuser by hand), so cached placements and cached plans go stale at the same moment.
 */
#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "cluster/cluster.h"

/* Columns of the two catalogs, as sql/vdist--*.sql declares them. */
#define Anum_distributed_relation 1
#define Anum_distributed_key_column 2
#define Anum_distributed_epoch 3
#define Anum_slot_map_relation 1
#define Anum_slot_map_shard 2
#define Anum_slot_map_slots 3

typedef struct PlacementEntry
{
	Oid			relid;			/* hash key */
	VdistPlacement *placement;	/* NULL: to be read; else one chunk of placement_context */
} PlacementEntry;

static HTAB *placement_cache = NULL;
static MemoryContext placement_context = NULL;

/* Counts invalidations, so that a rebuild notices one that arrived while it was reading. */
static uint64 placement_generation = 0;

uint64		vdist_table_changes = 0;

PG_FUNCTION_INFO_V1(vdist_invalidate_placement);

/* ---- cache ---- */

static void
forget(PlacementEntry *entry)
{
	if (entry->placement != NULL)
	{
		pfree(entry->placement);
		entry->placement = NULL;
	}
}

static void
forget_all(void)
{
	HASH_SEQ_STATUS status;
	PlacementEntry *entry;

	hash_seq_init(&status, placement_cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		forget(entry);
}

static void
on_relcache_invalidation(Datum arg, Oid relid)
{
	PlacementEntry *entry;

	placement_generation++;
	if (!OidIsValid(relid))
	{
		vdist_table_changes++;
		forget_all();
		return;
	}

	/* Entries stay, so that a table that was ever used here is known for one. */
	entry = hash_search(placement_cache, &relid, HASH_FIND, NULL);
	if (entry != NULL)
	{
		vdist_table_changes++;
		forget(entry);
	}
}

/* A server that was renamed or dropped: names in the catalog may mean other OIDs now. */
static void
on_server_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	placement_generation++;
	forget_all();
}

static void
init_cache(void)
{
	HASHCTL		ctl;

	if (CacheMemoryContext == NULL)
		CreateCacheMemoryContext();

	placement_context = AllocSetContextCreate(CacheMemoryContext, "vdist placements",
											  ALLOCSET_DEFAULT_SIZES);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(PlacementEntry);
	ctl.hcxt = placement_context;
	placement_cache = hash_create("vdist placements", 16, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	CacheRegisterRelcacheCallback(on_relcache_invalidation, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, on_server_invalidation, (Datum) 0);
}

/* A copy in one chunk of the current context, so that one pfree ends it. */
static VdistPlacement *
copy_placement(const VdistPlacement *placement)
{
	Size		head = MAXALIGN(sizeof(VdistPlacement));
	Size		servers = mul_size(sizeof(Oid), placement->nshards);
	VdistPlacement *copy = palloc(head + servers);

	*copy = *placement;
	copy->servers = (Oid *) ((char *) copy + head);
	memcpy(copy->servers, placement->servers, servers);
	return copy;
}

/* ---- reading ---- */

Oid
vdist_catalog_relid(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid(VDIST_SCHEMA, false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("catalog %s.%s does not exist", VDIST_SCHEMA, name),
				 errhint("Create the extension with CREATE EXTENSION vdist.")));
	return relid;
}

/* One row of a shard in slot_map, while a placement is put together. */
typedef struct ShardSlots
{
	char	   *name;
	Oid			server;
	int			nslots;
	int16	   *slots;
} ShardSlots;

static int
compare_shard_name(const void *a, const void *b)
{
	return strcmp(((const ShardSlots *) a)->name, ((const ShardSlots *) b)->name);
}

/* The rows of slot_map for relid, sorted by name, in the current context. */
static int
read_slot_map(Oid relid, ShardSlots **result)
{
	Relation	rel = table_open(vdist_catalog_relid("slot_map"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			n = 0;
	int			size = 16;
	ShardSlots *shards = palloc(size * sizeof(ShardSlots));

	ScanKeyInit(&key, Anum_slot_map_relation, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, vdist_catalog_relid("slot_map_pkey"), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		name;
		ArrayType  *array;
		ShardSlots *shard;

		if (n == size)
		{
			size *= 2;
			shards = repalloc(shards, size * sizeof(ShardSlots));
		}
		shard = &shards[n++];
		name = heap_getattr(tuple, Anum_slot_map_shard, RelationGetDescr(rel), &isnull);
		shard->name = pstrdup(NameStr(*DatumGetName(name)));
		array = DatumGetArrayTypePCopy(heap_getattr(tuple, Anum_slot_map_slots,
													RelationGetDescr(rel), &isnull));
		if (ARR_NDIM(array) > 1 || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != INT2OID)
			elog(ERROR, "malformed slot_map row of relation %u", relid);
		shard->nslots = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
		shard->slots = (int16 *) ARR_DATA_PTR(array);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	qsort(shards, n, sizeof(ShardSlots), compare_shard_name);
	*result = shards;
	return n;
}

/* The row of vdist.distributed for relid; false when there is none. */
static bool
read_distributed(Oid relid, NameData *key_column, int64 *epoch)
{
	Relation	rel = table_open(vdist_catalog_relid("distributed"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_distributed_relation, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, vdist_catalog_relid("distributed_pkey"), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		bool		isnull;

		*key_column = *DatumGetName(heap_getattr(tuple, Anum_distributed_key_column,
												 RelationGetDescr(rel), &isnull));
		*epoch = DatumGetInt64(heap_getattr(tuple, Anum_distributed_epoch,
											RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static VdistPlacement *
read_placement(Oid relid)
{
	VdistPlacement *placement;
	NameData	key_column;
	int64		epoch;
	ShardSlots *shards;
	int32		typmod;

	if (!read_distributed(relid, &key_column, &epoch))
		return NULL;

	placement = palloc0(sizeof(VdistPlacement));
	placement->relid = relid;
	placement->epoch = epoch;
	placement->key = get_attnum(relid, NameStr(key_column));
	if (placement->key == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("distribution column \"%s\" of table \"%s\" does not exist",
						NameStr(key_column), get_rel_name(relid))));
	get_atttypetypmodcoll(relid, placement->key, &placement->key_type, &typmod,
						  &placement->key_collation);

	placement->nshards = read_slot_map(relid, &shards);
	placement->servers = palloc(Max(placement->nshards, 1) * sizeof(Oid));
	memset(placement->slot_shard, -1, sizeof(placement->slot_shard));
	for (int i = 0; i < placement->nshards; i++)
	{
		placement->servers[i] = get_foreign_server_oid(shards[i].name, true);
		if (!OidIsValid(placement->servers[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("shard \"%s\" of table \"%s\" does not exist",
							shards[i].name, get_rel_name(relid)),
					 errhint("The server was dropped or renamed while vdist's event triggers were disabled. Create or rename a server of this name with the shard's hosts.")));
		for (int j = 0; j < shards[i].nslots; j++)
		{
			int			slot = shards[i].slots[j];

			if (slot < 0 || slot >= VDIST_SLOTS || placement->slot_shard[slot] >= 0)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("slot %d of table \"%s\" is out of range or on two shards",
								slot, get_rel_name(relid))));
			placement->slot_shard[slot] = i;
		}
	}
	for (int slot = 0; slot < VDIST_SLOTS; slot++)
		if (placement->slot_shard[slot] < 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("slot %d of table \"%s\" is on no shard", slot, get_rel_name(relid))));
	return placement;
}

/* As vdist_placement, but NULL when relid is not a distributed table. */
VdistPlacement *
vdist_placement_or_null(Oid relid)
{
	PlacementEntry *entry;
	VdistPlacement *placement;
	uint64		generation;

	if (placement_cache == NULL)
		init_cache();

	entry = hash_search(placement_cache, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->placement != NULL)
		return copy_placement(entry->placement);

	generation = placement_generation;
	placement = read_placement(relid);

	/*
	 * What was read while an invalidation arrived is good enough for this caller, who holds a lock
	 * that orders it against the change, but must not be kept for the next.
	 */
	if (placement != NULL && generation == placement_generation)
	{
		MemoryContext old = MemoryContextSwitchTo(placement_context);
		VdistPlacement *kept = copy_placement(placement);
		bool		found;

		MemoryContextSwitchTo(old);
		entry = hash_search(placement_cache, &relid, HASH_ENTER, &found);
		if (found)
			forget(entry);
		entry->placement = kept;
	}
	return placement;
}

VdistPlacement *
vdist_placement(Oid relid)
{
	VdistPlacement *placement = vdist_placement_or_null(relid);

	if (placement == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a distributed table", get_rel_name(relid)),
				 errhint("Distribute an ordinary table with vdist.create_distributed_table().")));
	return placement;
}

/* ---- writing ---- */

/*
 * Run one statement with parameters as the owner of the catalogs; the caller has checked what its
 * user may do. expected is an SPI_OK code.
 */
static uint64
write_catalog(const char *sql, int nargs, Oid *types, Datum *values, int expected)
{
	Oid			userid;
	int			security;
	uint64		processed;
	int			level = vdist_catalog_path_begin();

	GetUserIdAndSecContext(&userid, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != expected)
		elog(ERROR, "unexpected result of \"%s\"", sql);
	processed = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(userid, security);
	vdist_catalog_path_end(level);
	return processed;
}

/*
 * Enter a new distributed table: slot_shard maps each slot to one of nshards names. Visible to the
 * next command of this transaction.
 */
void
vdist_catalog_add(Oid relid, const char *key_column, int nshards, char **names,
				  const int16 *slot_shard)
{
	Oid			types[3] = {REGCLASSOID, NAMEOID, INT2ARRAYOID};
	Datum		values[3];

	values[0] = ObjectIdGetDatum(relid);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(key_column));
	write_catalog("INSERT INTO vdist.distributed VALUES ($1, $2, 1)", 2, types, values,
				  SPI_OK_INSERT);

	for (int i = 0; i < nshards; i++)
	{
		Datum		slots[VDIST_SLOTS];
		int			n = 0;

		for (int slot = 0; slot < VDIST_SLOTS; slot++)
			if (slot_shard[slot] == i)
				slots[n++] = Int16GetDatum(slot);
		if (n == 0)
			continue;
		values[1] = DirectFunctionCall1(namein, CStringGetDatum(names[i]));
		values[2] = PointerGetDatum(construct_array(slots, n, INT2OID, sizeof(int16), true,
													TYPALIGN_SHORT));
		write_catalog("INSERT INTO vdist.slot_map VALUES ($1, $2, $3)", 3, types, values,
					  SPI_OK_INSERT);
	}
}

/* Forget a distributed table; false when it was none. */
bool
vdist_catalog_remove(Oid relid)
{
	Oid			types[1] = {REGCLASSOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};

	write_catalog("DELETE FROM vdist.slot_map WHERE relation = $1", 1, types, values,
				  SPI_OK_DELETE);
	return write_catalog("DELETE FROM vdist.distributed WHERE relation = $1", 1, types, values,
						 SPI_OK_DELETE) > 0;
}

/* The server of this OID was renamed: its slots go with it. */
void
vdist_catalog_rename_shard(const char *from, const char *to)
{
	Oid			types[2] = {NAMEOID, NAMEOID};
	Datum		values[2];

	values[0] = DirectFunctionCall1(namein, CStringGetDatum(from));
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(to));
	write_catalog("UPDATE vdist.slot_map SET shard = $2 WHERE shard = $1", 2, types, values,
				  SPI_OK_UPDATE);
}

/*
 * Row trigger of both catalogs: whoever changes a row makes every backend read it again. A table
 * that was dropped needs no invalidation any more.
 */
Datum
vdist_invalidate_placement(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("must be called as a row trigger")));

	desc = RelationGetDescr(trigger->tg_relation);
	for (int i = 0; i < 2; i++)
	{
		HeapTuple	tuple = i == 0 ? trigger->tg_trigtuple : trigger->tg_newtuple;
		bool		isnull;
		Oid			relid;

		if (tuple == NULL)
			continue;
		/* Both catalogs have the relation in front. */
		relid = DatumGetObjectId(heap_getattr(tuple, Anum_distributed_relation, desc, &isnull));
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
			CacheInvalidateRelcacheByRelid(relid);
	}
	return PointerGetDatum(NULL);
}
