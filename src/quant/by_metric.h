/*
 * by_metric.h: VdistBlocks.sums and sums_list, with code of its own for each metric, from the
 * sums_metric and sums_list_metric that a file has before it includes this; TARGET is its own, too.
 */
TARGET static void
sums(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words, bool l1,
	 int32_t *out, int ld)
{
	if (l1)
		sums_metric(rows, n, packed, ncolumns, words, true, out, ld);
	else
		sums_metric(rows, n, packed, ncolumns, words, false, out, ld);
}

TARGET static void
sums_list(const uint8_t *a, const uint8_t *const *rows, int n, int words, bool l1, int32_t *out)
{
	if (l1)
		sums_list_metric(a, rows, n, words, true, out);
	else
		sums_list_metric(a, rows, n, words, false, out);
}
