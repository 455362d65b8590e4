/*
 * wire.c: how values cross between coordinator and shards: in binary where the format means the same
 * on both ends, else as text. The one place for it: scans, modifications and COPY encode and decode
 * here.
 */
#include "cluster/cluster.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/*
 * Types whose binary format is an OID of this machine's catalogs. Their text is a name, qualified
 * because both ends write it under search_path = pg_catalog.
 */
static bool
is_object_reference(Oid type)
{
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
			return true;
		default:
			return false;
	}
}

bool
vdist_wire_binary(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	Oid			element;
	bool		known;
	bool		both;
	char		kind;

	type = getBaseType(type);
	if (is_object_reference(type))
		return false;

	/*
	 * array_recv and record_recv compare the element types' OIDs with their own. Only those below
	 * FirstGenbkiObjectId are the same in every cluster.
	 */
	element = get_element_type(type);
	if (OidIsValid(element))
		return element < FirstGenbkiObjectId && get_typtype(element) == TYPTYPE_BASE &&
			vdist_wire_binary(element);

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	kind = form->typtype;
	both = OidIsValid(form->typsend) && OidIsValid(form->typreceive);
	known = both && (kind == TYPTYPE_BASE || kind == TYPTYPE_ENUM);
	ReleaseSysCache(tuple);

	if (kind == TYPTYPE_RANGE)
		return both && vdist_wire_binary(get_range_subtype(type));
	if (kind == TYPTYPE_MULTIRANGE)
		return both && vdist_wire_binary(get_multirange_range(type));
	return known;
}

VdistWireOut *
vdist_wire_out(int n, const Oid *types, bool force_text)
{
	VdistWireOut *out = palloc0(sizeof(VdistWireOut));
	int			i;

	out->n = n;
	out->formats = palloc(Max(n, 1) * sizeof(int));
	out->functions = palloc0(Max(n, 1) * sizeof(FmgrInfo));
	for (i = 0; i < n; i++)
	{
		Oid			function;
		bool		varlena;

		out->formats[i] = !force_text && vdist_wire_binary(types[i]);
		if (out->formats[i])
			getTypeBinaryOutputInfo(types[i], &function, &varlena);
		else
		{
			getTypeOutputInfo(types[i], &function, &varlena);
			out->any_text = true;
		}
		fmgr_info(function, &out->functions[i]);
	}
	return out;
}

const char *
vdist_wire_encode(VdistWireOut *out, int i, Datum value, int *length)
{
	char	   *text;

	if (out->formats[i])
	{
		bytea	   *bytes = SendFunctionCall(&out->functions[i], value);

		*length = VARSIZE(bytes) - VARHDRSZ;
		return VARDATA(bytes);
	}
	text = OutputFunctionCall(&out->functions[i], value);

	*length = strlen(text);
	return text;
}

/* What the shards' sessions are started with (conn.c), for the output functions here. */
int
vdist_wire_text_begin(void)
{
	int			nestlevel = NewGUCNestLevel();

	if (DateStyle != USE_ISO_DATES)
		(void) set_config_option("datestyle", "ISO", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (IntervalStyle != INTSTYLE_POSTGRES)
		(void) set_config_option("intervalstyle", "postgres", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (extra_float_digits < 3)
		(void) set_config_option("extra_float_digits", "3", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	/* So that names of objects come out qualified. */
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

void
vdist_wire_text_end(int nestlevel)
{
	AtEOXact_GUC(true, nestlevel);
}

VdistWireIn *
vdist_wire_in(int n, const Oid *types, const int32 *typmods, const int *targets)
{
	VdistWireIn *in = palloc0(sizeof(VdistWireIn));
	int			i;

	in->n = n;
	in->format = 1;
	in->targets = targets;
	in->functions = palloc0(Max(n, 1) * sizeof(FmgrInfo));
	in->ioparams = palloc(Max(n, 1) * sizeof(Oid));
	in->typmods = palloc(Max(n, 1) * sizeof(int32));
	for (i = 0; i < n; i++)
		if (!vdist_wire_binary(types[i]))
			in->format = 0;
	for (i = 0; i < n; i++)
	{
		Oid			function;

		if (in->format)
			getTypeBinaryInputInfo(types[i], &function, &in->ioparams[i]);
		else
			getTypeInputInfo(types[i], &function, &in->ioparams[i]);
		fmgr_info(function, &in->functions[i]);
		in->typmods[i] = typmods ? typmods[i] : -1;
	}
	return in;
}

Datum
vdist_wire_decode_column(VdistWireIn *in, const PGresult *result, int row, int column, bool *isnull)
{
	char	   *data;
	StringInfoData buffer;
	Datum		value;

	*isnull = PQgetisnull(result, row, column);
	/* Domains check their constraints on nulls too, but the shard has done so. */
	if (*isnull)
		return (Datum) 0;
	data = PQgetvalue(result, row, column);
	if (!in->format)
		return InputFunctionCall(&in->functions[column], data, in->ioparams[column],
								 in->typmods[column]);

	/* libpq ends every value with a zero byte, as receive functions may want it. */
	buffer.data = data;
	buffer.len = PQgetlength(result, row, column);
	buffer.maxlen = buffer.len + 1;
	buffer.cursor = 0;
	value = ReceiveFunctionCall(&in->functions[column], &buffer, in->ioparams[column],
								in->typmods[column]);
	if (buffer.cursor != buffer.len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format in column %d from a shard", column + 1)));
	return value;
}

void
vdist_wire_decode(VdistWireIn *in, const PGresult *result, int row, Datum *values, bool *isnull)
{
	int			i;

	if (PQnfields(result) != in->n)
		elog(ERROR, "shard returned %d columns where %d were expected", PQnfields(result), in->n);
	for (i = 0; i < in->n; i++)
	{
		int			target = in->targets ? in->targets[i] : i;

		values[target] = vdist_wire_decode_column(in, result, row, i, &isnull[target]);
	}
}

bool
vdist_is_reg_type(Oid type)
{
	switch (type)
	{
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGROLEOID:
		case REGTYPEOID:
			return true;
		default:
			return false;
	}
}
