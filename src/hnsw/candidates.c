/*
 * candidates.c: rows that may become neighbors of another one, the distances between them, and the
 * choice among them. Calls code.c and quant/; called by insert.c, edges.c, repair.c and relink.c.
 *
 * All distances are those between own codes, which have more bits than the codes that a search
 * ranks rows by. A code is made into a *view* first: a record of bytes (quant/pairs.c), or, where
 * that does not do, floats.
 */
#include "compat.h"

#include "hnsw/hnsw.h"
#include "kernel/kernel.h"

/* Chosen rows that a candidate is compared with at a time. */
#define COMPARED 4

/* ---- distances between own codes ---- */

/* Distance between decoded codes, as the graph sees it. */
float
hnsw_code_distance(const HnswMeta *meta, const float *a, const float *b)
{
	if (meta->metric == VDIST_METRIC_L1)
		return vdist_kernel->l1(meta->dim, a, b);
	return vdist_kernel->l2_squared(hnsw_decoded_dim(meta), a, b);
}

/*
 * Decode an own code, or a neighbor's, to what the graph sees; x has hnsw_decoded_dim components.
 */
void
hnsw_decode(const HnswInsert *insert, bool own, const char *code, float *x)
{
	const HnswMeta *meta = &insert->meta;
	const HnswCodes *codes = hnsw_codes(insert->search.index, meta);

	hnsw_decode_code(codes, own ? &codes->own : &codes->code, code, x);
	if (meta->metric != VDIST_METRIC_IP)
		return;
	for (int i = 0; i < meta->dim && meta->ncentres == 0; i++)
		x[i] += insert->rotated_mean[i];
	hnsw_lift(meta->range, meta->dim, x, x);
}

/*
 * Do distances between codes take decoding both? With inner products the estimate is a product,
 * while the graph is made by distances; and a query made of a code is for codes of its own centre
 * alone.
 */
bool
hnsw_compare_decoded(const HnswMeta *meta)
{
	return meta->metric == VDIST_METRIC_IP || meta->ncentres > 0;
}

/* Bytes of the view of an own code. */
Size
hnsw_view_size(const HnswMeta *meta)
{
	return MAXALIGN(hnsw_compare_decoded(meta) ? sizeof(float) * hnsw_decoded_dim(meta) :
					vdist_quant_record_size(meta->dim));
}

void
hnsw_view(const HnswInsert *insert, const char *own, void *view)
{
	if (hnsw_compare_decoded(&insert->meta))
		hnsw_decode(insert, true, own, view);
	else
		vdist_quant_record(&hnsw_codes(insert->search.index, &insert->meta)->own, own, view);
}

/* Distances of n rows from one, by their views. */
void
hnsw_view_distances(const HnswInsert *insert, const void *one, const void *const *views, int n,
					float *distance)
{
	const HnswMeta *meta = &insert->meta;

	if (!hnsw_compare_decoded(meta))
	{
		vdist_quant_between(&hnsw_codes(insert->search.index, meta)->own, one, views, n, distance);
		return;
	}
	for (int i = 0; i < n; i++)
		distance[i] = hnsw_code_distance(meta, one, views[i]);
}

/* ---- candidates ---- */

static inline uint32
place_of(uint32 number)
{
	return (number * 0x9E3779B1U) / (PG_UINT32_MAX / HNSW_CANDIDATE_PLACES + 1);
}

static void
remember_places(HnswCandidates *candidates)
{
	memset(candidates->places, 0xFF, sizeof(candidates->places));
	for (int i = 0; i < Min(candidates->n, HNSW_CANDIDATE_PLACES / 2); i++)
	{
		uint32		place = place_of(candidates->rows[i].number);

		while (candidates->places[place] >= 0)
			place = (place + 1) % HNSW_CANDIDATE_PLACES;
		candidates->places[place] = i;
	}
}

/*
 * Room for about as many as a search with `ef` expands, in the current memory context. It grows: a
 * few rows that were expanded are not among the nearest ef in the end.
 */
void
hnsw_candidates_init(HnswCandidates *candidates, const HnswMeta *meta, int ef)
{
	candidates->size = HnswIsFlat(meta) ? 1 : ef + ef / 4;
	candidates->own_size = MAXALIGN(meta->own_size);
	candidates->view_size = hnsw_view_size(meta);
	candidates->rows = palloc(sizeof(HnswCandidate) * candidates->size);
	candidates->owns = palloc_extended(candidates->own_size * candidates->size, MCXT_ALLOC_HUGE);
	candidates->views = palloc_extended(candidates->view_size * candidates->size, MCXT_ALLOC_HUGE);
	candidates->n = 0;
	remember_places(candidates);
}

