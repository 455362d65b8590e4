/*
 * graph.c: tests of the graph build in src/quant: what a graph must hold, that it can be searched,
 * and that threads, SIMD variants and files make no difference. Prints TAP.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"

#define SLOTS 16

static int	tests;
static int	failures;

static void
check(bool ok, const char *name)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, name);
	failures += !ok;
}

static uint64_t seed = 42;

static double
uniform(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (double) (seed >> 11) / (double) (1ULL << 53);
}

static float
gauss(void)
{
	return (float) (sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform()));
}

/* Rows around a few centres, in a subspace, as real data are. */
static float *
clustered(int n, int dim, double spread)
{
	float	   *x = malloc(sizeof(float) * n * dim);
	float		centre[20][8];
	float		axis[8][600];

	seed = 7;
	for (int c = 0; c < 20; c++)
		for (int k = 0; k < 8; k++)
			centre[c][k] = gauss() * 2;
	for (int k = 0; k < 8; k++)
		for (int j = 0; j < dim; j++)
			axis[k][j] = gauss();
	for (int i = 0; i < n; i++)
	{
		int			c = (int) (uniform() * 20);
		float		at[8];

		for (int k = 0; k < 8; k++)
			at[k] = centre[c][k] + gauss() * (float) spread;
		for (int j = 0; j < dim; j++)
		{
			x[i * dim + j] = 3.0f + gauss() * 0.1f * (float) spread;
			for (int k = 0; k < 8; k++)
				x[i * dim + j] += at[k] * axis[k][j];
		}
	}
	return x;
}

typedef struct Setup
{
	VdistQuantMetric metric;
	int			threads;
	size_t		budget;
	int			cancel_after;	/* calls of interrupted; 0: never */
	int			calls;
	uint64_t	last_done;
	bool		progress_ok;
	FILE	   *files[2];
	uint64_t	sizes[2];		/* that the build asked for */
	bool		wide;
} Setup;

static bool
interrupted(void *arg)
{
	Setup	   *setup = arg;

	return setup->cancel_after > 0 && ++setup->calls >= setup->cancel_after;
}

static void
progress(void *arg, uint64_t done, uint64_t total)
{
	Setup	   *setup = arg;

	if (done < setup->last_done || done > total)
		setup->progress_ok = false;
	setup->last_done = done;
}

/* The build must ask for all it writes: a file that is longer was written to behind our back. */
static int
file(void *arg, int which, uint64_t size)
{
	Setup	   *setup = arg;

	setup->sizes[which] = size;
	if (setup->files[which] == NULL)
		setup->files[which] = tmpfile();
	return fileno(setup->files[which]);
}

static bool
files_as_asked(Setup *setup)
{
	bool		ok = true;

	for (int i = 0; i < 2; i++)
	{
		if (setup->files[i] == NULL)
			continue;
		fseek(setup->files[i], 0, SEEK_END);
		ok = ok && (uint64_t) ftell(setup->files[i]) <= setup->sizes[i];
	}
	return ok;
}

static VdistGraphStatus
add(VdistGraph *graph, int dim, const float *x)
{
	uint8_t    *record = malloc(vdist_graph_record_size(graph));
	float	   *scratch = malloc(sizeof(float) * dim);
	VdistGraphStatus status;

	vdist_graph_encode(graph, x, record, scratch);
	status = vdist_graph_add(graph, record);
	free(record);
	free(scratch);
	return status;
}

static VdistGraphStatus
build(Setup *setup, int n, int dim, const float *x, VdistGraph **graph)
{
	VdistGraphParams params = {0};
	float	   *mean = calloc(dim, sizeof(float));
	VdistGraphStatus status = VDIST_GRAPH_OK;

	for (int i = 0; i < n; i++)
		for (int j = 0; j < dim; j++)
			mean[j] += x[i * dim + j] / n;
	params.metric = setup->metric;
	params.dim = dim;
	params.slots = SLOTS;
	params.entries = 1024;
	params.ef_construction = 40;
	params.threads = setup->threads;
	params.budget = setup->budget;
	params.mean = mean;
	params.range = 30.0f;
	params.wide = setup->wide;
	params.interrupted = interrupted;
	params.progress = progress;
	params.arg = setup;
	params.file = setup->budget ? file : NULL;
	memset(setup->files, 0, sizeof(setup->files));
	setup->calls = 0;
	setup->last_done = 0;
	setup->progress_ok = true;
	*graph = vdist_graph_create(&params);
	free(mean);
	for (int i = 0; i < n && status == VDIST_GRAPH_OK; i++)
		status = add(*graph, dim, x + (size_t) i * dim);
	if (status == VDIST_GRAPH_OK)
		status = vdist_graph_build(*graph, setup->budget);
	return status;
}

