/*
 * compat.h: every difference between the supported PostgreSQL versions (15 to 18), each with its
 * reason. No other file in the project tests PG_VERSION_NUM.
 */
#ifndef VDIST_COMPAT_H
#define VDIST_COMPAT_H

#include "postgres.h"

/* 16 moved the varlena macros out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#endif							/* VDIST_COMPAT_H */
