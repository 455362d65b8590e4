/*
 * batch.c: one prepared statement run for many rows, pipelined, on all shards at once. Called by
 * insert.c and modify.c; stands on fanout.c and wire.c.
 */
#include "fdw/fdw.h"

#include "utils/memutils.h"

/* A batch is sent when it holds so many rows or bytes. */
#define BATCH_ROWS 1000
#define BATCH_BYTES (1024 * 1024)

typedef struct Runs
{
	int			n;
	int			size;
	const char **values;		/* size * nparams */
	int		   *lengths;
} Runs;

struct VdistBatch
{
	MemoryContext context;		/* what is queued, and the fan-out that ran last */
	Oid			userid;
	const char *sql;
	int			nparams;
	VdistWireOut *out;
	int			result_format;
	int			nshards;
	const Oid  *servers;
	VdistConn **conns;			/* NULL: not asked for yet in this statement */
	Runs	   *runs;			/* by shard */
	int			rows;
	Size		bytes;
	VdistRequest *requests;		/* by shard */
	VdistFanout *fanout;		/* of vdist_batch_run_one */
};

VdistBatch *
vdist_batch_make(const VdistPlacement *placement, Oid userid, const char *sql, int nparams,
				 const Oid *types, bool text_only, int result_format)
{
	VdistBatch *batch = palloc0(sizeof(VdistBatch));

	batch->context = AllocSetContextCreate(CurrentMemoryContext, "vdist batch",
										   ALLOCSET_DEFAULT_SIZES);
	batch->userid = userid;
	batch->sql = sql;
	batch->nparams = nparams;
	batch->out = vdist_wire_out(nparams, types, text_only);
	batch->result_format = result_format;
	batch->nshards = placement->nshards;
	batch->servers = placement->servers;
	batch->conns = palloc0(sizeof(VdistConn *) * batch->nshards);
	batch->runs = palloc0(sizeof(Runs) * batch->nshards);
	batch->requests = palloc0(sizeof(VdistRequest) * batch->nshards);
	return batch;
}

VdistConn **
vdist_batch_conns(VdistBatch *batch)
{
	return batch->conns;
}

/* Connect to those shards of the list that this statement has not asked for yet, all at once. */
static void
connect_shards(VdistBatch *batch, int n, const int *shards)
{
	Oid		   *servers = palloc(sizeof(Oid) * n);
	int		   *missing = palloc(sizeof(int) * n);
	VdistConn **conns = palloc(sizeof(VdistConn *) * n);
	int			nmissing = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (batch->conns[shards[i]] != NULL)
			continue;
		servers[nmissing] = batch->servers[shards[i]];
		missing[nmissing++] = shards[i];
	}
	if (nmissing > 0)
		vdist_conn_get(nmissing, servers, batch->userid, VDIST_WRITE, conns);
	for (i = 0; i < nmissing; i++)
		batch->conns[missing[i]] = conns[i];
	pfree(servers);
	pfree(missing);
	pfree(conns);
}

void
vdist_batch_connect(VdistBatch *batch, int shard)
{
	if (batch->conns[shard] == NULL)
		connect_shards(batch, 1, &shard);
}

/* Encode a row's parameters in the current memory context; returns the bytes. */
Size
vdist_batch_encode(VdistBatch *batch, const Datum *values, const bool *nulls,
				   const char **encoded, int *lengths)
{
	Size		bytes = 0;
	int			nestlevel = 0;
	int			i;

	if (batch->out->any_text)
		nestlevel = vdist_wire_text_begin();
	for (i = 0; i < batch->nparams; i++)
	{
		lengths[i] = 0;
		encoded[i] = nulls[i] ? NULL :
			vdist_wire_encode(batch->out, i, values[i], &lengths[i]);
		bytes += lengths[i];
	}
	if (batch->out->any_text)
		vdist_wire_text_end(nestlevel);
	return bytes;
}

