/*
 * parse.h: the text forms of the vector types, without PostgreSQL, so that a fuzzer can be built
 * around them. Called by the input functions and test/unit.
 */
#ifndef VDIST_PARSE_H
#define VDIST_PARSE_H

#include <stdint.h>

typedef enum VectorParseError
{
	VECTOR_PARSE_OK,
	VECTOR_PARSE_NO_BRACKET,	/* does not start with "[" or "{" */
	VECTOR_PARSE_SYNTAX,
	VECTOR_PARSE_UNFINISHED,	/* no "/" after "}" */
	VECTOR_PARSE_JUNK,			/* something after the end */
	VECTOR_PARSE_EMPTY,			/* no element */
	VECTOR_PARSE_TOO_MANY,		/* more elements than there is room for */
	VECTOR_PARSE_RANGE,			/* too large; in a sparsevec too small, too */
	VECTOR_PARSE_NAN,
	VECTOR_PARSE_INFINITE
} VectorParseError;

/*
 * Read "[1,2.5,-3e4]" from the zero-terminated text into x, which has room for max_dim floats; each
 * element is rounded correctly, and out of range from limit on (INFINITY: the range of float). Sets
 * *dim. On an error *at and *length are the offending number for VECTOR_PARSE_RANGE, else undefined.
 */
extern VectorParseError vector_parse(const char *text, int max_dim, float limit, float *x, int *dim,
									 const char **at, int *length);

/*
 * Read "{1:0.5,7:2}/10" into indices, here counted from 0, and x, which have room for max elements.
 * Sets *n to their number and *dim to what is behind the slash. Indices come as they stand in the
 * text: in any order, equal, outside of 0 to *dim - 1; numbers too large for int32 as the largest.
 * Errors as above.
 */
extern VectorParseError sparsevec_parse(const char *text, int max, int32_t *indices, float *x,
										int *n, int32_t *dim, const char **at, int *length);

#endif							/* VDIST_PARSE_H */
