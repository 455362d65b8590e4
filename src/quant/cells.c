/*
 * cells.c: groups the rows of a graph build into cells of near rows and puts them in that order. Pure
 * C; called by graph.c.
 *
 * Two-level k-means on a sample makes about one cell per CELL_ROWS rows; neighboring cells of one
 * super-cell come one after the other. A cell of more than CELL_MAX rows is halved along a direction
 * until its parts are small, which always ends, also in a crowd of nearly equal rows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/graph.h"

#define SAMPLE_PER_CELL 32
#define ROUNDS 4

/* Rows compared with centroids at once. */
#define CHUNK 64

/* Super-cells whose cells a row is compared with. */
#define SUPERS 4

typedef struct Cells
{
	uint8_t    *sample;			/* records */
	int			nsample;
	int			nsupers;
	int			ncells;
	uint8_t    *supers;			/* records */
	uint8_t    *cells;			/* records */
	int		   *first;			/* first cell of every super-cell; nsupers + 1 */
	const uint8_t **member;		/* sample rows, by super-cell */
	int		   *member_first;	/* nsupers + 1 */
	VdistColumns columns;		/* the super-cells, packed */
	uint32_t   *cell_of;		/* row -> cell */
} Cells;

/* ---- columns ---- */

bool
graph_alloc_columns(VdistGraph *graph, VdistColumns *columns, int n)
{
	int			room = (n + 31) / 16 * 16;

	memset(columns, 0, sizeof(*columns));
	columns->packed = graph_alloc(graph, room, 4 * (size_t) graph->words);
	columns->factors.norm = graph_alloc(graph, room, sizeof(float));
	columns->factors.scale = graph_alloc(graph, room, sizeof(float));
	columns->factors.shift = graph_alloc(graph, room, sizeof(int32_t));
	return columns->packed && columns->factors.norm && columns->factors.scale &&
		columns->factors.shift;
}

void
graph_free_columns(VdistColumns *columns)
{
	free(columns->packed);
	free(columns->factors.norm);
	free(columns->factors.scale);
	free(columns->factors.shift);
}

void
graph_pack(const VdistGraph *graph, const uint8_t *const *records, int n, VdistColumns *columns)
{
	const uint8_t *bytes[16];

	columns->n = n;
	for (int i = 0; i < n; i++)
	{
		VdistRowFactors f = graph_factors(records[i]);

		columns->factors.norm[i] = f.norm;
		columns->factors.scale[i] = f.scale;
		columns->factors.shift[i] = f.shift;
	}
	for (int i = 0; i < n; i += 16)
	{
		int			m = n - i < 16 ? n - i : 16;

		for (int j = 0; j < m; j++)
			bytes[j] = graph_bytes(records[i + j]);
		graph->blocks->pack(bytes, m, graph->words, columns->packed + (size_t) i * 4 * graph->words);
	}
}

const uint8_t *
graph_load(VdistGraph *graph, uint32_t position, uint32_t count, uint8_t *buffer)
{
	uint64_t	offset = (uint64_t) position * graph->record;

	if (graph->records)
		return graph->records + offset;
	if (!graph_read(graph, 1, buffer, count * graph->record, offset))
		return NULL;
	return buffer;
}

/* ---- k-means ---- */

/* The nearest of the packed columns to each of n <= CHUNK records. */
static void
nearest(const VdistGraph *graph, const uint8_t *const *records, int n, const VdistColumns *columns,
		int32_t *sums, int ld, int *out)
{
	const uint8_t *bytes[CHUNK];

	for (int i = 0; i < n; i++)
		bytes[i] = graph_bytes(records[i]);
	graph->blocks->sums(bytes, n, columns->packed, columns->n, graph->words, graph->l1, sums, ld);
	for (int i = 0; i < n; i++)
	{
		VdistRowFactors row = graph_factors(records[i]);
		float		best = INFINITY;

		out[i] = 0;
		for (int j = 0; j < columns->n; j += 64)
		{
			uint16_t	which[64 + 16];
			float		distance[64 + 16];
			int			m = columns->n - j < 64 ? columns->n - j : 64;
			int			found = graph->blocks->pick(sums + (size_t) i * ld + j, m, row,
													graph->factor, &columns->factors, j, best,
													which, distance);

			for (int k = 0; k < found; k++)
			{
				if (distance[k] < best)
				{
					best = distance[k];
					out[i] = j + which[k];
				}
			}
		}
	}
}