/* Remember a row, whose page is locked, as a candidate. */
void
hnsw_candidate_add(HnswInsert *insert, uint32 number, const HnswRow *row)
{
	HnswCandidates *candidates = &insert->candidates;
	HnswCandidate *candidate;

	if (candidates->n == candidates->size)
	{
		candidates->size *= 2;
		candidates->rows = repalloc_huge(candidates->rows,
										 sizeof(HnswCandidate) * candidates->size);
		candidates->owns = repalloc_huge(candidates->owns,
										 candidates->own_size * candidates->size);
		candidates->views = repalloc_huge(candidates->views,
										  candidates->view_size * candidates->size);
	}
	memcpy(candidates->owns + candidates->own_size * candidates->n,
		   HnswRowOwn(&insert->meta, row), insert->meta.own_size);
	candidate = &candidates->rows[candidates->n++];
	candidate->number = number;
}

static int
compare_candidates(const void *a, const void *b)
{
	const HnswCandidate *x = a;
	const HnswCandidate *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* The candidate that is this row, once neighbors were chosen; NULL when it is none. */
const HnswCandidate *
hnsw_candidate_find(const HnswCandidates *candidates, uint32 number)
{
	for (uint32 place = place_of(number); candidates->places[place] >= 0;
		 place = (place + 1) % HNSW_CANDIDATE_PLACES)
	{
		const HnswCandidate *candidate = &candidates->rows[candidates->places[place]];

		if (candidate->number == number)
			return candidate;
	}
	return NULL;
}

/* Measure them all from the row of insert->view, and sort them, nearest first. */
static void
sort_candidates(HnswInsert *insert)
{
	HnswCandidates *candidates = &insert->candidates;

	for (int i = 0; i < candidates->n; i++)
	{
		HnswCandidate *candidate = &candidates->rows[i];

		candidate->own = candidates->owns + candidates->own_size * i;
		candidate->view = candidates->views + candidates->view_size * i;
		candidate->chosen = false;
		hnsw_view(insert, candidate->own, candidate->view);
		hnsw_view_distances(insert, insert->view, (const void *const *) &candidate->view, 1,
							&candidate->distance);
	}
	qsort(candidates->rows, candidates->n, sizeof(HnswCandidate), compare_candidates);
	remember_places(candidates);
}

/* Is it nearer to one of the rows that were chosen, from `first` to end, than to the new row? */
static bool
is_behind(HnswInsert *insert, const HnswCandidate *candidate, int first, int end)
{
	for (int i = first; i < end; i += COMPARED)
	{
		const void *views[COMPARED];
		float		distance[COMPARED];
		int			n = Min(COMPARED, end - i);

		for (int j = 0; j < n; j++)
			views[j] = insert->chosen[i + j]->view;
		hnsw_view_distances(insert, candidate->view, views, n, distance);
		for (int j = 0; j < n; j++)
			if (distance[j] < candidate->distance)
				return true;
	}
	return false;
}

/*
 * Choose the candidates, nearest first, that are nearer to the new row than to any chosen from
 * `layer` on (alpha = 1). Returns how many are chosen then, slots at most.
 */
static int
choose_layer(HnswInsert *insert, int layer)
{
	HnswCandidates *candidates = &insert->candidates;
	int			n = layer;

	for (int i = 0; i < candidates->n && n < insert->meta.slots; i++)
	{
		HnswCandidate *candidate = &candidates->rows[i];

		if (candidate->chosen || is_behind(insert, candidate, layer, n))
			continue;
		candidate->chosen = true;
		insert->chosen[n++] = candidate;
	}
	return n;
}

/*
 * Fill in the image's neighbors from the candidates, given its view in insert->view: kept are those
 * that no nearer kept one is closer to than the new row is; the same among those left, again and
 * again, fills the slots, as in a build.
 */
void
hnsw_choose_neighbors(HnswInsert *insert)
{
	const HnswMeta *meta = &insert->meta;
	HnswRow    *image = insert->image;
	HnswCandidate **chosen = insert->chosen;
	char	   *codes = HnswRowCodes(meta, image);
	int			layer = 0;
	int			n;

	sort_candidates(insert);
	n = image->nkept = choose_layer(insert, 0);
	while (layer < n)
	{
		layer = n;
		n = choose_layer(insert, layer);
	}
	image->nneighbors = n;
	for (int i = 0; i < n; i++)
	{
		image->neighbors[i] = chosen[i]->number;
		hnsw_recode(hnsw_codes(insert->search.index, meta), chosen[i]->own,
					codes + i * meta->code_size, insert->search.scratch);
	}
}
