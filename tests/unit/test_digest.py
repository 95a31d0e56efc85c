"""The content hash is what its module says, in plain arithmetic, whatever polars does."""

import hashlib
import struct

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from titans.changes.digest import add, digest, subtract

MASK = (1 << 64) - 1

rows = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
    ),
    max_size=8,
)


def frame(values):
    return pl.DataFrame(
        values,
        schema={"s": pl.String, "i": pl.Int64, "f": pl.Float64, "b": pl.Boolean},
        orient="row",
    )


def by_hand(values):
    total = 0
    for row in values:
        h = 0x9E3779B97F4A7C15
        for value in row:
            h = ((h ^ word(value)) * 0xFF51AFD7ED558CCD) & MASK
            h ^= h >> 32
        total += h
    return f"{total & MASK:016x}"


def word(value):
    if value is None:
        return 0x6E756C6C6E756C6C
    if isinstance(value, bool | int):
        return int(value) & MASK
    if isinstance(value, float):
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little")


@settings(deadline=None)  # the first example also pays for imports
@given(rows)
def test_it_is_the_documented_arithmetic(values):
    assert digest(frame(values)) == by_hand(values)


@settings(deadline=None)  # the first example also pays for imports
@given(rows, st.randoms())
def test_it_does_not_depend_on_the_order_of_rows(values, random):
    shuffled = random.sample(values, len(values))
    assert digest(frame(shuffled)) == digest(frame(values))


@settings(deadline=None)  # the first example also pays for imports
@given(rows, rows)
def test_hashes_of_parts_add_up_to_that_of_the_whole(a, b):
    assert add(digest(frame(a)), digest(frame(b))) == digest(frame(a + b))
    assert subtract(digest(frame(a + b)), digest(frame(b))) == digest(frame(a))


def test_a_value_in_another_column_is_another_row():
    a, b = pl.DataFrame({"x": [1], "y": [2]}), pl.DataFrame({"x": [2], "y": [1]})
    assert digest(a) != digest(b)


def test_what_is_remembered_of_texts_changes_nothing():
    """Few texts, new ones among known ones, nulls, more than are remembered, and the few again."""
    few, more = ["a", "b", None], ["b", "c", None, "a"]
    many = [f"{n:x}" for n in range(5000)]
    for texts in (few, more, few, many, more, [None], many[:4000], many[3000:], few):
        values = [(text, 1, 0.5, True) for text in texts]
        assert digest(frame(values)) == by_hand(values)


def test_it_is_pinned():
    """Archives carry it for ever: this value must never change."""
    assert digest(frame([("m5.large", 3, 0.096, False), (None, None, None, None)])) == by_hand(
        [("m5.large", 3, 0.096, False), (None, None, None, None)]
    )
    assert digest(frame([("m5.large", 3, 0.096, False)])) == "1eb9044532a2353c"
