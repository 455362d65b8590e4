/*
 * tap.h: what the unit tests print, the Test Anything Protocol. Included by each test program.
 */
#ifndef VDIST_TEST_TAP_H
#define VDIST_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int	tap_tests = 0;
static int	tap_failures = 0;

/* Failures of one test that are printed; the rest is only counted. */
#define TAP_MAX_NOTES 5

static int	tap_notes = 0;

/* Count a failure inside the running test, with its circumstances. */
static inline void __attribute__((format(printf, 1, 2)))
tap_fail(const char *format,...)
{
	va_list		args;

	if (tap_notes++ >= TAP_MAX_NOTES)
		return;
	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* End the running test: it passed when nothing called tap_fail. */
static inline void
tap_end(const char *name)
{
	printf("%sok %d - %s\n", tap_notes > 0 ? "not " : "", ++tap_tests, name);
	if (tap_notes > 0)
	{
		printf("# %d failures\n", tap_notes);
		tap_failures++;
	}
	tap_notes = 0;
	fflush(stdout);
}

static inline void
tap_skip(const char *name, const char *why)
{
	printf("ok %d - %s # SKIP %s\n", ++tap_tests, name, why);
}

/* The plan, and the exit status of the program. */
static inline int
tap_done(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failures > 0;
}

/* The same numbers in every run (splitmix64). */
static uint64_t tap_seed = 1;

static inline uint64_t
tap_random(void)
{
	uint64_t	z = (tap_seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* 0 to n - 1 */
static inline int
tap_random_below(int n)
{
	return (int) (tap_random() % (uint64_t) n);
}

/* in [-1, 1) */
static inline double
tap_random_real(void)
{
	return (double) (int64_t) tap_random() / 9223372036854775808.0;
}

#endif							/* VDIST_TEST_TAP_H */
