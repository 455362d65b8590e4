/*
 * code.c: the codes of an index: of vectors less one mean, or less the nearest of several centres.
 * Calls quant/ and layout.c; called by whoever makes, reads or compares codes.
 *
 * With several centres a code begins with the number of its own, and a search makes its query ready
 * for a centre when it first meets a code of it. Vectors are rotated before centres are subtracted,
 * so that codes of different centres can be compared and no centre is rotated twice.
 */
#include "compat.h"

#include <math.h>

#include "utils/memutils.h"

#include "hnsw/hnsw.h"
#include "kernel/kernel.h"

/* A search begins among the rows of at least so many near centres. */
#define NEAR_CENTRES 8

/* A query ready for codes of each centre, as far as the search has met it. */
struct HnswQueries
{
	uint32		search;			/* counts searches */
	float	   *x;				/* the vector, rotated */
	float	   *scratch;
	float	   *distance;		/* of each centre */
	VdistQuantQuery **own;		/* as in HnswSearch, for each centre */
	VdistQuantQuery **own_rest;
	VdistQuantQuery **code;
	uint32	   *made_for;		/* the search that they were made for */
};

Size
hnsw_code_size(const HnswMeta *meta, int bits)
{
	return (meta->ncentres > 0 ? sizeof(uint16) : 0) +
		vdist_quant_code_size(vdist_metric_quant((VdistMetric) meta->metric), meta->dim, bits);
}

/* Are neighbors' codes 1 bit of the first components alone? Of how many, their size says. */
static bool
is_short(const HnswMeta *meta)
{
	return !HnswIsFlat(meta) && meta->code_size < hnsw_code_size(meta, meta->code_bits);
}

/* The components that neighbors' codes are of. */
int
hnsw_coded(const HnswMeta *meta)
{
	if (!is_short(meta))
		return meta->dim;
	return 8 * (meta->code_size - vdist_quant_code_size(VDIST_QUANT_L2, 0, meta->code_bits));
}

void
hnsw_codes_init(HnswCodes *codes, const HnswMeta *meta, const float *mean, const float *centres)
{
	VdistQuantMetric metric = vdist_metric_quant((VdistMetric) meta->metric);

	if (meta->metric == VDIST_METRIC_HAMMING)
	{
		vdist_quant_init_binary(&codes->own, meta->dim, meta->own_bits, mean);
		vdist_quant_init_binary(&codes->code, meta->dim, meta->code_bits, mean);
	}
	else
	{
		vdist_quant_init(&codes->own, metric, meta->dim, meta->own_bits, mean, meta->range);
		vdist_quant_init(&codes->code, metric, meta->dim, meta->code_bits, mean, meta->range);
	}
	if (is_short(meta))
		vdist_quant_shorten(&codes->code, hnsw_coded(meta));
	codes->ncentres = meta->ncentres;
	codes->centres = centres;
}

/*
 * Those of an index. As with hnsw_cache: use them at once. It is a quick way to what a backend
 * knows, if that is of the same index as meta.
 */
const HnswCodes *
hnsw_codes(Relation index, const HnswMeta *meta)
{
	const HnswCache *cache = (const HnswCache *) index->rd_amcache;

	if (cache == NULL || cache->meta.crc != meta->crc)
		cache = hnsw_cache(index);
	return &cache->codes;
}

/* ---- centres ---- */

static const float *
centre_of(const HnswCodes *codes, int number)
{
	return codes->centres + number * (Size) HNSW_CENTRE_FLOATS(codes->own.dim);
}

/* The number that a code begins with; of a damaged one, some other. */
static int
centre_number(const HnswCodes *codes, const char *code)
{
	return Min(hnsw_code_centre(code), codes->ncentres - 1);
}

/* How the codes of one centre are made. */
static VdistQuant
quant_at(const HnswCodes *codes, const VdistQuant *quant, int number)
{
	VdistQuant	at = *quant;

	at.mean = centre_of(codes, number);
	at.rotated = true;
	if (at.metric == VDIST_QUANT_L1)
		at.range = at.mean[at.dim];
	return at;
}

/* The same of neighbors' codes; queries are to be rotated, but for L1. */
VdistQuant
hnsw_centre_quant(const HnswCodes *codes, int number)
{
	return quant_at(codes, &codes->code, number);
}

static void
rotate(const HnswCodes *codes, float *x)
{
	if (codes->own.metric != VDIST_QUANT_L1 && !codes->own.rotated)
		vdist_quant_rotate(codes->own.dim, x);
}

/* The centre that a vector, rotated, has its code of. */
static int
nearest_centre(const HnswCodes *codes, const float *x)
{
	int			dim = codes->own.dim;
	float		best = INFINITY;
	int			found = 0;

	for (int c = 0; c < codes->ncentres; c++)
	{
		const float *centre = centre_of(codes, c);
		float		d = codes->own.metric == VDIST_QUANT_L1 ?
			vdist_kernel->l1(dim, x, centre) : vdist_kernel->l2_squared(dim, x, centre);

		if (d < best)
		{
			best = d;
			found = c;
		}
	}
	return found;
}

