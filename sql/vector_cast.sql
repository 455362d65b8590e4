-- Casts between type vector and arrays, and which of them apply by themselves.

SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2.5]::vector, '{1.1,2.2}'::real[]::vector,
  '{1e10,0.1}'::double precision[]::vector, '{1.25,-3e5}'::numeric[]::vector(2);
SELECT '[1,2.5,-3]'::vector::real[], '[1,2.5,-3]'::vector::double precision[],
  '[1,2.5,-3]'::vector::numeric[], '[1.4,2.5,3.5,-0.6]'::vector::integer[];
-- exact on the way to double precision, seven digits to numeric, as a cast of real
SELECT '[0.1]'::vector::double precision[], '[0.1,16777216]'::vector::numeric[];
SELECT '[3e9]'::vector::integer[];
SELECT (array_fill(0.5, ARRAY[16000])::vector::real[])[16000];

-- arrays that are no vectors
SELECT '{}'::real[]::vector;
SELECT '{1,NULL,3}'::integer[]::vector;
SELECT '{{1,2},{3,4}}'::real[]::vector;
SELECT '{1,NaN}'::real[]::vector;
SELECT '{1,-Infinity}'::double precision[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT '{1e40}'::double precision[]::vector;
SELECT '{1e40}'::numeric[]::vector;
SELECT '{1e-60}'::double precision[]::vector AS underflow_is_zero;
SELECT '{1,2,3}'::real[]::vector(2);
SELECT array_fill(1, ARRAY[16001])::vector;
SELECT array_fill(1, ARRAY[16001])::vector(16000);
SELECT ARRAY['a']::vector;
SELECT ARRAY[1,2]::bigint[]::vector;
-- the lower bound of an array does not matter, nor does a bitmap without a null in it
SELECT '[5:7]={1,2,3}'::real[]::vector, array_remove(ARRAY[1,NULL,2], NULL)::vector;

-- implicit to real[] only; the others on assignment
SELECT array_length('[1,2,3]'::vector, 1);
CREATE TABLE assigned (v vector(2), f4 real[], f8 double precision[], n numeric[], i integer[]);
INSERT INTO assigned VALUES (ARRAY[1,2], '[1,2]'::vector, '[1,2]'::vector, '[1,2]'::vector,
  '[1,2]'::vector);
INSERT INTO assigned (v) VALUES ('{1,2}'::double precision[]), ('{1,2}'::numeric[]), ('{1,2}'::real[]);
SELECT * FROM assigned;
DROP TABLE assigned;
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
WHERE 'vector'::regtype IN (castsource, casttarget) ORDER BY 1::text, 2::text;
-- an array beside a vector is no vector by itself
SELECT '[1,2]'::vector <-> ARRAY[1,2];
SELECT '[1,2]'::vector <-> ARRAY[1,2]::vector AS explicit;

-- the functions themselves, with the modifier as an argument
SELECT array_to_vector(ARRAY[1,2], -1, false), vector_to_float4('[1,2]', -1, false),
  vector('[1,2]'::vector, 2, true);
SELECT vector('[1,2]'::vector, 3, true);
SELECT array_to_vector(ARRAY[1,2], 1, false);
