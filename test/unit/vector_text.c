/*
 * vector_text.c: the parsers of types vector and sparsevec against plain ones over strtof: numbers of
 * every kind rounded alike, and mutated texts accepted, refused and read alike. The texts are the same in every
 * run; VDIST_FUZZ=n makes n times as many.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tap.h"
#include "type/parse.h"

#define MAX_DIM 40
#define MAX_TEXT 600

static int	fuzz = 1;

/* The grammar, written for clarity: the code under test must agree with it on any text. */
static VectorParseError
plain_parse(const char *p, int max_dim, float *x, int *dim)
{
	static const char space[] = " \t\n\v\f\r";

	*dim = 0;
	p += strspn(p, space);
	if (*p++ != '[')
		return VECTOR_PARSE_NO_BRACKET;
	p += strspn(p, space);
	if (*p == ']')
		return VECTOR_PARSE_EMPTY;
	for (;; p++)
	{
		char	   *end;

		if (*dim == max_dim)
			return VECTOR_PARSE_TOO_MANY;
		errno = 0;
		x[*dim] = strtof(p, &end);
		if (end == p)
			return VECTOR_PARSE_SYNTAX;
		if (isinf(x[*dim]))
			return errno == ERANGE ? VECTOR_PARSE_RANGE : VECTOR_PARSE_INFINITE;
		if (isnan(x[*dim]))
			return VECTOR_PARSE_NAN;
		++*dim;
		p = end + strspn(end, space);
		if (*p == ']')
			break;
		if (*p != ',')
			return VECTOR_PARSE_SYNTAX;
	}
	p++;
	return p[strspn(p, space)] == '\0' ? VECTOR_PARSE_OK : VECTOR_PARSE_JUNK;
}

/* Parse text, in a heap block of just its size, both ways. True when it is a vector. */
static bool
check_text(const char *text, int max_dim, float *x, int *dim)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = malloc(size);
	float	   *got = malloc(sizeof(float) * (size_t) max_dim);
	float		want[MAX_DIM];
	int			want_dim;
	const char *at = NULL;
	int			length = -1;
	VectorParseError error;
	VectorParseError want_error = plain_parse(text, max_dim, want, &want_dim);

	memcpy(copy, text, size);
	error = vector_parse(copy, max_dim, INFINITY, got, dim, &at, &length);
	if (error != want_error)
		tap_fail("\"%s\" gives %d, not %d", text, error, want_error);
	else if (error == VECTOR_PARSE_OK)
	{
		if (*dim != want_dim || memcmp(got, want, sizeof(float) * (size_t) *dim) != 0)
			tap_fail("\"%s\" is read otherwise: %d elements, first %a, not %a", text, *dim,
					 (double) got[0], (double) want[0]);
		memcpy(x, got, sizeof(float) * (size_t) *dim);
	}
	else if (error == VECTOR_PARSE_RANGE &&
			 (at < copy || length <= 0 || at + length > copy + size - 1))
		tap_fail("\"%s\": the number out of range lies outside of the text", text);
	free(copy);
	free(got);
	return error == VECTOR_PARSE_OK;
}

/* A finite float of any sign, magnitude and precision. */
static float
random_float(void)
{
	uint32_t	bits = (uint32_t) tap_random();
	float		x;

	memcpy(&x, &bits, sizeof(x));
	return isfinite(x) ? x : 0;
}

static void
random_number(char *out, size_t size)
{
	char		format[16];

	switch (tap_random_below(6))
	{
		case 0:
			snprintf(out, size, "%.9g", (double) random_float());
			break;
		case 1:
			snprintf(out, size, "%.*f", tap_random_below(12), tap_random_real() * 100);
			break;
		case 2:
			snprintf(out, size, "%d", tap_random_below(2000000001) - 1000000000);
			break;
		case 3:
			snprintf(format, sizeof(format), "%%.%d%c", tap_random_below(25), "efgEG"[tap_random_below(5)]);
			snprintf(out, size, format, ldexp(tap_random_real(), tap_random_below(300) - 160));
			break;
		case 4:
			snprintf(out, size, "%llu.%llue%d", (unsigned long long) (tap_random() >> tap_random_below(64)),
					 (unsigned long long) (tap_random() >> tap_random_below(64)),
					 tap_random_below(100) - 60);
			break;
		default:
			{
				/* On the midpoint of two floats, and a little beside it. */
				float		x = random_float();
				double		middle = ((double) x + (double) nextafterf(x, INFINITY)) / 2;

				snprintf(out, size, "%.*g", 15 + tap_random_below(30), isfinite(middle) ? middle : 0);
			}
	}
}

