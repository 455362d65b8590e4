/*
 * relink.c: neighbors for a row of the graph as if it was new. Calls insert.c's search,
 * candidates.c, edges.c and write.c; called by vacuum.c.
 *
 * Where much is dead around a row, what is left in its list and in those of the dead is no longer
 * what is near: repair.c would fill the list, but a build or an insert would find others.
 */
#include "compat.h"

#include "hnsw/hnsw.h"

/*
 * Put the anchors of the old list that were not chosen into the new one, in place of the last
 * chosen.
 */
static void
keep_anchors(const HnswMeta *meta, const HnswRow *old, HnswRow *new)
{
	for (int i = 0; i < old->nneighbors; i++)
	{
		int			at = 0;

		if (!HnswIsAnchor(old, i))
			continue;
		while (at < new->nneighbors && HnswNeighbor(new, at) != HnswNeighbor(old, i))
			at++;
		if (at == new->nneighbors)
		{
			if (at < meta->slots)
				new->nneighbors++;
			else
				do
					at--;
				while (HnswIsAnchor(new, at));
			memcpy(HnswRowCodes(meta, new) + at * meta->code_size,
				   HnswRowCodes(meta, old) + i * meta->code_size, meta->code_size);
		}
		new->neighbors[at] = old->neighbors[i];
	}
}

/* Write the new list, unless the row changed since the old one was read. */
static bool
write_list(HnswInsert *insert, uint32 number, const HnswRow *old, const HnswRow *new)
{
	const HnswMeta *meta = &insert->meta;
	HnswWrite	write;

	hnsw_write_begin(&write, insert->search.index, meta, number);
	if (!hnsw_list_is(write.row, old->nneighbors, old->nkept, old->neighbors))
	{
		hnsw_write_abort(&write);
		return false;
	}
	memcpy(write.row->neighbors, new->neighbors, sizeof(uint32) * new->nneighbors);
	memcpy(HnswRowCodes(meta, write.row), HnswRowCodes(meta, new),
		   meta->code_size * new->nneighbors);
	write.row->nneighbors = new->nneighbors;
	write.row->nkept = new->nkept;
	hnsw_write_end(&write);
	return true;
}

/*
 * Give a row of one page the live neighbors that an insert of its vector would choose, and edges
 * back to it. Anchors stay, those of dead rows, too. False, and the list stays as it is, when there
 * are fewer live rows around than fill it, or when an insert changes it meanwhile. Allocates in the
 * current memory context.
 */
bool
hnsw_relink_row(HnswInsert *insert, uint32 number)
{
	const HnswMeta *meta = &insert->meta;
	HnswSearch *search = &insert->search;
	HnswRow    *image = insert->image;
	HnswRow    *old = palloc(meta->row_size);
	HnswRow    *new = palloc(meta->row_size);
	float	   *x = palloc(sizeof(float) * meta->dim);
	const HnswCodes *codes;

	memcpy(old, hnsw_read(&search->read, search->index, meta, number), meta->row_size);
	hnsw_read_unlock(&search->read);
	hnsw_read_end(&search->read);
	if (HnswRowStateOf(old) != HNSW_ROW_LIVE || (old->state & HNSW_ROW_UNORDERED) != 0)
		return false;

	memcpy(image, old, meta->row_size);
	codes = hnsw_codes(search->index, meta);
	hnsw_decode_vector(codes, &codes->own, HnswRowOwn(meta, image), x);
	hnsw_recode(codes, HnswRowOwn(meta, image), insert->new_code, search->scratch);
	hnsw_view(insert, HnswRowOwn(meta, image), insert->view);
	insert->self = number;
	hnsw_search_neighbors(insert, x, insert->wanted, old);
	insert->self = 0;
	if (insert->candidates.n < meta->slots)
		return false;
	hnsw_choose_neighbors(insert);

	memcpy(new, image, meta->row_size);
	keep_anchors(meta, old, new);
	if (!write_list(insert, number, old, new))
		return false;
	hnsw_add_edges(insert, number);
	return true;
}
