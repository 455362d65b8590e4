/*
 * placement.c: from a key to its slot, and from slots to shards. The ring is pure arithmetic over
 * names; the hash of a key is its type's own. Called by catalog users, distribute.c and fdw/.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "cluster/cluster.h"

/*
 * The seed of every key hash. Stored rows depend on it: never change it. (Core's hash partitioning
 * uses another, so that a shard's partitions do not line up with the slots.)
 */
#define KEY_HASH_SEED UINT64CONST(0x7664697374736c6f)

/* Points of a shard on the ring: more make the shares before balancing more even. */
#define RING_POINTS 128

PG_FUNCTION_INFO_V1(vdist_ring_slots);
PG_FUNCTION_INFO_V1(vdist_slot_of);
PG_FUNCTION_INFO_V1(vdist_shard_of);

/* ---- keys ---- */

static int
key_slot(const VdistPlacement *placement, Datum key)
{
	TypeCacheEntry *type = lookup_type_cache(placement->key_type,
											 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

	if (!OidIsValid(type->hash_extended_proc_finfo.fn_oid))
		elog(ERROR, "no extended hash function for type %u", placement->key_type);
	return DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo,
											placement->key_collation, key,
											UInt64GetDatum(KEY_HASH_SEED))) % VDIST_SLOTS;
}

int
vdist_placement_shard(const VdistPlacement *placement, Datum key)
{
	return placement->slot_shard[key_slot(placement, key)];
}

/*
 * Whether hashes of this type are the same in every database: those made of OIDs are not, they
 * change when a coordinator is dumped and restored.
 */
static bool
hash_is_portable(Oid typid)
{
	Oid			base = getBaseType(typid);
	Oid			element = get_base_element_type(base);

	if (OidIsValid(element))
		return hash_is_portable(element);

	switch (get_typtype(base))
	{
		case TYPTYPE_ENUM:
		case TYPTYPE_COMPOSITE:
		case TYPTYPE_PSEUDO:
			return false;
		case TYPTYPE_RANGE:
			return hash_is_portable(get_range_subtype(base));
		case TYPTYPE_MULTIRANGE:
			return hash_is_portable(get_range_subtype(get_multirange_range(base)));
		default:
			break;
	}

	return !vdist_is_reg_type(base);
}

/* Error when the column cannot be a distribution column. */
void
vdist_check_key(const char *column, Oid typid, Oid collation)
{
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_HASH_EXTENDED_PROC_FINFO);

	if (!OidIsValid(type->hash_extended_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("cannot distribute by column \"%s\" of type %s", column,
						format_type_be(typid)),
				 errdetail("Type %s has no hash operator class with an extended hash function.",
						   format_type_be(typid)),
				 errhint("Choose a column of a type that can be hashed, such as bigint, text or uuid.")));
	if (!hash_is_portable(typid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute by column \"%s\" of type %s", column,
						format_type_be(typid)),
				 errdetail("Hashes of this type are made of OIDs, which differ from database to database."),
				 errhint("Choose a column of another type, such as bigint, text or uuid.")));
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute by column \"%s\" with nondeterministic collation \"%s\"",
						column, get_collation_name(collation)),
				 errdetail("Keys that are equal under it would have to be on one shard, whatever version of the collation library a machine has."),
				 errhint("Choose a column with a deterministic collation.")));
}

/* ---- the ring ---- */