static void
check_numbers(void)
{
	char		number[200];
	char text[	220];
	float		x[MAX_DIM];
	int			dim;

	for (int i = 0; i < 400000 * fuzz; i++)
	{
		random_number(number, sizeof(number));
		snprintf(text, sizeof(text), "[%s]", number);
		check_text(text, MAX_DIM, x, &dim);
	}
	tap_end("numbers are rounded as strtof does");
}

/* Every short decimal around the places where the ways of reading part. */
static void
check_edges(void)
{
	static const char *const texts[] = {
		"[0]", "[-0]", "[+0]", "[.5]", "[5.]", "[.]", "[-]", "[+]", "[-.e1]", "[1e]", "[1e+]", "[1e-]",
		"[e1]", "[1e5]", "[1E5]", "[1e+5]", "[1e-5]", "[1e05]", "[1e0000000000000005]", "[1e99999]",
		"[1e-99999]", "[0e99999]", "[0e-99999]", "[00000000000000000000000000000001]",
		"[0.00000000000000000000000000000001]", "[100000000000000000000000000000000]",
		"[3.4028234e38]", "[3.4028235e38]", "[3.4028236e38]", "[340282346638528859811704183484516925440]",
		"[340282356779733661637539395458142568447]", "[340282356779733661637539395458142568448]",
		"[1.17549435e-38]", "[1.1754943e-38]", "[1.4e-45]", "[7.0064923e-46]", "[7.1e-46]", "[1e-46]",
		"[16777216]", "[16777217]", "[16777218]", "[16777219]", "[16777217.0000001]",
		"[16777217.00000000000000000001]", "[16777216.99999999999999999999]", "[9007199254740992]",
		"[9007199254740993]", "[9007199791611905]", "[1e22]", "[1e23]", "[9007199254740993e22]",
		"[0x10]", "[0x1p3]", "[0x]", "[0x.8]", "[1x]", "[inf]", "[INF]", "[-infinity]", "[infinit]",
		"[nan]", "[NaN]", "[nan(1)]", "[-nan]", "[1d]", "[1f]", "[1_000]", "[1 000]", "[1'000]",
		"[١]", "[1;2]", "[1,]", "[,1]", "[1,,2]", "[]", "[ ]", "[", "[ ", "[1", "[1 ", "[1,", "]", "",
		" ", "1", "[1]]", "[1][", "[1] ", "[1] x", "[[1]]", "{1}", "(1)", " [1]", "x[1]", "[1\v]",
		"[\t1\n,\r2\f]", "[1\xc2\xa0]", "[--1]", "[+-1]", "[- 1]", "[1.2.3]", "[1e1.5]", "[1e1e1]"
	};
	float		x[MAX_DIM];
	int			dim;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_text(texts[i], MAX_DIM, x, &dim);
	tap_end("texts at the edges");
}

static void
random_vector_text(char *text, size_t size)
{
	int			dim = 1 + tap_random_below(12);
	size_t		n = 0;

	n += (size_t) snprintf(text, size, "[");
	for (int i = 0; i < dim && n < size - 100; i++)
	{
		char		number[80];

		random_number(number, sizeof(number));
		n += (size_t) snprintf(text +n, size - n, "%s%s", i > 0 ? "," : "", number);
	}
	snprintf(text +n, size - n, "]");
}

