"""The vectors that every Python client sends, and their two forms on the wire.

A client test exits with 77 when its library is missing, which counts as skipped."""
import random
import struct
import sys


def float32(x):
    return struct.unpack("!f", struct.pack("!f", x))[0]


def vectors():
    yield [1.0, 2.0, 3.0]
    yield [0.0, -0.0]
    yield [float32(x) for x in (3.4028235e38, -3.4028235e38, 1.1754944e-38, 1e-45, -1e-45)]
    yield [float32(x) for x in (0.1, 1 / 3, 16777217, 1e10, 1e-10)]
    rng = random.Random(1)
    for dim in (1, 7, 29, 30, 31, 128, 768, 2000, 16000):
        yield [float32(rng.gauss(0, 1)) for _ in range(dim)]
    for _ in range(200):
        # any finite bits
        bits = [rng.getrandbits(32) & 0xBFFFFFFF for _ in range(rng.randint(1, 40))]
        yield list(struct.unpack("!%df" % len(bits), struct.pack("!%dI" % len(bits), *bits)))


def to_text(v):
    return "[" + ",".join(repr(x) for x in v) + "]"


def from_text(text):
    assert text[0] == "[" and text[-1] == "]", text
    return [float32(float(x)) for x in text[1:-1].split(",")]


def to_binary(v):
    return struct.pack("!HH%df" % len(v), len(v), 0, *v)


def from_binary(data):
    dim, unused = struct.unpack_from("!HH", data)
    assert unused == 0 and len(data) == 4 + 4 * dim, data[:8]
    return list(struct.unpack_from("!%df" % dim, data, 4))


def same(a, b):
    """Bit for bit: -0 is not 0."""
    return to_binary(a) == to_binary(b)


def skip(library):
    print(library + " is not installed")
    sys.exit(77)
