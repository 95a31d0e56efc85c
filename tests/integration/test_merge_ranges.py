"""Merges whose rows do not fit into memory: same rows, same bytes, bounded memory, whatever the
keys are like."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from oracle import PROVIDER, at

from titans import Archive
from titans.changes.state import resolve
from titans.errors import CorruptFileError, InputError
from titans.schema import CEASED, TIME
from titans.slots import Month
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.compact import ranges
from titans.tiers.compact.merge import merge
from titans.tiers.compact.plan import next_merge
from titans.tiers.compact.ranges import Input, merged_ranges
from titans.tiers.manifest.commit import read_head

BY = ["k", TIME]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def rows(pairs, v=0):
    """`[("a", 3)]` → change points of the small provider, sorted: key a, minute 3."""
    frame = pl.DataFrame(
        [
            (key, at(0) + timedelta(seconds=second), v, 0.5, False)
            for key, second in sorted(set(pairs))
        ],
        schema=dict(PROVIDER.schema_dtypes),
        orient="row",
    )
    return frame.sort(BY)


def merged(frames, monkeypatch, fit, corrections=()):
    monkeypatch.setattr(ranges, "rows_within", lambda memory, provider: fit)
    inputs = [Input(f.lazy(), f.height) for f in frames] + [
        Input(f.lazy(), f.height, True) for f in corrections
    ]
    return [r.rows for r in merged_ranges(inputs, PROVIDER)]


SHAPES = {
    "interleaved": [[(f"k{i:03}", i % 7 + 10 * n) for i in range(200)] for n in range(3)],
    "one key has nine rows of ten": [
        [("hot", s + 1000 * n) for s in range(270)] + [(f"k{i}", 1000 * n) for i in range(30)]
        for n in range(3)
    ],
    "a single key": [[("only", s + 500 * n) for s in range(300)] for n in range(4)],
    "one after the other": [[(f"{n}-{i:03}", 5) for i in range(150)] for n in range(4)],
    "one is much longer": [[(f"k{i:04}", 1) for i in range(900)], [("k0450", 2)], [("z", 3)]],
    "one is empty": [[], [("a", 1), ("b", 1)], []],
    "the same rows twice": [[(f"k{i}", 1) for i in range(90)]] * 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("fit", [1, 7, 100, 10**6])
@pytest.mark.parametrize("shape", SHAPES)
def test_ranges_give_what_a_merge_in_memory_gives(shape, fit, monkeypatch):
    frames = [rows(pairs, v=n) for n, pairs in enumerate(SHAPES[shape])]
    found = merged(frames, monkeypatch, fit)
    expected = resolve([f for f in frames if f.height], [], PROVIDER)
    assert pl.concat(found).equals(expected)
    most = max(fit // len(frames), 1) * len(frames)
    assert all(0 < f.height <= most for f in found)  # never more rows at once than are allowed


@pytest.mark.parametrize("fit", [2, 9, 1000])
def test_corrections_yield_to_real_rows_in_ranges_too(fit, monkeypatch):
    real, correction = rows([("a", 1), ("b", 2)], v=1), rows([("a", 1), ("b", 1), ("c", 5)], v=2)
    found = pl.concat(merged([real], monkeypatch, fit, [correction]))
    assert found.select("k", "v").rows() == [("a", 1), ("b", 2), ("b", 1), ("c", 2)]


def uploaded(store):
    archive = Archive(store, PROVIDER)
    for n in range(8):
        live = pl.DataFrame(
            {"k": [f"k{i:02}" for i in range(n, n + 20)], "v": list(range(20)), "w": [0.5] * 20}
        )
        archive.upload(live.with_columns(pl.lit(n == 5).alias(CEASED)), at(n))
    return archive


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_merged_file_is_the_same_byte_for_byte_however_little_memory_there_was(
    kind, tmp_path, monkeypatch
):
    files = []
    for fit in (1, 13, 10**6):
        archive = uploaded(MemoryStore() if kind == "memory" else LocalStore(tmp_path / str(fit)))
        with monkeypatch.context() as patched:
            patched.setattr(ranges, "rows_within", lambda memory, provider, fit=fit: fit)
            assert archive.compact().merged == 1
        (entry,) = archive.files().to_dicts()
        key = next(e.key for e in archive.store.list("parquet_warm") if e.key.endswith(".parquet"))
        files.append(archive.store.get(key).data)
        assert entry["rows"] == 160
        assert archive.verify(deep=True).passed
    assert files[0] == files[1] == files[2]


def test_a_row_too_many_or_too_few_is_noticed_before_anything_is_written(monkeypatch):
    archive = uploaded(MemoryStore())
    with monkeypatch.context() as patched:
        patched.setattr("titans.tiers.compact.compactor.next_merge", lambda manifest: None)
        archive.compact()
    manifest = read_head(archive._dataset, Month(2026, 1)).manifest
    before = {e.key for e in archive.store.list()}
    monkeypatch.setattr(ranges, "rows_within", lambda memory, provider: 16)

    with monkeypatch.context() as patched, pytest.raises(CorruptFileError, match="do not add up"):
        patched.setattr(
            "titans.tiers.compact.output.merged_ranges",
            lambda i, p, m: iter([*merged_ranges(i, p, m)][:-1]),
        )
        merge(archive._dataset, manifest, next_merge(manifest))
    assert {e.key for e in archive.store.list()} == before


@pytest.mark.usefixtures("eight_by_eight")
def test_a_budget_leaves_merges_to_the_next_run():
    archive = Archive(MemoryStore(), PROVIDER)
    for n in range(16):
        archive.upload(pl.DataFrame({"k": ["a"], "v": [n], "w": [0.5]}), at(n - 12))
    first = archive.compact(budget_seconds=0)
    assert (first.adopted, first.merged, first.unfinished) == (16, 1, True)
    second = archive.compact(budget_seconds=0)
    assert (second.merged, second.unfinished) == (1, False)
    assert archive.history(k="a")["v"].to_list() == list(range(16))
    assert archive.verify(deep=True).passed


@pytest.mark.parametrize(
    "arguments", [{"budget_seconds": -1}, {"memory_limit": 1000}, {"memory_limit": "1G"}]
)
def test_a_budget_makes_sense(arguments):
    with pytest.raises(InputError, match=r"budget_seconds is|memory_limit is in bytes"):
        Archive(MemoryStore(), PROVIDER).compact(**arguments)


PEAK = """
import re, sys
from datetime import datetime, timedelta, UTC
import polars as pl
from oracle import PROVIDER
from titans.tiers.compact.ranges import Input, merged_ranges
from titans.tiers.files.parquet import sink
from titans.tiers.files.metadata import FileInfo
from pathlib import Path

