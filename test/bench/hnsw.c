/*
 * hnsw.c: the client of test/bench/hnsw, which compiles it. Loads vector files, generates them, and
 * measures nearest-neighbor queries and inserts as a program with a connection of its own sees them.
 *
 *	hnsw random SEED ROWS DIMS FILE.fvecs
 *	hnsw load CONNINFO TABLE FILE
 *	hnsw search CONNINFO OPERATOR QUERIES TRUTH.ivecs COUNT PARTS [SETUP]
 *	hnsw insert CONNINFO FILE COUNT FIRST [SETUP]
 *
 * Files are bvecs or fvecs: a row is an int32 number of dimensions, then as many uint8 or float32;
 * ivecs the same with int32. Integers are those of a little-endian machine. An id is a position in
 * the file. Of a file of truth the first ten ids of a row count, or all that are not negative in ties.ivecs:
 * ten, and those as far as the tenth.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define K 10
#define WARM_UP 40
#define BUFFER_QUERIES 100
#define DROPPED_QUERIES 20

typedef struct Vectors
{
	int			dim;
	long		count;
	float	   *x;				/* count × dim */
} Vectors;

typedef struct Truth
{
	int			k;
	int			nearest;		/* of them, those that count */
	int		   *ids;			/* a row: k, then k ids */
} Truth;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e6 + (double) t.tv_nsec * 1e-3;
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "hnsw: %s: %s\n", what, why);
	exit(1);
}

static void *
allocate(size_t size)
{
	void	   *p = malloc(size);

	if (p == NULL)
		fail("malloc", "out of memory");
	return p;
}

/* ---- files ---- */

static FILE *
open_file(const char *path, const char *mode)
{
	FILE	   *f = fopen(path, mode);

	if (f == NULL)
	{
		perror(path);
		exit(1);
	}
	return f;
}

static int
bytes_of(const char *path)
{
	return strstr(path, ".bvecs") ? 1 : 4;
}

/* The next row of a file into x, which has room for 65,536; its dimensions, 0 at the end. */
static int
next_row(FILE *f, int bytes, float *x)
{
	static uint8_t raw[65536];
	int			dim;

	if (fread(&dim, 4, 1, f) != 1)
		return 0;
	if (dim < 1 || dim > 65536)
		fail("vector file", "unexpected number of dimensions");
	if (fread(bytes == 1 ? (void *) raw : (void *) x, (size_t) bytes, (size_t) dim, f) !=
		(size_t) dim)
		return 0;
	if (bytes == 1)
		for (int i = 0; i < dim; i++)
			x[i] = raw[i];
	return dim;
}

static Vectors
read_vectors(const char *path, long limit)
{
	Vectors		v = {0};
	FILE	   *f = open_file(path, "rb");
	float	   *row = allocate(sizeof(float) * 65536);

	while (v.count < limit && (v.dim = next_row(f, bytes_of(path), row)) > 0)
	{
		if (v.count == 0)
			v.x = allocate(sizeof(float) * (size_t) v.dim * (size_t) limit);
		memcpy(v.x + v.count++ * v.dim, row, sizeof(float) * (size_t) v.dim);
	}
	if (v.count == 0)
		fail(path, "no vectors");
	rewind(f);
	v.dim = next_row(f, bytes_of(path), row);
	fclose(f);
	free(row);
	return v;
}

static Truth
read_truth(const char *path, long count)
{
	Truth		truth = {0};
	FILE	   *f = open_file(path, "rb");
	size_t		n;

	if (fread(&truth.k, 4, 1, f) != 1 || truth.k < K || truth.k > 65536)
		fail(path, "fewer than ten neighbors a row");
	truth.nearest = strstr(path, "ties.ivecs") ? truth.k : K;
	rewind(f);
	n = (size_t) (truth.k + 1) * (size_t) count;
	truth.ids = allocate(sizeof(int) * n);
	if (fread(truth.ids, sizeof(int), n, f) != n)
		fail(path, "shorter than the queries");
	fclose(f);
	return truth;
}

/* Clusters that overlap: 200 centres and noise of about their distance; the same for every seed. */
static void
make_random(unsigned seed, long rows, int dim, const char *path)
{
	enum
	{
		CENTRES = 200
	};
	FILE	   *f = open_file(path, "wb");
	float	   *centre = allocate(sizeof(float) * CENTRES * (size_t) dim);
	float	   *x = allocate(sizeof(float) * (size_t) dim);

#define UNIFORM() ((float) rand() / (float) RAND_MAX)
	srand(1);
	for (int i = 0; i < CENTRES * dim; i++)
		centre[i] = UNIFORM() + UNIFORM();
	srand(seed);
	for (long i = 0; i < rows; i++)
	{
		const float *c = centre + (rand() % CENTRES) * dim;

		for (int j = 0; j < dim; j++)
			x[j] = c[j] + (UNIFORM() + UNIFORM() + UNIFORM() - 1.5f) * 0.6f;
		fwrite(&dim, 4, 1, f);
		fwrite(x, sizeof(float), (size_t) dim, f);
	}
	if (fclose(f) != 0)
		fail(path, "could not write");
}