/* ---- codes ---- */

/* Write the own code of a prepared vector; scratch is HNSW_SCRATCH(dim) floats. In any thread. */
void
hnsw_encode(const HnswCodes *codes, const float *x, char *own, float *scratch)
{
	int			dim = codes->own.dim;
	float	   *rotated = scratch + VDIST_QUANT_SCRATCH(dim);
	VdistQuant	quant;
	uint16		number;

	if (codes->ncentres == 0)
	{
		vdist_quant_encode(&codes->own, x, own, scratch);
		return;
	}
	memcpy(rotated, x, sizeof(float) * dim);
	rotate(codes, rotated);
	number = nearest_centre(codes, rotated);
	quant = quant_at(codes, &codes->own, number);
	memcpy(own, &number, sizeof(number));
	vdist_quant_encode(&quant, rotated, own + sizeof(number), scratch);
}

/* The neighbor's code of the vector behind an own code. In any thread. */
void
hnsw_recode(const HnswCodes *codes, const char *own, char *code, float *scratch)
{
	VdistQuant	from;
	VdistQuant	to;
	int			number;

	if (codes->ncentres == 0)
	{
		vdist_quant_recode(&codes->own, own, &codes->code, code, scratch);
		return;
	}
	number = centre_number(codes, own);
	from = quant_at(codes, &codes->own, number);
	to = quant_at(codes, &codes->code, number);
	memcpy(code, own, sizeof(uint16));
	vdist_quant_recode(&from, own + sizeof(uint16), &to, code + sizeof(uint16), scratch);
}

/*
 * The vector that a code of quant, which is codes->own or codes->code, stands for: rotated (but for
 * L1), and less the mean when that is the only centre.
 */
void
hnsw_decode_code(const HnswCodes *codes, const VdistQuant *quant, const char *code, float *x)
{
	int			dim = quant->dim;
	VdistQuant	at;

	if (codes->ncentres == 0)
	{
		vdist_quant_decode(quant, code, x);
		return;
	}
	at = quant_at(codes, quant, centre_number(codes, code));
	vdist_quant_decode(&at, code + sizeof(uint16), x);
	for (int i = 0; i < dim; i++)
		x[i] += at.mean[i];
}

/*
 * The square of the vector that a code of quant stands for, nearly; x is scratch for it, and mean
 * the one of the index, rotated.
 */
float
hnsw_code_norm2(const HnswCodes *codes, const VdistQuant *quant, const char *code,
				const float *mean, float *x)
{
	hnsw_decode_code(codes, quant, code, x);
	for (int i = 0; i < quant->dim && codes->ncentres == 0; i++)
		x[i] += mean[i];
	return vdist_kernel->inner_product(quant->dim, x, x);
}

/*
 * The same, as the vector was when it was encoded: neither centred nor rotated.
 */
void
hnsw_decode_vector(const HnswCodes *codes, const VdistQuant *quant, const char *code, float *x)
{
	hnsw_decode_code(codes, quant, code, x);
	if (quant->metric != VDIST_QUANT_L1 && (codes->ncentres > 0 || !quant->rotated))
		vdist_quant_unrotate(quant->dim, x);
	for (int i = 0; i < quant->dim && codes->ncentres == 0; i++)
		x[i] += quant->mean[i];
}

/* Does the code name a centre that there is? */
bool
hnsw_code_valid(const HnswMeta *meta, const char *code)
{
	return meta->ncentres == 0 || hnsw_code_centre(code) < meta->ncentres;
}

/* ---- searches ---- */

/* In the current memory context. */
HnswQueries *
hnsw_queries_new(int dim, int ncentres)
{
	HnswQueries *queries = palloc0(sizeof(HnswQueries));

	queries->x = palloc(sizeof(float) * dim);
	queries->scratch = palloc(sizeof(float) * VDIST_QUANT_SCRATCH(dim));
	queries->distance = palloc(sizeof(float) * ncentres);
	queries->own = palloc0(sizeof(VdistQuantQuery *) * ncentres);
	queries->own_rest = palloc0(sizeof(VdistQuantQuery *) * ncentres);
	queries->code = palloc0(sizeof(VdistQuantQuery *) * ncentres);
	queries->made_for = palloc0(sizeof(uint32) * ncentres);
	return queries;
}

/* Have the queries for the codes of a centre. */
static void
need_queries(HnswQueries *queries, const HnswCodes *codes, int number)
{
	VdistQuant	own;
	VdistQuant	code;

	if (queries->made_for[number] == queries->search)
		return;
	if (queries->own[number] == NULL)
	{
		MemoryContext context = GetMemoryChunkContext(queries);
		Size		size = vdist_quant_query_size(codes->own.dim);

		queries->own[number] = MemoryContextAlloc(context, size);
		queries->own_rest[number] = MemoryContextAlloc(context, size);
		queries->code[number] = MemoryContextAlloc(context, size);
	}
	own = quant_at(codes, &codes->own, number);
	code = quant_at(codes, &codes->code, number);
	vdist_quant_query_fine(&own, &code, queries->x, queries->own[number],
						   queries->own_rest[number], queries->code[number], queries->scratch);
	queries->made_for[number] = queries->search;
}