static void
mutate(char *text, size_t size)
{
	static const char alphabet[] = "0123456789.,,,:eE+-[]{}/  \t\nxXinfaNp\x80\xff";
	size_t		length = strlen(text);

	for (int times = 1 + tap_random_below(4); times > 0; times--)
	{
		size_t		at = length > 0 ? tap_random() % length : 0;
		char		c = alphabet[tap_random_below((int) sizeof(alphabet) - 1)];
		size_t		run = 1 + tap_random() % 8;

		switch (tap_random_below(5))
		{
			case 0:				/* change */
				if (length > 0)
					text[		at] = c;

				break;
			case 1:				/* insert */
				if (length + 2 < size)
				{
					memmove(text +at + 1, text +at, length - at + 1);
					text[		at] = c;

					length++;
				}
				break;
			case 2:				/* delete */
				if (at + run <= length)
				{
					memmove(text +at, text +at + run, length - at - run + 1);
					length -= run;
				}
				break;
			case 3:				/* repeat */
				if (at + run <= length && length + run < size)
				{
					memmove(text +at + run, text +at, length - at + 1);
					length += run;
				}
				break;
			default:			/* cut off */
				text[		at] = '\0';

				length = at;
		}
	}
}

static void
check_mutations(void)
{
	char text[	MAX_TEXT];
	char		again[MAX_TEXT];
	float		x[MAX_DIM];
	float		y[MAX_DIM];
	int			dim;
	int			dim2;
	int			accepted = 0;
	int			total = 300000 * fuzz;

	for (int i = 0; i < total; i++)
	{
		random_vector_text(text, sizeof(text));
		if (i % 10 != 0)
			mutate(text, sizeof(text));
		if (!check_text(text, 1 + tap_random_below(MAX_DIM), x, &dim))
			continue;
		accepted++;

		/* What was accepted survives being written and read again. */
		again[0] = '\0';
		for (int j = 0; j < dim; j++)
			sprintf(again + strlen(again), "%c%.9g", j > 0 ? ',' : '[', (double) x[j]);
		strcat(again, "]");
		if (!check_text(again, MAX_DIM, y, &dim2) || dim2 != dim ||
			memcmp(x, y, sizeof(float) * (size_t) dim) != 0)
			tap_fail("\"%s\" became \"%s\"", text, again);
	}

	/* Both outcomes must be common, or the mutations test nothing. */
	if (accepted < total / 10 || accepted > total * 9 / 10)
		tap_fail("%d of %d texts accepted", accepted, total);
	tap_end("mutated texts");
}

/* The grammar of sparsevec, written for clarity; indices counted from 1 as in the text. */
static VectorParseError
plain_sparse_parse(const char *p, int max, long *indices, float *x, int *n, long *dim)
{
	static const char space[] = " \t\n\v\f\r";
	char	   *end;

	*n = 0;
	p += strspn(p, space);
	if (*p++ != '{')
		return VECTOR_PARSE_NO_BRACKET;
	p += strspn(p, space);
	for (bool more = *p != '}'; more;)
	{
		if (*n == max)
			return VECTOR_PARSE_TOO_MANY;
		indices[*n] = strtol(p, &end, 10);
		if (end == p)
			return VECTOR_PARSE_SYNTAX;
		p = end + strspn(end, space);
		if (*p++ != ':')
			return VECTOR_PARSE_SYNTAX;
		errno = 0;
		x[*n] = strtof(p, &end);
		if (end == p)
			return VECTOR_PARSE_SYNTAX;
		if (isnan(x[*n]))
			return VECTOR_PARSE_NAN;
		if (isinf(x[*n]) && errno == 0)
			return VECTOR_PARSE_INFINITE;
		if (errno == ERANGE && (isinf(x[*n]) || x[*n] == 0))
			return VECTOR_PARSE_RANGE;
		++*n;
		p = end + strspn(end, space);
		if (*p == '}')
			break;
		if (*p++ != ',')
			return VECTOR_PARSE_SYNTAX;
	}
	p++;
	p += strspn(p, space);
	if (*p++ != '/')
		return VECTOR_PARSE_UNFINISHED;
	*dim = strtol(p, &end, 10);
	if (end == p)
		return VECTOR_PARSE_SYNTAX;
	return end[strspn(end, space)] == '\0' ? VECTOR_PARSE_OK : VECTOR_PARSE_JUNK;
}

/* What does not fit is the largest or smallest that does. */
static int32_t
cut_off(long n)
{
	return n > INT32_MAX ? INT32_MAX : n < INT32_MIN ? INT32_MIN : (int32_t) n;
}

