-- The five documents nearest to the words of :query. Run by quickstart.
\pset footer off
SELECT round((embedding <=> vdist.text_to_vector('english', :'query', 'word_weights'))::numeric, 3) AS distance,
    left(body, 90) AS document
  FROM documents
  ORDER BY embedding <=> vdist.text_to_vector('english', :'query', 'word_weights')
  LIMIT 5;
