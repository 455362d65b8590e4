/*
 * vector_io.c: text, binary format and type modifier of type vector. Called by SQL only; the text is
 * read by parse.c.
 */
#include "compat.h"

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"

#include "type/parse.h"
#include "type/type.h"

/* Longest literal that an error message repeats in full, in bytes. */
#define MAX_QUOTED 1024

/* text for an error message, its end cut off when it is long */
static const char *
quoted(const char *text, Size length)
{
	if (length <= MAX_QUOTED)
		return pnstrdup(text, length);
	return psprintf("%.*s...", pg_mbcliplen(text, MAX_QUOTED + 1, MAX_QUOTED), text);
}

PG_FUNCTION_INFO_V1(vector_in);
Datum
vector_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	fmNodePtr	escontext = fcinfo->context;
	float		x[VECTOR_MAX_DIM];
	int			dim;
	const char *at = NULL;
	int			length = 0;
	Vector	   *result;

	switch (vector_parse(text, VECTOR_MAX_DIM, x, &dim, &at, &length))
	{
		case VECTOR_PARSE_OK:
			break;
		case VECTOR_PARSE_NO_BRACKET:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type vector: \"%s\"",
							quoted(text, strlen(text))),
					 errdetail("Vector contents must start with \"[\".")));
		case VECTOR_PARSE_SYNTAX:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type vector: \"%s\"",
							quoted(text, strlen(text)))));
		case VECTOR_PARSE_JUNK:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type vector: \"%s\"",
							quoted(text, strlen(text))),
					 errdetail("Junk after closing right brace.")));
		case VECTOR_PARSE_EMPTY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("vector must have at least 1 dimension")));
		case VECTOR_PARSE_TOO_MANY:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("vector cannot have more than %d dimensions", VECTOR_MAX_DIM)));
		case VECTOR_PARSE_RANGE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("\"%s\" is out of range for type vector",
							quoted(at, (Size) length))));
		case VECTOR_PARSE_NAN:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("NaN not allowed in vector")));
		case VECTOR_PARSE_INFINITE:
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("infinite value not allowed in vector")));
	}
	if (typmod != -1 && typmod != dim)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));

	result = vector_make(dim);
	memcpy(result->x, x, sizeof(float) * dim);
	PG_RETURN_VECTOR_P(result);
}

/* Shortest decimals that read back as the same floats. */
PG_FUNCTION_INFO_V1(vector_out);
Datum
vector_out(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);

	/* A number and its comma for each element, then "[", "]" and the end. */
	char	   *text = palloc((Size) FLOAT_SHORTEST_DECIMAL_LEN * v->dim + 3);
	char	   *p = text;

	*p++ = '[';
	for (int i = 0; i < v->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(v->x[i], p);
	}
	*p++ = ']';
	*p = '\0';

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_CSTRING(text);
}

PG_FUNCTION_INFO_V1(vector_typmod_in);
Datum
vector_typmod_in(PG_FUNCTION_ARGS)
{
	ArrayType  *modifiers = PG_GETARG_ARRAYTYPE_P(0);
	int			n;
	int32	   *typmod = ArrayGetIntegerTypmods(modifiers, &n);

	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier")));
	if (*typmod < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type vector must be at least 1")));
	if (*typmod > VECTOR_MAX_DIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimensions for type vector cannot exceed %d", VECTOR_MAX_DIM)));
	PG_RETURN_INT32(*typmod);
}

/* Binary format, big-endian: int16 dim, int16 0, float4 for each element. */
PG_FUNCTION_INFO_V1(vector_recv);
Datum
vector_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			dim = (int) pq_getmsgint(buf, sizeof(int16));
	int			unused = (int) pq_getmsgint(buf, sizeof(int16));
	const char *data;
	Vector	   *result;

	vector_check_dim(dim);
	vector_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	data = pq_getmsgbytes(buf, (int) sizeof(float) * dim);
	result = vector_make(dim);
	for (int i = 0; i < dim; i++)
	{
		uint32		bits;

		memcpy(&bits, data + sizeof(float) * i, sizeof(bits));
		bits = pg_ntoh32(bits);
		memcpy(&result->x[i], &bits, sizeof(bits));
	}
	vector_check_elements(result);
	PG_RETURN_VECTOR_P(result);
}

PG_FUNCTION_INFO_V1(vector_send);
Datum
vector_send(PG_FUNCTION_ARGS)
{
	Vector	   *v = PG_GETARG_VECTOR_P(0);
	Size		size = VARHDRSZ + 2 * sizeof(int16) + sizeof(float) * v->dim;
	bytea	   *result = palloc(size);
	char	   *p = VARDATA(result);
	uint16		dim = pg_hton16((uint16) v->dim);
	uint16		unused = pg_hton16((uint16) v->unused);

	SET_VARSIZE(result, size);
	memcpy(p, &dim, sizeof(dim));
	memcpy(p + sizeof(dim), &unused, sizeof(unused));
	p += sizeof(dim) + sizeof(unused);
	for (int i = 0; i < v->dim; i++)
	{
		uint32		bits;

		memcpy(&bits, &v->x[i], sizeof(bits));
		bits = pg_hton32(bits);
		memcpy(p + sizeof(float) * i, &bits, sizeof(bits));
	}
	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_BYTEA_P(result);
}