/* k centroids of n records; also which of them is nearest to each record, if assignment is wanted. */
static bool
kmeans(VdistGraph *graph, const uint8_t *const *records, int n, int k, uint8_t *centroids,
	   int *assignment)
{
	int			dim = graph->params.dim;
	int			ld = (k + 31) / 16 * 16;
	VdistColumns columns;
	bool		ok = graph_alloc_columns(graph, &columns, k);
	const uint8_t **pointers = graph_alloc(graph, k, sizeof(uint8_t *));
	float	   *mean = graph_alloc(graph, k, sizeof(float) * dim);
	int		   *count = graph_alloc(graph, k, sizeof(int));
	int32_t    *sums = graph_alloc(graph, CHUNK, sizeof(int32_t) * ld);

	ok = ok && pointers && mean && count && sums;
	for (int j = 0; ok && j < k; j++)
	{
		pointers[j] = centroids + j * graph->record;
		memcpy(centroids + j * graph->record, records[(int64_t) j * n / k], graph->record);
	}
	for (int round = 0; ok && round <= ROUNDS; round++)
	{
		bool		last = round == ROUNDS;

		if (last && assignment == NULL)
			break;
		graph_pack(graph, pointers, k, &columns);
		memset(mean, 0, sizeof(float) * dim * k);
		memset(count, 0, sizeof(int) * k);
		for (int i = 0; i < n; i += CHUNK)
		{
			int			m = n - i < CHUNK ? n - i : CHUNK;
			int			at[CHUNK];

			/* with assignment, this is the calling thread */
			if (assignment != NULL && i % (64 * CHUNK) == 0)
				graph_poll(graph);
			if (graph_stopped(graph))
				break;
			nearest(graph, records + i, m, &columns, sums, ld, at);
			for (int j = 0; j < m; j++)
			{
				if (last)
					assignment[i + j] = at[j];
				else
				{
					graph_add_record(graph, records[i + j], mean + (size_t) at[j] * dim);
					count[at[j]]++;
				}
			}
		}
		for (int j = 0; !last && j < k; j++)
		{
			/* a centroid that lost all its rows keeps its place */
			if (count[j] == 0)
				continue;
			for (int i = 0; i < dim; i++)
				mean[(size_t) j * dim + i] /= (float) count[j];
			graph_to_record(graph, mean + (size_t) j * dim, centroids + j * graph->record);
		}
		ok = !graph_stopped(graph);
	}
	graph_free_columns(&columns);
	free(pointers);
	free(mean);
	free(count);
	free(sums);
	return ok;
}

/* ---- training ---- */

