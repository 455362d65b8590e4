/*
 * sparsevec_io.c: text, binary format and type modifier of type sparsevec. Called by SQL only; the
 * text is read by parse.c.
 */
#include "compat.h"

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "type/type.h"

/* Bytes of a decimal int32, with its sign. */
#define INTEGER_LEN 11

typedef struct Element
{
	int32		index;
	float		value;
} Element;

static int
compare_elements(const void *a, const void *b)
{
	int32		x = ((const Element *) a)->index;
	int32		y = ((const Element *) b)->index;

	return (x > y) - (x < y);
}

/* What is wrong with an index behind another, or NULL. The first one's previous is -1. */
static const char *
index_problem(int32 index, int32 previous, int dim)
{
	if (index < 0 || index >= dim)
		return "sparsevec index out of bounds";
	if (index < previous)
		return "sparsevec indices must be in ascending order";
	if (index == previous)
		return "sparsevec indices must not contain duplicates";
	return NULL;
}

PG_FUNCTION_INFO_V1(sparsevec_in);
Datum
sparsevec_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	fmNodePtr	escontext = fcinfo->context;
	int			room = 1;
	int32	   *indices;
	float	   *values;
	Element    *elements;
	int			n;
	int32		dim;
	int			nnz = 0;
	const char *at = NULL;
	int			length = 0;
	VectorParseError error;
	SparseVector *result;

	for (const char *p = text; *p != '\0'; p++)
		room += *p == ',';
	if (room > SPARSEVEC_MAX_NNZ)
		return vdist_parse_failed(escontext, VDIST_SPARSEVEC, VECTOR_PARSE_TOO_MANY, text, NULL, 0);

	indices = palloc(sizeof(int32) * room);
	values = palloc(sizeof(float) * room);
	error = sparsevec_parse(text, room, indices, values, &n, &dim, &at, &length);
	if (error != VECTOR_PARSE_OK)
		return vdist_parse_failed(escontext, VDIST_SPARSEVEC, error, text, at, length);
	if (dim < 1)
		return vdist_parse_failed(escontext, VDIST_SPARSEVEC, VECTOR_PARSE_EMPTY, text, NULL, 0);
	if (dim > SPARSEVEC_MAX_DIM)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sparsevec cannot have more than %d dimensions", SPARSEVEC_MAX_DIM)));
	if (typmod != -1 && typmod != dim)
		ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", typmod, dim)));

	elements = palloc(sizeof(Element) * room);
	for (int i = 0; i < n; i++)
	{
		elements[i].index = indices[i];
		elements[i].value = values[i];
		nnz += values[i] != 0;
	}
	qsort(elements, n, sizeof(Element), compare_elements);

	result = sparsevec_make(dim, nnz);
	nnz = 0;
	for (int i = 0; i < n; i++)
	{
		const char *problem = index_problem(elements[i].index, i > 0 ? elements[i - 1].index : -1,
											dim);

		if (problem != NULL)
			ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg_internal("%s", problem)));
		if (elements[i].value == 0)
			continue;
		result->indices[nnz] = elements[i].index;
		SPARSEVEC_VALUES(result)[nnz++] = elements[i].value;
	}
	PG_RETURN_POINTER(result);
}

/* Indices count from 1; values are the shortest decimals that read back as the same floats. */
PG_FUNCTION_INFO_V1(sparsevec_out);
Datum
sparsevec_out(PG_FUNCTION_ARGS)
{
	SparseVector *v = PG_GETARG_SPARSEVEC_P(0);

	/* "index:value," for each element, then "{", "}/dim" and the end. */
	char	   *text = palloc((Size) (INTEGER_LEN + FLOAT_SHORTEST_DECIMAL_LEN + 1) * v->nnz +
							  INTEGER_LEN + 4);
	char	   *p = text;

	*p++ = '{';
	for (int i = 0; i < v->nnz; i++)
	{
		if (i > 0)
			*p++ = ',';
		p += pg_ltoa(v->indices[i] + 1, p);
		*p++ = ':';
		p += float_to_shortest_decimal_bufn(SPARSEVEC_VALUES(v)[i], p);
	}
	*p++ = '}';
	*p++ = '/';
	pg_ltoa(v->dim, p);

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_CSTRING(text);
}

PG_FUNCTION_INFO_V1(sparsevec_typmod_in);
Datum
sparsevec_typmod_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(vdist_typmod_in(VDIST_SPARSEVEC, PG_GETARG_ARRAYTYPE_P(0)));
}

/* Binary format, big-endian: int32 dim, nnz, 0, then the indices from 0, then the float4 values. */
PG_FUNCTION_INFO_V1(sparsevec_recv);
Datum
sparsevec_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int32		dim = (int32) pq_getmsgint(buf, sizeof(int32));
	int32		nnz = (int32) pq_getmsgint(buf, sizeof(int32));
	int32		unused = (int32) pq_getmsgint(buf, sizeof(int32));
	SparseVector *result;

	vdist_check_dim(VDIST_SPARSEVEC, dim);
	sparsevec_check_nnz(nnz, dim);
	vdist_check_typmod(typmod, dim);
	if (unused != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected unused to be 0, not %d", unused)));

	result = sparsevec_make(dim, nnz);
	for (int i = 0; i < nnz; i++)
	{
		int32		index = (int32) pq_getmsgint(buf, sizeof(int32));
		const char *problem = index_problem(index, i > 0 ? result->indices[i - 1] : -1, dim);

		if (problem != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg_internal("%s", problem)));
		result->indices[i] = index;
	}
	for (int i = 0; i < nnz; i++)
	{
		float		value = pq_getmsgfloat4(buf);

		vdist_check_elements(VDIST_SPARSEVEC, 1, &value);
		if (value == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("binary representation of sparsevec cannot contain zero values")));
		SPARSEVEC_VALUES(result)[i] = value;
	}
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(sparsevec_send);
Datum
sparsevec_send(PG_FUNCTION_ARGS)
{
	SparseVector *v = PG_GETARG_SPARSEVEC_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint32(&buf, (uint32) v->dim);
	pq_sendint32(&buf, (uint32) v->nnz);
	pq_sendint32(&buf, (uint32) v->unused);
	for (int i = 0; i < v->nnz; i++)
		pq_sendint32(&buf, (uint32) v->indices[i]);
	for (int i = 0; i < v->nnz; i++)
		pq_sendfloat4(&buf, SPARSEVEC_VALUES(v)[i]);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