/* A search for another vector begins. */
void
hnsw_queries_set(HnswQueries *queries, const HnswCodes *codes, const float *x)
{
	int			dim = codes->own.dim;

	memcpy(queries->x, x, sizeof(float) * dim);
	rotate(codes, queries->x);
	queries->search++;
	for (int c = 0; c < codes->ncentres; c++)
	{
		const float *centre = centre_of(codes, c);

		queries->distance[c] = codes->own.metric == VDIST_QUANT_L1 ?
			vdist_kernel->l1(dim, queries->x, centre) :
			codes->own.metric == VDIST_QUANT_IP ?
			-vdist_kernel->inner_product(dim, queries->x, centre) :
			vdist_kernel->l2_squared(dim, queries->x, centre);
	}
}

/* The distance of the n-th nearest centre. */
static float
near_bound(const HnswQueries *queries, int ncentres, int n)
{
	float		nearest[NEAR_CENTRES];
	int			found = 0;

	Assert(n <= NEAR_CENTRES);
	for (int c = 0; c < ncentres; c++)
	{
		float		d = queries->distance[c];
		int			at;

		if (found == n && !(d < nearest[n - 1]))
			continue;
		for (at = found < n ? found++ : n - 1; at > 0 && nearest[at - 1] > d; at--)
			nearest[at] = nearest[at - 1];
		nearest[at] = d;
	}
	return found == n ? nearest[n - 1] : INFINITY;
}

/*
 * The places of those routing rows, but for long ones, that are worth a look: of the nearest
 * centres, or of all of them when those have hardly any. Returns how many; places has room for all.
 */
int
hnsw_queries_entries(HnswQueries *queries, const HnswCache *cache, int enough, uint32 *places)
{
	const HnswCodes *codes = &cache->codes;
	float		bound = near_bound(queries, codes->ncentres, NEAR_CENTRES);
	int			nrouting = cache->nrouting - cache->nlong;

	for (;;)
	{
		int			n = 0;

		for (int i = 0; i < nrouting; i++)
		{
			const char *code = cache->routing_codes + i * (Size) cache->meta.code_size;

			if (!(queries->distance[centre_number(codes, code)] > bound))
				places[n++] = i;
		}
		if (n >= Min(enough, nrouting))
			return n;
		bound = INFINITY;
	}
}

/*
 * Estimated distances to n neighbors' codes, one after the other, or to those at places
 * which[0..n-1]. n is at most HNSW_MAX_SLOTS.
 */
void
hnsw_queries_estimate(HnswQueries *queries, const HnswCodes *codes, const char *first,
					  const uint16 *which, int n, float *distance)
{
	Size		stride = sizeof(uint16) + codes->code.code_size;
	int			centre[HNSW_MAX_SLOTS];
	int			nleft = n;

	for (int i = 0; i < n; i++)
		centre[i] = centre_number(codes, first + (which ? which[i] : i) * stride);
	for (int i = 0; nleft > 0; i++)
	{
		int			number = centre[i];
		uint16		group[HNSW_MAX_SLOTS];
		uint16		place[HNSW_MAX_SLOTS];
		float		estimates[HNSW_MAX_SLOTS];
		int			m = 0;

		if (number < 0)
			continue;
		for (int j = i; j < n; j++)
		{
			if (centre[j] != number)
				continue;
			group[m] = which ? which[j] : j;
			place[m++] = j;
			centre[j] = -1;
		}
		need_queries(queries, codes, number);
		vdist_quant_estimate_list(queries->code[number], first + sizeof(uint16), stride, group, m,
								  estimates);
		for (int j = 0; j < m; j++)
			distance[place[j]] = estimates[j];
		nleft -= m;
	}
}

/* The estimated distance to an own code, and the standard deviation of its error. */
float
hnsw_queries_own(HnswQueries *queries, const HnswCodes *codes, const char *own, float *error)
{
	int			number = centre_number(codes, own);
	float		distance;

	need_queries(queries, codes, number);
	own += sizeof(uint16);
	distance = vdist_quant_estimate_fine(queries->own[number], queries->own_rest[number], own);
	*error = vdist_quant_error(queries->own[number], own, distance);
	return distance;
}

/* What an own code lost of each component (vdist_quant_lost), after hnsw_queries_own. */
float
hnsw_queries_lost(const HnswQueries *queries, const HnswCodes *codes, const char *own)
{
	return vdist_quant_lost(queries->own[centre_number(codes, own)], own + sizeof(uint16));
}