folder, memory = Path(sys.argv[1]), int(sys.argv[2])
start, n = datetime(2026, 1, 1, tzinfo=UTC), 600_000
inputs = []
for i in range(4):
    path = folder / f"{i}.parquet"
    if not path.exists():
        at = pl.lit(start + timedelta(hours=i)).cast(pl.Datetime("us", "UTC"))
        key = pl.int_range(n).cast(pl.String).str.zfill(9) if sys.argv[3] == "keys" else pl.lit("only")
        rows = pl.select(key.alias("k"), (at + pl.duration(milliseconds=pl.int_range(n))).alias("Time"),
            pl.int_range(n).alias("v"), (pl.int_range(n) / 7).alias("w"), pl.lit(False).alias("Ceased"))
        sink(rows.lazy(), path, lambda: FileInfo.describe(rows, PROVIDER, "merged", ()), PROVIDER)
    else:
        inputs.append(Input(pl.scan_parquet(path), n))
count = sum(r.rows.height for r in merged_ranges(inputs, PROVIDER, memory))
status = Path("/proc/self/status").read_text()  # not ru_maxrss, which begins with what the parent process had
print(count, int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc"
)
@pytest.mark.parametrize("keys", ["keys", "one key"])
def test_memory_is_bounded_whatever_the_keys(tmp_path, keys):
    """2.4 million rows are some 200 MiB in memory, several times that while they are put in order;
    here in 24 MiB."""

    def run():
        command = [sys.executable, "-c", PEAK, str(tmp_path), str(24 << 20), keys]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=ENVIRONMENT
        ).stdout.split()

    run()  # makes the files
    count, peak = map(int, run())
    assert count == 4 * 600_000
    assert peak < 200  # MiB; Python with polars alone takes some 70, and all rows several times 200
