/*
 * vdist.c: the roof. _PG_init defines every setting and installs every hook; nothing else does.
 */
#include "compat.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "kernel/kernel.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	vdist_kernel_select(VDIST_SIMD_AUTO);

	MarkGUCPrefixReserved("vdist");
}
