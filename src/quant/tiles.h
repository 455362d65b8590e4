/*
 * tiles.h: the sums_metric of by_metric.h, block by block and ROWS rows at a time, by a sums_tile
 * that the file has before it includes this; INLINE and ROWS are its own, too.
 */
INLINE void
sums_metric(const uint8_t *const *rows, int n, const uint8_t *packed, int ncolumns, int words,
			bool l1, int32_t *out, int ld)
{
	for (int j = 0; j < ncolumns; j += 16)
	{
		const uint8_t *block = packed + (size_t) j * 4 * words;
		int			i = 0;

		for (; i + ROWS <= n; i += ROWS)
			sums_tile(rows + i, ROWS, block, words, l1, out + (size_t) i * ld + j, ld);
		for (; i < n; i++)
			sums_tile(rows + i, 1, block, words, l1, out + (size_t) i * ld + j, ld);
	}
}
