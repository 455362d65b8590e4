// Drizzle, after its guide to similarity search: push the schema, insert, order by distance.
import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { config, load, run } from './node.mjs';

const { default: pg } = await load('pg');
const { drizzle } = await load('drizzle-orm/node-postgres');
const { asc, cosineDistance, desc, gt, l2Distance, sql } = await load('drizzle-orm');
const { guides } = await load('./drizzle_schema.mjs');

await run(async (assert) => {
  const directory = dirname(fileURLToPath(import.meta.url));
  const url = `postgresql://${config.user}@/${config.database}` +
    `?host=${encodeURIComponent(config.host)}&port=${config.port}`;
  const push = () => execFileSync('node', ['node_modules/drizzle-kit/bin.cjs', 'push',
    '--dialect=postgresql', '--schema=./drizzle_schema.mjs', `--url=${url}`, '--force'],
  { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  push();
  assert.match(push(), /No changes detected/);

  const pool = new pg.Pool(config);
  const db = drizzle(pool);
  await db.insert(guides).values([
    { title: 'east', embedding: [1, 0, 0] },
    { title: 'north east', embedding: [1, 1, 0] },
    { title: 'north', embedding: [0, 1, 0] },
    { title: 'up', embedding: [0, 0, 5] },
  ]);
  const embedding = [0.9, 0.1, 0];
  const similarity = sql`1 - (${cosineDistance(guides.embedding, embedding)})`;
  const similar = await db.select({ title: guides.title, similarity }).from(guides)
    .where(gt(similarity, 0.5)).orderBy((t) => desc(t.similarity)).limit(4);
  assert.deepEqual(similar.map((row) => row.title), ['east', 'north east']);
  const nearest = await db.select().from(guides).orderBy(asc(l2Distance(guides.embedding, embedding))).limit(2);
  assert.deepEqual(nearest.map((row) => row.embedding), [[1, 0, 0], [1, 1, 0]]);
  await pool.end();
});
