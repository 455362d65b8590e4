-- An ordinary table becomes a distributed one, rows and all. Run by quickstart.
SELECT vdist.create_distributed_table('documents', 'id');
ANALYZE documents;
SELECT * FROM vdist.shards;
SELECT * FROM vdist.tables;