/* ---- server ---- */

static PGconn *
connect_to(const char *conninfo, const char *setup)
{
	PGconn	   *c = PQconnectdb(conninfo);
	PGresult   *r;

	if (PQstatus(c) != CONNECTION_OK)
		fail("connection", PQerrorMessage(c));
	if (setup != NULL)
	{
		r = PQexec(c, setup);
		if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
			fail(setup, PQerrorMessage(c));
		PQclear(r);
	}
	return c;
}

static void
prepare(PGconn *c, const char *name, const char *sql)
{
	PGresult   *r = PQprepare(c, name, sql, 0, NULL);

	if (PQresultStatus(r) != PGRES_COMMAND_OK)
		fail(sql, PQerrorMessage(c));
	PQclear(r);
}

/* A vector in its binary form; returns its length. */
static int
binary_vector(const float *x, int dim, char *out)
{
	uint16_t	head[2] = {htons((uint16_t) dim), 0};

	memcpy(out, head, 4);
	for (int i = 0; i < dim; i++)
	{
		uint32_t	u;

		memcpy(&u, &x[i], 4);
		u = htonl(u);
		memcpy(out + 4 + 4 * i, &u, 4);
	}
	return 4 + 4 * dim;
}

static PGresult *
run(PGconn *c, const char *name, const char *value, int length)
{
	int			format = 1;
	PGresult   *r = PQexecPrepared(c, name, 1, &value, &length, &format, 0);

	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail(name, PQerrorMessage(c));
	return r;
}