static uint64_t
next_random(uint64_t *state)
{
	uint64_t	z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* One random row from each of nsample equal stretches of the spool. */
static bool
take_sample(VdistGraph *graph, Cells *cells)
{
	uint64_t	state = 1;

	cells->sample = graph_alloc(graph, cells->nsample, graph->record);
	if (cells->sample == NULL)
		return false;
	for (int i = 0; i < cells->nsample; i++)
	{
		uint64_t	from = (uint64_t) i * graph->n / cells->nsample;
		uint64_t	to = (uint64_t) (i + 1) * graph->n / cells->nsample;
		uint64_t	row = from + next_random(&state) % (to - from);
		uint8_t    *record = cells->sample + i * graph->record;

		if (graph->on_disk)
		{
			if (!graph_read(graph, 0, record, graph->record, row * graph->record))
				return false;
		}
		else
			memcpy(record, graph->records + row * graph->record, graph->record);
	}
	return true;
}

static void
train_supers(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	Cells	   *cells = graph->work;

	(void) thread;
	for (uint64_t s = from; s < to; s++)
	{
		int			first = cells->member_first[s];
		int			n = cells->member_first[s + 1] - first;
		int			k = cells->first[s + 1] - cells->first[s];

		if (k > 0)
			kmeans(graph, cells->member + first, n, k,
				   cells->cells + cells->first[s] * graph->record, NULL);
	}
}

static bool
train(VdistGraph *graph, Cells *cells)
{
	int			wanted = (int) ((graph->n + CELL_ROWS - 1) / CELL_ROWS);
	int			nsample;
	uint64_t	room = graph_room(graph) / 3 / graph->record;
	const uint8_t **rows;
	int		   *at;
	bool		ok;

	nsample = wanted > (1 << 24) ? 1 << 29 : wanted * SAMPLE_PER_CELL;
	if (graph->on_disk && (uint64_t) nsample > room)
		nsample = (int) room;
	if (nsample < 2 * wanted)
		nsample = 2 * wanted;
	if ((uint64_t) nsample > graph->n)
		nsample = (int) graph->n;
	cells->nsample = nsample;
	cells->nsupers = (int) sqrt((double) wanted);
	if (!take_sample(graph, cells))
		return false;

	rows = graph_alloc(graph, nsample, sizeof(uint8_t *));
	at = graph_alloc(graph, nsample, sizeof(int));
	cells->member = graph_alloc(graph, nsample, sizeof(uint8_t *));
	cells->member_first = graph_alloc(graph, cells->nsupers + 1, sizeof(int));
	cells->first = graph_alloc(graph, cells->nsupers + 1, sizeof(int));
	cells->supers = graph_alloc(graph, cells->nsupers, graph->record);
	ok = rows && at && cells->member && cells->member_first && cells->first && cells->supers;
	for (int i = 0; ok && i < nsample; i++)
		rows[i] = cells->sample + i * graph->record;
	ok = ok && kmeans(graph, rows, nsample, cells->nsupers, cells->supers, at);
	if (ok)
	{
		int		   *cursor = cells->first;	/* borrowed */

		for (int i = 0; i < nsample; i++)
			cells->member_first[at[i] + 1]++;
		for (int s = 0; s < cells->nsupers; s++)
		{
			cells->member_first[s + 1] += cells->member_first[s];
			cursor[s] = cells->member_first[s];
		}
		for (int i = 0; i < nsample; i++)
			cells->member[cursor[at[i]]++] = rows[i];

		/* every super-cell that has rows has a cell, the others in proportion */
		cells->first[0] = 0;
		for (int s = 0; s < cells->nsupers; s++)
		{
			int			n = cells->member_first[s + 1] - cells->member_first[s];
			int			k = (int) (((int64_t) n * wanted + nsample / 2) / nsample);

			if (n > 0 && k == 0)
				k = 1;
			cells->first[s + 1] = cells->first[s] + k;
		}
		cells->ncells = cells->first[cells->nsupers];
		cells->cells = graph_alloc(graph, cells->ncells, graph->record);
		ok = cells->cells != NULL;
	}
	free(rows);
	free(at);
	graph->work = cells;
	return ok && graph_run(graph, cells->nsupers, 1, train_supers);
}

/* ---- assignment ---- */

static void
assign(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	Cells	   *cells = graph->work;
	int			n = (int) (to - from);
	int			nsupers = cells->nsupers;
	int			ld = (nsupers + 31) / 16 * 16;
	int			most = 0;
	uint8_t    *buffer = NULL;
	const uint8_t *records;
	const uint8_t *bytes[CHUNK];
	const uint8_t **candidates;
	int32_t    *sums;
	VdistKey   *keys;

	(void) thread;
	for (int s = 0; s < nsupers; s++)
		if (cells->first[s + 1] - cells->first[s] > most)
			most = cells->first[s + 1] - cells->first[s];
	sums = graph_alloc(graph, CHUNK * (size_t) ld + most, sizeof(int32_t));
	keys = graph_alloc(graph, nsupers, sizeof(VdistKey));
	candidates = graph_alloc(graph, most, sizeof(uint8_t *));
	if (graph->on_disk)
		buffer = graph_alloc(graph, n, graph->record);
	if (!sums || !keys || !candidates || (graph->on_disk && !buffer))
		goto done;

	records = graph->on_disk ? buffer : graph->records + from * graph->record;
	if (graph->on_disk && !graph_read(graph, 0, buffer, n * graph->record, from * graph->record))
		goto done;
	for (int i = 0; i < n; i++)
		bytes[i] = graph_bytes(records + i * graph->record);
	graph->blocks->sums(bytes, n, cells->columns.packed, nsupers, graph->words, graph->l1, sums, ld);

	for (int i = 0; i < n; i++)
	{
		VdistRowFactors row = graph_factors(records + i * graph->record);
		int			probes = SUPERS < nsupers ? SUPERS : nsupers;
		VdistKey	best = UINT64_MAX;

		for (int s = 0; s < nsupers; s++)
		{
			VdistRowFactors super = graph_factors(cells->supers + s * graph->record);

			keys[s] = graph_key(graph_distance(graph, row, super, sums[i * ld + s]),
								(uint32_t) s);
		}
		graph_smallest(keys, nsupers, probes);
		for (int p = 0; p < probes; p++)
		{
			int			s = (int) (uint32_t) keys[p];
			int			first = cells->first[s];
			int			m = cells->first[s + 1] - first;
			int32_t    *out = sums + CHUNK * (size_t) ld;

			for (int c = 0; c < m; c++)
				candidates[c] = graph_bytes(cells->cells + (first + c) * graph->record);
			if (m > 0)
				graph->blocks->sums_list(bytes[i], candidates, m, graph->words, graph->l1, out);
			for (int c = 0; c < m; c++)
			{
				VdistRowFactors cell = graph_factors(cells->cells + (first + c) * graph->record);
				VdistKey	key = graph_key(graph_distance(graph, row, cell, out[c]),
											(uint32_t) (first + c));

				best = key < best ? key : best;
			}
		}
		cells->cell_of[from + i] = best == UINT64_MAX ? 0 : (uint32_t) best;
	}

done:
	free(sums);
	free(keys);
	free(candidates);
	free(buffer);
}

/* ---- order ---- */

/* Halve a stretch of order until its parts are small; part ends are appended to cell_start. */
static void
halve(VdistGraph *graph, const uint8_t **records, uint32_t *rows, uint32_t n, uint32_t position,
	  VdistKey *keys, void *scratch)
{
	uint32_t	half = n / 2;
	const uint8_t *ends[2];
	int32_t		sum;
	const uint8_t **records_copy = scratch;
	uint32_t   *rows_copy = (uint32_t *) (records_copy + n);

	if (n <= CELL_ROWS + CELL_ROWS / 2 || graph_stopped(graph))
	{
		graph->cell_start[++graph->ncells] = position + n;
		return;
	}

	/* two rows that lie far apart: the middle one's farthest of a few, and that one's */
	ends[0] = records[half];
	for (int round = 0; round < 2; round++)
	{
		VdistRowFactors f = graph_factors(ends[round ? 1 : 0]);
		float		far = -1.0f;
		const uint8_t *from = ends[round ? 1 : 0];
		const uint8_t *found = from;

		for (uint32_t i = 0; i < 16; i++)
		{
			const uint8_t *other = records[(uint64_t) i * n / 16];
			const uint8_t *bytes = graph_bytes(other);
			float		d;

			graph->blocks->sums_list(graph_bytes(from), &bytes, 1, graph->words, graph->l1, &sum);
			d = graph_distance(graph, f, graph_factors(other), sum);
			if (d > far)
			{
				far = d;
				found = other;
			}
		}
		ends[round ? 0 : 1] = found;
	}
	for (uint32_t i = 0; i < n; i++)
	{
		float		d[2];

		for (int e = 0; e < 2; e++)
		{
			const uint8_t *bytes = graph_bytes(records[i]);

			graph->blocks->sums_list(graph_bytes(ends[e]), &bytes, 1, graph->words, graph->l1, &sum);
			d[e] = graph_key_distance(graph_key(graph_distance(graph, graph_factors(ends[e]),
															   graph_factors(records[i]), sum), 0));
		}
		keys[i] = graph_key(d[0] + d[1] > 0.0f ? d[0] / (d[0] + d[1]) : 0.5f, i);
	}
	graph_smallest(keys, (int) n, (int) half);
	memcpy(records_copy, records, sizeof(uint8_t *) * n);
	memcpy(rows_copy, rows, sizeof(uint32_t) * n);
	for (uint32_t i = 0; i < n; i++)
	{
		records[i] = records_copy[(uint32_t) keys[i]];
		rows[i] = rows_copy[(uint32_t) keys[i]];
	}
	halve(graph, records, rows, half, position, keys, scratch);
	halve(graph, records + half, rows + half, n - half, position + half, keys, scratch);
}

/* Split a cell that is too large; its rows are order[position] to order[position + n - 1]. */
static bool
split(VdistGraph *graph, uint32_t position, uint32_t n)
{
	const uint8_t **records = NULL;
	VdistKey   *keys = NULL;
	void	   *scratch = NULL;
	uint8_t    *copies = NULL;
	bool		ok = false;

	if (graph->on_disk && (n + 1) * graph->record > graph_room(graph) / 2)
	{
		/* a crowd beyond memory is cut as it comes */
		for (uint32_t done = 0; done < n; done += CELL_MAX)
			graph->cell_start[++graph->ncells] = position +
				(done + CELL_MAX < n ? done + CELL_MAX : n);
		return true;
	}
	records = graph_alloc(graph, n, sizeof(uint8_t *));
	keys = graph_alloc(graph, n, sizeof(VdistKey));
	scratch = graph_alloc(graph, n, sizeof(uint8_t *) + sizeof(uint32_t));
	if (graph->on_disk)
		copies = graph_alloc(graph, n, graph->record);
	if (!records || !keys || !scratch || (graph->on_disk && !copies))
		goto done;
	for (uint32_t i = 0; i < n; i++)
	{
		uint64_t	offset = graph->order[position + i] * (uint64_t) graph->record;

		if (!graph->on_disk)
			records[i] = graph->records + offset;
		else
		{
			records[i] = copies + i * graph->record;
			if (!graph_read(graph, 0, copies + i * graph->record, graph->record, offset))
				goto done;
		}
	}
	halve(graph, records, graph->order + position, n, position, keys, scratch);
	ok = true;

done:
	free(records);
	free(keys);
	free(scratch);
	free(copies);
	return ok;
}

/* Sort the rows by cell, split large cells, forget empty ones. */
static bool
make_order(VdistGraph *graph, Cells *cells)
{
	uint32_t	n = graph->n;
	uint32_t   *start = graph_alloc(graph, cells->ncells + 1, sizeof(uint32_t));
	size_t		parts = cells->ncells + n / (CELL_ROWS / 2) + 2;
	bool		ok;

	graph->order = graph_alloc(graph, n, sizeof(uint32_t));
	graph->cell_start = graph_alloc(graph, parts, sizeof(uint32_t));
	ok = start && graph->order && graph->cell_start;
	if (ok)
	{
		uint32_t	position = 0;

		for (uint32_t i = 0; i < n; i++)
			start[cells->cell_of[i]]++;
		for (int c = 0; c < cells->ncells; c++)
		{
			uint32_t	count = start[c];

			start[c] = position;
			position += count;
		}
		for (uint32_t i = 0; i < n; i++)
			graph->order[start[cells->cell_of[i]]++] = i;

		/* now start[c] is where cell c ends */
		position = 0;
		for (int c = 0; ok && c < cells->ncells; c++)
		{
			uint32_t	count = start[c] - position;

			if (count > CELL_MAX)
				ok = split(graph, position, count);
			else if (count > 0)
				graph->cell_start[++graph->ncells] = position + count;
			position += count;
		}
	}
	free(start);
	return ok;
}

/* ---- records in the order of positions ---- */

static void
copy_cells(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	uint8_t    *out = graph->work;

	(void) thread;
	for (uint64_t p = graph->cell_start[from]; p < graph->cell_start[to]; p++)
		memcpy(out + p * graph->record,
			   graph->records + graph->order[p] * (uint64_t) graph->record, graph->record);
}

/* On disk: read the spool once for every stretch of positions that fits into memory. */
static bool
order_on_disk(VdistGraph *graph)
{
	uint64_t	room = graph_room(graph) / 4 * 3 / graph->record + 1;
	uint64_t	chunk = (1 << 18) / graph->record + 1;
	uint32_t	n = graph->n;
	uint32_t   *position;
	uint8_t    *out;
	uint8_t    *in;
	bool		ok;

	room = room < n ? room : n;
	position = graph_alloc(graph, n, sizeof(uint32_t));
	out = graph_alloc(graph, room, graph->record);
	in = graph_alloc(graph, chunk, graph->record);
	ok = position && out && in && graph_extend(graph, 1, n * (uint64_t) graph->record +
											   n * 4 * (uint64_t) graph->params.slots);
	for (uint32_t p = 0; ok && p < n; p++)
		position[graph->order[p]] = p;
	for (uint64_t first = 0; ok && first < n; first += room)
	{
		uint64_t	end = first + room < n ? first + room : n;

		for (uint64_t row = 0; ok && row < n; row += chunk)
		{
			uint64_t	count = row + chunk < n ? chunk : n - row;

			graph_poll(graph);
			ok = graph_read(graph, 0, in, count * graph->record, row * graph->record);
			for (uint64_t i = 0; ok && i < count; i++)
				if (position[row + i] >= first && position[row + i] < end)
					memcpy(out + (position[row + i] - first) * graph->record,
						   in + i * graph->record, graph->record);
		}
		ok = ok && !graph_stopped(graph) &&
			graph_write(graph, 1, out, (end - first) * graph->record, first * graph->record);
	}
	free(position);
	free(out);
	free(in);
	return ok;
}

/* Every cell's centroid and the row nearest to it. */
static void
describe_cells(VdistGraph *graph, int thread, uint64_t from, uint64_t to)
{
	int			dim = graph->params.dim;
	float	   *mean = graph_alloc(graph, dim, sizeof(float));
	uint8_t    *buffer = graph->on_disk ? graph_alloc(graph, CELL_MAX, graph->record) : NULL;
	const uint8_t *bytes[CELL_MAX];
	int32_t		sums[CELL_MAX];

	(void) thread;
	for (uint64_t c = from; mean && (buffer || !graph->on_disk) && c < to; c++)
	{
		uint32_t	first = graph->cell_start[c];
		int			n = (int) (graph->cell_start[c + 1] - first);
		const uint8_t *records = graph_load(graph, first, n, buffer);
		uint8_t    *centroid = graph->centroids + c * graph->record;
		VdistKey	best = UINT64_MAX;

		if (records == NULL)
			break;
		memset(mean, 0, sizeof(float) * dim);
		for (int i = 0; i < n; i++)
		{
			graph_add_record(graph, records + i * graph->record, mean);
			bytes[i] = graph_bytes(records + i * graph->record);
		}
		for (int j = 0; j < dim; j++)
			mean[j] /= (float) n;
		graph_to_record(graph, mean, centroid);
		graph->blocks->sums_list(graph_bytes(centroid), bytes, n, graph->words, graph->l1, sums);
		for (int i = 0; i < n; i++)
		{
			VdistKey	key = graph_key(graph_distance(graph, graph_factors(centroid),
													   graph_factors(records +
																	 i * graph->record), sums[i]),
										first + (uint32_t) i);

			best = key < best ? key : best;
		}
		graph->medoids[c] = (uint32_t) best;
	}
	free(mean);
	free(buffer);
}

static bool
place_records(VdistGraph *graph)
{
	if (graph->on_disk)
		return order_on_disk(graph);
	graph->work = graph_alloc(graph, graph->n, graph->record);
	if (graph->work == NULL || !graph_run(graph, graph->ncells, 16, copy_cells))
	{
		free(graph->work);
		return false;
	}
	free(graph->records);
	graph->records = graph->work;
	return true;
}

bool
graph_make_cells(VdistGraph *graph)
{
	Cells		cells;
	bool		ok;

	memset(&cells, 0, sizeof(cells));
	ok = train(graph, &cells);
	free(cells.sample);
	free(cells.member);
	graph_trim(graph);
	if (ok)
	{
		const uint8_t **supers = graph_alloc(graph, cells.nsupers, sizeof(uint8_t *));

		cells.cell_of = graph_alloc(graph, graph->n, sizeof(uint32_t));
		ok = graph_alloc_columns(graph, &cells.columns, cells.nsupers) && supers && cells.cell_of;
		for (int s = 0; ok && s < cells.nsupers; s++)
			supers[s] = cells.supers + s * graph->record;
		if (ok)
			graph_pack(graph, supers, cells.nsupers, &cells.columns);
		free(supers);
		ok = ok && graph_run(graph, graph->n, CHUNK, assign);
		graph_free_columns(&cells.columns);
	}
	ok = ok && make_order(graph, &cells);
	free(cells.cell_of);
	free(cells.member_first);
	free(cells.first);
	free(cells.supers);
	free(cells.cells);
	graph_trim(graph);

	ok = ok && place_records(graph);
	graph_trim(graph);
	if (ok)
	{
		graph->centroids = graph_alloc(graph, graph->ncells, graph->record);
		graph->medoids = graph_alloc(graph, graph->ncells, sizeof(uint32_t));
		ok = graph->centroids && graph->medoids && graph_run(graph, graph->ncells, 8, describe_cells);
	}
	return ok;
}