static void
release(Setup *setup, VdistGraph *graph)
{
	vdist_graph_free(graph);
	for (int i = 0; i < 2; i++)
		if (setup->files[i])
			fclose(setup->files[i]);
}

/* Every promise of the interface; returns a hash of the whole graph, 0 when a promise is broken. */
static uint64_t
inspect(VdistGraph *graph, uint32_t n)
{
	uint64_t	hash = 1469598103934665603ULL;
	uint8_t    *seen = calloc(n + 1, 1);
	uint32_t   *stack = malloc(sizeof(uint32_t) * (n + 1));
	const uint32_t *entries;
	uint32_t	nentries = vdist_graph_entries(graph, &entries);
	uint32_t	depth = 0;
	uint32_t	reached = 0;
	bool		ok = vdist_graph_count(graph) == n;

	for (uint32_t p = 0; ok && p < n; p++)
	{
		uint32_t	list[SLOTS];
		int			nneighbors;
		int			nkept;

		ok = vdist_graph_order(graph)[p] < n && !seen[vdist_graph_order(graph)[p]]++ &&
			vdist_graph_neighbors(graph, p, list, &nneighbors, &nkept) == VDIST_GRAPH_OK &&
			nkept <= nneighbors && nneighbors <= SLOTS && (nneighbors > 0 || n == 1);
		hash = (hash ^ vdist_graph_order(graph)[p] ^ ((uint64_t) nkept << 32)) * 1099511628211ULL;
		for (int i = 0; ok && i < nneighbors; i++)
		{
			ok = list[i] < n && list[i] != p;
			for (int j = 0; j < i; j++)
				ok = ok && list[j] != list[i];
			hash = (hash ^ list[i]) * 1099511628211ULL;
		}
	}
	memset(seen, 0, n);
	for (uint32_t i = 0; ok && i < nentries; i++)
	{
		ok = entries[i] < n;
		hash = (hash ^ entries[i]) * 1099511628211ULL;
		if (ok && !seen[entries[i]])
		{
			seen[entries[i]] = 1;
			stack[depth++] = entries[i];
		}
	}
	while (ok && depth > 0)
	{
		uint32_t	list[SLOTS];
		int			nneighbors;
		int			nkept;

		vdist_graph_neighbors(graph, stack[--depth], list, &nneighbors, &nkept);
		reached++;
		for (int i = 0; i < nneighbors; i++)
		{
			if (!seen[list[i]])
			{
				seen[list[i]] = 1;
				stack[depth++] = list[i];
			}
		}
	}
	ok = ok && reached == n;
	free(seen);
	free(stack);
	return ok ? hash : 0;
}

static float
exact(VdistQuantMetric metric, int dim, const float *a, const float *b)
{
	return metric == VDIST_QUANT_L1 ? vdist_kernel->l1(dim, a, b) :
		vdist_kernel->l2_squared(dim, a, b);
}

/* Share of the exact ten nearest that a search with a pool of ef finds. */
static double
recall(VdistGraph *graph, VdistQuantMetric metric, int n, int dim, const float *x, float mix, int ef)
{
	enum
	{
		QUERIES = 50,
		POOL = 64
	};
	const uint32_t *entries;
	uint32_t	nentries = vdist_graph_entries(graph, &entries);
	int			hits = 0;
	uint8_t    *seen = malloc(n);

	for (int q = 0; q < QUERIES; q++)
	{
		float		query[600];
		float		pool_d[POOL + 1];
		uint32_t	pool[POOL + 1];
		bool		done[POOL + 1];
		int			m = 0;
		int			next;
		int			found = 0;
		float		tenth[10];

		/* between two rows, nearer to one of them, or one of them */
		for (int j = 0; j < dim; j++)
			query[j] = x[(q * 37 % n) * dim + j] * (1.0f - mix) + x[(q * 91 % n) * dim + j] * mix;
		for (int i = 0; i < 10; i++)
			tenth[i] = INFINITY;
		for (int i = 0; i < n; i++)
		{
			float		d = exact(metric, dim, query, x + i * dim);
			int			k = 9;

			if (d >= tenth[9])
				continue;
			for (; k > 0 && tenth[k - 1] > d; k--)
				tenth[k] = tenth[k - 1];
			tenth[k] = d;
		}

		memset(seen, 0, n);
		for (uint32_t e = 0; e < nentries; e++)
		{
			float		d = exact(metric, dim, query,
								  x + (size_t) vdist_graph_order(graph)[entries[e]] * dim);

			if (m == 0 || d < pool_d[0])
			{
				pool_d[0] = d;
				pool[0] = entries[e];
				m = 1;
			}
		}
		done[0] = false;
		seen[pool[0]] = 1;
		for (;;)
		{
			uint32_t	list[SLOTS];
			int			nneighbors;
			int			nkept;

			for (next = 0; next < m && done[next]; next++)
				;
			if (next == m)
				break;
			done[next] = true;
			vdist_graph_neighbors(graph, pool[next], list, &nneighbors, &nkept);
			for (int i = 0; i < nneighbors; i++)
			{
				float		d;
				int			k;

				if (seen[list[i]])
					continue;
				seen[list[i]] = 1;
				d = exact(metric, dim, query, x + (size_t) vdist_graph_order(graph)[list[i]] * dim);
				if (m == ef && d >= pool_d[m - 1])
					continue;
				k = m < ef ? m++ : m - 1;
				for (; k > 0 && pool_d[k - 1] > d; k--)
				{
					pool_d[k] = pool_d[k - 1];
					pool[k] = pool[k - 1];
					done[k] = done[k - 1];
				}
				pool_d[k] = d;
				pool[k] = list[i];
				done[k] = false;
			}
		}
		for (int i = 0; i < m && i < 10; i++)
			found += pool_d[i] <= tenth[9];
		hits += found;
	}
	free(seen);
	return hits / (10.0 * QUERIES);
}

