"""A listing of a folder shows what was acknowledged, whatever the file system's clock is worth."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PROVIDER, as_dict, at, snapshot

from titans import Archive
from titans.errors import NotFound
from titans.store import list_pages
from titans.store.local import LocalStore

SECOND = 1_000_000_000
TICKS = (1, 4_000_000, SECOND, 2 * SECOND, 86_400 * SECOND, 10**18)
"""Nanoseconds: of ext4, of its kernel, of ext3, of FAT, and of two file systems that tell no time."""
SKEWS = (0, 10 * SECOND, -10 * SECOND, 3_600 * SECOND, -(10**18))
"""How far the clock of this machine is before that of a file server."""

_stat = os.stat


@contextmanager
def coarse(root: Path, tick: int, skew: int) -> Iterator[None]:
    """Times below `root` are of `tick` nanoseconds; the process's clock is off by `skew`."""

    def stat(path, **how):
        info = _stat(path, **how)
        if not str(path).startswith(str(root)):
            return info
        facts = {name: getattr(info, name) for name in dir(info) if name.startswith("st_")}
        for name in ("st_mtime_ns", "st_ctime_ns", "st_atime_ns"):
            facts[name] -= facts[name] % tick
            facts[name.removesuffix("_ns")] = facts[name] / 1e9
        return SimpleNamespace(**facts)

    now = time.time_ns
    with patch("os.stat", stat), patch("time.time_ns", lambda: now() + skew):
        yield


def blur(root: Path, tick: int) -> None:
    """Round all times below `root` down, as the file system would have."""
    for path in [root, *root.rglob("*")]:
        info = _stat(path)
        rounded = info.st_mtime_ns - info.st_mtime_ns % tick
        os.utime(path, ns=(rounded, rounded))


KEYS = st.sampled_from(["a", "d/a", "d/b", "d/c", "d/sub/x", "d/sub/y", "e/a"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "replace", "delete", "look"]), KEYS, st.binary(max_size=2)
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(TICKS), st.sampled_from(SKEWS))
def test_a_listing_shows_every_acknowledged_object_and_no_other(steps, tick, skew):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "store")
        writer, reader = LocalStore(root), LocalStore(root)
        there: dict[str, int] = {}
        with coarse(root, tick, skew):
            for what, key, data in steps:
                if what == "create" and key not in there:
                    writer.create(key, data)
                    there[key] = len(data)
                elif what == "replace" and key in there:
                    writer.replace(key, data, writer.head(key).etag)
                    there[key] = len(data)
                elif what == "delete":
                    writer.delete(key)
                    there.pop(key, None)
                if root.exists():
                    blur(root, tick)

                assert {e.key: e.size for e in reader.list()} == there
                pages = [entry.key for page in list_pages(reader, "d/") for entry in page.entries]
                assert pages == sorted(key for key in there if key.startswith("d/"))


@pytest.mark.parametrize("tick", TICKS)
@pytest.mark.parametrize("skew", SKEWS)
def test_a_reader_of_an_archive_sees_every_acknowledged_slot(tmp_path, tick, skew):
    """Also one that a waiting file joined within a tick, long ago by this machine's clock."""
    writer, reader = (Archive(LocalStore(tmp_path), PROVIDER) for _ in range(2))
    with coarse(tmp_path, tick, skew):
        for n in (0, 1, 2, 13, 14, 15):
            writer.upload(snapshot({"a": (n, 0.5)}), at(n))
            blur(tmp_path, tick)
            assert as_dict(reader.latest()) == {"a": (n, 0.5)}
            with pytest.raises(NotFound):
                reader.store.get("parquet_hot/nothing")
