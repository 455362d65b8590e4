/*
 * load.c: the rows of a local table to their shards, by one COPY to each at the same time. Called by
 * distribute.c; calls copy.c and wire.c.
 */
#include "compat.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cluster/cluster.h"

/* A line of progress every so many seconds, for loads that take longer than that. */
#define PROGRESS_SECONDS 5

/* The columns that travel: what is generated is computed anew on the shard. */
typedef struct Columns
{
	int			n;
	AttrNumber *attnums;
	Oid		   *types;
	bool		binary;			/* all of them may cross in binary */
	char	   *list;			/* quoted names */
} Columns;

static void
get_columns(Relation rel, Columns *columns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData list;

	initStringInfo(&list);
	columns->n = 0;
	columns->attnums = palloc(sizeof(AttrNumber) * desc->natts);
	columns->types = palloc(sizeof(Oid) * desc->natts);
	columns->binary = true;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		appendStringInfo(&list, "%s%s", columns->n > 0 ? ", " : "",
						 quote_identifier(NameStr(attribute->attname)));
		columns->attnums[columns->n] = i + 1;
		columns->types[columns->n] = attribute->atttypid;
		columns->binary = columns->binary && vdist_wire_binary(attribute->atttypid);
		columns->n++;
	}
	columns->list = list.data;
}

/* The fields of a deformed slot. */
static void
encode_row(const Columns *columns, VdistWireOut *out, TupleTableSlot *slot, const char **values,
		   int *lengths)
{
	for (int i = 0; i < columns->n; i++)
	{
		AttrNumber	attnum = columns->attnums[i];

		values[i] = slot->tts_isnull[attnum - 1] ? NULL :
			vdist_wire_encode(out, i, slot->tts_values[attnum - 1], &lengths[i]);
	}
}

/*
 * Send every row of rel, which the caller has locked, to the same-named tables on the shards;
 * slot_shard maps the slot of a row's key to an index into conns. Returns the number of rows.
 */
int64
vdist_load(Relation rel, const VdistPlacement *placement, int nconns, VdistConn **conns)
{
	Columns		columns;
	VdistWireOut *out;
	VdistCopy  *copy;
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "vdist load",
													  ALLOCSET_DEFAULT_SIZES);
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;
	const char **values;
	int		   *lengths;
	int64		rows = 0;
	int64		accepted;
	int			guc_level = 0;
	TimestampTz reported = GetCurrentTimestamp();

	get_columns(rel, &columns);
	out = vdist_wire_out(columns.n, columns.types, !columns.binary);
	if (!columns.binary)
		guc_level = vdist_wire_text_begin();
	values = palloc(sizeof(char *) * Max(columns.n, 1));
	lengths = palloc(sizeof(int) * Max(columns.n, 1));
	copy = vdist_copy_begin(nconns, conns,
							psprintf("COPY %s (%s) FROM STDIN%s",
									 vdist_relation_name(RelationGetRelid(rel)), columns.list,
									 columns.binary ? " (FORMAT binary)" : ""),
							columns.binary);

	/* The lock keeps writers out; the latest snapshot sees what they left, as ALTER TABLE does. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	slot = table_slot_create(rel, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		int			shard;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		shard = vdist_placement_shard(placement, slot->tts_values[placement->key - 1]);
		encode_row(&columns, out, slot, values, lengths);
		MemoryContextSwitchTo(old);
		vdist_copy_row(copy, shard, columns.n, values, lengths);
		MemoryContextReset(row_context);
		rows++;

		if (rows % 1000 == 0 &&
			TimestampDifferenceExceeds(reported, GetCurrentTimestamp(), PROGRESS_SECONDS * 1000))
		{
			reported = GetCurrentTimestamp();
			ereport(NOTICE,
					(errmsg("%lld rows of about %.0f sent to %d shards", (long long) rows,
							Max(rel->rd_rel->reltuples, (float4) rows), nconns)));
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);

	accepted = vdist_copy_end(copy);
	if (!columns.binary)
		vdist_wire_text_end(guc_level);
	if (accepted != rows)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("shards accepted %lld of %lld rows of table \"%s\"", (long long) accepted,
						(long long) rows, RelationGetRelationName(rel)),
				 errhint("Look for rules and triggers that a shard applies to the table.")));
	MemoryContextDelete(row_context);
	return rows;
}
