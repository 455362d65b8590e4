"""psycopg2: text parameters and results, COPY in both formats."""
import io
import struct

import vectors

try:
    import psycopg2
except ImportError:
    vectors.skip("python3-psycopg2")

connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute("CREATE TEMPORARY TABLE t (id int, v vector)")
sent = list(vectors.vectors())

for i, v in enumerate(sent):
    # psycopg2 writes a list as ARRAY[...] of numeric, which knows no -0
    cursor.execute("INSERT INTO t VALUES (%s, %s), (%s, %s::real[])",
                   (i, vectors.to_text(v), -1 - i, v))
cursor.execute("SELECT id, v FROM t")
for i, text in cursor.fetchall():
    got = vectors.from_text(text)
    assert vectors.same(got, sent[i]) if i >= 0 else got == sent[-1 - i], (i, text)

# Binary COPY, put together and taken apart by hand.
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!II", 0, 0)
data = HEADER
for i, v in enumerate(sent):
    field = vectors.to_binary(v)
    data += struct.pack("!hiIi", 2, 4, i, len(field)) + field
data += struct.pack("!h", -1)
cursor.execute("TRUNCATE t")
cursor.copy_expert("COPY t FROM STDIN (FORMAT binary)", io.BytesIO(data))
out = io.BytesIO()
cursor.copy_expert("COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)", out)
assert out.getvalue() == data, "binary COPY came back otherwise"

text = io.StringIO()
cursor.copy_expert("COPY t TO STDOUT", text)
cursor.execute("CREATE TEMPORARY TABLE u (LIKE t)")
cursor.copy_expert("COPY u FROM STDIN", io.StringIO(text.getvalue()))
cursor.execute("SELECT count(*) FROM t JOIN u USING (id) WHERE vector_send(t.v) = vector_send(u.v)")
assert cursor.fetchone()[0] == len(sent)

try:
    cursor.execute("SELECT %s::vector", ("[1,NaN]",))
    raise AssertionError("NaN was accepted")
except psycopg2.DataError as error:
    assert error.pgcode == "22000" and "NaN not allowed in vector" in str(error), error