static bool
check_sparse_text(const char *text, int max)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = malloc(size);
	int32_t    *indices = malloc(sizeof(int32_t) * (size_t) max);
	float	   *x = malloc(sizeof(float) * (size_t) max);
	long		want_indices[MAX_DIM];
	float		want_x[MAX_DIM];
	int			n;
	int			want_n;
	int32_t		dim;
	long		want_dim;
	const char *at = NULL;
	int			length = -1;
	VectorParseError want = plain_sparse_parse(text, max, want_indices, want_x, &want_n, &want_dim);
	VectorParseError error;

	memcpy(copy, text, size);
	error = sparsevec_parse(copy, max, indices, x, &n, &dim, &at, &length);
	if (error != want)
		tap_fail("\"%s\" gives %d, not %d", text, error, want);
	else if (error == VECTOR_PARSE_OK)
	{
		if (n != want_n || dim != cut_off(want_dim))
			tap_fail("\"%s\" has %d elements in %d, not %d in %ld", text, n, dim, want_n, want_dim);
		for (int i = 0; i < n && i < want_n; i++)
		{
			int32_t		index = cut_off(want_indices[i]);

			if (indices[i] != (index == INT32_MIN ? index : index - 1) ||
				memcmp(&x[i], &want_x[i], sizeof(float)) != 0)
				tap_fail("\"%s\": element %d is %d: %a", text, i, indices[i], (double) x[i]);
		}
	}
	else if (error == VECTOR_PARSE_RANGE &&
			 (at < copy || length <= 0 || at + length > copy + size - 1))
		tap_fail("\"%s\": the number out of range lies outside of the text", text);
	free(copy);
	free(indices);
	free(x);
	return error == VECTOR_PARSE_OK;
}

static void
check_sparse(void)
{
	static const char *const texts[] = {
		"{}/1", " { } / 1 ", "{1:2}/3", "{1:2,}/3", "{1:2, }/3", "{,1:2}/3", "{1:2", "{1:2}", "{1:2}/",
		"{1:2}/x", "{1:2}/3x", "{1:2}/3 4", "{:2}/3", "{1}/3", "{1:}/3", "{1:2;3:4}/5", "{-1:2}/3",
		"{+1:2}/+3", "{1.5:2}/3", "{1: 2}/3", "{1 :2}/3", "{1e0:2}/3", "{0x1:2}/3", "{1:nan}/2",
		"{1:inf}/2", "{1:1e99}/2", "{1:1e-99}/2", "{1:0e-99}/2", "{1:1e-45}/2", "{1:0x1p-200}/2",
		"{2147483647:1}/2147483647", "{2147483648:1}/2147483648", "{-2147483648:1}/-2147483648",
		"{99999999999999999999:1}/99999999999999999999", "{-99999999999999999999:1}/1", "", "{", "{ ",
		"[1]/1", "{}1", "{}//1", "{}}/1", "{{}/1"
	};
	int			accepted = 0;
	int			total = 200000 * fuzz;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_sparse_text(texts[i], MAX_DIM);
	for (int i = 0; i < total; i++)
	{
		char		input[MAX_TEXT] = "{";
		char	   *p = input + 1;

		for (int n = tap_random_below(7), j = 0; j < n; j++)
		{
			char		number[80];

			random_number(number, sizeof(number));
			p += snprintf(p, 200, "%s%d:%.60s", j > 0 ? "," : "", tap_random_below(1000), number);
		}
		sprintf(p, "}/%d", tap_random_below(1000));
		if (i % 10 != 0)
			mutate(input, sizeof(input));
		accepted += check_sparse_text(input, 1 + tap_random_below(MAX_DIM));
	}
	if (accepted < total / 10 || accepted > total * 9 / 10)
		tap_fail("%d of %d texts accepted", accepted, total);
	tap_end("texts of sparsevec");
}

int
main(void)
{
	const char *times = getenv("VDIST_FUZZ");

	if (times != NULL && atoi(times) > 0)
		fuzz = atoi(times);
	check_edges();
	check_numbers();
	check_mutations();
	check_sparse();
	return tap_done();
}
