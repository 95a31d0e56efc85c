"""Row groups cut out of Parquet files: whoever wrote them, the small file reads as those rows; what
is no footer is said to be none."""

import contextlib
import io
from datetime import UTC, date, datetime
from unittest.mock import patch

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans.tiers.files.footer import Footer, footer_size
from titans.tiers.files.skipping import Bounds, Part, may_hold

ROWS = pl.DataFrame(
    {
        "k": [f"key-{n:04}" for n in range(1000)],
        "Time": [datetime(2026, 1, 1, tzinfo=UTC)] * 1000,
        "text": [None if n % 3 else f"{n % 7}" for n in range(1000)],
        "number": list(range(1000)),
        "price": [n / 7 for n in range(1000)],
        "nothing": pl.Series([None] * 1000, dtype=pl.Int64),
        "flag": [n % 2 == 0 for n in range(1000)],
    }
)


INTEGERS = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]


def by_polars(frame):
    buffer = io.BytesIO()
    frame.write_parquet(buffer, row_group_size=100, data_page_size=256, metadata={"titans": "{}"})
    return buffer.getvalue()


def by_arrow(frame, **options):
    buffer = io.BytesIO()
    pq.write_table(frame.to_arrow(), buffer, row_group_size=100, **options)
    return buffer.getvalue()


WRITERS = {
    "polars": by_polars,
    "pyarrow": by_arrow,
    "pyarrow with indexes": lambda frame: by_arrow(
        frame, write_page_index=True, bloom_filter_options={"k": True}
    ),
    "pyarrow without statistics": lambda frame: by_arrow(frame, write_statistics=False),
    "pyarrow without dictionaries": lambda frame: by_arrow(
        frame, use_dictionary=False, compression="none"
    ),
}


def cut(footer, data, groups, columns=None):
    """A file of these columns of row groups."""
    spans = footer.spans(groups, columns)
    return footer.file_of(groups, columns, {span: data[slice(*span)] for span in spans})


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    "wanted", [slice(0, 1), slice(3, 6), slice(9, 10), slice(0, 10), slice(0, 0)]
)
def test_row_groups_are_a_file_of_their_own(write, wanted):
    data = write(ROWS)
    footer = Footer.of(data)
    groups = footer.groups[wanted]
    part = cut(footer, data, groups)
    expected = ROWS[100 * wanted.start : 100 * wanted.stop]
    assert pl.read_parquet(io.BytesIO(part)).equals(expected)
    assert pq.read_table(io.BytesIO(part)).num_rows == expected.height
    assert len(part) <= len(data)
    assert pl.scan_parquet(io.BytesIO(part)).filter(
        pl.col("k") == "key-0350"
    ).collect().height == int(wanted in (slice(3, 6), slice(0, 10)))


def test_what_a_footer_says_is_what_others_read_in_it():
    data = by_polars(ROWS)
    known = pq.read_metadata(io.BytesIO(data))
    footer = Footer.of(data[-footer_size(data) :])
    assert list(footer.columns) == ROWS.columns
    for group in footer.groups:
        row_group = known.row_group(group.number)
        assert group.part.rows == row_group.num_rows
        for number, (start, end) in enumerate(group.chunks):
            column = row_group.column(number)
            assert start == (column.dictionary_page_offset or column.data_page_offset)
            assert end == start + column.total_compressed_size
        statistics = row_group.column(0).statistics
        assert group.part.bounds["k"] == Bounds(statistics.min, statistics.max, 0)
        assert set(group.part.bounds) == {"k", "text"}


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("near", [0, 100, 1 << 20])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_columns_of_row_groups_are_a_file_of_their_own(write, near, data):
    content = write(ROWS)
    footer = Footer.of(content)
    columns = data.draw(st.sets(st.sampled_from(ROWS.columns), min_size=1))
    wanted = sorted(data.draw(st.sets(st.integers(0, 9), min_size=1)))
    groups = [footer.groups[number] for number in wanted]
    with patch("titans.tiers.files.footer.NEAR", near):
        part = cut(footer, content, groups, columns)
    expected = pl.concat(ROWS[100 * n : 100 * n + 100] for n in wanted)
    expected = expected.select(name for name in ROWS.columns if name in columns)
    assert pl.read_parquet(io.BytesIO(part)).equals(expected)
    assert pl.read_parquet(io.BytesIO(part)).schema == expected.schema
    assert pq.read_table(io.BytesIO(part)).num_rows == expected.height


