-- vdist 0.2.0. Types, operators and access methods go into the schema named at CREATE EXTENSION;
-- administration goes into schema vdist.
\echo Use "CREATE EXTENSION vdist" to load this file. \quit

CREATE SCHEMA vdist;
COMMENT ON SCHEMA vdist IS 'vdist: administration of indexes, shards and distributed tables';
GRANT USAGE ON SCHEMA vdist TO PUBLIC;

---------------------------------------------------------------------------------------------------
-- 1. Types: vector, halfvec, sparsevec, and distances of bit
---------------------------------------------------------------------------------------------------

-- Distances have a cost, measured in comparisons of integers, which cost 1: for 768 dimensions of a
-- vector 15 in the row, 80 when the row is not in the processor's cache, 310 when it is out of line,
-- as it is from 500 on.

-- 1a. vector

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION vector_out(vector) RETURNS cstring
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_out(vector) IS 'I/O';

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION vector_send(vector) RETURNS bytea
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_send(vector) IS 'I/O';

CREATE TYPE vector (
  INPUT = vector_in,
  OUTPUT = vector_out,
  TYPMOD_IN = vector_typmod_in,
  RECEIVE = vector_recv,
  SEND = vector_send,
  STORAGE = external
);
COMMENT ON TYPE vector IS 'vector of single-precision floats, 1 to 16000 dimensions';

-- Distances

