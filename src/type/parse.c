/*
 * parse.c: reads the text form of type vector (parse.h). Pure C, no PostgreSQL header; called by
 * vector_io.c and by the fuzzer in test/unit.
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

VectorParseError
vector_parse(const char *text, int max_dim, float *x, int *dim, const char **at, int *length)
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

		if (n == max_dim)
			return VECTOR_PARSE_TOO_MANY;
		p = skip_space(p);
		end = read_short_number(p, &x[n]);
		if (end == NULL)
		{
			char	   *stop;

			errno = 0;
			x[n] = strtof(p, &stop);
			end = stop;
			if (end == p)
				return VECTOR_PARSE_SYNTAX;
			if (isnan(x[n]))
				return VECTOR_PARSE_NAN;
			if (isinf(x[n]))
			{
				*at = p;
				*length = (int) (end - p);
				return errno == ERANGE ? VECTOR_PARSE_RANGE : VECTOR_PARSE_INFINITE;
			}
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
