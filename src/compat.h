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

/* 17 added the conditions a join path has evaluated, 18 the count of disabled nodes. */
#if PG_VERSION_NUM >= 180000
#define vdist_create_scan_path(root, rel, rows, startup, total, pathkeys, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, pathkeys, outer, NULL, NIL, \
							private)
#define vdist_create_upper_path(root, rel, target, rows, startup, total, pathkeys, private) \
	create_foreign_upper_path(root, rel, target, rows, 0, startup, total, pathkeys, NULL, NIL, \
							  private)
#elif PG_VERSION_NUM >= 170000
#define vdist_create_scan_path(root, rel, rows, startup, total, pathkeys, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, NIL, \
							private)
#define vdist_create_upper_path(root, rel, target, rows, startup, total, pathkeys, private) \
	create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys, NULL, NIL, private)
#else
#define vdist_create_scan_path(root, rel, rows, startup, total, pathkeys, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, private)
#define vdist_create_upper_path(root, rel, target, rows, startup, total, pathkeys, private) \
	create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys, NULL, private)
#endif

/* 18 made the order of a sort key independent of btree strategy numbers. */
#if PG_VERSION_NUM >= 180000
#define vdist_sort_operator(pathkey, type) \
	get_opfamily_member_for_cmptype((pathkey)->pk_opfamily, type, type, (pathkey)->pk_cmptype)
#else
#define vdist_sort_operator(pathkey, type) \
	get_opfamily_member((pathkey)->pk_opfamily, type, type, (pathkey)->pk_strategy)
#endif

/* 16 moved the user whose privileges count from the range table to the plan; invalid: the caller. */
#if PG_VERSION_NUM >= 160000
#define vdist_scan_check_as_user(scan, estate) ((scan)->checkAsUser)
#else
#define vdist_scan_check_as_user(scan, estate) \
	(exec_rt_fetch((scan)->scan.scanrelid > 0 ? (scan)->scan.scanrelid : \
				   bms_next_member((scan)->fs_relids, -1), estate)->checkAsUser)
#endif

/* 18 split commands/explain.h. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* 18 wants to know whether the delay is for ANALYZE. */
#if PG_VERSION_NUM >= 180000
#define vdist_analyze_delay_point() vacuum_delay_point(true)
#define vdist_vacuum_delay_point() vacuum_delay_point(false)
#else
#define vdist_analyze_delay_point() vacuum_delay_point()
#define vdist_vacuum_delay_point() vacuum_delay_point()
#endif

/* 16 replaced the checks per kind of object by general ones. */
#if PG_VERSION_NUM >= 160000
#define vdist_is_owner(relid, role) object_ownercheck(RelationRelationId, relid, role)
#define vdist_server_aclcheck(server, role, mode) \
	object_aclcheck(ForeignServerRelationId, server, role, mode)
#else
#define vdist_is_owner(relid, role) pg_class_ownercheck(relid, role)
#define vdist_server_aclcheck(server, role, mode) pg_foreign_server_aclcheck(server, role, mode)
#endif

/* 18 says it in front of the declaration, like C11, and no longer behind it. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * The user as whom a table is modified. 16 moved checkAsUser out of range table entries; before, a
 * partition that only routing reaches has no entry of its own. Needs executor/executor.h.
 */
#if PG_VERSION_NUM >= 160000
#define vdist_modify_user(rinfo, estate) ExecGetResultRelCheckAsUser((rinfo), (estate))
#else
#define vdist_check_as_user(rinfo, estate) \
	(exec_rt_fetch((rinfo)->ri_RangeTableIndex != 0 ? (rinfo)->ri_RangeTableIndex : \
				   (rinfo)->ri_RootResultRelInfo->ri_RangeTableIndex, (estate))->checkAsUser)
#define vdist_modify_user(rinfo, estate) \
	(OidIsValid(vdist_check_as_user(rinfo, estate)) ? vdist_check_as_user(rinfo, estate) : \
	 GetUserId())
#endif

/* 16 renamed what says where a relation is stored. */
#if PG_VERSION_NUM >= 160000
#define vdist_relation_locator(relation) ((relation)->rd_locator)
#else
#define vdist_relation_locator(relation) ((relation)->rd_node)
#endif

/* 18 compares the number of disabled nodes before it compares costs. */
#if PG_VERSION_NUM >= 180000
#define vdist_disable_path(path) ((path)->disabled_nodes = 2)
#else
#define vdist_disable_path(path) ((void) 0)
#endif

/* 16 lets datums of a sort be had without a copy, and asks. After including utils/tuplesort.h. */
#if PG_VERSION_NUM >= 160000
#define vdist_tuplesort_getdatum(sort, value, isnull) \
	tuplesort_getdatum((sort), true, false, (value), (isnull), NULL)
#else
#define vdist_tuplesort_getdatum(sort, value, isnull) \
	tuplesort_getdatum((sort), true, (value), (isnull), NULL)
#endif

/*
 * Lengthen a relation's main fork by n > 0 blocks of zeros. 16 can reserve their space on disk; before,
 * writing the last one leaves a hole. After including storage/smgr.h.
 */
#if PG_VERSION_NUM >= 160000
#define vdist_extend(relation, block, n) \
	smgrzeroextend(RelationGetSmgr(relation), MAIN_FORKNUM, (block), (n), false)
#else
#define vdist_extend(relation, block, n) \
	do { \
		PGAlignedBlock zero = {{0}}; \
		smgrextend(RelationGetSmgr(relation), MAIN_FORKNUM, (block) + (n) - 1, zero.data, false); \
	} while (0)
#endif

#endif							/* VDIST_COMPAT_H */