def test_columns_of_every_dtype_stay_what_they_are():
    day = date(2026, 1, 2)
    frame = pl.DataFrame(
        {
            **{str(dtype): pl.Series([1, None, 3], dtype=dtype) for dtype in INTEGERS},
            "Float32": pl.Series([0.5, None, 1.5], dtype=pl.Float32),
            "Decimal": pl.Series(["1.25", None, "-3.00"]).cast(pl.Decimal(20, 2)),
            "Date": [day, None, day],
            "Datetime": pl.Series([datetime(2026, 1, 2, tzinfo=UTC), None, None]),
            "Boolean": [True, None, False],
            "Binary": [b"\xff\x00", None, b""],
            "String": ["é", None, ""],
        },
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    data = buffer.getvalue()
    footer = Footer.of(data)
    for name in frame.columns:
        found = pl.read_parquet(io.BytesIO(cut(footer, data, footer.groups, {name})))
        assert found.equals(frame.select(name))
        assert found.schema == frame.select(name).schema


K, T = pl.col("k"), pl.col("text")


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (K == "key-0350", [3]),
        (K == "key-0300", [3]),
        (K == "key-0399", [3]),
        (K == "key-03995", [3]),  # as if the greatest value were cut short
        ((K == "key-0400") & (T == "2"), [4]),
        (K == "a", []),
        (K == "z", []),
        ((K == "key-0350") & (T == "9"), []),
        (K.is_in(["key-0150", "key-0950", "b"]), [1, 9]),
        (K > "key-0899", [8, 9]),
        ((K >= "key-0250") & (K < "key-0301"), [2, 3]),
        ((K == "key-0350") | (K == "key-0850"), [3, 8]),
        ((K == "key-0350") & (pl.col("number") > 5), [3]),
        (T == "3", list(range(10))),
        (pl.col("number") > 950, list(range(10))),
        (pl.lit(value=True), list(range(10))),
        (None, list(range(10))),
    ],
    ids=str,
)
def test_rows_are_looked_for_where_they_may_be(where, numbers):
    groups = Footer.of(by_polars(ROWS)).groups_with(where, ROWS.schema)
    assert [group.number for group in groups] == numbers


def test_without_statistics_rows_may_be_anywhere():
    footer = Footer.of(WRITERS["pyarrow without statistics"](ROWS))
    assert len(footer.groups_with(K == "key-0350", ROWS.schema)) == 10


TEXTS = st.one_of(st.none(), st.text("ab\U0010ffffé", max_size=3))


@settings(deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 3)), max_size=30),
    st.data(),
)
def test_no_row_that_is_wanted_is_left_out(rows, data):
    frame = pl.DataFrame(rows, schema={"k": pl.String, "j": pl.String, "v": pl.Int64}, orient="row")
    buffer = io.BytesIO()
    frame.write_parquet(buffer, row_group_size=3)
    footer = Footer.of(buffer.getvalue())

    def simple():
        column = pl.col(data.draw(st.sampled_from(["k", "j"])))
        text = data.draw(TEXTS.filter(bool))
        return data.draw(
            st.sampled_from(
                [
                    column == text,
                    column != text,
                    column < text,
                    column >= text,
                    column.is_in([text, "a"]),
                    column.is_null(),
                    column.eq_missing(text),
                    column.str.starts_with(text),
                    ~(column == text),
                    column.fill_null("a") == text,
                    pl.col("v") > 1,
                ]
            )
        )

    where = simple()
    for _ in range(data.draw(st.integers(0, 2))):
        other = simple()
        where = data.draw(st.sampled_from([where & other, where | other]))
    kept = [group.number for group in footer.groups_with(where, frame.schema)]
    # A file without rows has a group all the same.
    parts = [frame[3 * number : 3 * number + 3] for number in range(len(footer.groups))]
    needed = [number for number, part in enumerate(parts) if part.filter(where).height]
    assert set(needed) <= set(kept), where


def test_what_polars_cannot_say_anything_of_leaves_nothing_out():
    part = Part(3, {"k": Bounds("a", "b", 0)})
    with patch.object(pl.Expr, "_skip_batch_predicate", None):
        assert may_hold(K == "z", ROWS.schema, [part]) == [True]
    assert may_hold(K == "z", ROWS.schema, [part]) == [False]
    assert may_hold(K == 3, ROWS.schema, [part]) == [True]


@pytest.mark.parametrize("missing", [0, 3, 7, 8, 9, 100, 400])
def test_what_breaks_off_is_no_footer(missing):
    data = by_polars(ROWS)
    with pytest.raises(ValueError, match="Parquet|footer"):
        Footer.of(data[-8:] if missing < 8 else data[-missing:])


def test_what_has_another_end_is_no_footer():
    data = by_polars(ROWS)
    for wrong in (b"", b"PAR1", data[:-1], data[:-4] + b"PARE"):
        with pytest.raises(ValueError, match="not the end of a Parquet file"):
            Footer.of(wrong)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_footer_is_read_or_refused_and_nothing_else(place, byte):
    data = by_polars(ROWS)
    size = footer_size(data)
    tail = bytearray(data[-size:])
    tail[place % (size - 8)] = byte
    with contextlib.suppress(ValueError):
        footer = Footer.of(bytes(tail))
        cut(footer, data, footer.groups[:2], {"k", "price"})


def test_structures_without_end_are_no_footer():
    deep = b"\x1c" * 100_000
    with pytest.raises(ValueError, match="footer"):
        Footer.of(deep + len(deep).to_bytes(4, "little") + b"PAR1")
