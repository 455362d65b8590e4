/*
 * hold.c: functions that hold what processes wait for only for a moment, so that a test can choose where
 * another one stands still. Built by test/run; for tests alone, which know what they ask for.
 *
 * A hold lasts as long as a file exists, a minute at most. It takes no other lock meanwhile and can
 * be neither cancelled nor terminated, like everybody who holds a page.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/relation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_MODULE_MAGIC;

#define MAX_MILLISECONDS 60000

/* Make the file, so that the caller sees that what is held is held, and wait until it is gone. */
static void
hold_while(text *path)
{
	char	   *name = text_to_cstring(path);
	FILE	   *file = fopen(name, "w");
	struct stat status;

	if (file != NULL)
		fclose(file);
	for (int i = 0; i < MAX_MILLISECONDS && stat(name, &status) == 0; i++)
		pg_usleep(1000);
}

/* hold_page(relation, block, file): the content of a page, exclusively. */
PG_FUNCTION_INFO_V1(hold_page);
Datum
hold_page(PG_FUNCTION_ARGS)
{
	Relation	relation = relation_open(PG_GETARG_OID(0), AccessShareLock);
	Buffer		buffer = ReadBuffer(relation, (BlockNumber) PG_GETARG_INT32(1));

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	hold_while(PG_GETARG_TEXT_PP(2));
	UnlockReleaseBuffer(buffer);
	relation_close(relation, AccessShareLock);
	PG_RETURN_VOID();
}

/* hold_extension(relation, file): the right to make a relation longer. */
PG_FUNCTION_INFO_V1(hold_extension);
Datum
hold_extension(PG_FUNCTION_ARGS)
{
	Relation	relation = relation_open(PG_GETARG_OID(0), AccessShareLock);

	LockRelationForExtension(relation, ExclusiveLock);
	hold_while(PG_GETARG_TEXT_PP(1));
	UnlockRelationForExtension(relation, ExclusiveLock);
	relation_close(relation, AccessShareLock);
	PG_RETURN_VOID();
}
