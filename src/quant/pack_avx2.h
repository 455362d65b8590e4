/*
 * pack_avx2.h: VdistBlocks.pack, by registers, for blocks_avx2.c and wide_avx2.c: words are words,
 * whatever they hold. INLINE and TARGET are those of the file that includes this.
 */
/* Transpose 8 registers of 8 words. */
INLINE void
transpose(__m256i *r)
{
	__m256i		t[8];

#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2)
	{
		t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4)
	{
		r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
	{
		t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
		t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
	}
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		r[i] = t[i];
}

/* A mask of the first n of 8 words. */
INLINE __m256i
first_words(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Pack 8 of a block's 16 rows, from `first` on; there are n of the 16. */
INLINE void
pack_half(const uint8_t *const *rows, int n, int first, int words, uint8_t *out)
{
	for (int k = 0; k < words; k += 8)
	{
		int			rest = words - k < 8 ? words - k : 8;
		__m256i		mask = first_words(rest);
		__m256i		r[8];

#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
		{
			const uint8_t *row = rows[first + i < n ? first + i : 0];

			r[i] = _mm256_maskload_epi32((const int *) (row + 4 * k), mask);
		}
		transpose(r);
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			if (i < rest)
				_mm256_storeu_si256((__m256i *) (out + 64 * (k + i) + 4 * first), r[i]);
	}
}

TARGET static void
pack(const uint8_t *const *rows, int n, int words, uint8_t *out)
{
	for (int block = 0; block < n; block += 16)
	{
		pack_half(rows + block, n - block, 0, words, out);
		pack_half(rows + block, n - block, 8, words, out);
		out += (size_t) 64 * words;
	}
}
