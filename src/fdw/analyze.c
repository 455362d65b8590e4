/*
 * analyze.c: ANALYZE of a distributed table. All shards are asked at once for the same percentage of
 * their rows, which makes the union an even sample of the whole.
 */
#include "fdw/fdw.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sampling.h"

/* Rows asked for beyond the target, as the share is drawn row by row and the sizes are estimates. */
#define OVERSAMPLE 1.2

/* Send one statement to every shard of the table. */
static VdistFanout *
ask_all(Relation relation, VdistRequest *request)
{
	VdistPlacement *placement = vdist_placement(RelationGetRelid(relation));
	int			n = placement->nshards;
	VdistConn **conns = palloc(sizeof(VdistConn *) * n);
	const VdistRequest **requests = palloc(sizeof(VdistRequest *) * n);
	int			i;

	for (i = 0; i < n; i++)
		requests[i] = request;
	vdist_conn_get(n, placement->servers, relation->rd_rel->relowner, VDIST_READ, conns);
	return vdist_fanout_send(n, conns, requests);
}

/*
 * Rows and pages on all shards: rows from a shard's own statistics, scaled to its size now; counted
 * where there are none yet.
 */
static void
ask_sizes(Relation relation, double *rows, double *pages)
{
	VdistRequest request = {0};
	VdistFanout *fanout;
	StringInfoData sql;
	char	   *table;
	const Oid	types[] = {FLOAT8OID, FLOAT8OID};
	VdistWireIn *wire = vdist_wire_in(2, types, NULL, NULL);
	PGresult   *result;
	int			from;
	Datum		values[2];
	bool		nulls[2];

	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									   RelationGetRelationName(relation));
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT CASE WHEN c.relpages > 0 AND c.reltuples > 0 "
					 "THEN c.reltuples / c.relpages * s.pages "
					 "ELSE (SELECT pg_catalog.count(*) FROM %s) END::pg_catalog.float8, s.pages "
					 "FROM pg_catalog.pg_class c, LATERAL (SELECT pg_catalog.pg_relation_size(c.oid)"
					 "::pg_catalog.float8 / pg_catalog.current_setting('block_size')::int8) s(pages) "
					 "WHERE c.oid = %s::pg_catalog.regclass",
					 table, quote_literal_cstr(table));
	request.sql = sql.data;
	request.result_format = wire->format;

	*rows = 0;
	*pages = 0;
	fanout = ask_all(relation, &request);
	while ((result = vdist_fanout_next(fanout, -1, &from)) != NULL)
	{
		int			row;

		for (row = 0; row < PQntuples(result); row++)
		{
			vdist_wire_decode(wire, result, row, values, nulls);
			*rows += DatumGetFloat8(values[0]);
			*pages += DatumGetFloat8(values[1]);
		}
	}
	vdist_fanout_end(fanout);
}

static int
acquire_sample(Relation relation, int elevel, HeapTuple *rows, int targrows,
			   double *totalrows, double *totaldeadrows)
{
	TupleDesc	desc = RelationGetDescr(relation);
	VdistDeparse deparse;
	VdistRequest request = {0};
	VdistFanout *fanout;
	Oid		   *types = palloc(sizeof(Oid) * desc->natts);
	int32	   *typmods = palloc(sizeof(int32) * desc->natts);
	int		   *targets = palloc(sizeof(int) * desc->natts);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	VdistWireIn *in;
	VdistWireOut *out;
	const Oid	out_types[] = {FLOAT4OID};
	const char *param;
	int			length;
	ReservoirStateData reservoir;
	MemoryContext row_context;
	MemoryContext old;
	PGresult   *result;
	double		pages;
	double		percent;
	double		seen = 0;
	int			kept = 0;
	int			ncolumns = 0;
	int			from;
	int			i;

	ask_sizes(relation, totalrows, &pages);
	*totaldeadrows = 0;
	percent = *totalrows > 0 ? 100.0 * OVERSAMPLE * targrows / *totalrows : 100.0;
	percent = Min(percent, 100.0);

	vdist_deparse_begin(&deparse, 1, RelationGetRelid(relation));
	appendStringInfoString(&deparse.sql, "SELECT ");
	for (i = 1; i <= desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i - 1);

		if (attr->attisdropped)
			continue;
		if (ncolumns > 0)
			appendStringInfoString(&deparse.sql, ", ");
		vdist_deparse_column(&deparse, i);
		types[ncolumns] = attr->atttypid;
		typmods[ncolumns] = attr->atttypmod;
		targets[ncolumns++] = i - 1;
	}
	appendStringInfoString(&deparse.sql, " FROM ");
	vdist_deparse_table(&deparse);
	appendStringInfoString(&deparse.sql,
						   " TABLESAMPLE pg_catalog.bernoulli ($1::pg_catalog.float4)");
	request.sql = vdist_deparse_end(&deparse);

	out = vdist_wire_out(1, out_types, false);
	param = vdist_wire_encode(out, 0, Float4GetDatum((float4) percent), &length);
	request.nparams = 1;
	request.values = &param;
	request.lengths = &length;
	request.formats = out->formats;
	in = vdist_wire_in(ncolumns, types, typmods, targets);
	request.result_format = in->format;
	request.stream = true;

	row_context = AllocSetContextCreate(CurrentMemoryContext, "vdist sample row",
										ALLOCSET_DEFAULT_SIZES);
	reservoir_init_selection_state(&reservoir, targrows);
	fanout = ask_all(relation, &request);
	while ((result = vdist_fanout_next(fanout, -1, &from)) != NULL)
	{
		int			row;

		for (row = 0; row < PQntuples(result); row++)
		{
			int			place = kept;

			vdist_analyze_delay_point();
			seen++;
			if (kept == targrows)
			{
				/* Each row seen so far is kept with the same probability. */
				place = (int) floor(seen * sampler_random_fract(&reservoir.randstate));
				if (place >= targrows)
					continue;
				heap_freetuple(rows[place]);
			}
			else
				kept++;

			old = MemoryContextSwitchTo(row_context);
			memset(nulls, true, sizeof(bool) * desc->natts);
			vdist_wire_decode(in, result, row, values, nulls);
			MemoryContextSwitchTo(old);
			rows[place] = heap_form_tuple(desc, values, nulls);
			MemoryContextReset(row_context);
		}
	}
	vdist_fanout_end(fanout);
	MemoryContextDelete(row_context);

	if (percent >= 100.0)
		*totalrows = seen;
	ereport(elevel,
			(errmsg("\"%s\": %d rows in sample, %.0f estimated total rows on all shards",
					RelationGetRelationName(relation), kept, *totalrows)));
	return kept;
}

bool
vdist_analyze(Relation relation, AcquireSampleRowsFunc *func, BlockNumber *totalpages)
{
	double		rows;
	double		pages;

	ask_sizes(relation, &rows, &pages);
	/* Core takes a table without pages for one that was never filled. */
	*totalpages = (BlockNumber) Min(Max(pages, 1), MaxBlockNumber);
	*func = acquire_sample;
	return true;
}
