// node-postgres: text and binary parameters and results. Exits with 77 when it is not installed.
let pg;
try {
  pg = require('pg');
} catch (error) {
  console.log('node-pg is not installed');
  process.exit(77);
}
const assert = require('assert');

function* vectors() {
  yield [1, 2, 3];
  yield [0, -0];
  yield [3.4028235e38, -3.4028235e38, 1.1754944e-38, 1e-45, -1e-45];
  yield [0.1, 1 / 3, 16777217, 1e10, 1e-10];
  let seed = 1;
  for (const dim of [1, 30, 31, 768, 16000]) {
    const v = [];
    for (let i = 0; i < dim; i++) {
      seed = (seed * 48271) % 2147483647;
      v.push(seed / 1073741824 - 1);
    }
    yield v;
  }
}

const toText = (v) => '[' + Array.from(v, (x) => (Object.is(x, -0) ? '-0' : x)).join(',') + ']';
const fromText = (text) => Float32Array.from(JSON.parse(text));

function toBinary(v) {
  const data = Buffer.alloc(4 + 4 * v.length);
  data.writeUInt16BE(v.length, 0);
  v.forEach((x, i) => data.writeFloatBE(x, 4 + 4 * i));
  return data;
}

function fromBinary(data) {
  const dim = data.readUInt16BE(0);
  assert.strictEqual(data.readUInt16BE(2), 0);
  assert.strictEqual(data.length, 4 + 4 * dim);
  return Float32Array.from({ length: dim }, (_, i) => data.readFloatBE(4 + 4 * i));
}

async function main() {
  const client = new pg.Client();
  await client.connect();
  const oid = (await client.query("SELECT 'vector'::regtype::oid::int AS oid")).rows[0].oid;
  const types = {
    getTypeParser: (type, format) => {
      if (type !== oid) return pg.types.getTypeParser(type, format);
      return format === 'binary' ? fromBinary : fromText;
    },
  };

  // Of node-postgres that wants binary results, some versions send a malformed Bind message, others
  // take what comes for UTF-8.
  const formats = [false];
  const raw = { getTypeParser: () => (data) => data };
  const probe = { text: 'SELECT $1::bytea AS b', values: [Buffer.from([0x80])], binary: true, types: raw };
  await client.query(probe).then((result) => {
    if (probe.values[0].equals(result.rows[0].b)) formats.push(true);
  }, () => {});

  for (const values of vectors()) {
    const v = Float32Array.from(values);
    // a Buffer goes out as a binary parameter
    for (const parameter of [toText(v), toBinary(v)]) {
      for (const binary of formats) {
        const text = 'SELECT $1::vector AS v';
        const result = await client.query({ text, values: [parameter], binary, types });
        assert.deepStrictEqual(toBinary(result.rows[0].v), toBinary(v));
      }
    }
  }

  await client.query('CREATE TEMPORARY TABLE t (id int, v vector(2))');
  for (let i = 0; i < 50; i++) {
    const text = 'INSERT INTO t VALUES ($1, $2)';
    await client.query({ name: 'insert', text, values: [i, toBinary([i, 0])] });
  }
  const nearest = await client.query({
    name: 'nearest',
    text: 'SELECT id FROM t ORDER BY v <-> $1 LIMIT 2',
    values: [toText([20.2, 0])],
  });
  assert.deepStrictEqual(nearest.rows.map((row) => row.id), [20, 21]);
  await assert.rejects(client.query('SELECT $1::vector', ['[]']), { code: '22000' });
  await client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
