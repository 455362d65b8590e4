// LangChain's PGVectorStore, after its documentation: create, add, search with a filter, by maximal
// marginal relevance and by an index, delete. It creates extension "vector" itself.
import { config, extension, load, run, skip } from './node.mjs';

if (extension !== 'vector') skip('it asks for extension "vector"');
const { PGVectorStore } = await load('@langchain/community/vectorstores/pgvector');
const { Document } = await load('@langchain/core/documents');
const { Embeddings } = await load('@langchain/core/embeddings');

// Counts of letters: deterministic, and texts with the same letters are near.
class LetterEmbeddings extends Embeddings {
  async embedQuery(text) {
    const vector = new Array(26).fill(0);
    for (const letter of text.toLowerCase()) {
      const i = letter.charCodeAt(0) - 97;
      if (i >= 0 && i < 26) vector[i] += 1;
    }
    return vector;
  }

  async embedDocuments(texts) {
    return Promise.all(texts.map((text) => this.embedQuery(text)));
  }
}

await run(async (assert) => {
  for (const distanceStrategy of ['cosine', 'innerProduct', 'euclidean']) {
    const store = await PGVectorStore.initialize(new LetterEmbeddings({}), {
      postgresConnectionOptions: config,
      tableName: `langchain_${distanceStrategy.toLowerCase()}`,
      columns: {
        idColumnName: 'id',
        vectorColumnName: 'vector',
        contentColumnName: 'content',
        metadataColumnName: 'metadata',
      },
      distanceStrategy,
    });
    const documents = [
      ['the powerhouse of the cell is the mitochondria', 'biology'],
      ['buildings are made out of brick', 'building'],
      ['buildings are made out of bricks', 'building'],
      ['mitochondria are made out of lipids', 'biology'],
    ].map(([pageContent, topic]) => new Document({ pageContent, metadata: { topic } }));
    const ids = [1, 2, 3, 4].map((i) => `00000000-0000-4000-8000-00000000000${i}`);
    await store.addDocuments(documents, { ids });

    const text = 'mitochondria';
    const filtered = await store.similaritySearchWithScore(text, 4, { topic: 'biology' });
    assert.equal(filtered.length, 2);
    assert.ok(filtered.every(([document]) => document.metadata.topic === 'biology'));
    const [[nearest, score]] = await store.similaritySearchWithScore(documents[1].pageContent, 1);
    if (distanceStrategy !== 'innerProduct') {
      assert.equal(nearest.pageContent, documents[1].pageContent);
      assert.ok(Math.abs(score) < 1e-6);
    }

    // the two sentences about bricks say the same: only one of them is among the two
    const different = await store.maxMarginalRelevanceSearch(
      documents[1].pageContent, { k: 2, fetchK: 4, lambda: 0.1 });
    assert.equal(different.filter((document) => document.metadata.topic === 'building').length, 1);

    await store.createHnswIndex({ dimensions: 26, m: 16, efConstruction: 64 });
    const indexes = await store.pool.query(
      'SELECT indexdef FROM pg_indexes WHERE tablename = $1', [store.tableName]);
    assert.equal(indexes.rows.filter((row) => /USING hnsw/.test(row.indexdef)).length, 1);
    const order = { cosine: '<=>', innerProduct: '<#>', euclidean: '<->' }[distanceStrategy];
    const client = await store.pool.connect();
    await client.query('SET enable_seqscan = off');
    const found = await client.query(
      `SELECT content FROM ${store.tableName} ORDER BY vector::vector(26) ${order} $1 LIMIT 4`,
      [`[${await store.embeddings.embedQuery(text)}]`]);
    assert.equal(found.rows.length, 4);
    client.release();

    await store.delete({ ids: ids.slice(0, 1) });
    await store.delete({ filter: { topic: 'building' } });
    const rest = await store.similaritySearch(text, 4);
    assert.deepEqual(rest.map((document) => document.pageContent), [documents[3].pageContent]);
    await store.pool.query(`DROP TABLE ${store.tableName}`);
    await store.end();
  }
});
