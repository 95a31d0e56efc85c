"""Row groups cut out of Parquet files: whoever wrote them, the small file reads as those rows; what
is no footer is said to be none."""

import contextlib
import io
from datetime import UTC, datetime

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titans.tiers.files.footer import Footer, footer_size

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


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    "wanted", [slice(0, 1), slice(3, 6), slice(9, 10), slice(0, 10), slice(0, 0)]
)
def test_row_groups_are_a_file_of_their_own(write, wanted):
    data = write(ROWS)
    footer = Footer.of(data)
    groups = footer.groups[wanted]
    part = footer.file_of(groups, data[groups[0].start : groups[-1].end] if groups else b"")
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
    for group in Footer.of(data[-footer_size(data) :]).groups:
        row_group = known.row_group(group.number)
        columns = [row_group.column(n) for n in range(known.num_columns)]
        starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
        assert group.start == min(starts)
        assert group.end == max(
            s + c.total_compressed_size for s, c in zip(starts, columns, strict=True)
        )
        statistics = columns[0].statistics
        assert group.bounds["k"] == (statistics.min.encode(), statistics.max.encode())


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        ({"k": "key-0350"}, [3]),
        ({"k": "key-0300"}, [3]),
        ({"k": "key-0399"}, [3]),
        ({"k": "key-03995"}, [3]),  # as if the greatest value were cut short
        ({"k": "key-0400", "text": "2"}, [4]),
        ({"k": "a"}, []),
        ({"k": "z"}, []),
        ({"k": "key-0350", "text": "9"}, []),
        ({"text": "3"}, list(range(10))),
        ({}, list(range(10))),
        ({"elsewhere": "x"}, list(range(10))),
    ],
)
def test_a_key_is_looked_for_where_it_may_be(key, numbers):
    assert [group.number for group in Footer.of(by_polars(ROWS)).groups_with(key)] == numbers


def test_without_statistics_a_key_may_be_anywhere():
    assert (
        len(Footer.of(WRITERS["pyarrow without statistics"](ROWS)).groups_with({"k": "key-0350"}))
        == 10
    )


@pytest.mark.parametrize("cut", [0, 3, 7, 8, 9, 100, 400])
def test_what_breaks_off_is_no_footer(cut):
    data = by_polars(ROWS)
    with pytest.raises(ValueError, match="Parquet|footer"):
        Footer.of(data[-8:] if cut < 8 else data[-cut:])


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
        footer.file_of(footer.groups[:2], data[:100])


def test_structures_without_end_are_no_footer():
    deep = b"\x1c" * 100_000
    with pytest.raises(ValueError, match="footer"):
        Footer.of(deep + len(deep).to_bytes(4, "little") + b"PAR1")
