/*
 * spool.c: rows that arrived before anybody wants them, on disk. When a second statement needs a
 * connection, the rows that an earlier one still streams must be read away; past work_mem they come
 * here. Called by fanout.c.
 */
#include "cluster/cluster.h"

#include "storage/buffile.h"
#include "utils/memutils.h"

/* Rows handed out in one piece. */
#define PIECE_ROWS 100

struct VdistSpool
{
	BufFile    *file;
	PGresult   *columns;		/* no rows; what every piece is made from */
	bool		reading;
	char	   *buffer;
	int			buffer_size;
};

/*
 * The file belongs to no transaction or resource owner: another portal than the one that streams may
 * be the one that reads away. vdist_spool_free closes it, in a memory context callback at the latest.
 */
VdistSpool *
vdist_spool_make(const PGresult *first)
{
	VdistSpool *spool = palloc0(sizeof(VdistSpool));

	spool->columns = PQcopyResult(first, PG_COPYRES_ATTRS);
	if (spool->columns == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	spool->file = BufFileCreateTemp(true);
	return spool;
}

/* Write the rows of a result; it stays the caller's. */
void
vdist_spool_put(VdistSpool *spool, const PGresult *result)
{
	int			nfields = PQnfields(result);
	int			row,
				column;

	Assert(!spool->reading);
	for (row = 0; row < PQntuples(result); row++)
		for (column = 0; column < nfields; column++)
		{
			int			length = PQgetisnull(result, row, column) ? -1 :
				PQgetlength(result, row, column);

			BufFileWrite(spool->file, &length, sizeof(length));
			if (length > 0)
				BufFileWrite(spool->file, PQgetvalue(result, row, column), length);
		}
}

/*
 * All is written: go back to the start. Done while errors may still be raised, as it writes what is
 * buffered; closing has nothing left to write then.
 */
void
vdist_spool_rewind(VdistSpool *spool)
{
	if (spool->reading)
		return;
	if (BufFileSeek(spool->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not rewind temporary file: %m")));
	spool->reading = true;
}

static void
read_bytes(VdistSpool *spool, void *target, size_t length)
{
	if (BufFileRead(spool->file, target, length) != length)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read from temporary file: %m")));
}

/* The next piece, the caller's; NULL at the end. */
PGresult *
vdist_spool_get(VdistSpool *spool)
{
	int			nfields = PQnfields(spool->columns);
	PGresult   *piece = NULL;
	int			row,
				column;

	for (row = 0; row < PIECE_ROWS; row++)
		for (column = 0; column < nfields; column++)
		{
			int			length;
			size_t		got = BufFileRead(spool->file, &length, sizeof(length));

			if (row == 0 && column == 0)
			{
				if (got == 0)
					return NULL;
				piece = PQcopyResult(spool->columns, PG_COPYRES_ATTRS);
			}
			if (got == 0 && column == 0)
				return piece;
			if (got != sizeof(length))
				ereport(ERROR,
						(errcode_for_file_access(),
						 errmsg("could not read from temporary file: %m")));
			if (length > spool->buffer_size)
			{
				spool->buffer = spool->buffer ? repalloc_huge(spool->buffer, length)
					: MemoryContextAllocHuge(GetMemoryChunkContext(spool), length);
				spool->buffer_size = length;
			}
			if (length > 0)
				read_bytes(spool, spool->buffer, length);
			if (piece == NULL ||
				!PQsetvalue(piece, row, column, length < 0 ? NULL :
							spool->buffer ? spool->buffer : "", length))
			{
				PQclear(piece);
				ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			}
		}
	return piece;
}

/* Close the file. Raises nothing once the spool was rewound. */
void
vdist_spool_free(VdistSpool *spool)
{
	PQclear(spool->columns);
	BufFileClose(spool->file);
}
