/*
 * dense_io.c: text, binary format and type modifier of types vector and halfvec. Called by SQL only;
 * the text is read by parse.c.
 */
#include "compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "utils/array.h"

#include "type/type.h"

/* From here on a float becomes an infinite half. */
#define HALF_LIMIT 65520.0f

DENSE_BODY
dense_in(FunctionCallInfo fcinfo, VdistType type)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	fmNodePtr	escontext = fcinfo->context;
	float		x[VECTOR_MAX_DIM];
	int			dim;
	const char *at = NULL;
	int			length = 0;
	Dense	   *result;
	VectorParseError error = vector_parse(text, VECTOR_MAX_DIM,
										  type == VDIST_VECTOR ? (float) INFINITY : HALF_LIMIT,
										  x, &dim, &at, &length);

	if (error != VECTOR_PARSE_OK)
		return vdist_parse_failed(escontext, type, error, text, at, length);
	if (typmod != -1 && typmod != dim)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));

	result = dense_make(type, dim);
	if (type == VDIST_VECTOR)
		memcpy(result->data, x, sizeof(float) * dim);
	else
		dense_round(type, result, x);
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(in)

/* Shortest decimals that read back as the same floats; a halfvec's are those of its floats. */
DENSE_BODY
dense_out(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);

	/* A number and its comma for each element, then "[", "]" and the end. */
	char	   *text = palloc((Size) FLOAT_SHORTEST_DECIMAL_LEN * v->dim + 3);
	char	   *p = text;

	*p++ = '[';
	for (int i = 0; i < v->dim; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += float_to_shortest_decimal_bufn(dense_element(type, v, i), p);
	}
	*p++ = ']';
	*p = '\0';

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_CSTRING(text);
}

DENSE_FUNCTION(out)

DENSE_BODY
dense_typmod_in(FunctionCallInfo fcinfo, VdistType type)
{
	PG_RETURN_INT32(vdist_typmod_in(type, PG_GETARG_ARRAYTYPE_P(0)));
}

DENSE_FUNCTION(typmod_in)

/* The elements of from to or from the byte order of the network. */
static pg_attribute_always_inline void
swap_elements(VdistType type, int dim, const char *from, char *to)
{
	for (int i = 0; i < dim; i++)
	{
		if (type == VDIST_VECTOR)
		{
			uint32		bits;

			memcpy(&bits, from + sizeof(bits) * i, sizeof(bits));
			bits = pg_ntoh32(bits);
			memcpy(to + sizeof(bits) * i, &bits, sizeof(bits));
		}
		else
		{
			uint16		bits;

			memcpy(&bits, from + sizeof(bits) * i, sizeof(bits));
			bits = pg_ntoh16(bits);
			memcpy(to + sizeof(bits) * i, &bits, sizeof(bits));
		}
	}
}

/* Binary format, big-endian: int16 dim, int16 0, then the elements. */
DENSE_BODY
dense_recv(FunctionCallInfo fcinfo, VdistType type)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			dim = (int) pq_getmsgint(buf, sizeof(int16));
	int			unused = (int) pq_getmsgint(buf, sizeof(int16));
	Dense	   *result;

	vdist_check_dim(type, dim);
	vdist_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	result = dense_make(type, dim);
	swap_elements(type, dim, pq_getmsgbytes(buf, (int) DENSE_ELEMENT(type) * dim), result->data);
	vdist_check_elements(type, dim, dense_floats(type, result));
	PG_RETURN_POINTER(result);
}

DENSE_FUNCTION(recv)

DENSE_BODY
dense_send(FunctionCallInfo fcinfo, VdistType type)
{
	Dense	   *v = PG_GETARG_DENSE_P(0);
	Size		size = VARHDRSZ + 2 * sizeof(int16) + DENSE_ELEMENT(type) * v->dim;
	bytea	   *result = palloc(size);
	char	   *p = VARDATA(result);
	uint16		dim = pg_hton16((uint16) v->dim);
	uint16		unused = pg_hton16((uint16) v->unused);

	SET_VARSIZE(result, size);
	memcpy(p, &dim, sizeof(dim));
	memcpy(p + sizeof(dim), &unused, sizeof(unused));
	swap_elements(type, v->dim, v->data, p + sizeof(dim) + sizeof(unused));
	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_BYTEA_P(result);
}

DENSE_FUNCTION(send)
