/*
 * handler.c: the foreign-data wrapper's entry point: which function answers which of the planner's
 * and executor's questions.
 */
#include "compat.h"

#include "fmgr.h"
#include "foreign/fdwapi.h"

#include "fdw/fdw.h"

PG_FUNCTION_INFO_V1(vdist_fdw_handler);

Datum
vdist_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	PG_RETURN_POINTER(routine);
}
