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

/* 16 lets input functions report bad input without an error (pg_input_is_valid). */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#else
#define ereturn(context, dummy_value, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#endif

#endif							/* VDIST_COMPAT_H */
