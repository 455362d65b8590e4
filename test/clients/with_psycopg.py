"""psycopg 3: parameters and results in text and binary, through adapters as applications have them."""
import vectors

try:
    import psycopg
    from psycopg.adapt import Dumper, Loader
    from psycopg.pq import Format
    from psycopg.types import TypeInfo
except ImportError:
    vectors.skip("python3-psycopg")


class Vector:
    def __init__(self, values):
        self.values = values


class TextDumper(Dumper):
    format = Format.TEXT

    def dump(self, obj):
        return vectors.to_text(obj.values).encode()


class BinaryDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj):
        return vectors.to_binary(obj.values)


class TextLoader(Loader):
    format = Format.TEXT

    def load(self, data):
        return Vector(vectors.from_text(bytes(data).decode()))


class BinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data):
        return Vector(vectors.from_binary(bytes(data)))


with psycopg.connect("") as connection:
    info = TypeInfo.fetch(connection, "vector")
    info.register(connection)
    for dumper in TextDumper, BinaryDumper:
        connection.adapters.register_dumper(Vector, type("Bound", (dumper,), {"oid": info.oid}))
    for loader in TextLoader, BinaryLoader:
        connection.adapters.register_loader(info.oid, loader)

    for v in vectors.vectors():
        for parameter in "%t", "%b":
            for binary_result in False, True:
                cursor = connection.cursor(binary=binary_result)
                got = cursor.execute("SELECT " + parameter, (Vector(v),)).fetchone()[0]
                assert vectors.same(got.values, v), (parameter, binary_result, v, got.values)

    # arrays of vectors, and a k-NN query with a binary parameter, prepared
    connection.execute("CREATE TEMPORARY TABLE t (id int, v vector(3))")
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", info.oid])
            for i in range(100):
                copy.write_row((i, Vector([float(i), 0.0, 1.0])))
    query = "SELECT id FROM t ORDER BY v <-> %b LIMIT 3"
    for nearest in 17, 50, 80:
        parameter = Vector([nearest + 0.1, 0.0, 1.0])
        rows = connection.execute(query, (parameter,), prepare=True).fetchall()
        assert [row[0] for row in rows] == [nearest, nearest + 1, nearest - 1], rows
    got = connection.execute("SELECT array_agg(v ORDER BY id) FROM t", binary=True).fetchone()[0]
    assert [v.values[0] for v in got] == [float(i) for i in range(100)]

    try:
        connection.execute("INSERT INTO t VALUES (1, %b)", (Vector([1.0]),))
        raise AssertionError("a wrong dimension was accepted")
    except psycopg.DataError as error:
        assert error.sqlstate == "22000" and "expected 3 dimensions, not 1" in str(error), error