static uint64
mix64(uint64 x)
{
	/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
	x ^= x >> 30;
	x *= UINT64CONST(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64CONST(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

/* FNV-1a: the same bytes give the same number on every machine and in every version. */
static uint64
hash_name(const char *name)
{
	uint64		h = UINT64CONST(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char) *name) * UINT64CONST(0x100000001b3);
	return h;
}

typedef struct RingStep
{
	uint64		distance;		/* clockwise, from the slot to the shard's nearest point */
	int16		slot;
	int16		shard;
} RingStep;

static int
compare_step(const void *a, const void *b)
{
	const RingStep *x = a;
	const RingStep *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return x->shard - y->shard;
}

/*
 * How many slots each shard is to have: 1024/n, rounded up for as many as the remainder says. Those
 * that have most now round up, in order of name among equals, so that least has to move.
 */
static void
ring_quotas(int n, char **names, const int *load, int *quota)
{
	int			rest = VDIST_SLOTS % n;

	for (int i = 0; i < n; i++)
	{
		int			before = 0;

		for (int j = 0; j < n; j++)
			if (load[j] > load[i] ||
				(load[j] == load[i] && strcmp(names[j], names[i]) < 0))
				before++;
		quota[i] = VDIST_SLOTS / n + (before < rest ? 1 : 0);
	}
}

/*
 * Place 1024 slots on n named shards (1 <= n <= 1024), evenly: loads differ by one at most.
 * slot_shard comes in with the present shard of each slot, or -1, and goes out complete. A slot
 * moves only off a shard that has more than its share, so a new shard takes its share from the
 * others and nothing moves between those; a removed one (-1) leaves its slots to the rest.
 *
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): slots and points of
 * shards lie on a ring of 2^64; short ways clockwise are taken first, until a shard is full.
 */
void
vdist_ring_place(int n, char **names, int16 *slot_shard)
{
	int		   *load = palloc0(n * sizeof(int));
	int		   *quota = palloc(n * sizeof(int));
	RingStep   *steps = palloc(sizeof(RingStep) * VDIST_SLOTS * n);
	int			nsteps = 0;

	Assert(n >= 1 && n <= VDIST_SLOTS);

	for (int slot = 0; slot < VDIST_SLOTS; slot++)
		if (slot_shard[slot] >= 0)
			load[slot_shard[slot]]++;
	ring_quotas(n, names, load, quota);

	for (int i = 0; i < n; i++)
	{
		uint64		base = hash_name(names[i]);

		if (load[i] >= quota[i])
			continue;
		for (int slot = 0; slot < VDIST_SLOTS; slot++)
		{
			int			from = slot_shard[slot];
			uint64		at = mix64((uint64) slot + 1);
			uint64		nearest = PG_UINT64_MAX;

			if (from >= 0 && load[from] <= quota[from])
				continue;
			for (int p = 0; p < RING_POINTS; p++)
				nearest = Min(nearest, mix64(base + (uint64) p * UINT64CONST(0x9e3779b97f4a7c15)) - at);
			steps[nsteps].distance = nearest;
			steps[nsteps].slot = slot;
			steps[nsteps].shard = i;
			nsteps++;
		}
	}
	qsort(steps, nsteps, sizeof(RingStep), compare_step);

	for (int s = 0; s < nsteps; s++)
	{
		int			slot = steps[s].slot;
		int			to = steps[s].shard;
		int			from = slot_shard[slot];

		if (load[to] >= quota[to] || (from >= 0 && load[from] <= quota[from]))
			continue;
		if (from >= 0)
			load[from]--;
		load[to]++;
		slot_shard[slot] = to;
	}

	pfree(load);
	pfree(quota);
	pfree(steps);
}

/* ---- SQL ---- */

/*
 * vdist.ring_slots(shards text[], current text[]) returns text[]: element s + 1 is the shard of slot
 * s when the slots lie as current says now (NULL, or NULL elements: nowhere).
 */
Datum
vdist_ring_slots(PG_FUNCTION_ARGS)
{
	Datum	   *datums;
	bool	   *nulls;
	int			n;
	char	  **names;
	int16		slot_shard[VDIST_SLOTS];
	Datum		result[VDIST_SLOTS];

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT,
					  &datums, &nulls, &n);
	if (n < 1 || n > VDIST_SLOTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of shards must be between 1 and %d", VDIST_SLOTS)));
	names = palloc(n * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("name of a shard must not be null")));
		names[i] = TextDatumGetCString(datums[i]);
		for (int j = 0; j < i; j++)
			if (strcmp(names[j], names[i]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("shard \"%s\" is named twice", names[i])));
	}

	memset(slot_shard, -1, sizeof(slot_shard));
	if (!PG_ARGISNULL(1))
	{
		int			ncurrent;

		deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
						  &datums, &nulls, &ncurrent);
		if (ncurrent != VDIST_SLOTS)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("array of slots must have %d elements, not %d", VDIST_SLOTS, ncurrent)));
		for (int slot = 0; slot < VDIST_SLOTS; slot++)
		{
			char	   *name = nulls[slot] ? NULL : TextDatumGetCString(datums[slot]);

			for (int i = 0; i < n && name != NULL; i++)
				if (strcmp(names[i], name) == 0)
					slot_shard[slot] = i;
		}
	}

	vdist_ring_place(n, names, slot_shard);
	for (int slot = 0; slot < VDIST_SLOTS; slot++)
		result[slot] = CStringGetTextDatum(names[slot_shard[slot]]);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, VDIST_SLOTS, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * The slot of argument 1, of any type, in the distributed table of argument 0. A key of another type
 * goes through its text, as a literal would.
 */
static int
argument_slot(FunctionCallInfo fcinfo, VdistPlacement **placement)
{
	Oid			given = get_fn_expr_argtype(fcinfo->flinfo, 1);
	Datum		key = PG_GETARG_DATUM(1);

	*placement = vdist_placement(PG_GETARG_OID(0));
	if (!OidIsValid(given))
		elog(ERROR, "could not determine the type of the key");
	if (getBaseType(given) != getBaseType((*placement)->key_type))
	{
		Oid			out;
		Oid			in;
		Oid			ioparam;
		bool		varlena;

		getTypeOutputInfo(given, &out, &varlena);
		getTypeInputInfo((*placement)->key_type, &in, &ioparam);
		key = OidInputFunctionCall(in, OidOutputFunctionCall(out, key), ioparam, -1);
	}
	return key_slot(*placement, key);
}

Datum
vdist_slot_of(PG_FUNCTION_ARGS)
{
	VdistPlacement *placement;

	PG_RETURN_INT32(argument_slot(fcinfo, &placement));
}

Datum
vdist_shard_of(PG_FUNCTION_ARGS)
{
	VdistPlacement *placement;
	int			slot = argument_slot(fcinfo, &placement);
	ForeignServer *server = GetForeignServer(placement->servers[placement->slot_shard[slot]]);

	PG_RETURN_DATUM(DirectFunctionCall1(namein, CStringGetDatum(server->servername)));
}