CREATE FUNCTION l2_distance(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_l2_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_distance(vector, vector) IS 'Euclidean distance';

CREATE FUNCTION inner_product(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_inner_product'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION inner_product(vector, vector) IS 'inner product';

CREATE FUNCTION cosine_distance(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_cosine_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION cosine_distance(vector, vector) IS 'cosine distance';

CREATE FUNCTION l1_distance(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_l1_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l1_distance(vector, vector) IS 'taxicab distance';

CREATE FUNCTION negative_inner_product(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_negative_inner_product'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION negative_inner_product(vector, vector) IS 'negative inner product';

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_l2_squared_distance(vector, vector) IS 'squared Euclidean distance';

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_negative_inner_product(vector, vector) IS 'implementation of <#> operator';

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_spherical_distance(vector, vector) IS 'angle between unit vectors divided by pi';

CREATE OPERATOR <-> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance,
  COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (vector, vector) IS 'Euclidean distance';

CREATE OPERATOR <#> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product,
  COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (vector, vector) IS 'negative inner product';

CREATE OPERATOR <=> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance,
  COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (vector, vector) IS 'cosine distance';

CREATE OPERATOR <+> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance,
  COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (vector, vector) IS 'taxicab distance';

-- Functions of one vector and arithmetic

CREATE FUNCTION vector_dims(vector) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(vector) IS 'number of dimensions';

CREATE FUNCTION vector_norm(vector) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_norm(vector) IS 'Euclidean norm';

CREATE FUNCTION l2_norm(vector) RETURNS double precision
  AS 'MODULE_PATHNAME', 'vector_norm'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_norm(vector) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(vector) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_normalize'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_normalize(vector) IS 'the vector divided by its Euclidean norm';

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_subvector'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(vector, integer, integer) IS 'count elements from a start counted from 1';

CREATE FUNCTION binary_quantize(vector) RETURNS bit
  AS 'MODULE_PATHNAME', 'vector_binary_quantize'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION binary_quantize(vector) IS 'a bit for each element: whether it is positive';

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_add(vector, vector) IS 'implementation of + operator';

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_sub(vector, vector) IS 'implementation of - operator';

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_mul(vector, vector) IS 'implementation of * operator';

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_concat(vector, vector) IS 'implementation of || operator';

CREATE OPERATOR + (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add,
  COMMUTATOR = +
);
COMMENT ON OPERATOR + (vector, vector) IS 'add';

CREATE OPERATOR - (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);
COMMENT ON OPERATOR - (vector, vector) IS 'subtract';

CREATE OPERATOR * (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul,
  COMMUTATOR = *
);
COMMENT ON OPERATOR * (vector, vector) IS 'multiply element by element';

CREATE OPERATOR || (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);
COMMENT ON OPERATOR || (vector, vector) IS 'concatenate';

-- Order

CREATE FUNCTION vector_lt(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_lt(vector, vector) IS 'implementation of < operator';

CREATE FUNCTION vector_le(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_le(vector, vector) IS 'implementation of <= operator';

CREATE FUNCTION vector_eq(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_eq(vector, vector) IS 'implementation of = operator';

CREATE FUNCTION vector_ne(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ne(vector, vector) IS 'implementation of <> operator';

CREATE FUNCTION vector_ge(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_ge(vector, vector) IS 'implementation of >= operator';

CREATE FUNCTION vector_gt(vector, vector) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_gt(vector, vector) IS 'implementation of > operator';

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_cmp(vector, vector) IS 'less-equal-greater';

CREATE OPERATOR < (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
  COMMUTATOR = >, NEGATOR = >=,
  RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (vector, vector) IS 'less than';

CREATE OPERATOR <= (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
  COMMUTATOR = >=, NEGATOR = >,
  RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (vector, vector) IS 'less than or equal';

CREATE OPERATOR = (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
  COMMUTATOR = =, NEGATOR = <>,
  RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (vector, vector) IS 'equal';

CREATE OPERATOR <> (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
  COMMUTATOR = <>, NEGATOR = =,
  RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (vector, vector) IS 'not equal';

CREATE OPERATOR >= (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
  COMMUTATOR = <=, NEGATOR = <,
  RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (vector, vector) IS 'greater than or equal';

CREATE OPERATOR > (
  LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
  COMMUTATOR = <, NEGATOR = <=,
  RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (vector, vector) IS 'greater than';

CREATE OPERATOR CLASS vector_ops DEFAULT FOR TYPE vector USING btree AS
  OPERATOR 1 <,
  OPERATOR 2 <=,
  OPERATOR 3 =,
  OPERATOR 4 >=,
  OPERATOR 5 >,
  FUNCTION 1 vector_cmp(vector, vector);
COMMENT ON OPERATOR CLASS vector_ops USING btree IS 'order of vectors: by elements, then by length';
COMMENT ON OPERATOR FAMILY vector_ops USING btree IS 'order of vectors: by elements, then by length';

-- Casts

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_adjust'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector(vector, integer, boolean) IS 'adjust vector to typmod';

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(integer[], integer, boolean) IS 'convert int4 array to vector';

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(real[], integer, boolean) IS 'convert float4 array to vector';

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(double precision[], integer, boolean) IS 'convert float8 array to vector';

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_vector(numeric[], integer, boolean) IS 'convert numeric array to vector';

CREATE FUNCTION vector_to_int4(vector, integer, boolean) RETURNS integer[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_int4(vector, integer, boolean) IS 'convert vector to int4 array';

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_float4(vector, integer, boolean) IS 'convert vector to float4 array';

CREATE FUNCTION vector_to_float8(vector, integer, boolean) RETURNS double precision[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_float8(vector, integer, boolean) IS 'convert vector to float8 array';

CREATE FUNCTION vector_to_numeric(vector, integer, boolean) RETURNS numeric[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_numeric(vector, integer, boolean) IS 'convert vector to numeric array';

CREATE CAST (vector AS vector)
  WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS vector) IS 'adjust vector to typmod';

CREATE CAST (integer[] AS vector)
  WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS vector) IS 'convert int4 array to vector';

CREATE CAST (real[] AS vector)
  WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS vector) IS 'convert float4 array to vector';

CREATE CAST (double precision[] AS vector)
  WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS vector) IS 'convert float8 array to vector';

CREATE CAST (numeric[] AS vector)
  WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS vector) IS 'convert numeric array to vector';

-- Only the exact one is implicit.
CREATE CAST (vector AS real[])
  WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS real[]) IS 'convert vector to float4 array';

CREATE CAST (vector AS double precision[])
  WITH FUNCTION vector_to_float8(vector, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (vector AS double precision[]) IS 'convert vector to float8 array';

CREATE CAST (vector AS numeric[])
  WITH FUNCTION vector_to_numeric(vector, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (vector AS numeric[]) IS 'convert vector to numeric array';

CREATE CAST (vector AS integer[])
  WITH FUNCTION vector_to_int4(vector, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (vector AS integer[]) IS 'convert vector to int4 array';

-- Aggregates

CREATE FUNCTION vector_accum(double precision[], vector) RETURNS double precision[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_accum(double precision[], vector) IS 'aggregate transition function';

CREATE FUNCTION vector_combine(double precision[], double precision[]) RETURNS double precision[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_combine(double precision[], double precision[]) IS 'aggregate combine function';

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION vector_avg(double precision[]) IS 'aggregate final function';

CREATE AGGREGATE avg(vector) (
  SFUNC = vector_accum,
  STYPE = double precision[],
  FINALFUNC = vector_avg,
  COMBINEFUNC = vector_combine,
  INITCOND = '{0}',
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(vector) IS 'the average (arithmetic mean) as vector of all vector values';

CREATE AGGREGATE sum(vector) (
  SFUNC = vector_add,
  STYPE = vector,
  COMBINEFUNC = vector_add,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(vector) IS 'sum as vector across all vector input values';

-- 1b. halfvec

CREATE TYPE halfvec;

CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_out(halfvec) IS 'I/O';

CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION halfvec_recv(internal, oid, integer) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION halfvec_send(halfvec) RETURNS bytea
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_send(halfvec) IS 'I/O';

CREATE TYPE halfvec (
  INPUT = halfvec_in,
  OUTPUT = halfvec_out,
  TYPMOD_IN = halfvec_typmod_in,
  RECEIVE = halfvec_recv,
  SEND = halfvec_send,
  STORAGE = external
);
COMMENT ON TYPE halfvec IS 'vector of half-precision floats, 1 to 16000 dimensions';

-- Distances

CREATE FUNCTION l2_distance(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'halfvec_l2_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_distance(halfvec, halfvec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'halfvec_inner_product'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION inner_product(halfvec, halfvec) IS 'inner product';

CREATE FUNCTION cosine_distance(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'halfvec_cosine_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION cosine_distance(halfvec, halfvec) IS 'cosine distance';

CREATE FUNCTION l1_distance(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'halfvec_l1_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l1_distance(halfvec, halfvec) IS 'taxicab distance';

CREATE FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) IS 'squared Euclidean distance';

CREATE FUNCTION halfvec_negative_inner_product(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_negative_inner_product(halfvec, halfvec) IS 'implementation of <#> operator';

CREATE FUNCTION halfvec_spherical_distance(halfvec, halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_spherical_distance(halfvec, halfvec) IS 'angle between unit vectors divided by pi';

CREATE OPERATOR <-> (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l2_distance,
  COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (halfvec, halfvec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_negative_inner_product,
  COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (halfvec, halfvec) IS 'negative inner product';

CREATE OPERATOR <=> (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = cosine_distance,
  COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (halfvec, halfvec) IS 'cosine distance';

CREATE OPERATOR <+> (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = l1_distance,
  COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (halfvec, halfvec) IS 'taxicab distance';

-- Functions of one halfvec and arithmetic

CREATE FUNCTION vector_dims(halfvec) RETURNS integer
  AS 'MODULE_PATHNAME', 'halfvec_dims'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_dims(halfvec) IS 'number of dimensions';

CREATE FUNCTION l2_norm(halfvec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'halfvec_norm'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_norm(halfvec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(halfvec) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_normalize'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_normalize(halfvec) IS 'the halfvec divided by its Euclidean norm';

CREATE FUNCTION subvector(halfvec, integer, integer) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_subvector'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION subvector(halfvec, integer, integer) IS 'count elements from a start counted from 1';

CREATE FUNCTION binary_quantize(halfvec) RETURNS bit
  AS 'MODULE_PATHNAME', 'halfvec_binary_quantize'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION binary_quantize(halfvec) IS 'a bit for each element: whether it is positive';

CREATE FUNCTION halfvec_add(halfvec, halfvec) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_add(halfvec, halfvec) IS 'implementation of + operator';

CREATE FUNCTION halfvec_sub(halfvec, halfvec) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_sub(halfvec, halfvec) IS 'implementation of - operator';

CREATE FUNCTION halfvec_mul(halfvec, halfvec) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_mul(halfvec, halfvec) IS 'implementation of * operator';

CREATE FUNCTION halfvec_concat(halfvec, halfvec) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_concat(halfvec, halfvec) IS 'implementation of || operator';

CREATE OPERATOR + (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_add,
  COMMUTATOR = +
);
COMMENT ON OPERATOR + (halfvec, halfvec) IS 'add';

CREATE OPERATOR - (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_sub
);
COMMENT ON OPERATOR - (halfvec, halfvec) IS 'subtract';

CREATE OPERATOR * (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_mul,
  COMMUTATOR = *
);
COMMENT ON OPERATOR * (halfvec, halfvec) IS 'multiply element by element';

CREATE OPERATOR || (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_concat
);
COMMENT ON OPERATOR || (halfvec, halfvec) IS 'concatenate';

-- Order

CREATE FUNCTION halfvec_lt(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_lt(halfvec, halfvec) IS 'implementation of < operator';

CREATE FUNCTION halfvec_le(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_le(halfvec, halfvec) IS 'implementation of <= operator';

CREATE FUNCTION halfvec_eq(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_eq(halfvec, halfvec) IS 'implementation of = operator';

CREATE FUNCTION halfvec_ne(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ne(halfvec, halfvec) IS 'implementation of <> operator';

CREATE FUNCTION halfvec_ge(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_ge(halfvec, halfvec) IS 'implementation of >= operator';

CREATE FUNCTION halfvec_gt(halfvec, halfvec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_gt(halfvec, halfvec) IS 'implementation of > operator';

CREATE FUNCTION halfvec_cmp(halfvec, halfvec) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_cmp(halfvec, halfvec) IS 'less-equal-greater';

CREATE OPERATOR < (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_lt,
  COMMUTATOR = >, NEGATOR = >=,
  RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (halfvec, halfvec) IS 'less than';

CREATE OPERATOR <= (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_le,
  COMMUTATOR = >=, NEGATOR = >,
  RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (halfvec, halfvec) IS 'less than or equal';

CREATE OPERATOR = (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_eq,
  COMMUTATOR = =, NEGATOR = <>,
  RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (halfvec, halfvec) IS 'equal';

CREATE OPERATOR <> (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ne,
  COMMUTATOR = <>, NEGATOR = =,
  RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (halfvec, halfvec) IS 'not equal';

CREATE OPERATOR >= (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_ge,
  COMMUTATOR = <=, NEGATOR = <,
  RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (halfvec, halfvec) IS 'greater than or equal';

CREATE OPERATOR > (
  LEFTARG = halfvec, RIGHTARG = halfvec, FUNCTION = halfvec_gt,
  COMMUTATOR = <, NEGATOR = <=,
  RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (halfvec, halfvec) IS 'greater than';

CREATE OPERATOR CLASS halfvec_ops DEFAULT FOR TYPE halfvec USING btree AS
  OPERATOR 1 <,
  OPERATOR 2 <=,
  OPERATOR 3 =,
  OPERATOR 4 >=,
  OPERATOR 5 >,
  FUNCTION 1 halfvec_cmp(halfvec, halfvec);
COMMENT ON OPERATOR CLASS halfvec_ops USING btree IS 'order of halfvec values: by elements, then by length';
COMMENT ON OPERATOR FAMILY halfvec_ops USING btree IS 'order of halfvec values: by elements, then by length';

-- Casts. From vector implicit, so that an expression over vectors can be stored in a halfvec column,
-- back and to arrays on assignment.

CREATE FUNCTION halfvec(halfvec, integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_adjust'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec(halfvec, integer, boolean) IS 'adjust halfvec to typmod';

CREATE FUNCTION halfvec_to_vector(halfvec, integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_vector(halfvec, integer, boolean) IS 'convert halfvec to vector';

CREATE FUNCTION vector_to_halfvec(vector, integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_halfvec(vector, integer, boolean) IS 'convert vector to halfvec';

CREATE FUNCTION array_to_halfvec(integer[], integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(integer[], integer, boolean) IS 'convert int4 array to halfvec';

CREATE FUNCTION array_to_halfvec(real[], integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(real[], integer, boolean) IS 'convert float4 array to halfvec';

CREATE FUNCTION array_to_halfvec(double precision[], integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(double precision[], integer, boolean) IS 'convert float8 array to halfvec';

CREATE FUNCTION array_to_halfvec(numeric[], integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_halfvec(numeric[], integer, boolean) IS 'convert numeric array to halfvec';

CREATE FUNCTION halfvec_to_float4(halfvec, integer, boolean) RETURNS real[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_float4(halfvec, integer, boolean) IS 'convert halfvec to float4 array';

CREATE CAST (halfvec AS halfvec)
  WITH FUNCTION halfvec(halfvec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (halfvec AS halfvec) IS 'adjust halfvec to typmod';

CREATE CAST (halfvec AS vector)
  WITH FUNCTION halfvec_to_vector(halfvec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfvec AS vector) IS 'convert halfvec to vector';

CREATE CAST (vector AS halfvec)
  WITH FUNCTION vector_to_halfvec(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS halfvec) IS 'convert vector to halfvec';

CREATE CAST (integer[] AS halfvec)
  WITH FUNCTION array_to_halfvec(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS halfvec) IS 'convert int4 array to halfvec';

CREATE CAST (real[] AS halfvec)
  WITH FUNCTION array_to_halfvec(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS halfvec) IS 'convert float4 array to halfvec';

CREATE CAST (double precision[] AS halfvec)
  WITH FUNCTION array_to_halfvec(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS halfvec) IS 'convert float8 array to halfvec';

CREATE CAST (numeric[] AS halfvec)
  WITH FUNCTION array_to_halfvec(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS halfvec) IS 'convert numeric array to halfvec';

CREATE CAST (halfvec AS real[])
  WITH FUNCTION halfvec_to_float4(halfvec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (halfvec AS real[]) IS 'convert halfvec to float4 array';

-- Aggregates

CREATE FUNCTION halfvec_accum(double precision[], halfvec) RETURNS double precision[]
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_accum(double precision[], halfvec) IS 'aggregate transition function';

CREATE FUNCTION halfvec_combine(double precision[], double precision[]) RETURNS double precision[]
  AS 'MODULE_PATHNAME', 'vector_combine'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_combine(double precision[], double precision[]) IS 'aggregate combine function';

CREATE FUNCTION halfvec_avg(double precision[]) RETURNS halfvec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION halfvec_avg(double precision[]) IS 'aggregate final function';

CREATE AGGREGATE avg(halfvec) (
  SFUNC = halfvec_accum,
  STYPE = double precision[],
  FINALFUNC = halfvec_avg,
  COMBINEFUNC = halfvec_combine,
  INITCOND = '{0}',
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE avg(halfvec) IS 'the average (arithmetic mean) as halfvec of all halfvec values';

CREATE AGGREGATE sum(halfvec) (
  SFUNC = halfvec_add,
  STYPE = halfvec,
  COMBINEFUNC = halfvec_add,
  PARALLEL = SAFE
);
COMMENT ON AGGREGATE sum(halfvec) IS 'sum as halfvec across all halfvec input values';

-- 1c. sparsevec

CREATE TYPE sparsevec;

CREATE FUNCTION sparsevec_in(cstring, oid, integer) RETURNS sparsevec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_in(cstring, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_out(sparsevec) IS 'I/O';

CREATE FUNCTION sparsevec_typmod_in(cstring[]) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_typmod_in(cstring[]) IS 'I/O typmod';

CREATE FUNCTION sparsevec_recv(internal, oid, integer) RETURNS sparsevec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_recv(internal, oid, integer) IS 'I/O';

CREATE FUNCTION sparsevec_send(sparsevec) RETURNS bytea
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_send(sparsevec) IS 'I/O';

CREATE TYPE sparsevec (
  INPUT = sparsevec_in,
  OUTPUT = sparsevec_out,
  TYPMOD_IN = sparsevec_typmod_in,
  RECEIVE = sparsevec_recv,
  SEND = sparsevec_send,
  STORAGE = external
);
COMMENT ON TYPE sparsevec IS 'vector of single-precision floats, most of them zero: 1 to 1e9 dimensions, 16000 other than zero';

-- Distances

CREATE FUNCTION l2_distance(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'sparsevec_l2_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_distance(sparsevec, sparsevec) IS 'Euclidean distance';

CREATE FUNCTION inner_product(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'sparsevec_inner_product'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION inner_product(sparsevec, sparsevec) IS 'inner product';

CREATE FUNCTION cosine_distance(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'sparsevec_cosine_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION cosine_distance(sparsevec, sparsevec) IS 'cosine distance';

CREATE FUNCTION l1_distance(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'sparsevec_l1_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l1_distance(sparsevec, sparsevec) IS 'taxicab distance';

CREATE FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) IS 'squared Euclidean distance';

CREATE FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) IS 'implementation of <#> operator';

CREATE OPERATOR <-> (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l2_distance,
  COMMUTATOR = <->
);
COMMENT ON OPERATOR <-> (sparsevec, sparsevec) IS 'Euclidean distance';

CREATE OPERATOR <#> (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_negative_inner_product,
  COMMUTATOR = <#>
);
COMMENT ON OPERATOR <#> (sparsevec, sparsevec) IS 'negative inner product';

CREATE OPERATOR <=> (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = cosine_distance,
  COMMUTATOR = <=>
);
COMMENT ON OPERATOR <=> (sparsevec, sparsevec) IS 'cosine distance';

CREATE OPERATOR <+> (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = l1_distance,
  COMMUTATOR = <+>
);
COMMENT ON OPERATOR <+> (sparsevec, sparsevec) IS 'taxicab distance';

-- Functions of one sparsevec

CREATE FUNCTION l2_norm(sparsevec) RETURNS double precision
  AS 'MODULE_PATHNAME', 'sparsevec_norm'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_norm(sparsevec) IS 'Euclidean norm';

CREATE FUNCTION l2_normalize(sparsevec) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_normalize'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION l2_normalize(sparsevec) IS 'the sparsevec divided by its Euclidean norm';

-- Order

CREATE FUNCTION sparsevec_lt(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_lt(sparsevec, sparsevec) IS 'implementation of < operator';

CREATE FUNCTION sparsevec_le(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_le(sparsevec, sparsevec) IS 'implementation of <= operator';

CREATE FUNCTION sparsevec_eq(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_eq(sparsevec, sparsevec) IS 'implementation of = operator';

CREATE FUNCTION sparsevec_ne(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ne(sparsevec, sparsevec) IS 'implementation of <> operator';

CREATE FUNCTION sparsevec_ge(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_ge(sparsevec, sparsevec) IS 'implementation of >= operator';

CREATE FUNCTION sparsevec_gt(sparsevec, sparsevec) RETURNS boolean
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_gt(sparsevec, sparsevec) IS 'implementation of > operator';

CREATE FUNCTION sparsevec_cmp(sparsevec, sparsevec) RETURNS integer
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_cmp(sparsevec, sparsevec) IS 'less-equal-greater';

CREATE OPERATOR < (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_lt,
  COMMUTATOR = >, NEGATOR = >=,
  RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (sparsevec, sparsevec) IS 'less than';

CREATE OPERATOR <= (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_le,
  COMMUTATOR = >=, NEGATOR = >,
  RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (sparsevec, sparsevec) IS 'less than or equal';

CREATE OPERATOR = (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_eq,
  COMMUTATOR = =, NEGATOR = <>,
  RESTRICT = eqsel, JOIN = eqjoinsel
);
COMMENT ON OPERATOR = (sparsevec, sparsevec) IS 'equal';

CREATE OPERATOR <> (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ne,
  COMMUTATOR = <>, NEGATOR = =,
  RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (sparsevec, sparsevec) IS 'not equal';

CREATE OPERATOR >= (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_ge,
  COMMUTATOR = <=, NEGATOR = <,
  RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (sparsevec, sparsevec) IS 'greater than or equal';

CREATE OPERATOR > (
  LEFTARG = sparsevec, RIGHTARG = sparsevec, FUNCTION = sparsevec_gt,
  COMMUTATOR = <, NEGATOR = <=,
  RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (sparsevec, sparsevec) IS 'greater than';

CREATE OPERATOR CLASS sparsevec_ops DEFAULT FOR TYPE sparsevec USING btree AS
  OPERATOR 1 <,
  OPERATOR 2 <=,
  OPERATOR 3 =,
  OPERATOR 4 >=,
  OPERATOR 5 >,
  FUNCTION 1 sparsevec_cmp(sparsevec, sparsevec);
COMMENT ON OPERATOR CLASS sparsevec_ops USING btree IS 'order of sparsevec values: by elements, then by length';
COMMENT ON OPERATOR FAMILY sparsevec_ops USING btree IS 'order of sparsevec values: by elements, then by length';

-- Casts

CREATE FUNCTION sparsevec(sparsevec, integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_adjust'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec(sparsevec, integer, boolean) IS 'adjust sparsevec to typmod';

CREATE FUNCTION vector_to_sparsevec(vector, integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vector_to_sparsevec(vector, integer, boolean) IS 'convert vector to sparsevec';

CREATE FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) RETURNS vector
  AS 'MODULE_PATHNAME', 'vector_from_sparsevec'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) IS 'convert sparsevec to vector';

CREATE FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) IS 'convert halfvec to sparsevec';

CREATE FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) RETURNS halfvec
  AS 'MODULE_PATHNAME', 'halfvec_from_sparsevec'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) IS 'convert sparsevec to halfvec';

CREATE FUNCTION array_to_sparsevec(integer[], integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(integer[], integer, boolean) IS 'convert int4 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(real[], integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(real[], integer, boolean) IS 'convert float4 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(double precision[], integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(double precision[], integer, boolean) IS 'convert float8 array to sparsevec';

CREATE FUNCTION array_to_sparsevec(numeric[], integer, boolean) RETURNS sparsevec
  AS 'MODULE_PATHNAME', 'sparsevec_from_array'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION array_to_sparsevec(numeric[], integer, boolean) IS 'convert numeric array to sparsevec';

CREATE CAST (sparsevec AS sparsevec)
  WITH FUNCTION sparsevec(sparsevec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (sparsevec AS sparsevec) IS 'adjust sparsevec to typmod';

CREATE CAST (sparsevec AS vector)
  WITH FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparsevec AS vector) IS 'convert sparsevec to vector';

CREATE CAST (vector AS sparsevec)
  WITH FUNCTION vector_to_sparsevec(vector, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (vector AS sparsevec) IS 'convert vector to sparsevec';

CREATE CAST (sparsevec AS halfvec)
  WITH FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (sparsevec AS halfvec) IS 'convert sparsevec to halfvec';

CREATE CAST (halfvec AS sparsevec)
  WITH FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (halfvec AS sparsevec) IS 'convert halfvec to sparsevec';

CREATE CAST (integer[] AS sparsevec)
  WITH FUNCTION array_to_sparsevec(integer[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (integer[] AS sparsevec) IS 'convert int4 array to sparsevec';

CREATE CAST (real[] AS sparsevec)
  WITH FUNCTION array_to_sparsevec(real[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (real[] AS sparsevec) IS 'convert float4 array to sparsevec';

CREATE CAST (double precision[] AS sparsevec)
  WITH FUNCTION array_to_sparsevec(double precision[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (double precision[] AS sparsevec) IS 'convert float8 array to sparsevec';

CREATE CAST (numeric[] AS sparsevec)
  WITH FUNCTION array_to_sparsevec(numeric[], integer, boolean) AS ASSIGNMENT;
COMMENT ON CAST (numeric[] AS sparsevec) IS 'convert numeric array to sparsevec';

-- 1d. bit

CREATE FUNCTION hamming_distance(bit, bit) RETURNS double precision
  AS 'MODULE_PATHNAME', 'bit_hamming_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION hamming_distance(bit, bit) IS 'number of bits that differ';

CREATE FUNCTION jaccard_distance(bit, bit) RETURNS double precision
  AS 'MODULE_PATHNAME', 'bit_jaccard_distance'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION jaccard_distance(bit, bit) IS '1 - the part of the bits in either that is in both';

CREATE OPERATOR <~> (
  LEFTARG = bit, RIGHTARG = bit, FUNCTION = hamming_distance,
  COMMUTATOR = <~>
);
COMMENT ON OPERATOR <~> (bit, bit) IS 'Hamming distance';

CREATE OPERATOR <%> (
  LEFTARG = bit, RIGHTARG = bit, FUNCTION = jaccard_distance,
  COMMUTATOR = <%>
);
COMMENT ON OPERATOR <%> (bit, bit) IS 'Jaccard distance';

-- 1e. Costs

-- What a distance costs depends on where its vectors lie.
CREATE FUNCTION vdist.distance_support(internal) RETURNS internal
  AS 'MODULE_PATHNAME', 'vdist_distance_support' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.distance_support(internal) IS
  'planner support: cost of a distance, with the reading of vectors that are stored out of line';
DO $$
DECLARE
  function pg_catalog.regprocedure;
BEGIN
  FOR function IN
    SELECT p.oid FROM pg_catalog.pg_depend d
      JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'vdist'
      JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
      AND p.proname ~ '(distance|inner_product)$'
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SUPPORT vdist.distance_support', function);
  END LOOP;
END
$$;

---------------------------------------------------------------------------------------------------
-- 2. Access method vdist_hnsw
---------------------------------------------------------------------------------------------------

CREATE FUNCTION vdist_hnsw_handler(internal) RETURNS index_am_handler
  AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON FUNCTION vdist_hnsw_handler(internal) IS 'handler of access method vdist_hnsw';

CREATE ACCESS METHOD vdist_hnsw TYPE INDEX HANDLER vdist_hnsw_handler;
COMMENT ON ACCESS METHOD vdist_hnsw IS 'graph index for nearest-neighbor search';

CREATE FUNCTION vdist_metric_l2(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_l2(internal) IS 'index support: Euclidean distance';
CREATE FUNCTION vdist_metric_ip(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_ip(internal) IS 'index support: inner product';
CREATE FUNCTION vdist_metric_cosine(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_cosine(internal) IS 'index support: cosine distance';
CREATE FUNCTION vdist_metric_l1(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_l1(internal) IS 'index support: taxicab distance';

CREATE OPERATOR CLASS vector_l2_ops
  DEFAULT FOR TYPE vector USING vdist_hnsw AS
  OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_l2(internal);
COMMENT ON OPERATOR CLASS vector_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';
COMMENT ON OPERATOR FAMILY vector_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';

CREATE OPERATOR CLASS vector_ip_ops
  FOR TYPE vector USING vdist_hnsw AS
  OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_ip(internal);
COMMENT ON OPERATOR CLASS vector_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';
COMMENT ON OPERATOR FAMILY vector_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';

CREATE OPERATOR CLASS vector_cosine_ops
  FOR TYPE vector USING vdist_hnsw AS
  OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_cosine(internal);
COMMENT ON OPERATOR CLASS vector_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';
COMMENT ON OPERATOR FAMILY vector_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';

CREATE OPERATOR CLASS vector_l1_ops
  FOR TYPE vector USING vdist_hnsw AS
  OPERATOR 1 <+> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_l1(internal);
COMMENT ON OPERATOR CLASS vector_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';
COMMENT ON OPERATOR FAMILY vector_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION vdist_metric_halfvec_l2(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_halfvec_l2(internal) IS 'index support: Euclidean distance of halfvec';
CREATE FUNCTION vdist_metric_halfvec_ip(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_halfvec_ip(internal) IS 'index support: negative inner product of halfvec';
CREATE FUNCTION vdist_metric_halfvec_cosine(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_halfvec_cosine(internal) IS 'index support: cosine distance of halfvec';
CREATE FUNCTION vdist_metric_halfvec_l1(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_halfvec_l1(internal) IS 'index support: taxicab distance of halfvec';

CREATE OPERATOR CLASS halfvec_l2_ops
  DEFAULT FOR TYPE halfvec USING vdist_hnsw AS
  OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_halfvec_l2(internal);
COMMENT ON OPERATOR CLASS halfvec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';
COMMENT ON OPERATOR FAMILY halfvec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';

CREATE OPERATOR CLASS halfvec_ip_ops
  FOR TYPE halfvec USING vdist_hnsw AS
  OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_halfvec_ip(internal);
COMMENT ON OPERATOR CLASS halfvec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';
COMMENT ON OPERATOR FAMILY halfvec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';

CREATE OPERATOR CLASS halfvec_cosine_ops
  FOR TYPE halfvec USING vdist_hnsw AS
  OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_halfvec_cosine(internal);
COMMENT ON OPERATOR CLASS halfvec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';
COMMENT ON OPERATOR FAMILY halfvec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';

CREATE OPERATOR CLASS halfvec_l1_ops
  FOR TYPE halfvec USING vdist_hnsw AS
  OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_halfvec_l1(internal);
COMMENT ON OPERATOR CLASS halfvec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';
COMMENT ON OPERATOR FAMILY halfvec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION vdist_metric_sparsevec_l2(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_l2(internal) IS 'index support: Euclidean distance of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_ip(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_ip(internal) IS 'index support: negative inner product of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_cosine(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_cosine(internal) IS 'index support: cosine distance of sparsevec';
CREATE FUNCTION vdist_metric_sparsevec_l1(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_sparsevec_l1(internal) IS 'index support: taxicab distance of sparsevec';

CREATE OPERATOR CLASS sparsevec_l2_ops
  DEFAULT FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_l2(internal);
COMMENT ON OPERATOR CLASS sparsevec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';
COMMENT ON OPERATOR FAMILY sparsevec_l2_ops USING vdist_hnsw IS 'Euclidean distance, <->';

CREATE OPERATOR CLASS sparsevec_ip_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_ip(internal);
COMMENT ON OPERATOR CLASS sparsevec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';
COMMENT ON OPERATOR FAMILY sparsevec_ip_ops USING vdist_hnsw IS 'negative inner product, <#>';

CREATE OPERATOR CLASS sparsevec_cosine_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_cosine(internal);
COMMENT ON OPERATOR CLASS sparsevec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';
COMMENT ON OPERATOR FAMILY sparsevec_cosine_ops USING vdist_hnsw IS 'cosine distance, <=>';

CREATE OPERATOR CLASS sparsevec_l1_ops
  FOR TYPE sparsevec USING vdist_hnsw AS
  OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_sparsevec_l1(internal);
COMMENT ON OPERATOR CLASS sparsevec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';
COMMENT ON OPERATOR FAMILY sparsevec_l1_ops USING vdist_hnsw IS 'taxicab distance, <+>';

CREATE FUNCTION vdist_metric_bit_hamming(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_bit_hamming(internal) IS 'index support: Hamming distance of bit';
CREATE FUNCTION vdist_metric_bit_jaccard(internal) RETURNS integer
  AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist_metric_bit_jaccard(internal) IS 'index support: Jaccard distance of bit';

CREATE OPERATOR CLASS bit_hamming_ops
  DEFAULT FOR TYPE bit USING vdist_hnsw AS
  OPERATOR 1 <~> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_bit_hamming(internal);
COMMENT ON OPERATOR CLASS bit_hamming_ops USING vdist_hnsw IS 'Hamming distance, <~>';
COMMENT ON OPERATOR FAMILY bit_hamming_ops USING vdist_hnsw IS 'Hamming distance, <~>';

CREATE OPERATOR CLASS bit_jaccard_ops
  FOR TYPE bit USING vdist_hnsw AS
  OPERATOR 1 <%> (bit, bit) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 vdist_metric_bit_jaccard(internal);
COMMENT ON OPERATOR CLASS bit_jaccard_ops USING vdist_hnsw IS 'Jaccard distance, <%>';
COMMENT ON OPERATOR FAMILY bit_jaccard_ops USING vdist_hnsw IS 'Jaccard distance, <%>';

CREATE FUNCTION vdist.index_info(index regclass,
    OUT rows bigint, OUT heap_rows bigint, OUT dead bigint, OUT free bigint,
    OUT pages bigint, OUT bytes bigint, OUT levels integer, OUT routing bigint,
    OUT degree double precision, OUT slots integer, OUT row_bytes integer,
    OUT rows_per_page integer, OUT code_bits integer, OUT own_bits integer, OUT centres integer,
    OUT code_dims integer, OUT ef_factor integer)
  AS 'MODULE_PATHNAME', 'vdist_hnsw_info' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION vdist.index_info(regclass) IS
  'what a vdist_hnsw index is made of: rows of the graph, heap rows they stand for, size, codes';

CREATE FUNCTION vdist.index_check(index regclass, heap boolean DEFAULT false)
  RETURNS SETOF text
  AS 'MODULE_PATHNAME', 'vdist_hnsw_check' LANGUAGE C STRICT VOLATILE;
COMMENT ON FUNCTION vdist.index_check(regclass, boolean) IS
  'what is wrong with a vdist_hnsw index, a row a problem; with heap, compared with its table';

CREATE FUNCTION vdist.recall(index regclass, queries anyarray, k integer DEFAULT 10)
  RETURNS double precision LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, @extschema@, pg_temp
  SET enable_indexscan = on SET enable_seqscan = on SET enable_sort = on
AS $$
DECLARE
  relation regclass;
  expression text;
  operator text;
  condition text;
  query text;
  exact text;
  correct bigint := 0;
  wanted bigint := 0;
  hits bigint;
  total bigint;
BEGIN
  IF k < 1 THEN
    RAISE EXCEPTION 'k must be at least 1' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT i.indrelid::regclass, pg_get_indexdef(i.indexrelid, 1, true),
         format('OPERATOR(%I.%s) $1::%s', n.nspname, o.oprname, format_type(t.atttypid, t.atttypmod)),
         coalesce(' AND (' || pg_get_expr(i.indpred, i.indrelid) || ')', '')
    INTO relation, expression, operator, condition
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am m ON m.oid = c.relam
    JOIN pg_proc h ON h.oid = m.amhandler AND h.prosrc IN ('vdist_hnsw_handler',
      'vdist_pgvector_hnsw_handler', 'vdist_pgvector_ivfflat_handler')
    JOIN pg_opclass p ON p.oid = i.indclass[0]
    JOIN pg_amop a ON a.amopfamily = p.opcfamily AND a.amopstrategy = 1
    JOIN pg_operator o ON o.oid = a.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    JOIN pg_attribute t ON t.attrelid = i.indexrelid AND t.attnum = 1
   WHERE i.indexrelid = index;
  IF NOT FOUND THEN
    RAISE EXCEPTION '"%" is not a vdist_hnsw index', index USING ERRCODE = 'wrong_object_type';
  END IF;
  FOREACH query IN ARRAY coalesce(queries::text[], '{}')
  LOOP
    PERFORM set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT max(d)::text, count(*) FROM (SELECT (%s) %s AS d FROM %s
                    WHERE (%s) IS NOT NULL%s ORDER BY 1 LIMIT %s) s',
                   expression, operator, relation, expression, condition, k)
       INTO exact, total USING query;
    PERFORM set_config('enable_indexscan', 'on', true);
    PERFORM set_config('enable_seqscan', 'off', true);
    EXECUTE format('SELECT count(*) FILTER (WHERE d <= $2::float8) FROM (SELECT (%s) %s AS d
                    FROM %s WHERE true%s ORDER BY (%s) %s LIMIT %s) s',
                   expression, operator, relation, condition, expression, operator, k)
       INTO hits USING query, exact;
    PERFORM set_config('enable_seqscan', 'on', true);
    correct := correct + hits;
    wanted := wanted + total;
  END LOOP;
  RETURN correct::float8 / nullif(wanted, 0);
END
$$;
COMMENT ON FUNCTION vdist.recall(regclass, anyarray, integer) IS
  'share of the k nearest rows that an index finds, for the values in an array';

CREATE FUNCTION vdist.recall(index regclass, k integer DEFAULT 10, sample integer DEFAULT 100)
  RETURNS double precision LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, @extschema@, pg_temp
AS $$
DECLARE
  relation regclass;
  expression text;
  condition text;
  queries text[];
BEGIN
  IF sample < 1 THEN
    RAISE EXCEPTION 'sample must be at least 1' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT i.indrelid::regclass, pg_get_indexdef(i.indexrelid, 1, true),
         coalesce(' AND (' || pg_get_expr(i.indpred, i.indrelid) || ')', '')
    INTO relation, expression, condition
    FROM pg_index i WHERE i.indexrelid = index;
  IF FOUND THEN
    EXECUTE format('SELECT array_agg(v::text) FROM (SELECT (%s) AS v FROM %s WHERE (%s) IS NOT NULL%s
                    ORDER BY random() LIMIT %s) s',
                   expression, relation, expression, condition, sample) INTO queries;
  END IF;
  RETURN vdist.recall(index, queries, k);
END
$$;
COMMENT ON FUNCTION vdist.recall(regclass, integer, integer) IS
  'share of the k nearest rows that an index finds, for a sample of its rows';

---------------------------------------------------------------------------------------------------
-- 3. Shards and distributed tables (schema vdist)
---------------------------------------------------------------------------------------------------

CREATE FUNCTION vdist.fdw_handler() RETURNS fdw_handler
  AS 'MODULE_PATHNAME', 'vdist_fdw_handler' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.fdw_handler() IS 'handler of foreign-data wrapper vdist_fdw';

CREATE FUNCTION vdist.fdw_validator(text[], oid) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_fdw_validator' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.fdw_validator(text[], oid) IS
  'checks options of shards and their user mappings';

CREATE FOREIGN DATA WRAPPER vdist_fdw
  HANDLER vdist.fdw_handler VALIDATOR vdist.fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER vdist_fdw IS
  'PostgreSQL servers as shards of distributed tables';

CREATE SERVER vdist FOREIGN DATA WRAPPER vdist_fdw;
COMMENT ON SERVER vdist IS
  'the server that every distributed table names; its shards stand in vdist.slot_map';

-- Catalogs. Relations are stored as regclass and shards by name, so that a dump can be restored.

CREATE TABLE vdist.distributed (
  relation regclass PRIMARY KEY,
  key_column name NOT NULL,
  epoch bigint NOT NULL
);
COMMENT ON TABLE vdist.distributed IS 'catalog: a row for each distributed table';
COMMENT ON COLUMN vdist.distributed.relation IS 'the foreign table';
COMMENT ON COLUMN vdist.distributed.key_column IS 'its distribution column';
COMMENT ON COLUMN vdist.distributed.epoch IS 'grows with every change of its slots';

CREATE TABLE vdist.slot_map (
  relation regclass NOT NULL,
  shard name NOT NULL,
  slots smallint[] NOT NULL,
  PRIMARY KEY (relation, shard)
);
COMMENT ON TABLE vdist.slot_map IS 'catalog: the slots of a distributed table on each shard';
COMMENT ON COLUMN vdist.slot_map.relation IS 'the foreign table';
COMMENT ON COLUMN vdist.slot_map.shard IS 'name of the foreign server';
COMMENT ON COLUMN vdist.slot_map.slots IS 'slots (0 to 1023) whose rows are there';

SELECT pg_catalog.pg_extension_config_dump('vdist.distributed', '');
SELECT pg_catalog.pg_extension_config_dump('vdist.slot_map', '');
GRANT SELECT ON vdist.distributed, vdist.slot_map TO PUBLIC;

CREATE FUNCTION vdist.invalidate_placement() RETURNS trigger
  AS 'MODULE_PATHNAME', 'vdist_invalidate_placement' LANGUAGE C;
COMMENT ON FUNCTION vdist.invalidate_placement() IS
  'makes every session read a changed placement again';
REVOKE ALL ON FUNCTION vdist.invalidate_placement() FROM PUBLIC;

CREATE TRIGGER invalidate_placement AFTER INSERT OR UPDATE OR DELETE ON vdist.distributed
  FOR EACH ROW EXECUTE FUNCTION vdist.invalidate_placement();
COMMENT ON TRIGGER invalidate_placement ON vdist.distributed IS
  'makes every session read a changed placement again';
CREATE TRIGGER invalidate_placement AFTER INSERT OR UPDATE OR DELETE ON vdist.slot_map
  FOR EACH ROW EXECUTE FUNCTION vdist.invalidate_placement();
COMMENT ON TRIGGER invalidate_placement ON vdist.slot_map IS
  'makes every session read a changed placement again';

-- Also for what replicates or restores rows with triggers off
ALTER TABLE vdist.distributed ENABLE ALWAYS TRIGGER invalidate_placement;
ALTER TABLE vdist.slot_map ENABLE ALWAYS TRIGGER invalidate_placement;

-- Placement

CREATE FUNCTION vdist.ring_slots(shards text[], current text[] DEFAULT NULL) RETURNS text[]
  AS 'MODULE_PATHNAME', 'vdist_ring_slots' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vdist.ring_slots(text[], text[]) IS
  'where the 1024 slots lie with these shards (element slot + 1), moving as few as possible from where they are';

CREATE FUNCTION vdist.slot_of(relation regclass, key "any") RETURNS integer
  AS 'MODULE_PATHNAME', 'vdist_slot_of' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION vdist.slot_of(regclass, "any") IS
  'slot of the rows of a distributed table with this key';

CREATE FUNCTION vdist.shard_of(relation regclass, key "any") RETURNS name
  AS 'MODULE_PATHNAME', 'vdist_shard_of' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION vdist.shard_of(regclass, "any") IS
  'shard that holds the rows of a distributed table with this key';

-- Administration: only for those it is granted to

CREATE FUNCTION vdist.add_shard(name text, hosts text, dbname text DEFAULT current_database(),
    "user" text DEFAULT current_user, password text DEFAULT NULL, options jsonb DEFAULT NULL)
  RETURNS void AS 'MODULE_PATHNAME', 'vdist_add_shard' LANGUAGE C;
COMMENT ON FUNCTION vdist.add_shard(text, text, text, text, text, jsonb) IS
  'connects a PostgreSQL server as a shard: foreign server, user mapping, extension';
REVOKE ALL ON FUNCTION vdist.add_shard(text, text, text, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION vdist.remove_shard(name text) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_remove_shard' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.remove_shard(text) IS 'disconnects a shard that holds no slots';
REVOKE ALL ON FUNCTION vdist.remove_shard(text) FROM PUBLIC;

CREATE FUNCTION vdist.create_distributed_table(relation regclass, distribution_column name)
  RETURNS void AS 'MODULE_PATHNAME', 'vdist_create_distributed_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.create_distributed_table(regclass, name) IS
  'spreads an ordinary table, with its rows, over all shards by hash of a column';
REVOKE ALL ON FUNCTION vdist.create_distributed_table(regclass, name) FROM PUBLIC;

CREATE FUNCTION vdist.undistribute_table(relation regclass) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_undistribute_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.undistribute_table(regclass) IS
  'makes a distributed table an ordinary one on this server';
REVOKE ALL ON FUNCTION vdist.undistribute_table(regclass) FROM PUBLIC;

CREATE FUNCTION vdist.alter_distributed_table(relation regclass, action text) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_alter_distributed_table' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.alter_distributed_table(regclass, text) IS
  'ALTER TABLE relation action, here and on all shards';
REVOKE ALL ON FUNCTION vdist.alter_distributed_table(regclass, text) FROM PUBLIC;

CREATE FUNCTION vdist.run_command_on_shards(command text,
    OUT shard text, OUT success boolean, OUT result text)
  RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdist_run_command_on_shards' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.run_command_on_shards(text) IS
  'runs an SQL command on every shard; result is its first value, its command tag, or the error';
REVOKE ALL ON FUNCTION vdist.run_command_on_shards(text) FROM PUBLIC;

-- Event triggers: distributed tables and shards keep in step with DROP, ALTER and RENAME

CREATE FUNCTION vdist.on_ddl_start() RETURNS event_trigger
  AS 'MODULE_PATHNAME', 'vdist_on_ddl_start' LANGUAGE C;
COMMENT ON FUNCTION vdist.on_ddl_start() IS
  'refuses what would set a distributed table apart from its shards';
CREATE EVENT TRIGGER vdist_ddl_start ON ddl_command_start
  WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER SCHEMA', 'CREATE INDEX')
  EXECUTE FUNCTION vdist.on_ddl_start();
COMMENT ON EVENT TRIGGER vdist_ddl_start IS
  'refuses what would set a distributed table apart from its shards';

CREATE FUNCTION vdist.on_ddl_end() RETURNS event_trigger
  AS 'MODULE_PATHNAME', 'vdist_on_ddl_end' LANGUAGE C;
COMMENT ON FUNCTION vdist.on_ddl_end() IS 'lets slots follow a shard to its new name';
CREATE EVENT TRIGGER vdist_ddl_end ON ddl_command_end WHEN TAG IN ('ALTER SERVER')
  EXECUTE FUNCTION vdist.on_ddl_end();
COMMENT ON EVENT TRIGGER vdist_ddl_end IS 'lets slots follow a shard to its new name';

CREATE FUNCTION vdist.on_drop() RETURNS event_trigger
  AS 'MODULE_PATHNAME', 'vdist_on_drop' LANGUAGE C;
COMMENT ON FUNCTION vdist.on_drop() IS
  'drops the tables on the shards with a distributed table';
CREATE EVENT TRIGGER vdist_drop ON sql_drop EXECUTE FUNCTION vdist.on_drop();
COMMENT ON EVENT TRIGGER vdist_drop IS
  'drops the tables on the shards with a distributed table';

-- Views

CREATE VIEW vdist.placements AS
  SELECT m.relation AS "table", m.shard, pg_catalog.cardinality(m.slots) AS slots,
    (SELECT pg_catalog.range_agg(pg_catalog.int4range(s, s + 1))
     FROM pg_catalog.unnest(m.slots) s) AS slot_ranges
  FROM vdist.slot_map m;
COMMENT ON VIEW vdist.placements IS 'slots of each distributed table on each shard';

CREATE VIEW vdist.shards AS
  SELECT s.srvname AS name, o.hosts, o.dbname,
    (SELECT pg_catalog.count(*) FROM vdist.slot_map m WHERE m.shard = s.srvname) AS tables,
    (SELECT coalesce(pg_catalog.sum(pg_catalog.cardinality(m.slots)), 0)
     FROM vdist.slot_map m WHERE m.shard = s.srvname) AS slots
  FROM pg_catalog.pg_foreign_server s
    JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'vdist_fdw',
    LATERAL (SELECT
      pg_catalog.max(option_value) FILTER (WHERE option_name = 'hosts') AS hosts,
      pg_catalog.max(option_value) FILTER (WHERE option_name = 'dbname') AS dbname
      FROM pg_catalog.pg_options_to_table(s.srvoptions)) o
  WHERE o.hosts IS NOT NULL;
COMMENT ON VIEW vdist.shards IS 'shards, with how many tables and slots each holds';

CREATE VIEW vdist.tables AS
  SELECT d.relation AS "table", d.key_column AS distribution_column, p.slots, p.shards, d.epoch,
    CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS estimated_rows
  FROM vdist.distributed d
    LEFT JOIN pg_catalog.pg_class c ON c.oid = d.relation,
    LATERAL (SELECT pg_catalog.sum(pg_catalog.cardinality(m.slots)) AS slots,
        pg_catalog.count(*) AS shards
      FROM vdist.slot_map m WHERE m.relation = d.relation) p;
COMMENT ON VIEW vdist.tables IS
  'distributed tables; estimated_rows is as of the last ANALYZE, null before the first';

GRANT SELECT ON vdist.placements, vdist.shards, vdist.tables TO PUBLIC;

---------------------------------------------------------------------------------------------------
-- 4. Text to vectors
---------------------------------------------------------------------------------------------------

-- Words are PostgreSQL's own text search lexemes, weighted by how rare they are in a corpus and
-- hashed into a fixed number of dimensions. Two steps:
--
--   CREATE TABLE word_weights AS
--     SELECT * FROM vdist.text_idf('SELECT to_tsvector(''english'', body) FROM docs');
--   CREATE UNIQUE INDEX ON word_weights (lexeme) INCLUDE (idf);
--   UPDATE docs SET embedding = vdist.text_to_vector('english', body, 'word_weights');

CREATE FUNCTION vdist.feature_hash(features text[], weights real[], dims integer)
  RETURNS @extschema@.vector
  AS 'MODULE_PATHNAME'
  LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION vdist.feature_hash(text[], real[], integer) IS
  'unit vector of weighted features, each hashed to a few elements and signs; null when empty';

-- The query is the caller's, under his search_path: no SET here.
CREATE FUNCTION vdist.text_idf(documents text, OUT lexeme text, OUT idf real)
  RETURNS SETOF record
  LANGUAGE plpgsql STABLE STRICT ROWS 50000
  AS $$
DECLARE
  total double precision;
BEGIN
  EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM (%s) AS documents', documents)
    INTO total;
  RETURN QUERY SELECT s.word, pg_catalog.ln(1 OPERATOR(pg_catalog.+) (total OPERATOR(pg_catalog./) s.ndoc))::real
    FROM pg_catalog.ts_stat(documents) s;
END
$$;
COMMENT ON FUNCTION vdist.text_idf(text) IS
  'lexemes of a query of tsvectors with their inverse document frequency, ln(1 + documents / documents with it)';

-- Reads the weights as the caller, so they need his SELECT; a lexeme without a weight counts nothing.
CREATE FUNCTION vdist.text_to_vector(config regconfig, document text, idf regclass,
    dims integer DEFAULT 256)
  RETURNS @extschema@.vector
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 1000 SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  result @extschema@.vector;
BEGIN
  EXECUTE format(
    'SELECT vdist.feature_hash(array_agg(d.lexeme ORDER BY d.lexeme),'
    '   array_agg(((1 + ln(greatest(cardinality(d.positions), 1))) * w.idf)::real ORDER BY d.lexeme), $2)'
    ' FROM unnest($1) AS d JOIN %s AS w ON w.lexeme = d.lexeme', idf)
    INTO result USING to_tsvector(config, document), dims;
  RETURN result;
END
$$;
COMMENT ON FUNCTION vdist.text_to_vector(regconfig, text, regclass, integer) IS
  'unit vector of a text: its lexemes, weighted by (1 + ln(occurrences)) * idf, hashed into dims elements; null without a known lexeme';

---------------------------------------------------------------------------------------------------
-- 5. Coming from pgvector
---------------------------------------------------------------------------------------------------

-- A change of type between pgvector's and ours is a relabelling: the formats on disk are the same.
CREATE FUNCTION vdist.typmod_support(internal) RETURNS internal
  AS 'MODULE_PATHNAME', 'vdist_typmod_support' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.typmod_support(internal) IS
  'planner support: a value that is known to have the wanted dimensions needs no check';
DO $$
DECLARE
  function pg_catalog.regprocedure;
BEGIN
  FOR function IN
    SELECT castfunc FROM pg_catalog.pg_cast JOIN pg_catalog.pg_type t ON t.oid = castsource
    WHERE castsource OPERATOR(pg_catalog.=) casttarget AND t.typname IN ('vector', 'halfvec', 'sparsevec')
      AND t.typnamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace
  LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s SUPPORT vdist.typmod_support', function);
  END LOOP;
END
$$;

-- Both ways are one: columns of the types of one extension become those of the other. What depends on
-- the columns or on the extension is dropped before and created anew afterwards, from texts that are
-- written while the one's schema is in search_path, so that its types and operators stand there without
-- a schema, and read while the other's is before it. pg_catalog is before both: nobody's function may
-- take the place of one of PostgreSQL's.

CREATE TABLE vdist.unbuilt_indexes (
  index text PRIMARY KEY,
  command text NOT NULL
);
COMMENT ON TABLE vdist.unbuilt_indexes IS
  'indexes that adopt_pgvector or return_to_pgvector dropped and left to be created, with their commands';
SELECT pg_catalog.pg_extension_config_dump('vdist.unbuilt_indexes', '');

CREATE FUNCTION vdist.set_expression(relation regclass, "column" name, expression text) RETURNS void
  AS 'MODULE_PATHNAME', 'vdist_set_expression' LANGUAGE C STRICT;
COMMENT ON FUNCTION vdist.set_expression(regclass, name, text) IS
  'makes a column generated that has the values of its expression already; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.set_expression(regclass, name, text) FROM PUBLIC;

-- Privileges as commands: of an object, or of one of its columns.
CREATE FUNCTION vdist.grants(object text, "column" text, acl aclitem[], owner oid) RETURNS text[]
  LANGUAGE sql STABLE
  AS $$
    SELECT CASE WHEN acl IS NULL THEN '{}' ELSE
        CASE WHEN "column" IS NULL THEN ARRAY[pg_catalog.format('REVOKE ALL ON %s FROM PUBLIC, %I', object,
          pg_catalog.pg_get_userbyid(owner))] ELSE '{}' END
        OPERATOR(pg_catalog.||) coalesce((SELECT pg_catalog.array_agg(pg_catalog.format('GRANT %s%s ON %s TO %s%s',
            privilege_type, ' (' OPERATOR(pg_catalog.||) "column" OPERATOR(pg_catalog.||) ')', object,
            CASE grantee WHEN 0 THEN 'PUBLIC'
              ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(grantee)) END,
            CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
          FROM pg_catalog.aclexplode(acl)), '{}') END
  $$;
COMMENT ON FUNCTION vdist.grants(text, text, aclitem[], oid) IS 'privileges as commands; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.grants(text, text, aclitem[], oid) FROM PUBLIC;

-- What drops an object and what creates it anew, by the search_path of the caller, which has pg_catalog
-- first. No row: it goes and comes with another object. What creates an index that is left to be built
-- will be run by somebody else, so it names all schemas.
CREATE FUNCTION vdist.recreation(class regclass, id oid, from_schema name, to_schema name, to_extension name,
    build_indexes boolean, OUT undo text, OUT redo text[], OUT index text)
  RETURNS SETOF record
  LANGUAGE plpgsql
  AS $$
DECLARE
  path text := current_setting('search_path');
  name text;
  kind text;
  definition text;
  item record;
  aggregate record;
  marks text[];
BEGIN
  redo := '{}';
  -- what a table goes by an index for
  SELECT array_agg(format('ALTER TABLE %I.%I %s %I', n.nspname, t.relname, mark.command, i.relname)) INTO marks
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
      JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace,
      LATERAL (VALUES ('REPLICA IDENTITY USING INDEX', x.indisreplident), ('CLUSTER ON', x.indisclustered)) AS mark(command, is_set)
    WHERE mark.is_set AND x.indexrelid = CASE WHEN class = 'pg_class'::regclass THEN id
      ELSE (SELECT conindid FROM pg_constraint WHERE class = 'pg_constraint'::regclass AND oid = id AND contype IN ('p', 'u', 'x')) END;
  IF class = 'pg_class'::regclass THEN
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name, am.amname AS am, t.spcname AS tablespace,
        array_to_string(c.reloptions, ', ') AS options
      INTO item
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam
        LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
      WHERE c.oid = id;
    name := item.name;
    IF item.relkind IN ('i', 'I') THEN
      IF item.relispartition THEN
        RETURN;
      END IF;
      kind := 'INDEX';
      IF NOT build_indexes AND item.relkind = 'i' AND marks IS NULL THEN
        index := name;
        PERFORM set_config('search_path', 'pg_catalog', true);
      END IF;
      -- Which class is the default differs. ON ONLY would leave out the partitions.
      SELECT regexp_replace(replace(pg_get_indexdef(id), format(' (%s)', pg_get_indexdef(id, 1, false)),
            CASE WHEN o.opcnamespace = from_schema::regnamespace
              THEN format(' (%s %I.%I)', pg_get_indexdef(id, 1, false), to_schema, o.opcname)
              WHEN o.opcdefault AND item.am IN ('hnsw', 'ivfflat', 'vdist_hnsw')
              THEN format(' (%s %s.%I)', pg_get_indexdef(id, 1, false), o.opcnamespace::regnamespace, o.opcname)
              ELSE format(' (%s)', pg_get_indexdef(id, 1, false)) END),
          '^(CREATE (UNIQUE )?INDEX \S+) ON ONLY ', '\1 ON ')
        INTO definition
        FROM pg_index x JOIN pg_opclass o ON o.oid = x.indclass[0] WHERE x.indexrelid = id;
      IF to_extension = 'vdist' THEN
        definition := regexp_replace(definition, ' USING (hnsw|ivfflat) \(', ' USING vdist_hnsw (');
        definition := regexp_replace(definition, ' WITH \(lists=''?\d+''?\)', '');
      ELSE
        definition := regexp_replace(definition, ' USING vdist_hnsw \(', ' USING hnsw (');
        definition := regexp_replace(definition, '(, )?quantization=''?\w+''?', '');
        definition := replace(replace(definition, ' WITH (, ', ' WITH ('), ' WITH ()', '');
      END IF;
      IF item.tablespace IS NOT NULL THEN
        definition := regexp_replace(definition, '( WHERE .*)?$', format(' TABLESPACE %I\1', item.tablespace));
      END IF;
      IF index IS NOT NULL THEN
        PERFORM set_config('search_path', path, true);
        definition := regexp_replace(definition, '^CREATE (UNIQUE )?INDEX ', 'CREATE \1INDEX CONCURRENTLY ');
        definition := replace(definition, format('OPERATOR(%I.', from_schema), format('OPERATOR(%I.', to_schema));
        definition := regexp_replace(definition, format('\m%s\.(%s)\M', regexp_replace(quote_ident(from_schema), '\W', '\\\&', 'g'),
            (SELECT string_agg(proname, '|') FROM
              (SELECT proname FROM pg_proc WHERE pronamespace = to_schema::regnamespace
                UNION SELECT typname FROM pg_type WHERE typnamespace = to_schema::regnamespace
                UNION SELECT opcname FROM pg_opclass WHERE opcnamespace = to_schema::regnamespace) AS names
              WHERE proname ~ '^\w+$')),
          format('%I.\1', to_schema), 'g');
      END IF;
      undo := 'DROP INDEX ' || name;
      redo := ARRAY[definition] || marks;
    ELSE
      kind := CASE item.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END;
      undo := format('DROP %s %s', kind, name);
      -- Filled by REFRESH, which runs as the owner.
      redo := ARRAY[format('CREATE %s %s%s%s%s AS %s%s', kind, name, ' USING ' || item.am,
          ' WITH (' || item.options || ')', ' TABLESPACE ' || quote_ident(item.tablespace),
          rtrim(pg_get_viewdef(id), ';'), CASE item.relkind WHEN 'm' THEN ' WITH NO DATA' ELSE '' END),
        format('ALTER %s %s OWNER TO %I', kind, name, pg_get_userbyid(item.relowner))]
        || vdist.grants(name, NULL, item.relacl, item.relowner)
        || (SELECT array_agg(command) FROM pg_attribute a,
            unnest(vdist.grants(name, quote_ident(a.attname), a.attacl, item.relowner)) AS command
          WHERE a.attrelid = id)
        || (SELECT array_agg(format('COMMENT ON COLUMN %s.%I IS %L', name, a.attname, d.description))
          FROM pg_description d JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
          WHERE d.classoid = class AND d.objoid = id AND d.objsubid > 0);
      IF item.relkind = 'm' AND item.relispopulated THEN
        redo := redo || ('REFRESH MATERIALIZED VIEW ' || name);
      END IF;
    END IF;

  ELSIF class = 'pg_constraint'::regclass THEN
    -- those of domains come with them
    SELECT c.*, format('%I.%I', n.nspname, t.relname) AS "on" INTO item
      FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE c.oid = id AND c.conislocal AND c.coninhcount = 0 AND c.conparentid = 0;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    kind := 'CONSTRAINT';
    name := format('%I ON %s', item.conname, item."on");
    undo := format('ALTER TABLE %s DROP CONSTRAINT %I', item."on", item.conname);
    redo := ARRAY[format('ALTER TABLE %s ADD CONSTRAINT %I %s', item."on", item.conname, pg_get_constraintdef(id))] || marks;

  ELSIF class = 'pg_attrdef'::regclass THEN
    SELECT a.*, format('%I.%I', n.nspname, t.relname) AS "on", pg_get_expr(d.adbin, d.adrelid) AS expression
      INTO item
      FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        JOIN pg_class t ON t.oid = d.adrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE d.oid = id;
    IF item.attgenerated = '' THEN
      undo := format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', item."on", item.attname);
      redo := ARRAY[format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', item."on", item.attname, item.expression)];
    ELSE
      -- of partitions and children with that of their parents
      undo := CASE item.attinhcount WHEN 0
        THEN format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION', item."on", item.attname) ELSE '' END;
      redo := ARRAY[format('SELECT vdist.set_expression(%L, %L, %L)', item."on", item.attname, item.expression)];
    END IF;

  ELSIF class = 'pg_proc'::regclass THEN
    SELECT p.*, format('%I.%I', n.nspname, p.proname) AS name INTO item
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = id;
    kind := CASE item.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'ROUTINE' ELSE 'FUNCTION' END;
    name := id::regprocedure;
    undo := format('DROP %s %s', kind, name);
    IF item.prokind = 'a' THEN
      SELECT a.* INTO aggregate FROM pg_aggregate a WHERE a.aggfnoid = id;
      definition := format('CREATE AGGREGATE %s (%s) (', item.name, coalesce(nullif(pg_get_function_arguments(id), ''), '*'))
        || (SELECT string_agg(option || ' = ' || value, ', ') FROM (
            SELECT f.option, CASE n.nspname WHEN from_schema THEN quote_ident(p.proname) ELSE format('%I.%I', n.nspname, p.proname) END
              FROM (VALUES ('SFUNC', aggregate.aggtransfn), ('FINALFUNC', aggregate.aggfinalfn),
                  ('COMBINEFUNC', aggregate.aggcombinefn), ('SERIALFUNC', aggregate.aggserialfn),
                  ('DESERIALFUNC', aggregate.aggdeserialfn), ('MSFUNC', aggregate.aggmtransfn),
                  ('MINVFUNC', aggregate.aggminvtransfn), ('MFINALFUNC', aggregate.aggmfinalfn)) AS f(option, id)
                JOIN pg_proc p ON p.oid = f.id JOIN pg_namespace n ON n.oid = p.pronamespace
          UNION ALL
            SELECT 'SORTOP', CASE n.nspname WHEN from_schema THEN o.oprname::text ELSE format('OPERATOR(%I.%s)', n.nspname, o.oprname) END
              FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = aggregate.aggsortop
          UNION ALL
            SELECT * FROM (VALUES ('STYPE', format_type(aggregate.aggtranstype, NULL)),
              ('SSPACE', nullif(aggregate.aggtransspace, 0)::text), ('INITCOND', quote_literal(aggregate.agginitval)),
              ('FINALFUNC_EXTRA', CASE WHEN aggregate.aggfinalextra THEN 'true' END),
              ('FINALFUNC_MODIFY', CASE aggregate.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END),
              ('MSTYPE', format_type(nullif(aggregate.aggmtranstype, 0), NULL)),
              ('MSSPACE', nullif(aggregate.aggmtransspace, 0)::text), ('MINITCOND', quote_literal(aggregate.aggminitval)),
              ('MFINALFUNC_EXTRA', CASE WHEN aggregate.aggmfinalextra THEN 'true' END),
              ('MFINALFUNC_MODIFY', CASE WHEN aggregate.aggmtranstype <> 0 THEN
                CASE aggregate.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END),
              ('HYPOTHETICAL', CASE aggregate.aggkind WHEN 'h' THEN 'true' END),
              ('PARALLEL', CASE item.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END)) AS v)
          AS options(option, value) WHERE value IS NOT NULL) || ')';
    ELSE
      definition := pg_get_functiondef(id);
    END IF;
    redo := ARRAY[definition, format('ALTER %s %s OWNER TO %I', kind, name, pg_get_userbyid(item.proowner))]
      || vdist.grants(kind || ' ' || name, NULL, item.proacl, item.proowner);

  ELSIF class = 'pg_operator'::regclass THEN
    SELECT o.*, format('%I.%s', n.nspname, o.oprname) AS operator,
        CASE fn.nspname WHEN from_schema THEN quote_ident(f.proname) ELSE format('%I.%I', fn.nspname, f.proname) END AS function,
        (SELECT string_agg(format(', %s = OPERATOR(%I.%s)', CASE other.oid WHEN o.oprcom THEN 'COMMUTATOR' ELSE 'NEGATOR' END,
            otherns.nspname, other.oprname), '')
          FROM pg_operator other JOIN pg_namespace otherns ON otherns.oid = other.oprnamespace
          WHERE other.oid IN (o.oprcom, o.oprnegate)) AS others
      INTO item
      FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
        JOIN pg_proc f ON f.oid = o.oprcode JOIN pg_namespace fn ON fn.oid = f.pronamespace
      WHERE o.oid = id;
    kind := 'OPERATOR';
    name := format('%s (%s, %s)', item.operator, CASE item.oprleft WHEN 0 THEN 'NONE' ELSE format_type(item.oprleft, NULL) END,
      format_type(item.oprright, NULL));
    undo := 'DROP OPERATOR ' || name;
    redo := ARRAY[format('CREATE OPERATOR %s (FUNCTION = %s%s, RIGHTARG = %s%s%s%s%s%s)', item.operator, item.function,
        CASE WHEN item.oprleft <> 0 THEN ', LEFTARG = ' || format_type(item.oprleft, NULL) END, format_type(item.oprright, NULL),
        item.others,
        CASE WHEN item.oprrest <> 0 THEN ', RESTRICT = ' || item.oprrest END,
        CASE WHEN item.oprjoin <> 0 THEN ', JOIN = ' || item.oprjoin END,
        CASE WHEN item.oprcanhash THEN ', HASHES' END, CASE WHEN item.oprcanmerge THEN ', MERGES' END),
      format('ALTER OPERATOR %s OWNER TO %I', name, pg_get_userbyid(item.oprowner))];

  ELSIF class = 'pg_opclass'::regclass THEN
    SELECT c.*, a.amname AS am, n.nspname AS schema, t.typname AS type, format('%I.%I', fn.nspname, f.opfname) AS family,
        CASE WHEN a.amname IN ('hnsw', 'ivfflat') AND to_extension = 'vdist' THEN 'vdist_hnsw'
          WHEN a.amname = 'vdist_hnsw' AND to_extension <> 'vdist' THEN 'hnsw' ELSE a.amname END AS to_am,
        (SELECT count(*) FROM pg_opclass o WHERE o.opcfamily = c.opcfamily) = 1
          AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_opfamily'::regclass AND objid = f.oid AND deptype = 'e') AS alone,
        (SELECT string_agg(format('OPERATOR %s %s (%s, %s)%s', o.amopstrategy,
            CASE opn.nspname WHEN from_schema THEN op.oprname::text ELSE format('%I.%s', opn.nspname, op.oprname) END,
            format_type(o.amoplefttype, NULL), format_type(o.amoprighttype, NULL),
            (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, s.opfname) FROM pg_opfamily s JOIN pg_namespace sn ON sn.oid = s.opfnamespace
              WHERE s.oid = o.amopsortfamily)), ', ' ORDER BY o.amopstrategy)
          FROM pg_depend d JOIN pg_amop o ON o.oid = d.objid JOIN pg_operator op ON op.oid = o.amopopr
            JOIN pg_namespace opn ON opn.oid = op.oprnamespace
          WHERE d.classid = 'pg_amop'::regclass AND d.refclassid = class AND d.refobjid = c.oid) AS operators,
        (SELECT string_agg(format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL),
            format_type(p.amprocrighttype, NULL), p.amproc::regprocedure), ', ' ORDER BY p.amprocnum)
          FROM pg_depend d JOIN pg_amproc p ON p.oid = d.objid
          WHERE d.classid = 'pg_amproc'::regclass AND d.refclassid = class AND d.refobjid = c.oid) AS functions
      INTO item
      FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod JOIN pg_namespace n ON n.oid = c.opcnamespace
        JOIN pg_type t ON t.oid = c.opcintype
        JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
      WHERE c.oid = id;
    kind := 'OPERATOR CLASS';
    name := format('%I.%I USING %I', item.schema, item.opcname, item.to_am);
    undo := format('DROP OPERATOR CLASS %I.%I USING %I', item.schema, item.opcname, item.am);
    IF item.to_am <> item.am THEN
      -- The support functions are those of the class with the same operator. There is one method for two of pgvector's.
      IF item.alone THEN
        undo := format('DROP OPERATOR FAMILY %s USING %I', item.family, item.am);
      END IF;
      SELECT string_agg(format('FUNCTION %s %s', p.amprocnum, p.amproc::regprocedure), ', ') INTO definition
        FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod AND a.amname = item.to_am
          JOIN pg_type t ON t.oid = c.opcintype AND t.typname = item.type
          JOIN pg_amproc p ON p.amprocfamily = c.opcfamily
        WHERE c.opcnamespace = to_schema::regnamespace
          AND (SELECT op.oprname FROM pg_amop o JOIN pg_operator op ON op.oid = o.amopopr WHERE o.amopfamily = c.opcfamily)
            = (SELECT max(op.oprname::text) FROM pg_amop o JOIN pg_operator op ON op.oid = o.amopopr
              WHERE o.amopfamily = item.opcfamily AND op.oprnamespace = from_schema::regnamespace);
      IF definition IS NULL THEN
        RAISE EXCEPTION 'operator class %.% has no counterpart in access method %', item.schema, item.opcname, item.to_am
          USING ERRCODE = 'feature_not_supported', HINT = 'Drop it and its indexes before.';
      END IF;
      IF item.am = 'ivfflat' AND EXISTS (SELECT FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
          WHERE a.amname = 'hnsw' AND c.opcname = item.opcname AND c.opcnamespace = item.opcnamespace) THEN
        RETURN NEXT;
        RETURN;
      END IF;
      item.functions := definition;
    END IF;
    redo := ARRAY[format('CREATE OPERATOR CLASS %I.%I %sFOR TYPE %s USING %I %sAS %s', item.schema, item.opcname,
        CASE WHEN item.opcdefault AND item.to_am = item.am THEN 'DEFAULT ' END, format_type(item.opcintype, NULL), item.to_am,
        CASE WHEN item.to_am = item.am THEN format('FAMILY %s ', item.family) END,
        concat_ws(', ', item.operators, item.functions, 'STORAGE ' || format_type(nullif(item.opckeytype, 0), NULL))),
      format('ALTER OPERATOR CLASS %s OWNER TO %I', name, pg_get_userbyid(item.opcowner))];

  -- of families, without a class; those of a class come with it
  ELSIF class = 'pg_amop'::regclass THEN
    SELECT format('ALTER OPERATOR FAMILY %I.%I USING %I ', n.nspname, f.opfname, a.amname) AS alter, o.amopstrategy AS number,
        format('(%s, %s)', format_type(o.amoplefttype, NULL), format_type(o.amoprighttype, NULL)) AS types,
        CASE opn.nspname WHEN from_schema THEN op.oprname::text ELSE format('%I.%s', opn.nspname, op.oprname) END AS operator,
        (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, s.opfname) FROM pg_opfamily s JOIN pg_namespace sn ON sn.oid = s.opfnamespace
          WHERE s.oid = o.amopsortfamily) AS sort
      INTO item
      FROM pg_amop o JOIN pg_opfamily f ON f.oid = o.amopfamily JOIN pg_namespace n ON n.oid = f.opfnamespace
        JOIN pg_am a ON a.oid = f.opfmethod JOIN pg_operator op ON op.oid = o.amopopr
        JOIN pg_namespace opn ON opn.oid = op.oprnamespace
      WHERE o.oid = id;
    undo := format('%s DROP OPERATOR %s %s', item.alter, item.number, item.types);
    redo := ARRAY[format('%s ADD OPERATOR %s %s %s%s', item.alter, item.number, item.operator, item.types, item.sort)];

  ELSIF class = 'pg_amproc'::regclass THEN
    SELECT format('ALTER OPERATOR FAMILY %I.%I USING %I ', n.nspname, f.opfname, a.amname) AS alter, p.amprocnum AS number,
        format('(%s, %s)', format_type(p.amproclefttype, NULL), format_type(p.amprocrighttype, NULL)) AS types,
        p.amproc::regprocedure AS function
      INTO item
      FROM pg_amproc p JOIN pg_opfamily f ON f.oid = p.amprocfamily JOIN pg_namespace n ON n.oid = f.opfnamespace
        JOIN pg_am a ON a.oid = f.opfmethod
      WHERE p.oid = id;
    undo := format('%s DROP FUNCTION %s %s', item.alter, item.number, item.types);
    redo := ARRAY[format('%s ADD FUNCTION %s %s %s', item.alter, item.number, item.types, item.function)];

  ELSIF class = 'pg_statistic_ext'::regclass THEN
    SELECT s.*, format('%I.%I', n.nspname, s.stxname) AS name, to_jsonb(s) ->> 'stxstattarget' AS target,
        format('%I.%I', tn.nspname, t.relname) AS "on"
      INTO item
      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
        JOIN pg_class t ON t.oid = s.stxrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
      WHERE s.oid = id;
    kind := 'STATISTICS';
    name := item.name;
    undo := 'DROP STATISTICS ' || name;
    redo := ARRAY[pg_get_statisticsobjdef(id), format('ALTER STATISTICS %s OWNER TO %I', name, pg_get_userbyid(item.stxowner))];
    IF item.target >= '0' THEN
      redo := redo || format('ALTER STATISTICS %s SET STATISTICS %s', name, item.target);
    END IF;
    redo := redo || format('ANALYZE %s', item."on");

  ELSIF class = 'pg_publication_rel'::regclass THEN
    -- only those that name columns
    SELECT format('ALTER PUBLICATION %I ', p.pubname) AS alter, format('%I.%I', n.nspname, t.relname) AS "on",
        (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
          WHERE a.attrelid = t.oid AND a.attnum = ANY (r.prattrs)) AS columns,
        pg_get_expr(r.prqual, r.prrelid) AS condition
      INTO item
      FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        JOIN pg_class t ON t.oid = r.prrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE r.oid = id;
    undo := item.alter || 'DROP TABLE ONLY ' || item."on";
    redo := ARRAY[format('%s ADD TABLE ONLY %s%s%s', item.alter, item."on", ' (' || item.columns || ')',
      ' WHERE (' || item.condition || ')')];

  ELSIF class = 'pg_trigger'::regclass THEN
    SELECT g.*, format('%I.%I', n.nspname, t.relname) AS "on"
      INTO item
      FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE g.oid = id;
    IF item.tgisinternal OR item.tgparentid <> 0 THEN
      RETURN;
    END IF;
    kind := 'TRIGGER';
    name := format('%I ON %s', item.tgname, item."on");
    undo := 'DROP TRIGGER ' || name;
    redo := ARRAY[pg_get_triggerdef(id)];
    IF item.tgenabled <> 'O' THEN
      redo := redo || format('ALTER TABLE %s %s TRIGGER %I', item."on",
        CASE item.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, item.tgname);
    END IF;

  ELSIF class = 'pg_policy'::regclass THEN
    SELECT p.*, format('%I.%I', n.nspname, t.relname) AS "on",
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
          FROM unnest(p.polroles) AS r) AS roles
      INTO item
      FROM pg_policy p JOIN pg_class t ON t.oid = p.polrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE p.oid = id;
    kind := 'POLICY';
    name := format('%I ON %s', item.polname, item."on");
    undo := 'DROP POLICY ' || name;
    redo := ARRAY[format('CREATE POLICY %s AS %s FOR %s TO %s%s%s', name,
      CASE WHEN item.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
      CASE item.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
      item.roles, ' USING (' || pg_get_expr(item.polqual, item.polrelid) || ')',
      ' WITH CHECK (' || pg_get_expr(item.polwithcheck, item.polrelid) || ')')];

  ELSIF class = 'pg_rewrite'::regclass THEN
    SELECT format('%I ON %I.%I', r.rulename, n.nspname, t.relname) INTO name
      FROM pg_rewrite r JOIN pg_class t ON t.oid = r.ev_class JOIN pg_namespace n ON n.oid = t.relnamespace
      WHERE r.oid = id;
    kind := 'RULE';
    undo := 'DROP RULE ' || name;
    redo := ARRAY[pg_get_ruledef(id)];

  ELSE
    RETURN;
  END IF;

  IF obj_description(id, class::text::name) IS NOT NULL AND index IS NULL THEN
    redo := redo || format('COMMENT ON %s %s IS %L', kind, name, obj_description(id, class::text::name));
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION vdist.recreation(regclass, oid, name, name, name, boolean) IS
  'commands that drop an object and create it anew; of adopt_pgvector';
REVOKE ALL ON FUNCTION vdist.recreation(regclass, oid, name, name, name, boolean) FROM PUBLIC;

CREATE FUNCTION vdist.exchange_types(from_extension name, to_extension name, build_indexes boolean,
    OUT object text, OUT action text, OUT command text)
  RETURNS SETOF record
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = off
  AS $$
DECLARE
  from_schema name;
  to_schema name;
  types oid[];
  domains oid[];
  changing oid[];
  writing text;
  reading text;
  item record;
  statement text;
  objects jsonb[] := '{}';
  entry jsonb;
  casts text[] := '{}';
  tables jsonb[] := '{}';
  restore text[];
  old_domains text[] := '{}';
  new_domains jsonb[] := '{}';
  file oid;
BEGIN
  -- one at a time
  LOCK TABLE vdist.unbuilt_indexes IN SHARE ROW EXCLUSIVE MODE;
  SELECT n.nspname INTO from_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = from_extension;
  SELECT n.nspname INTO to_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = to_extension;
  -- the types that both have
  SELECT array_agg(t.oid) INTO types
    FROM pg_extension e
      JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        AND d.deptype = 'e' AND d.classid = 'pg_type'::regclass
      JOIN pg_type t ON t.oid = d.objid
    WHERE e.extname = from_extension AND t.typtype = 'b' AND t.typelem = 0
      AND EXISTS (SELECT FROM pg_extension te
          JOIN pg_depend td ON td.refclassid = 'pg_extension'::regclass AND td.refobjid = te.oid
            AND td.deptype = 'e' AND td.classid = 'pg_type'::regclass
          JOIN pg_type tt ON tt.oid = td.objid
        WHERE te.extname = to_extension AND tt.typname = t.typname);
  IF types IS NULL AND NOT EXISTS (SELECT FROM vdist.unbuilt_indexes) THEN
    RAISE EXCEPTION 'pgvector is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
        HINT = 'This is for a database with both extensions, each in a schema of its own.';
  END IF;
  types := coalesce(types, '{}');
  writing := format('pg_catalog, %I', from_schema);
  reading := format('pg_catalog, %I, %I', to_schema, from_schema);

  -- binary-coercible casts for the time of this function
  FOR item IN SELECT typname FROM pg_type WHERE oid = ANY (types) LOOP
    EXECUTE format('CREATE CAST (%I.%I AS %I.%I) WITHOUT FUNCTION',
      from_schema, item.typname, to_schema, item.typname);
  END LOOP;

  -- pgvector's casts do not know our support function: lend it
  FOR item IN
    SELECT p.oid FROM pg_type t JOIN pg_cast c ON c.castsource = t.oid AND c.casttarget = t.oid
        JOIN pg_proc p ON p.oid = c.castfunc
      WHERE t.typnamespace = to_schema::regnamespace AND p.prosupport = 0
        AND t.typname IN (SELECT typname FROM pg_type WHERE oid = ANY (types))
  LOOP
    casts := casts || pg_get_functiondef(item.oid);
    EXECUTE format('ALTER FUNCTION %s SUPPORT vdist.typmod_support', item.oid::regprocedure);
  END LOOP;

  -- with domains and arrays over them, and over these
  WITH RECURSIVE reached(type, depth) AS (
      SELECT unnest(types), 0
    UNION
      SELECT t.oid, r.depth + 1 FROM reached r JOIN pg_type t
        ON t.typtype = 'd' AND t.typbasetype = r.type OR t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem = r.type)
  SELECT coalesce(array_agg(type), '{}'),
      coalesce(array_agg(type ORDER BY depth, type) FILTER (WHERE (SELECT typtype FROM pg_type WHERE oid = type) = 'd'), '{}')
    INTO changing, domains FROM reached;
  PERFORM set_config('search_path', writing, true);

  -- All that depends on the extension or on columns of its types, and on that in turn: what is farthest
  -- from them goes first and comes last.
  FOR item IN
    WITH RECURSIVE members(class, id) AS (
        SELECT d.classid, d.objid FROM pg_extension e
            JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          WHERE e.extname IN (from_extension, to_extension)),
      roots(class, id, sub) AS (
        SELECT d.classid, d.objid, 0 FROM pg_extension e
            JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
            LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          WHERE e.extname = from_extension AND d.classid IN ('pg_type'::regclass, 'pg_proc'::regclass,
              'pg_operator'::regclass, 'pg_opclass'::regclass)
            AND p.pronamespace IS DISTINCT FROM 'vdist'::regnamespace
      UNION
        SELECT 'pg_type'::regclass, type, 0 FROM unnest(changing) AS type
      UNION
        SELECT 'pg_class'::regclass, a.attrelid, a.attnum::int
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          WHERE a.atttypid = ANY (changing) AND a.attnum > 0 AND NOT a.attisdropped
            AND c.relkind IN ('r', 'p', 'f')),
      -- views stand for their rules and types, constraints for their indexes, operator classes for their members
      edges(class, id, refclass, refid, refsub) AS (
        SELECT unit.class, unit.id, ref.class, ref.id, d.refobjsubid
          FROM pg_depend d
            LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
            LEFT JOIN pg_constraint k ON d.classid = 'pg_class'::regclass AND k.conindid = d.objid
              AND k.contype IN ('p', 'u', 'x')
            LEFT JOIN pg_depend m ON d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass) AND m.classid = d.classid
              AND m.objid = d.objid AND m.refclassid = 'pg_opclass'::regclass
            LEFT JOIN pg_constraint rk ON d.refclassid = 'pg_class'::regclass AND rk.conindid = d.refobjid
              AND rk.contype IN ('p', 'u', 'x')
            LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
            LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A',
            LATERAL (SELECT CASE WHEN r.oid IS NOT NULL THEN 'pg_class'::regclass::oid
                WHEN k.oid IS NOT NULL THEN 'pg_constraint'::regclass::oid ELSE coalesce(m.refclassid, d.classid) END AS class,
              coalesce(r.ev_class, k.oid, m.refobjid, d.objid) AS id) AS unit,
            LATERAL (SELECT CASE WHEN coalesce(nullif(t.typrelid, 0), e.typrelid, 0) <> 0 THEN 'pg_class'::regclass::oid
                WHEN rk.oid IS NOT NULL THEN 'pg_constraint'::regclass::oid ELSE d.refclassid END AS class,
              coalesce(nullif(t.typrelid, 0), nullif(e.typrelid, 0), rk.oid, d.refobjid) AS id) AS ref
          WHERE d.deptype IN ('n', 'a', 'i')),
      dependents(class, id, depth) AS (
        SELECT e.class, e.id, 1 FROM roots r JOIN edges e ON e.refclass = r.class AND e.refid = r.id
            AND (r.sub = 0 OR e.refsub = r.sub)
          WHERE (e.class, e.id) NOT IN (SELECT class, id FROM members)
      UNION
        SELECT e.class, e.id, d.depth + 1
          FROM dependents d JOIN edges e ON e.refclass = d.class AND e.refid = d.id
          WHERE (e.class, e.id) <> (d.class, d.id) AND d.depth < 50
            AND (e.class, e.id) NOT IN (SELECT class, id FROM members)
            AND (d.class <> 'pg_class'::regclass
              OR (SELECT relkind FROM pg_class WHERE oid = d.id) IN ('v', 'm', 'i', 'I')))
    SELECT d.class, d.id, pg_describe_object(d.class, d.id, 0) AS name, r.*
      FROM (SELECT class, id, max(depth) AS depth FROM dependents GROUP BY class, id) d
        LEFT JOIN pg_class c ON d.class = 'pg_class'::regclass AND c.oid = d.id,
        LATERAL vdist.recreation(d.class, d.id, from_schema, to_schema, to_extension, build_indexes) AS r
      WHERE d.class <> 'pg_class'::regclass OR c.relkind IN ('v', 'm', 'i', 'I')
      ORDER BY d.depth, d.class = 'pg_class'::regclass, 3
  LOOP
    objects := objects || to_jsonb(item);
  END LOOP;
  -- Domains lose what may depend on other objects, and what would have every row rewritten. They get it back at the end, or,
  -- where PostgreSQL refuses to add it, as arrays or composite types consist of them, at once.
  FOR item IN
    WITH RECURSIVE parts(id) AS (
        SELECT t.oid FROM pg_type t
          WHERE t.oid = ANY (domains)
            AND (EXISTS (SELECT FROM pg_attribute a WHERE a.atttypid = t.typarray)
              OR EXISTS (SELECT FROM pg_type d WHERE d.typbasetype = t.typarray)
              OR EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.atttypid = t.oid AND c.relkind = 'c'))
      UNION
        SELECT t.typbasetype FROM parts p JOIN pg_type t ON t.oid = p.id)
    SELECT t.oid, t.typname AS short, n.nspname AS schema, format('%I.%I', n.nspname, t.typname) AS name,
        format('CREATE DOMAIN %I.%I AS %s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod)) AS definition,
        ARRAY[format('ALTER DOMAIN %I.%I OWNER TO %I', n.nspname, t.typname, pg_get_userbyid(t.typowner)),
          format('COMMENT ON DOMAIN %I.%I IS %L', n.nspname, t.typname, obj_description(t.oid, 'pg_type'))]
          || vdist.grants(format('DOMAIN %I.%I', n.nspname, t.typname), NULL, t.typacl, t.typowner) AS attributes,
        coalesce((SELECT array_agg(format('DROP CONSTRAINT %I', c.conname)) FROM pg_constraint c
            WHERE c.contypid = t.oid AND c.contype = 'c'), '{}') || ARRAY['DROP DEFAULT', 'DROP NOT NULL'] AS less,
        coalesce((SELECT array_agg(format('ADD CONSTRAINT %I %s', c.conname, pg_get_constraintdef(c.oid)) ORDER BY c.conname)
            FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '{}')
          || CASE WHEN t.typnotnull THEN ARRAY['SET NOT NULL'] ELSE '{}' END AS constraints,
        'SET DEFAULT ' || pg_get_expr(t.typdefaultbin, 0) AS default, t.oid IN (SELECT id FROM parts) AS is_part,
        (SELECT array_agg(format('COMMENT ON CONSTRAINT %I ON DOMAIN %I.%I IS %L', c.conname, n.nspname, t.typname, d.description))
          FROM pg_constraint c JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = c.oid
          WHERE c.contypid = t.oid) AS comments
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE t.oid = ANY (domains) ORDER BY array_position(domains, t.oid)
  LOOP
    new_domains := new_domains || to_jsonb(item);
  END LOOP;
  FOREACH entry IN ARRAY new_domains LOOP
    FOR statement IN SELECT jsonb_array_elements_text(entry -> 'less') LOOP
      EXECUTE format('ALTER DOMAIN %s %s', entry ->> 'name', statement);
    END LOOP;
  END LOOP;

  FOR i IN REVERSE cardinality(objects) .. 1 LOOP
    IF objects[i] ->> 'undo' <> '' THEN
      EXECUTE objects[i] ->> 'undo';
    END IF;
  END LOOP;

  -- Columns; those of partitions and children follow their parents, attributes of types that are no
  -- column's, too.
  FOR item IN
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind,
        format('ALTER %s %I.%I ', CASE c.relkind WHEN 'c' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
          n.nspname, c.relname)
        || string_agg(format('ALTER %1$s %2$I TYPE %3$s%4$s', CASE c.relkind WHEN 'c' THEN 'ATTRIBUTE' ELSE 'COLUMN' END,
          a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN c.relkind IN ('r', 'p')
            THEN format(' USING %I::%s', a.attname, format_type(a.atttypid, a.atttypmod)) ELSE '' END), ', ' ORDER BY a.attnum) AS command,
        string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'f', 'c')
        AND a.atttypid = ANY (changing) AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
        AND NOT (c.relkind = 'c' AND EXISTS (SELECT FROM pg_attribute u JOIN pg_type ut ON ut.oid = u.atttypid
          WHERE ut.typrelid = c.oid OR ut.typelem = c.reltype))
      GROUP BY c.oid, n.nspname, c.relname ORDER BY c.relkind = 'c' DESC, 2
  LOOP
    tables := tables || to_jsonb(item);
  END LOOP;
  -- what a change of type forgets
  SELECT coalesce(array_agg(format('ALTER TABLE ONLY %I.%I ALTER COLUMN %I SET STORAGE %s', n.nspname, c.relname, a.attname,
      CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'm' THEN 'MAIN' WHEN 'x' THEN 'EXTENDED' ELSE 'EXTERNAL' END)), '{}')
    INTO restore
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p') AND a.atttypid = ANY (types || domains) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attstorage <> t.typstorage;

  -- new domains with the old names
  FOREACH entry IN ARRAY new_domains LOOP
    EXECUTE format('ALTER DOMAIN %s RENAME TO %I', entry ->> 'name', 'old ' || (entry ->> 'oid'));
    old_domains := format('DROP DOMAIN %I.%I', entry ->> 'schema', 'old ' || (entry ->> 'oid')) || old_domains;
  END LOOP;
  PERFORM set_config('search_path', reading, true);
  FOREACH entry IN ARRAY new_domains LOOP
    EXECUTE entry ->> 'definition';
    FOR statement IN
      SELECT jsonb_array_elements_text(entry -> 'attributes')
      UNION ALL SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', value) FROM jsonb_array_elements_text(entry -> 'constraints')
        WHERE (entry -> 'is_part')::bool
    LOOP
      EXECUTE statement;
    END LOOP;
    object := 'domain ' || (entry ->> 'name');
    action := 'created anew';
    RETURN NEXT;
  END LOOP;

  FOREACH entry IN ARRAY tables LOOP
    file := pg_relation_filenode((entry ->> 'oid')::oid::regclass);
    EXECUTE entry ->> 'command';
    object := format('%s %s (%s)', CASE entry ->> 'relkind' WHEN 'c' THEN 'type' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
      entry ->> 'name', entry ->> 'columns');
    action := CASE WHEN file IS DISTINCT FROM pg_relation_filenode((entry ->> 'oid')::oid::regclass)
      THEN 'type changed, table rewritten' ELSE 'type changed' END;
    RETURN NEXT;
    -- a change of type drops the statistics
    IF entry ->> 'relkind' IN ('r', 'p') THEN
      EXECUTE format('ANALYZE %s (%s)', entry ->> 'name', entry ->> 'columns');
    END IF;
  END LOOP;
  FOREACH statement IN ARRAY restore || old_domains LOOP
    EXECUTE statement;
  END LOOP;

  -- and all that was taken away
  FOREACH entry IN ARRAY objects LOOP
    IF entry ->> 'index' IS NOT NULL THEN
      INSERT INTO vdist.unbuilt_indexes VALUES (entry ->> 'index', entry -> 'redo' ->> 0)
        ON CONFLICT (index) DO UPDATE SET command = excluded.command;
    ELSE
      FOR statement IN SELECT jsonb_array_elements_text(entry -> 'redo') LOOP
        EXECUTE statement;
      END LOOP;
      object := entry ->> 'name';
      action := 'created anew';
      RETURN NEXT;
    END IF;
  END LOOP;

  FOREACH entry IN ARRAY new_domains LOOP
    FOR statement IN
      SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', value) FROM jsonb_array_elements_text(entry -> 'constraints')
        WHERE NOT (entry -> 'is_part')::bool
      UNION ALL SELECT format('ALTER DOMAIN %s %s', entry ->> 'name', entry ->> 'default') WHERE entry ->> 'default' IS NOT NULL
      UNION ALL SELECT jsonb_array_elements_text(nullif(entry -> 'comments', 'null'))
    LOOP
      EXECUTE statement;
    END LOOP;
  END LOOP;

  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
  FOR item IN SELECT typname FROM pg_type WHERE oid = ANY (types) LOOP
    EXECUTE format('DROP CAST (%I.%I AS %I.%I)', from_schema, item.typname, to_schema, item.typname);
  END LOOP;
  FOREACH statement IN ARRAY casts LOOP
    EXECUTE statement;
  END LOOP;

  -- indexes that are left to be built, by this call or by one before
  DELETE FROM vdist.unbuilt_indexes u USING pg_index x WHERE x.indexrelid = to_regclass(u.index) AND x.indisvalid;
  FOR item IN
    SELECT u.index, u.command, i IS NOT NULL AS begun FROM vdist.unbuilt_indexes u, to_regclass(u.index) AS i ORDER BY 1
  LOOP
    object := 'index ' || item.index;
    command := CASE WHEN item.begun THEN 'REINDEX INDEX CONCURRENTLY ' || item.index ELSE item.command END;
    action := CASE WHEN item.begun THEN 'not finished, to be built by the command'
      ELSE 'dropped, to be created by the command' END;
    IF build_indexes THEN
      EXECUTE replace(command, ' INDEX CONCURRENTLY ', ' INDEX ');
      DELETE FROM vdist.unbuilt_indexes u WHERE u.index = item.index;
      command := NULL;
      action := 'created anew';
    END IF;
    RETURN NEXT;
  END LOOP;

  -- what DROP EXTENSION would still take along
  command := NULL;
  action := 'still uses it';
  FOR object IN
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
      FROM pg_extension e
        JOIN pg_depend m ON m.refclassid = 'pg_extension'::regclass AND m.refobjid = e.oid AND m.deptype = 'e'
        JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid AND d.deptype = 'n'
      WHERE e.extname = from_extension AND from_extension = 'vector'
        AND NOT EXISTS (SELECT FROM pg_depend own WHERE own.classid = d.classid AND own.objid = d.objid
          AND own.refclassid = 'pg_extension'::regclass AND own.deptype = 'e')
        AND NOT EXISTS (SELECT FROM pg_depend own
            JOIN pg_depend of ON of.classid = own.refclassid AND of.objid = own.refobjid
          WHERE own.classid = d.classid AND own.objid = d.objid AND own.deptype IN ('i', 'a')
            AND of.refclassid = 'pg_extension'::regclass AND of.deptype = 'e')
      ORDER BY 1
  LOOP
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION vdist.exchange_types(name, name, boolean) IS
  'what adopt_pgvector and return_to_pgvector stand on';
REVOKE ALL ON FUNCTION vdist.exchange_types(name, name, boolean) FROM PUBLIC;

CREATE FUNCTION vdist.adopt_pgvector(build_indexes boolean DEFAULT true,
    OUT object text, OUT action text, OUT command text)
  RETURNS SETOF record
  LANGUAGE sql
  AS $$ SELECT * FROM vdist.exchange_types('vector', 'vdist', build_indexes) $$;
COMMENT ON FUNCTION vdist.adopt_pgvector(boolean) IS
  'gives all columns of pgvector''s types those of vdist, without a rewrite; a row for each object, with a command where one is left to run';
REVOKE ALL ON FUNCTION vdist.adopt_pgvector(boolean) FROM PUBLIC;

CREATE FUNCTION vdist.return_to_pgvector(build_indexes boolean DEFAULT true,
    OUT object text, OUT action text, OUT command text)
  RETURNS SETOF record
  LANGUAGE sql
  AS $$ SELECT * FROM vdist.exchange_types('vdist', 'vector', build_indexes) $$;
COMMENT ON FUNCTION vdist.return_to_pgvector(boolean) IS
  'the way back: gives all columns of vdist''s types those of pgvector';
REVOKE ALL ON FUNCTION vdist.return_to_pgvector(boolean) FROM PUBLIC;
