// pgvector's own package with node-postgres, after its README: types, insert, nearest neighbors, index.
import { load, method, run } from './node.mjs';

const { default: pg } = await load('pg');
const { default: pgvector } = await load('pgvector/pg');

await run(async (assert) => {
  const client = new pg.Client();
  await client.connect();
  await pgvector.registerTypes(client);
  await client.query('CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(3))');

  const embeddings = [[1, 2, 3], [4, 5, 6], [1.5, 2, 3], [-1, 0, 0.25]];
  for (const embedding of embeddings) {
    await client.query('INSERT INTO items (embedding) VALUES ($1)', [pgvector.toSql(embedding)]);
  }
  await client.query(`CREATE INDEX ON items USING ${method} (embedding vector_l2_ops)`);

  const all = await client.query('SELECT embedding FROM items ORDER BY id');
  assert.deepStrictEqual(all.rows.map((row) => Array.from(row.embedding)), embeddings);
  await client.query('SET enable_seqscan = off');
  for (const [operator, expected] of [
    ['<->', [1, 3, 4, 2]], ['<#>', [2, 3, 1, 4]], ['<=>', [1, 3, 2, 4]], ['<+>', [1, 3, 4, 2]],
  ]) {
    const text = `SELECT id FROM items ORDER BY embedding ${operator} $1 LIMIT 5`;
    const nearest = await client.query(text, [pgvector.toSql([1, 2, 3])]);
    assert.deepStrictEqual(nearest.rows.map((row) => Number(row.id)), expected, operator);
  }
  await client.end();
});