static void
load(const char *conninfo, const char *table, const char *path)
{
	PGconn	   *c = connect_to(conninfo, NULL);
	FILE	   *f = open_file(path, "rb");
	float	   *x = allocate(sizeof(float) * 65536);
	char	   *row = allocate(14 + 4 + 4 * 65536);
	char		sql[300];
	PGresult   *r;
	int			dim;

	snprintf(sql, sizeof(sql), "COPY %s (id, v) FROM STDIN (FORMAT binary)", table);
	r = PQexec(c, sql);
	if (PQresultStatus(r) != PGRES_COPY_IN)
		fail(sql, PQerrorMessage(c));
	PQclear(r);
	PQputCopyData(c, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
	for (uint32_t id = 0; (dim = next_row(f, bytes_of(path), x)) > 0; id++)
	{
		uint16_t	fields = htons(2);
		uint32_t	head[3] = {htonl(4), htonl(id), htonl((uint32_t) (4 + 4 * dim))};

		memcpy(row, &fields, 2);
		memcpy(row + 2, head, 12);
		if (PQputCopyData(c, row, 14 + binary_vector(x, dim, row + 14)) != 1)
			fail(path, PQerrorMessage(c));
	}
	PQputCopyData(c, "\377\377", 2);
	PQputCopyEnd(c, NULL);
	while ((r = PQgetResult(c)) != NULL)
	{
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			fail(path, PQerrorMessage(c));
		PQclear(r);
	}
	PQfinish(c);
	fclose(f);
}

/* ---- measuring ---- */

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static int
is_true(const Truth *truth, long query, int id)
{
	const int  *row = truth->ids + query * (truth->k + 1) + 1;

	for (int i = 0; i < truth->nearest; i++)
		if (row[i] == id)
			return 1;
	return 0;
}

/* Blocks in the first line "Buffers: shared hit=1 read=2" of a plan, which is that of the whole. */
static double
buffers_of(const PGresult *plan)
{
	for (int i = 0; i < PQntuples(plan); i++)
	{
		const char *line = PQgetvalue(plan, i, 0);
		const char *hit = strstr(line, " hit=");
		const char *read = strstr(line, " read=");

		if (strstr(line, "Buffers: shared") != NULL)
			return (hit ? atof(hit + 5) : 0) + (read ? atof(read + 6) : 0);
		if (strstr(line, "Planning") != NULL)
			break;
	}
	return 0;
}

/* The letter of a part in the list of parts. */
static int
wanted(const char *parts, char part)
{
	return strchr(parts, part) != NULL;
}

/*
 * Prints "recall p50 mean p95 floor lateral buffers dropped", times in microseconds a query: of queries c
 * (with the point read that is the floor), l (LATERAL), b (buffers), d (each after the system's cache
 * was dropped, which needs root); w warms up first.
 */
static void
search(const char *conninfo, const char *operator, const char *queries, const char *truth_path,
	   long count, const char *parts, const char *setup)
{
	Vectors		q = read_vectors(queries, count);
	Truth		truth = read_truth(truth_path, q.count);
	PGconn	   *c = connect_to(conninfo, setup);
	char	   *value = allocate(4 + 4 * (size_t) q.dim);
	double	   *times = allocate(sizeof(double) * (size_t) q.count);
	double		p50 = 0,
				mean = 0,
				p95 = 0,
				point = 0,
				lateral = 0,
				buffers = 0,
				dropped = 0,
				begin;
	long		found = 0;
	char		sql[1000];
	PGresult   *r;

	snprintf(sql, sizeof(sql), "SELECT id FROM item ORDER BY v %s $1::vector LIMIT %d",
			 operator, K);
	prepare(c, "knn", sql);
	prepare(c, "point", "SELECT id FROM query WHERE id = $1::integer");
	for (long i = 0; wanted(parts, 'w') && i < q.count && i < WARM_UP; i++)
		PQclear(run(c, "knn", value, binary_vector(q.x + i * q.dim, q.dim, value)));
	if (wanted(parts, 'c'))
	{
		for (long i = 0; i < q.count; i++)
		{
			int			length = binary_vector(q.x + i * q.dim, q.dim, value);

			begin = now();
			r = run(c, "knn", value, length);
			times[i] = now() - begin;
			mean += times[i] / (double) q.count;
			for (int j = 0; j < PQntuples(r); j++)
				found += is_true(&truth, i, atoi(PQgetvalue(r, j, 0)));
			PQclear(r);
		}
		qsort(times, (size_t) q.count, sizeof(double), by_value);
		p50 = times[q.count / 2];
		p95 = times[q.count * 95 / 100];
		for (long i = 0; i < q.count; i++)
		{
			uint32_t	id = htonl((uint32_t) i);

			begin = now();
			PQclear(run(c, "point", (char *) &id, 4));
			times[i] = now() - begin;
		}
		qsort(times, (size_t) q.count, sizeof(double), by_value);
		point = times[q.count / 2];
	}
	for (long i = 0; wanted(parts, 'd') && i < q.count && i < DROPPED_QUERIES; i++)
	{
		int			length = binary_vector(q.x + (q.count - 1 - i) * q.dim, q.dim, value);
		FILE	   *f = open_file("/proc/sys/vm/drop_caches", "w");

		fputs("3\n", f);
		fclose(f);
		begin = now();
		PQclear(run(c, "knn", value, length));
		dropped += (now() - begin) / DROPPED_QUERIES;
	}
	if (wanted(parts, 'l'))
	{
		snprintf(sql, sizeof(sql),
				 "SELECT q.id, i.id FROM query q, LATERAL"
				 " (SELECT id FROM item ORDER BY v %s q.v LIMIT %d) i WHERE q.id < %ld", operator, K, q.count);
		begin = now();
		r = PQexec(c, sql);
		lateral = (now() - begin) / (double) q.count;
		if (PQresultStatus(r) != PGRES_TUPLES_OK)
			fail(sql, PQerrorMessage(c));
		found = 0;
		for (int j = 0; j < PQntuples(r); j++)
			found += is_true(&truth, atol(PQgetvalue(r, j, 0)), atoi(PQgetvalue(r, j, 1)));
		PQclear(r);
	}
	if (wanted(parts, 'b'))
	{
		long		n = q.count < BUFFER_QUERIES ? q.count : BUFFER_QUERIES;

		snprintf(sql, sizeof(sql), "EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off)"
				 " SELECT id FROM item ORDER BY v %s $1::vector LIMIT %d", operator, K);
		prepare(c, "explain", sql);
		for (long i = 0; i < n; i++)
		{
			const float *x = q.x + (i * q.count / n) * q.dim;

			r = run(c, "explain", value, binary_vector(x, q.dim, value));
			buffers += buffers_of(r) / (double) n;
			PQclear(r);
		}
	}
	printf("%.5f %.1f %.1f %.1f %.1f %.1f %.1f %.1f\n", (double) found / (double) (q.count * K),
		   p50, mean, p95, point, lateral, buffers, dropped);
	PQfinish(c);
}

/* Prints the rows a second of single-row statements, each its own transaction. */
static void
insert(const char *conninfo, const char *path, long count, int first, const char *setup)
{
	Vectors		v = read_vectors(path, count);
	PGconn	   *c = connect_to(conninfo, setup);
	char	   *value = allocate(4 + 4 * (size_t) v.dim);
	char		sql[200];
	double		begin;

	snprintf(sql, sizeof(sql), "INSERT INTO item VALUES (%d, $1::vector)", first);
	prepare(c, "insert", sql);
	begin = now();
	for (long i = 0; i < v.count; i++)
		PQclear(run(c, "insert", value, binary_vector(v.x + i * v.dim, v.dim, value)));
	printf("%.1f\n", (double) v.count * 1e6 / (now() - begin));
	PQfinish(c);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "random") == 0 && argc == 6)
		make_random((unsigned) atoi(argv[2]), atol(argv[3]), atoi(argv[4]), argv[5]);
	else if (strcmp(what, "load") == 0 && argc == 5)
		load(argv[2], argv[3], argv[4]);
	else if (strcmp(what, "search") == 0 && (argc == 8 || argc == 9))
		search(argv[2], argv[3], argv[4], argv[5], atol(argv[6]), argv[7], argv[8]);
	else if (strcmp(what, "insert") == 0 && (argc == 6 || argc == 7))
		insert(argv[2], argv[3], atol(argv[4]), atoi(argv[5]), argv[6]);
	else
	{
		fprintf(stderr, "usage: see the head of hnsw.c; called by test/bench/hnsw\n");
		return 2;
	}
	return 0;
}
