-- Load one document a line, weigh its words, make a vector of each document. Run by quickstart.
\set ON_ERROR_STOP 1
CREATE TABLE lines (id bigint GENERATED ALWAYS AS IDENTITY, body text NOT NULL);
\set copy '\\copy lines (body) FROM ' :'corpus' ' (FORMAT csv, DELIMITER E''\\x01'', QUOTE E''\\x02'')'
:copy
ANALYZE lines;

-- How much a word says: the rarer, the more.
CREATE TABLE word_weights AS
  SELECT * FROM vdist.text_idf($$SELECT to_tsvector('english', body) FROM lines$$);
CREATE UNIQUE INDEX ON word_weights (lexeme) INCLUDE (idf);
VACUUM ANALYZE word_weights;

CREATE TABLE documents AS
  SELECT id, body, vdist.text_to_vector('english', body, 'word_weights')::vector(256) AS embedding
  FROM lines;
ALTER TABLE documents ADD PRIMARY KEY (id), ALTER body SET NOT NULL;
DROP TABLE lines;
