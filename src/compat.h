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

/* 17 gave wait sets a resource owner in place of a memory context; ours live as long as the backend. */
#if PG_VERSION_NUM >= 170000
#define vdist_create_wait_set(n) CreateWaitEventSet(NULL, (n))
#else
#define vdist_create_wait_set(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* libpq of 17 hands out rows in chunks; before, one result a row. After including libpq-fe.h. */
#ifdef LIBPQ_HAS_CHUNK_MODE
#define vdist_stream_rows(conn) PQsetChunkedRowsMode((conn), 100)
#else
#define vdist_stream_rows(conn) PQsetSingleRowMode(conn)
#endif

#endif							/* VDIST_COMPAT_H */
