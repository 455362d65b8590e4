/*
 * extension.c: extension "vector" on top of extension vdist: is it here, and how it brings vdist along.
 * Calls the catalogs and SPI; called by the roof and by the install script of "vector".
 */
#include "compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "pgvector/pgvector.h"

/* Is access method hnsw of this database the one of am.c? False when nobody may look. */
bool
pgvector_is_ours(void)
{
	HeapTuple	am;
	HeapTuple	proc;
	Datum		source;
	bool		isnull;
	bool		ours;

	if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
		return false;
	am = SearchSysCache1(AMNAME, CStringGetDatum("hnsw"));
	if (!HeapTupleIsValid(am))
		return false;
	proc = SearchSysCache1(PROCOID,
						   ObjectIdGetDatum(((Form_pg_am) GETSTRUCT(am))->amhandler));
	ReleaseSysCache(am);
	if (!HeapTupleIsValid(proc))
		return false;
	source = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_prosrc, &isnull);
	ours = !isnull && strcmp(TextDatumGetCString(source), "vdist_pgvector_hnsw_handler") == 0;
	ReleaseSysCache(proc);
	return ours;
}

/*
 * Create extension vdist in a schema unless it is there, and let the extension that is being created
 * depend on it. "requires" in a control file would want CASCADE, which no client of pgvector writes.
 */
PG_FUNCTION_INFO_V1(vdist_pgvector_require);
Datum
vdist_pgvector_require(PG_FUNCTION_ARGS)
{
	const char *schema = NameStr(*PG_GETARG_NAME(0));
	Oid			outer = CurrentExtensionObject;
	Oid			inner = get_extension_oid("vdist", true);
	ObjectAddress from;
	ObjectAddress to;

	if (!creating_extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this function is for the install script of extension \"vector\"")));

	if (!OidIsValid(inner))
	{
		StringInfoData command;

		initStringInfo(&command);
		appendStringInfo(&command, "CREATE EXTENSION vdist SCHEMA %s", quote_identifier(schema));

		/*
		 * Core refuses to create one extension within another because there is one variable for
		 * the extension that new objects belong to. We put it aside; on an error core resets it.
		 */
		creating_extension = false;
		CurrentExtensionObject = InvalidOid;
		SPI_connect();
		if (SPI_execute(command.data, false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not create extension vdist");
		SPI_finish();
		creating_extension = true;
		CurrentExtensionObject = outer;
		inner = get_extension_oid("vdist", false);
	}
	else if (!OidIsValid(GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										 CStringGetDatum("vector"),
										 ObjectIdGetDatum(get_namespace_oid(schema, false)))))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"vdist\" is in another schema than \"%s\"", schema),
				 errhint("Create extension \"vector\" in the schema of \"vdist\".")));

	ObjectAddressSet(from, ExtensionRelationId, outer);
	ObjectAddressSet(to, ExtensionRelationId, inner);
	recordDependencyOn(&from, &to, DEPENDENCY_NORMAL);
	PG_RETURN_VOID();
}
