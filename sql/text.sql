-- Text to vectors: word weights from a corpus, lexemes hashed into a unit vector.

-- Stored vectors must agree with later queries on any machine: these values never change.
SELECT vdist.feature_hash('{word}', '{2}', 16);
SELECT vdist.feature_hash('{word,other}', '{2,1}', 4);
SELECT vdist.feature_hash('{word}', '{2}', 16) = vdist.feature_hash('{word,NULL,other}', '{1,3,NULL}', 16) AS nulls_left_out;
SELECT vdist.feature_hash('{}', '{}', 16) IS NULL AS empty,
  vdist.feature_hash('{a}', '{0}', 16) IS NULL AS weightless;
SELECT vector_dims(v), round(vector_norm(v)::numeric, 6) AS norm
  FROM vdist.feature_hash('{a,b,c}', '{1,2,3}', 16000) v;

-- What cannot be.
\set SHOW_CONTEXT never
SELECT vdist.feature_hash('{a,b}', '{1}', 16);
SELECT vdist.feature_hash('{a}', '{NaN}', 16);
SELECT vdist.feature_hash('{a}', '{1}', 0);
SELECT vdist.feature_hash('{a}', '{1}', 16001);
\set VERBOSITY sqlstate
SELECT vdist.feature_hash('{a,b}', '{1}', 16);
SELECT vdist.feature_hash('{a}', '{NaN}', 16);
\set VERBOSITY default

CREATE SCHEMA library;
SET search_path = library, public;
CREATE TABLE books (id integer, body text);
INSERT INTO books VALUES
  (1, 'The whale, the whale and the sea'),
  (2, 'A sea of grass'),
  (3, 'Cooking grass-fed beef'),
  (4, 'Whales sing in the sea'),
  (5, NULL),
  (6, 'the and of');

-- ln(1 + 6 / 3) for the sea, ln(1 + 6 / 2) for whales and grass, ln(7) for the rest.
CREATE TABLE weights AS
  SELECT * FROM vdist.text_idf('SELECT to_tsvector(''english'', body) FROM books');
SELECT lexeme, round(idf::numeric, 4) AS idf FROM weights ORDER BY idf, lexeme COLLATE "C";

ALTER TABLE books ADD embedding vector(256);
UPDATE books SET embedding = vdist.text_to_vector('english', body, 'weights');
SELECT id, vector_dims(embedding), round(vector_norm(embedding)::numeric, 6) AS norm
  FROM books ORDER BY id;

-- Same words, other order and forms: the same vector.
SELECT vdist.text_to_vector('english', 'SEAS, whale', 'weights')
  = vdist.text_to_vector('english', 'the whales of the sea', 'weights') AS same;

-- Nearest first; what shares no word is at about 1.
SELECT id, body FROM books WHERE embedding IS NOT NULL
  ORDER BY embedding <=> vdist.text_to_vector('english', 'singing whales', 'weights') LIMIT 2;
SELECT embedding <=> vdist.text_to_vector('english', 'beef', 'weights') < 0.7 AS kin, id
  FROM books WHERE embedding IS NOT NULL ORDER BY id;

-- A word said twice counts more than once and less than twice.
SELECT vdist.text_to_vector('english', 'whale whale sea', 'weights')
  <> vdist.text_to_vector('english', 'whale sea', 'weights') AS counts;

-- Unknown words count nothing; another number of dimensions; the weights' schema is found by name.
SELECT vdist.text_to_vector('english', 'zeppelin', 'weights') IS NULL AS unknown;
SELECT vdist.text_to_vector('english', 'zeppelin whale', 'weights')
  = vdist.text_to_vector('english', 'whale', 'weights') AS known_only;
SELECT vector_dims(vdist.text_to_vector('english', 'whale', 'library.weights', 64));
SELECT vdist.text_to_vector('english', 'whale', 'no_such_table');

-- The weights are read with the caller's rights.
CREATE ROLE regress_vdist_reader;
GRANT USAGE ON SCHEMA library TO regress_vdist_reader;
SET ROLE regress_vdist_reader;
SELECT vdist.text_to_vector('english', 'whale', 'weights');
RESET ROLE;
GRANT SELECT ON weights TO regress_vdist_reader;
SET ROLE regress_vdist_reader;
SELECT vdist.text_to_vector('english', 'whale', 'weights') IS NOT NULL AS granted;
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA library CASCADE;
DROP ROLE regress_vdist_reader;
