"""A collector of the original layout: uploads, adopts, merges and deletes as that one does, in code
of our own. It knows nothing of TITANS, and nothing of slots that come late.

The names of files, the fields of the manifest and the order of the steps are those of the original;
see docs/format.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import polars as pl
from attrs import define, field

from titans.errors import NotFound
from titans.store import ObjectStore

__all__ = ["Collector"]

FANOUT = 8
TOP = 3
"""Files of this level are merged no further."""


def _parquet(rows: pl.DataFrame) -> bytes:
    out = BytesIO()
    rows.write_parquet(out, compression="zstd")
    return out.getvalue()


@define
class Collector:
    """One process of the original, in one store, for one provider."""

    store: ObjectStore
    provider: str
    key: Sequence[str]
    dtypes: Mapping[str, Any]
    """Column → polars dtype: key, `Time`, values, `Ceased`."""
    keeps_fields: bool = False
    """Whether it saves the fields of the manifest that it does not know (no original does)."""
    data: dict[str, Any] = field(factory=dict)

    def run(self, rows: pl.DataFrame, timestamp: datetime) -> str:
        """One slot: upload, delete what the last slot put off, adopt and merge."""
        key = self.upload(rows, timestamp)
        self.compact(key, timestamp)
        return key

    def upload(self, rows: pl.DataFrame, timestamp: datetime) -> str:
        key = f"parquet_cp_hot/{self.provider}/{self._slot(timestamp):%Y/%m/%d/%H-%M}.parquet"
        if not self._has(key):
            rows = rows.select(pl.col(name).cast(dtype) for name, dtype in self.dtypes.items())
            self.store.create(key, _parquet(rows.sort([*self.key, "Time"])))
        return key

    def compact(self, key: str, timestamp: datetime) -> None:
        self._load(timestamp)
        for old in self.data["pending_deletions"]:
            self.store.delete(old)
        self.data["pending_deletions"] = []

        slot = self._slot(timestamp).isoformat()
        seen = self.data["last_processed_time"]
        if seen is not None and datetime.fromisoformat(slot) <= datetime.fromisoformat(seen):
            return  # as the original: the deletions are not saved either
        index = self.data["last_hot_idx"] = self.data["last_hot_idx"] + 1
        self._level(0).append({"file": key, "hot_range": [index, index]})
        self._merge(0, timestamp)
        self.data["last_processed_time"] = slot
        self._save(timestamp)

    def rows(self, month: datetime) -> pl.DataFrame:
        """All rows of a month, as its readers see them: the files of the manifest, put together."""
        self._load(month)
        names = []
        for level in self.data["levels"]:
            for entry in self.data["levels"][level]:
                names.append(self._key(int(level), entry["file"], month))
        return self._together(names)

    # --- the manifest -----------------------------------------------------------------------------

    def _folder(self, timestamp: datetime) -> str:
        return f"parquet_warm/{self.provider}/m8/{timestamp.year}/{timestamp.month:02d}/"

    def _load(self, timestamp: datetime) -> None:
        try:
            found = json.loads(self.store.get(self._folder(timestamp) + "manifest.json").data)
        except NotFound:
            found = {}
        known = {
            "next_file_id": found.get("next_file_id", 0),
            "last_hot_idx": found.get("last_hot_idx", -1),
            "last_processed_time": found.get("last_processed_time"),
            "pending_deletions": list(found.get("pending_deletions", [])),
        }
        levels = {}
        for level, entries in found.get("levels", {}).items():
            levels[level] = [
                {"file": entry["file"], "hot_range": entry["hot_range"]} for entry in entries
            ]
        kept = found if self.keeps_fields else {}
        self.data = {**kept, **known, "levels": levels}

    def _save(self, timestamp: datetime) -> None:
        levels = {level: entries for level, entries in self.data["levels"].items() if entries}
        body = {
            **self.data,
            "m": FANOUT,
            "provider": self.provider,
            "year": timestamp.year,
            "month": timestamp.month,
            "pk_columns": list(self.key),
            "max_level": TOP,
            "last_updated": datetime.now(UTC).isoformat(),
            "levels": levels,
        }
        name = self._folder(timestamp) + "manifest.json"
        data = json.dumps(body, indent=2).encode()
        if self._has(name):
            self.store.replace(name, data, self.store.get(name).etag)
        else:
            self.store.create(name, data)

    def _level(self, level: int) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.data["levels"].setdefault(str(level), [])
        return entries

    def _key(self, level: int, file: str, timestamp: datetime) -> str:
        return file if level == 0 else self._folder(timestamp) + file

    # --- merging ----------------------------------------------------------------------------------

    def _merge(self, level: int, timestamp: datetime) -> None:
        while level < TOP and len(self._level(level)) >= FANOUT:
            group, rest = self._level(level)[:FANOUT], self._level(level)[FANOUT:]
            self.data["levels"][str(level)] = rest
            names = [self._key(level, entry["file"], timestamp) for entry in group]
            first = min(entry["hot_range"][0] for entry in group)
            last = max(entry["hot_range"][1] for entry in group)
            file = f"L{level + 1}_{self.data['next_file_id']:04d}_{first:05d}-{last:05d}.parquet"
            self.data["next_file_id"] += 1
            name = self._folder(timestamp) + file
            if self._has(name):
                self.store.delete(name)  # a put replaces what is there
            self.store.create(name, _parquet(self._together(names)))
            self._level(level + 1).append({"file": file, "hot_range": [first, last]})
            self.data["pending_deletions"] += names
            self._merge(level + 1, timestamp)

    def _together(self, names: Sequence[str]) -> pl.DataFrame:
        frames = [pl.DataFrame(schema=dict(self.dtypes))]
        for name in names:
            rows = pl.read_parquet(BytesIO(self.store.get(name).data))
            frames.append(rows.cast({c: self.dtypes[c] for c in rows.columns if c in self.dtypes}))
        by = [*self.key, "Time"]
        rows = pl.concat(frames, how="diagonal").sort([*by, "Ceased"])
        return rows.unique(by, keep="first").sort(by)

    def _has(self, key: str) -> bool:
        try:
            self.store.head(key)
        except NotFound:
            return False
        return True

    @staticmethod
    def _slot(timestamp: datetime) -> datetime:
        return timestamp.replace(minute=timestamp.minute // 10 * 10, second=0, microsecond=0)


# --- the original's two scripts -------------------------------------------------------------------


def clean_orphans(store: ObjectStore, provider: str, month: datetime) -> list[str]:
    """Delete what the month's manifest does not list: warm files, and hot files up to the last
    slot that it says is done. Returns the keys.
    """
    folder = f"parquet_warm/{provider}/m8/{month.year}/{month.month:02d}/"
    hot = f"parquet_cp_hot/{provider}/{month.year}/{month.month:02d}/"
    manifest = json.loads(store.get(folder + "manifest.json").data)
    active = {folder + "manifest.json", *_active(manifest, folder)}
    done = datetime.fromisoformat(manifest["last_processed_time"])

    orphans = [e.key for e in store.list(folder) if e.key not in active]
    for entry in store.list(hot):
        slot = datetime.strptime(entry.key[len(hot) - 8 :], "%Y/%m/%d/%H-%M.parquet")
        if entry.key not in active and slot.replace(tzinfo=UTC) <= done:
            orphans.append(entry.key)
    for key in orphans:
        store.delete(key)
    return orphans


def clean_sentinels(
    store: ObjectStore, provider: str, month: datetime, values: Sequence[str]
) -> list[str]:
    """Rewrite every listed file without the rows that have -1 in a value column. Returns the keys
    of those that had some.
    """
    folder = f"parquet_warm/{provider}/m8/{month.year}/{month.month:02d}/"
    manifest = json.loads(store.get(folder + "manifest.json").data)
    changed = []
    for key in _active(manifest, folder):
        found = store.get(key)
        rows = pl.read_parquet(BytesIO(found.data))
        sentinel = pl.any_horizontal(pl.col(name) == -1 for name in values if name in rows.columns)
        kept = rows.filter(~sentinel.fill_null(value=False))
        if kept.height < rows.height:
            store.replace(key, _parquet(kept), found.etag)
            changed.append(key)
    return changed


def _active(manifest: Mapping[str, Any], folder: str) -> list[str]:
    keys = []
    for level, entries in manifest["levels"].items():
        for entry in entries:
            keys.append(entry["file"] if level == "0" else folder + entry["file"])
    return keys
