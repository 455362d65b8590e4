/*
 * ways.c: which rows that a search expanded lead to which. Calls nothing; called by insert.c and edges.c.
 *
 * A search comes to every row that it expands through rows that it expanded before, from a routing row on. So
 * whatever lists change, all of them can be reached, and with them what they list, as long as each stays
 * in the list of one that was expanded earlier.
 */
#include "compat.h"

#include "port/pg_bitutils.h"

#include "hnsw/hnsw.h"

/* Allocate, in the current memory context. */
void
hnsw_ways_init(HnswWays *ways, int ef, int slots)
{
	/*
	 * a few rows are expanded that are not among the nearest ef in the end; a flat index has no
	 * slots
	 */
	ways->room = (uint32) ef * slots / 4 * 5;
	ways->size = pg_nextpower2_32(ways->room + ways->room / 2 + 1);
	ways->ways = palloc(sizeof(HnswWay) * ways->size);
}

void
hnsw_ways_reset(HnswWays *ways)
{
	ways->nexpanded = 0;
	ways->n = 0;
	memset(ways->ways, 0xFF, sizeof(HnswWay) * ways->size);
}

/* The row's place in the table, or the place for it. */
static inline HnswWay *
find(const HnswWays *ways, uint32 number)
{
	uint32		at = number * 0x9E3779B1U >> 7;

	for (;; at++)
	{
		HnswWay    *way = &ways->ways[at & (ways->size - 1)];

		if (way->number == number || way->number == PG_UINT32_MAX)
			return way;
	}
}

/* The same, with an entry for it; NULL when there is no room. */
static inline HnswWay *
enter(HnswWays *ways, uint32 number)
{
	HnswWay    *way = find(ways, number);

	if (way->number == number)
		return way;
	if (ways->n == ways->room)
		return NULL;
	ways->n++;
	way->number = number;
	way->listed = 0;
	way->order = PG_UINT16_MAX;
	return way;
}

/* A row is expanded. Returns its place in the order of these. */
int
hnsw_ways_add(HnswWays *ways, uint32 number, const HnswRow *row)
{
	HnswWay    *own = enter(ways, number);

	if (own != NULL)
		own->order = Min(ways->nexpanded, PG_UINT16_MAX);
	for (int i = 0; i < row->nneighbors; i++)
	{
		HnswWay    *way = enter(ways, row->neighbors[i]);

		if (way != NULL && way->order == PG_UINT16_MAX)
		{
			if (way->listed < lengthof(way->by))
				way->by[way->listed] = Min(ways->nexpanded, PG_UINT16_MAX);
			way->listed++;
		}
	}
	return ways->nexpanded++;
}

/*
 * May the row that was expanded as number `order` stop listing another one? If so, that is remembered: there
 * is a row left for which hnsw_ways_leads is true.
 */
bool
hnsw_ways_drop(HnswWays *ways, int order, uint32 number)
{
	HnswWay    *way = find(ways, number);
	bool		left = false;

	if (way->number != number)
		return false;
	for (int i = 0; i < Min(way->listed, lengthof(way->by)); i++)
		left = left || (way->by[i] != PG_UINT16_MAX && way->by[i] != order);
	for (int i = 0; i < Min(way->listed, lengthof(way->by)) && left; i++)
		if (way->by[i] == order)
			way->by[i] = PG_UINT16_MAX;
	return left;
}

/* Is the row that was expanded as number `order` a way that hnsw_ways_drop has counted on? */
bool
hnsw_ways_leads(const HnswWays *ways, int order, uint32 number)
{
	const HnswWay *way = find(ways, number);

	for (int i = 0; way->number == number && i < Min(way->listed, lengthof(way->by)); i++)
		if (way->by[i] == order)
			return true;
	return false;
}