/* Forget what is queued, and the last result. */
static void
clear(VdistBatch *batch)
{
	int			i;

	if (batch->fanout != NULL)
		vdist_fanout_end(batch->fanout);
	batch->fanout = NULL;
	for (i = 0; i < batch->nshards; i++)
		memset(&batch->runs[i], 0, sizeof(Runs));
	batch->rows = 0;
	batch->bytes = 0;
	MemoryContextReset(batch->context);
}

void
vdist_batch_add(VdistBatch *batch, int shard, const Datum *values, const bool *nulls)
{
	Runs	   *runs = &batch->runs[shard];
	MemoryContext old;
	int			first;

	if (batch->fanout != NULL)
		clear(batch);
	old = MemoryContextSwitchTo(batch->context);
	if (runs->n == runs->size)
	{
		int			size = Max(1, runs->size * 2);
		Size		cells = (Size) size * batch->nparams;

		runs->values = runs->values ? repalloc(runs->values, cells * sizeof(char *))
			: palloc(cells * sizeof(char *));
		runs->lengths = runs->lengths ? repalloc(runs->lengths, cells * sizeof(int))
			: palloc(cells * sizeof(int));
		runs->size = size;
	}
	first = runs->n * batch->nparams;
	batch->bytes += vdist_batch_encode(batch, values, nulls, runs->values + first,
									   runs->lengths + first);
	runs->n++;
	batch->rows++;
	MemoryContextSwitchTo(old);
}

bool
vdist_batch_full(const VdistBatch *batch)
{
	return batch->rows >= BATCH_ROWS || batch->bytes >= BATCH_BYTES;
}

/* The only row queued for the shard is taken back: its encoded parameters, valid until a flush. */
void
vdist_batch_take_back(VdistBatch *batch, int shard, const char *const **values, const int **lengths)
{
	Runs	   *runs = &batch->runs[shard];

	Assert(runs->n == 1);
	*values = runs->values;
	*lengths = runs->lengths;
	runs->n = 0;
	runs->size = 0;
	runs->values = NULL;
	runs->lengths = NULL;
	batch->rows--;
}

static VdistFanout *
send(VdistBatch *batch)
{
	int		   *shards = palloc(sizeof(int) * batch->nshards);
	VdistConn **conns = palloc(sizeof(VdistConn *) * batch->nshards);
	const VdistRequest **requests = palloc(sizeof(VdistRequest *) * batch->nshards);
	int			n = 0;
	int			i;

	for (i = 0; i < batch->nshards; i++)
	{
		VdistRequest *request = &batch->requests[i];
		Runs	   *runs = &batch->runs[i];

		if (runs->n == 0)
			continue;
		request->sql = batch->sql;
		request->nparams = batch->nparams;
		request->values = runs->values;
		request->lengths = runs->lengths;
		request->formats = batch->out->formats;
		request->runs = runs->n;
		request->result_format = batch->result_format;
		request->locks = true;
		requests[n] = request;
		shards[n++] = i;
	}
	connect_shards(batch, n, shards);
	for (i = 0; i < n; i++)
		conns[i] = batch->conns[shards[i]];
	return vdist_fanout_send(n, conns, requests);
}

int64
vdist_batch_flush(VdistBatch *batch)
{
	MemoryContext old;
	PGresult   *result;
	int64		affected = 0;

	if (batch->fanout != NULL)
		clear(batch);
	if (batch->rows == 0)
		return 0;
	old = MemoryContextSwitchTo(batch->context);
	batch->fanout = send(batch);
	while ((result = vdist_fanout_next(batch->fanout, -1, NULL)) != NULL)
		affected += atoll(PQcmdTuples(result));
	MemoryContextSwitchTo(old);
	clear(batch);
	return affected;
}

PGresult *
vdist_batch_run_one(VdistBatch *batch, int shard, const Datum *values, const bool *nulls)
{
	MemoryContext old;
	PGresult   *result;

	clear(batch);
	vdist_batch_add(batch, shard, values, nulls);
	old = MemoryContextSwitchTo(batch->context);
	batch->fanout = send(batch);
	result = vdist_fanout_next(batch->fanout, 0, NULL);
	MemoryContextSwitchTo(old);
	return result;
}
