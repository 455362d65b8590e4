/*
 * select.c: partial and full sorting of (distance, number) keys. Pure C; called by the graph build,
 * where qsort's calls through a pointer would cost more than the distances.
 */
#include "quant/graph.h"

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
