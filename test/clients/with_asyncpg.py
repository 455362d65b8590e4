"""asyncpg: prepared statements only, with a codec for either format."""
import asyncio

import vectors

try:
    import asyncpg
except ImportError:
    vectors.skip("python3-asyncpg")

CODECS = {
    "text": (vectors.to_text, vectors.from_text),
    "binary": (vectors.to_binary, vectors.from_binary),
}


async def main():
    for format, (encoder, decoder) in CODECS.items():
        connection = await asyncpg.connect()
        schema = await connection.fetchval(
            "SELECT typnamespace::regnamespace::text FROM pg_type WHERE oid = 'vector'::regtype")
        await connection.set_type_codec(
            "vector", schema=schema, encoder=encoder, decoder=decoder, format=format)
        for v in vectors.vectors():
            got = await connection.fetchval("SELECT $1::vector", v)
            assert vectors.same(got, v), (format, v, got)

        await connection.execute("CREATE TEMPORARY TABLE t (id int, v vector)")
        rows = [(i, [float(i), 1.0]) for i in range(100)]
        if format == "binary":
            await connection.copy_records_to_table("t", records=rows)
        else:
            await connection.executemany("INSERT INTO t VALUES ($1, $2)", rows)
        ids = await connection.fetch("SELECT id FROM t ORDER BY v <+> $1 LIMIT 2", [41.2, 1.0])
        assert [row["id"] for row in ids] == [41, 42], ids
        await connection.close()


asyncio.run(main())
