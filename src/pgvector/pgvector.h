/*
 * pgvector.h: the access methods and settings of extension "vector", under pgvector's names, by what
 * vdist has. Calls hnsw/; called by the roof and by core.
 */
#ifndef VDIST_PGVECTOR_H
#define VDIST_PGVECTOR_H

#include "compat.h"

typedef enum PgvectorIterativeScan
{
	PGVECTOR_ITERATIVE_OFF,
	PGVECTOR_ITERATIVE_RELAXED,
	PGVECTOR_ITERATIVE_STRICT
} PgvectorIterativeScan;

#define PGVECTOR_DEFAULT_LISTS 100
#define PGVECTOR_MAX_LISTS 32768
#define PGVECTOR_MAX_EF_SEARCH 1000

/* ---- am.c ---- */

extern int	pgvector_ef_search;
extern int	pgvector_iterative_scan;
extern int	pgvector_max_scan_tuples;
extern double pgvector_scan_mem_multiplier;
extern int	pgvector_probes;
extern int	pgvector_ivfflat_iterative_scan;
extern int	pgvector_max_probes;

/*
 * Defines the settings. The roof sets it, the handlers call it: pgvector's own library may be loaded
 * into a session of a database without our extension, and two libraries cannot define one setting.
 */
extern void (*pgvector_define_settings) (void);

extern void pgvector_init_options(void);

/* ---- extension.c ---- */

extern bool pgvector_is_ours(void);

#endif							/* VDIST_PGVECTOR_H */
