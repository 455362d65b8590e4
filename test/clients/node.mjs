// What the programs for Node share. They run with extension vdist, or with extension vector on top of
// it ($VDIST_CLIENT_EXTENSION says which), in the database that libpq's variables name.
import assert from 'node:assert';

export const extension = process.env.VDIST_CLIENT_EXTENSION || 'vdist';
export const method = extension === 'vector' ? 'hnsw' : 'vdist_hnsw';
export const config = {
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT || 5432),
  user: process.env.PGUSER,
  database: process.env.PGDATABASE,
};

export function skip(why) {
  console.log(why);
  process.exit(77);
}

// Import a package, or skip.
export async function load(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return skip(`${name} is not installed`);
  }
}

export async function run(test) {
  try {
    await test(assert.strict);
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
