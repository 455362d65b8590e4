/*
 * select.c: partial and full sorting of (distance, number) keys. Pure C; called by the graph build,
 * where qsort's calls through a pointer would cost more than the distances.
 */
#include <math.h>

#include "quant/graph.h"

#define BUCKETS 64

VdistKey
graph_smallest(VdistKey *keys, int n, int k)
{
	int			low = 0;
	int			high = n - 1;
	VdistKey	largest = 0;

	while (low < high)
	{
		VdistKey	pivot = keys[(low + high) / 2];
		int			i = low;
		int			j = high;

		while (i <= j)
		{
			while (keys[i] < pivot)
				i++;
			while (keys[j] > pivot)
				j--;
			if (i <= j)
			{
				VdistKey	swap = keys[i];

				keys[i++] = keys[j];
				keys[j--] = swap;
			}
		}
		if (k - 1 <= j)
			high = j;
		else if (k - 1 >= i)
			low = i;
		else
			break;
	}
	for (int i = 0; i < k && i < n; i++)
		largest = keys[i] > largest ? keys[i] : largest;
	return largest;
}

int
graph_shrink(VdistKey *keys, int n, int k, float *bound)
{
	int			count[BUCKETS] = {0};
	float		low = graph_key_distance(keys[0]);
	float		high = low;
	float		largest = 0.0f;
	float		scale;
	int			last = 0;
	int			below = 0;
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		float		d = graph_key_distance(keys[i]);

		low = d < low ? d : low;
		high = d > high ? d : high;
	}
	scale = (BUCKETS - 0.5f) / (high - low);
	if (isfinite(scale))
	{
		for (int i = 0; i < n; i++)
			count[(int) ((graph_key_distance(keys[i]) - low) * scale)]++;
		for (below = count[0]; below < k; below += count[last])
			last++;
	}
	if (!isfinite(scale) || below > k + (n - k) / 2)
	{
		/* most distances are about equal */
		*bound = nextafterf(graph_key_distance(graph_smallest(keys, n, k)), INFINITY);
		return k;
	}
	for (int i = 0; i < n; i++)
	{
		VdistKey	key = keys[i];
		float		d = graph_key_distance(key);
		bool		keep = (int) ((d - low) * scale) <= last;

		keys[kept] = key;
		kept += keep;
		largest = keep && d > largest ? d : largest;
	}
	*bound = nextafterf(largest, INFINITY);
	return kept;
}

void
graph_sort(VdistKey *keys, int n)
{
	while (n > 24)
	{
		VdistKey	pivot = keys[n / 2];
		int			i = 0;
		int			j = n - 1;

		while (i <= j)
		{
			while (keys[i] < pivot)
				i++;
			while (keys[j] > pivot)
				j--;
			if (i <= j)
			{
				VdistKey	swap = keys[i];

				keys[i++] = keys[j];
				keys[j--] = swap;
			}
		}

		/* recurse into the smaller part, so that the depth stays logarithmic */
		if (j + 1 < n - i)
		{
			graph_sort(keys, j + 1);
			keys += i;
			n -= i;
		}
		else
		{
			graph_sort(keys + i, n - i);
			n = j + 1;
		}
	}
	for (int i = 1; i < n; i++)
	{
		VdistKey	key = keys[i];
		int			j = i;

		for (; j > 0 && keys[j - 1] > key; j--)
			keys[j] = keys[j - 1];
		keys[j] = key;
	}
}