static void
test_recall(void)
{
	static const int dims[] = {3, 33, 130, 515};

	for (int d = 0; d < 4; d++)
		for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_L1; metric += 2)
		{
			int			n = d == 3 ? 1500 : 4000;
			Setup		setup = {metric, 2, 0, 0, 0, 0, false, {NULL, NULL}, {0, 0}, false};
			float	   *x = clustered(n, dims[d], 1.0);
			VdistGraph *graph;
			char		name[100];
			bool		ok = build(&setup, n, dims[d], x, &graph) == VDIST_GRAPH_OK;
			double		r;

			snprintf(name, sizeof(name), "%d dimensions, metric %d: a sound graph", dims[d], metric);
			check(ok && inspect(graph, n) != 0 && setup.progress_ok, name);
			r = ok ? recall(graph, metric, n, dims[d], x, 0.2f, 40) : 0;
			snprintf(name, sizeof(name), "%d dimensions, metric %d: recall %.3f >= 0.97", dims[d],
					 metric, r);
			check(r >= 0.97, name);
			release(&setup, graph);
			free(x);
		}
}

/* Rows in crowds that 7 bits a dimension cannot tell apart. */
static void
test_far_crowds(void)
{
	for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_L1; metric += 2)
	{
		int			n = 4000;
		int			dim = 13;
		Setup		setup = {metric, 2, 0, 0, 0, 0, false, {NULL, NULL}, {0, 0}, true};
		float	   *x = clustered(n, dim, 1e-4);
		VdistGraph *graph;
		char		name[100];
		bool		ok = build(&setup, n, dim, x, &graph) == VDIST_GRAPH_OK;
		double		r;

		snprintf(name, sizeof(name), "crowds, metric %d: a sound graph", metric);
		check(ok && inspect(graph, n) != 0 && setup.progress_ok, name);
		r = ok ? recall(graph, metric, n, dim, x, 0, 40) : 0;
		snprintf(name, sizeof(name), "crowds, metric %d: recall %.3f >= 0.97", metric, r);
		check(r >= 0.97, name);
		release(&setup, graph);
		free(x);
	}
}

static void
test_same_everywhere(bool wide)
{
	enum
	{
		N = 3000,
		DIM = 70
	};
	float	   *x = clustered(N, DIM, 1.0);
	uint64_t	expected[3] = {0, 0, 0};

	for (int metric = VDIST_QUANT_L2; metric <= VDIST_QUANT_L1; metric += 2)
	{
		Setup		setup = {metric, 1, 0, 0, 0, 0, false, {NULL, NULL}, {0, 0}, wide};
		VdistGraph *graph;
		char		name[100];

		build(&setup, N, DIM, x, &graph);
		expected[metric] = inspect(graph, N);
		release(&setup, graph);
		check(expected[metric] != 0, "one thread");

		setup.threads = 5;
		build(&setup, N, DIM, x, &graph);
		check(inspect(graph, N) == expected[metric], "five threads build the same graph");
		release(&setup, graph);

		for (int simd = VDIST_SIMD_SCALAR; simd <= VDIST_SIMD_AVX512; simd++)
		{
			if (!vdist_kernel_select(simd))
				continue;
			vdist_quant_select(simd);
			build(&setup, N, DIM, x, &graph);
			snprintf(name, sizeof(name), "variant %d builds the same graph", simd);
			check(inspect(graph, N) == expected[metric], name);
			release(&setup, graph);
		}
		vdist_kernel_select(VDIST_SIMD_AUTO);
		vdist_quant_select(VDIST_SIMD_AUTO);

		/* just too little memory for all of it, and too little for anything */
		for (int k = 0; k < 2; k++)
		{
			setup.budget = k == 0 ? N * 300 : 30000;
			setup.threads = 2;
			check(build(&setup, N, DIM, x, &graph) == VDIST_GRAPH_OK &&
				  inspect(graph, N) != 0,
				  k == 0 ? "in files" : "in files with hardly any memory");
			check(setup.sizes[1] > N * DIM && files_as_asked(&setup),
				  "the files were used and are as long as was asked for");
			check(recall(graph, metric, N, DIM, x, 0.2f, 40) >= 0.97, "recall of a graph built in files");
			release(&setup, graph);
		}
	}
	free(x);
}

