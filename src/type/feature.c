/*
 * feature.c: words to a vector by feature hashing (Weinberger et al., "Feature Hashing for Large
 * Scale Multitask Learning", ICML 2009). Called by SQL only: vdist.text_to_vector stands on it.
 */
#include "compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "type/type.h"

/*
 * Elements a feature goes to. With one, two rare words that meet there make strangers look alike;
 * with several the same noise is spread thin (Kane and Nelson, "Sparser Johnson-Lindenstrauss
 * Transforms", 2014).
 */
#define PLACES 8

/*
 * FNV-1a. Our own hash because stored vectors must agree with those of later queries, on any
 * machine and under any PostgreSQL, which its own hash functions do not promise.
 */
static uint64
hash_bytes64(const char *data, int len)
{
	uint64		h = UINT64CONST(0xcbf29ce484222325);

	for (int i = 0; i < len; i++)
	{
		h ^= (unsigned char) data[i];
		h *= UINT64CONST(0x100000001b3);
	}
	return h;
}

/*
 * feature_hash(features text[], weights real[], dims integer): each feature adds its weight, with
 * signs, to PLACES of dims elements, all chosen by its hash: so the inner product of two texts is
 * about that of their weights, and collisions cancel out on average. The result has length 1; NULL
 * when there is nothing in it. Pairs with a NULL are left out.
 */
PG_FUNCTION_INFO_V1(feature_hash);
Datum
feature_hash(PG_FUNCTION_ARGS)
{
	ArrayType  *features = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType  *weights = PG_GETARG_ARRAYTYPE_P(1);
	int			dims = PG_GETARG_INT32(2);
	Datum	   *words;
	Datum	   *numbers;
	bool	   *no_word;
	bool	   *no_number;
	int			nwords;
	int			nnumbers;
	double	   *sums;
	double		norm = 0;
	Vector	   *result;

	vector_check_dim(dims);
	deconstruct_array(features, TEXTOID, -1, false, TYPALIGN_INT, &words, &no_word, &nwords);
	deconstruct_array(weights, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT,
					  &numbers, &no_number, &nnumbers);
	if (nwords != nnumbers)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%d features have %d weights", nwords, nnumbers),
				 errhint("Give each feature one weight.")));

	sums = palloc0(sizeof(double) * dims);
	for (int i = 0; i < nwords; i++)
	{
		uint64		h;
		double		weight;

		if (no_word[i] || no_number[i])
			continue;
		h = hash_bytes64(VARDATA_ANY(DatumGetPointer(words[i])),
						 VARSIZE_ANY_EXHDR(DatumGetPointer(words[i])));
		weight = DatumGetFloat4(numbers[i]);
		if (!isfinite(weight))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("weight %g of a feature is not finite", weight)));
		for (int place = 0; place < PLACES; place++)
		{
			uint64		p = vdist_mix(h + place);

			sums[(p >> 1) % dims] += (p & 1) ? weight : -weight;
		}
	}

	for (int i = 0; i < dims; i++)
		norm += sums[i] * sums[i];
	norm = sqrt(norm);
	if (norm == 0)
		PG_RETURN_NULL();

	result = vector_make(dims);
	for (int i = 0; i < dims; i++)
		result->x[i] = (float) (sums[i] / norm);
	PG_RETURN_VECTOR_P(result);
}
