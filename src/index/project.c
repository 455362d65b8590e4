/*
 * project.c: sparse vectors of any number of dimensions as vectors of few (Kane and Nelson, "Sparser
 * Johnson-Lindenstrauss Transforms", 2014). Calls nothing; called by metric.c and the access methods.
 */
#include "compat.h"

#include <math.h>

#include "index/index.h"

/*
 * Elements that a dimension goes to, one in each of as many blocks, with signs. With one, two large
 * elements that meet there make strangers look alike; with several the same error is spread thin.
 */
#define PLACES 8
#define BLOCK (VDIST_PROJECTED_DIM / PLACES)

void
vdist_project(int n, const int32 *indices, const float *values, float *out)
{
	const float scale = 0.35355339f;	/* 1 / sqrt(PLACES) */

	StaticAssertStmt(PLACES == 8 && BLOCK <= 1 << 10,
					 "a place takes 16 bits of a hash");
	for (int i = 0; i < n; i++)
	{
		float		x = values[i] * scale;
		uint64		h[2];

		h[0] = vdist_mix(2 * (uint64) (uint32) indices[i] + 1);
		h[1] = vdist_mix(h[0] + 1);
		for (int place = 0; place < PLACES; place++)
		{
			uint32		p = h[place / 4] >> (place % 4 * 16) & 0xFFFF;

			out[place * BLOCK + ((p >> 1) * BLOCK >> 15)] += p & 1 ? x : -x;
		}
	}
}

/* Two places next to each other are one: that which their hashes choose among half as many. */
void
vdist_project_fold(float *x, int dim)
{
	for (int n = VDIST_PROJECTED_DIM / 2; n >= dim; n /= 2)
		for (int i = 0; i < n; i++)
			x[i] = x[2 * i] + x[2 * i + 1];
}

int
vdist_project_dim(int n, const float *x)
{
	int64		used = 0;
	int			dim = VDIST_PROJECTED_DIM;

	for (int64 i = 0; i < (int64) n * VDIST_PROJECTED_DIM; i++)
		used += x[i] != 0;
	while (n > 0 && dim > VDIST_PROJECTED_DIM_MIN && used < (int64) n * dim / 2)
		dim /= 2;
	return dim;
}
