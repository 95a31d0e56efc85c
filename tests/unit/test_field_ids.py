"""Parquet field ids: engines find a column again under another name and in another place."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import polars as pl
import pyarrow.parquet as pq
import pytest

from titans import Archive, Provider, Schema
from titans.store.memory import MemoryStore

FIRST = Schema({"a": "Int64", "b": "String"})
RENAMED = Schema({"b": "String", "c": "Int64"}, version=2, renamed={2: {"a": "c"}})
AGAIN = Schema(
    {"a": "Float64", "b": "String", "d": "Int64"},
    version=3,
    renamed={2: {"a": "c"}, 3: {"c": "d"}},
)
SWAPPED = Schema({"a": "String", "b": "Int64"}, version=2, renamed={2: {"a": "b", "b": "a"}})


def test_an_id_stays_with_the_column():
    first, renamed, again = (schema.field_ids(("k",)) for schema in (FIRST, RENAMED, AGAIN))
    assert first["a"] == renamed["c"] == again["d"]
    assert first["b"] == renamed["b"] == again["b"]
    assert first["k"] == renamed["k"] == again["k"]
    assert again["a"] not in first.values(), "another column that took the name"


def test_columns_that_swap_their_names_keep_their_ids():
    first, swapped = FIRST.field_ids(("k",)), SWAPPED.field_ids(("k",))
    assert (swapped["b"], swapped["a"]) == (first["a"], first["b"])


def test_ids_are_those_of_today_for_ever():
    """They stand in files: another definition would make other columns of them."""
    assert FIRST.field_ids(("k",)) == {
        "Time": 1,
        "Ceased": 2,
        "k": 247507635,
        "a": 290229418,
        "b": 944380242,
    }


@pytest.mark.parametrize("sealed", [False, True])
def test_every_file_has_them(sealed):
    provider = Provider("small", FIRST, ("k",))
    archive = Archive(MemoryStore(), provider)
    for n in range(12):
        frame = pl.DataFrame({"k": ["x", "y"], "a": [n, 1], "b": ["s", None]})
        archive.ingest(
            frame, datetime(2026, 1, 31, 22, 10 * (n % 6), tzinfo=UTC).replace(hour=22 + n // 6)
        )
    if sealed:
        archive.seal("2026-01")
    kinds = set()
    for entry in archive.store.list():
        if entry.key.endswith(".parquet"):
            file = pq.ParquetFile(BytesIO(archive.store.get(entry.key).data))
            ids = {f.name: int(f.metadata[b"PARQUET:field_id"]) for f in file.schema_arrow}
            assert ids == FIRST.field_ids(("k",)), entry.key
            kinds.add(entry.key.rpartition("/")[2][0])
    assert kinds >= {"F", "B", "L", "2"}