static void
test_crowds(bool wide)
{
	enum
	{
		N = 6000,
		DIM = 24
	};
	float	   *x = clustered(N, DIM, 1.0);
	Setup		setup = {VDIST_QUANT_L2, 2, 0, 0, 0, 0, false, {NULL, NULL}, {0, 0}, wide};
	VdistGraph *graph;

	/* half of the rows all but equal, half of those equal */
	for (int i = 0; i < N / 2; i++)
		for (int j = 0; j < DIM; j++)
			x[i * 2 * DIM + j] = x[j] + (i % 2 ? 1e-6f * (i % 50) * j : 0);
	check(build(&setup, N, DIM, x, &graph) == VDIST_GRAPH_OK && inspect(graph, N) != 0,
		  "a crowd of equal and nearly equal rows");
	release(&setup, graph);

	memset(x, 0, sizeof(float) * N * DIM);
	check(build(&setup, N, DIM, x, &graph) == VDIST_GRAPH_OK && inspect(graph, N) != 0,
		  "all rows equal");
	release(&setup, graph);
	for (int i = 0; i < N * DIM; i++)
		x[i] = (i % 7 - 3) * 1e38f;
	check(build(&setup, N, DIM, x, &graph) == VDIST_GRAPH_OK && inspect(graph, N) != 0,
		  "rows so large that distances overflow");
	release(&setup, graph);
	free(x);
}

static void
test_small(void)
{
	static const int sizes[] = {0, 1, 2, 3, 17, 127, 128, 129, 300};
	float	   *x = clustered(300, 9, 1.0);
	bool		ok = true;

	for (int s = 0; s < 9; s++)
		for (int files = 0; files < 2; files++)
		{
			Setup		setup = {VDIST_QUANT_L2, 3, files ? 1000 : 0, 0, 0, 0, false, {NULL, NULL}, {0, 0}, false};
			VdistGraph *graph;

			ok = ok && build(&setup, sizes[s], 9, x, &graph) == VDIST_GRAPH_OK &&
				(sizes[s] == 0 || inspect(graph, sizes[s]) != 0);
			release(&setup, graph);
		}
	check(ok, "few rows");
	free(x);
}

static void
test_cancel(void)
{
	float	   *x = clustered(3000, 20, 1.0);
	bool		ok = true;

	for (int after = 1; after < 60; after += 7)
		for (int files = 0; files < 2; files++)
		{
			Setup		setup = {VDIST_QUANT_L2, 2, files ? 50000 : 0, after, 0, 0, false, {NULL, NULL}, {0, 0}, false};
			VdistGraph *graph;
			VdistGraphStatus status = build(&setup, 3000, 20, x, &graph);

			ok = ok && (status == VDIST_GRAPH_CANCELLED || setup.calls < after);
			release(&setup, graph);
		}
	check(ok, "cancelling at any point");

	{
		Setup		setup = {VDIST_QUANT_L2, 2, 50000, 0, 0, 0, false, {NULL, NULL}, {0, 0}, false};
		VdistGraphParams params = {0};
		float		mean[20] = {0};
		VdistGraph *graph;
		VdistGraphStatus status = VDIST_GRAPH_OK;

		params.dim = 20;
		params.slots = SLOTS;
		params.entries = 1024;
		params.ef_construction = 40;
		params.threads = 2;
		params.budget = setup.budget;
		params.mean = mean;
		params.file = file;
		params.arg = &setup;
		setup.files[0] = fopen("/dev/full", "r+");
		graph = vdist_graph_create(&params);
		for (int i = 0; i < 3000 && status == VDIST_GRAPH_OK; i++)
			status = add(graph, 20, x + i * 20);
		check(status == VDIST_GRAPH_IO_ERROR, "a full disk is an error");
		release(&setup, graph);
	}
	free(x);
}

int
main(void)
{
	vdist_kernel_select(VDIST_SIMD_AUTO);
	vdist_quant_select(VDIST_SIMD_AUTO);
	test_small();
	test_recall();
	test_far_crowds();
	test_same_everywhere(false);
	test_same_everywhere(true);
	test_crowds(false);
	test_crowds(true);
	test_cancel();
	printf("1..%d\n", tests);
	return failures != 0;
}
