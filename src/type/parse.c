/*
 * parse.c: reads the text forms of the vector types (parse.h). Pure C, no PostgreSQL header; called by
 * the input functions and by the fuzzer in test/unit.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "type/parse.h"

/* Exact as doubles; a quotient or product of two exact doubles is rounded once. */
static const double power_of_ten[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
};

#define MAX_EXACT_POWER 22
#define MAX_EXACT_MANTISSA (UINT64_C(1) << 53)

static inline const char *
skip_space(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	return p;
}

/*
 * The numbers people write have few digits and small exponents: one exact multiplication or division
 * in double, then a rounding to float. That second rounding is right unless the double lies on the
 * midpoint between two floats (Clinger 1990); such numbers, and all others, go to strtof.
 *
 * Returns the end of the number, NULL when it is not one for the short way.
 */
static const char *
read_short_number(const char *p, float *value)
{
	uint64_t	mantissa = 0;
	uint64_t	bits;
	int			digits = 0;
	int			exponent = 0;
	bool		negative = false;
	double		d;

	if (FLT_EVAL_METHOD != 0)
		return NULL;
	if (*p == '-' || *p == '+')
		negative = *p++ == '-';
	for (; *p >= '0' && *p <= '9'; p++, digits++)
	{
		if (digits == 18)
			return NULL;
		mantissa = mantissa * 10 + (uint64_t) (*p - '0');
	}
	if (*p == '.')
	{
		for (p++; *p >= '0' && *p <= '9'; p++, digits++, exponent--)
		{
			if (digits == 18)
				return NULL;
			mantissa = mantissa * 10 + (uint64_t) (*p - '0');
		}
	}
	if (digits == 0)
		return NULL;
	if (*p == 'e' || *p == 'E')
	{
		bool		down = false;
		int			e = 0;
		int			n = 0;

		p++;
		if (*p == '-' || *p == '+')
			down = *p++ == '-';
		for (; *p >= '0' && *p <= '9'; p++, n++)
		{
			if (n == 4)
				return NULL;
			e = e * 10 + (*p - '0');
		}
		if (n == 0)
			return NULL;
		exponent += down ? -e : e;
	}
	else if (*p == 'x' || *p == 'X')
		return NULL;

	if (mantissa > MAX_EXACT_MANTISSA || exponent > MAX_EXACT_POWER || exponent < -MAX_EXACT_POWER)
		return NULL;
	d = exponent < 0 ? (double) mantissa / power_of_ten[-exponent] :
		(double) mantissa * power_of_ten[exponent];

	/*
	 * d is zero or a normal float. Of its 52 bits a float keeps 23: a midpoint has just the
	 * highest of the other 29.
	 */
	memcpy(&bits, &d, sizeof(bits));
	if ((bits & 0x1fffffff) == 0x10000000)
		return NULL;
	*value = (float) (negative ? -d : d);
	return p;
}

/* The number at p, any that is finite; *end is set behind it. *lost: it is no zero and became one. */
static VectorParseError
read_number(const char *p, float *value, const char **end, bool *lost)
{
	char	   *stop;

	*lost = false;
	*end = read_short_number(p, value);
	if (*end != NULL)
		return VECTOR_PARSE_OK;
	errno = 0;
	*value = strtof(p, &stop);
	*end = stop;
	if (stop == p)
		return VECTOR_PARSE_SYNTAX;
	if (isnan(*value))
		return VECTOR_PARSE_NAN;
	if (isinf(*value))
		return errno == ERANGE ? VECTOR_PARSE_RANGE : VECTOR_PARSE_INFINITE;
	*lost = *value == 0 && errno == ERANGE;
	return VECTOR_PARSE_OK;
}

VectorParseError
vector_parse(const char *text, int max_dim, float limit, float *x, int *dim, const char **at,
			 int *length)
{
	const char *p = skip_space(text);
	int			n = 0;

	*dim = 0;
	if (*p != '[')
		return VECTOR_PARSE_NO_BRACKET;
	p = skip_space(p + 1);
	if (*p == ']')
		return VECTOR_PARSE_EMPTY;

	for (;;)
	{
		const char *end;
		VectorParseError error;
		bool		lost;

		if (n == max_dim)
			return VECTOR_PARSE_TOO_MANY;
		p = skip_space(p);
		error = read_number(p, &x[n], &end, &lost);
		if (error == VECTOR_PARSE_OK && fabsf(x[n]) >= limit)
			error = VECTOR_PARSE_RANGE;
		if (error != VECTOR_PARSE_OK)
		{
			*at = p;
			*length = (int) (end - p);
			return error;
		}
		n++;

		p = skip_space(end);
		if (*p == ']')
			break;
		if (*p != ',')
			return VECTOR_PARSE_SYNTAX;
		p++;
	}

	if (*skip_space(p + 1) != '\0')
		return VECTOR_PARSE_JUNK;
	*dim = n;
	return VECTOR_PARSE_OK;
}

/* As strtol reads it, cut off at the ends of int32; NULL when there is none at p. */
static const char *
read_integer(const char *p, int64_t *value)
{
	char	   *end;
	long		n = strtol(p, &end, 10);

	if (end == p)
		return NULL;
	*value = n > INT32_MAX ? INT32_MAX : n < INT32_MIN ? INT32_MIN : n;
	return end;
}

VectorParseError
sparsevec_parse(const char *text, int max, int32_t *indices, float *x, int *n, int32_t *dim,
				const char **at, int *length)
{
	const char *p = skip_space(text);
	int64_t		number;

	*n = 0;
	*dim = 0;
	if (*p != '{')
		return VECTOR_PARSE_NO_BRACKET;
	p = skip_space(p + 1);
	while (*p != '}' || *n > 0)
	{
		const char *end;
		VectorParseError error;
		bool		lost;

		if (*n == max)
			return VECTOR_PARSE_TOO_MANY;
		p = read_integer(skip_space(p), &number);
		if (p == NULL)
			return VECTOR_PARSE_SYNTAX;
		p = skip_space(p);
		if (*p != ':')
			return VECTOR_PARSE_SYNTAX;
		p = skip_space(p + 1);
		error = read_number(p, &x[*n], &end, &lost);

		/* Zeros are not stored: what became one would vanish. */
		if (error == VECTOR_PARSE_OK && lost)
			error = VECTOR_PARSE_RANGE;
		if (error != VECTOR_PARSE_OK)
		{
			*at = p;
			*length = (int) (end - p);
			return error;
		}
		indices[*n] = (int32_t) (number == INT32_MIN ? number : number - 1);
		++*n;

		p = skip_space(end);
		if (*p == '}')
			break;
		if (*p != ',')
			return VECTOR_PARSE_SYNTAX;
		p++;
	}

	p = skip_space(p + 1);
	if (*p != '/')
		return VECTOR_PARSE_UNFINISHED;
	p = read_integer(skip_space(p + 1), &number);
	if (p == NULL)
		return VECTOR_PARSE_SYNTAX;
	if (*skip_space(p) != '\0')
		return VECTOR_PARSE_JUNK;
	*dim = (int32_t) number;
	return VECTOR_PARSE_OK;
}
