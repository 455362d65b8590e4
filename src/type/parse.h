/*
 * parse.h: the text form of type vector, without PostgreSQL, so that a fuzzer can be built around it.
 * Called by vector_io.c and test/unit.
 */
#ifndef VDIST_PARSE_H
#define VDIST_PARSE_H

typedef enum VectorParseError
{
	VECTOR_PARSE_OK,
	VECTOR_PARSE_NO_BRACKET,	/* does not start with "[" */
	VECTOR_PARSE_SYNTAX,
	VECTOR_PARSE_JUNK,			/* something after "]" */
	VECTOR_PARSE_EMPTY,			/* no element */
	VECTOR_PARSE_TOO_MANY,		/* more than max_dim elements */
	VECTOR_PARSE_RANGE,			/* too large for a float */
	VECTOR_PARSE_NAN,
	VECTOR_PARSE_INFINITE
} VectorParseError;

/*
 * Read "[1,2.5,-3e4]" from the zero-terminated text into x, which has room for max_dim floats; each
 * element is rounded correctly. Sets *dim. On an error *at and *length are the offending number for
 * VECTOR_PARSE_RANGE, else undefined.
 */
extern VectorParseError vector_parse(const char *text, int max_dim, float *x, int *dim,
									 const char **at, int *length);

#endif							/* VDIST_PARSE_H */
