// The schema of Drizzle's guide to similarity search, in 3 dimensions.
import { index, pgTable, serial, text, vector } from 'drizzle-orm/pg-core';

const method = process.env.VDIST_CLIENT_EXTENSION === 'vector' ? 'hnsw' : 'vdist_hnsw';

export const guides = pgTable('guides', {
  id: serial('id').primaryKey(),
  title: text('title').notNull(),
  embedding: vector('embedding', { dimensions: 3 }),
}, (table) => [
  index('embedding_index').using(method, table.embedding.op('vector_cosine_ops')),
]);
