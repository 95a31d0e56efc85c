"""A copy of the page with its data, as files for any web server: `titans explore --static`.

The data is all change points of the range, and what held at its start. The page answers from them
what the server would: states, histories, groups, differences, the calendar. SQL is left out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from titans.errors import InputError
from titans.schema import CEASED, TIME
from titans.slots import TICK, iso
from titans.store import ObjectStore
from titans_explorer.assets import PAGE
from titans_explorer.encode import as_file, kind_of, millis, ms
from titans_explorer.limits import Limits
from titans_explorer.questions import Question
from titans_explorer.questions.overview import about, bounds_of, calendar
from titans_explorer.shelf import Shelf
from titans_explorer.wishes import Wishes

__all__ = ["write_still"]

_ROWS = 400_000
"""Change points of an archive that a page can hold."""
_MARK = '<meta name="titans-still" content="1">'


def write_still(
    store: ObjectStore | str | Path | None,
    folder: Path,
    *,
    providers: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> str:
    """Write the copy to a new folder; says what was written.

    Raises:
        InputError: the folder is there, the store holds no archive, or a range has too many change
            points for a page.
    """
    if folder.exists():
        raise InputError(f"{folder} is there; give the name of a new folder, or remove it")
    shelf = Shelf(store, providers, Limits())
    names = shelf.names()
    if not names:
        raise InputError("the store holds no archive of an installed provider")
    # All is made before anything is written.
    archives = {name: _Archive(shelf, name, start, end) for name in names}

    shutil.copytree(PAGE, folder)
    page = (folder / "index.html").read_text(encoding="utf-8")
    page = page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{_MARK}')
    page = page.replace("js/remote.js", "js/still.js")
    (folder / "index.html").write_text(page, encoding="utf-8")
    data = folder / "data"
    data.mkdir()
    listed = [{"provider": name, "store": shelf.label(name)} for name in names]
    _write(data / "store.json", {"archives": listed, "sql": False, "still": True})
    for name, archive in archives.items():
        _write(data / f"{name}.json", archive.data)
        (data / f"{name}-changes.parquet").write_bytes(as_file(archive.points, "parquet"))

    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    points = sum(archive.points.height for archive in archives.values())
    return (
        f"{folder}: {len(names)} archive(s), {points:,} change points, {size / 1e6:.1f} MB. Any "
        f"web server can show it; to try: python -m http.server -d {folder}"
    )


class _Archive:
    """What a copy has of one archive."""

    def __init__(
        self, shelf: Shelf, name: str, start: datetime | None, end: datetime | None
    ) -> None:
        archive = shelf.archive(name)
        question = Question(shelf, name, Wishes({}, archive.provider, shelf.limits))
        first, last = bounds_of(question)
        start, end = start or first, end or last + TICK
        if start >= end:
            raise InputError(f"the range ends ({iso(end)}) before it begins ({iso(start)})")
        count = archive.scan(start, end).select(pl.len()).collect().item()
        if count > _ROWS:
            raise InputError(
                f"{name} has {count:,} change points from {iso(start)} to {iso(end)}; a page holds "
                f"at most {_ROWS:,}. Give a shorter range with --from and --to"
            )
        self.points = archive.changes(start, end)
        held = archive.state(start - TICK).with_columns(pl.lit(False).alias(CEASED))
        rows = pl.concat([held.select(self.points.columns), self.points])
        self.data = _facts(question, max(start, first), min(end - TICK, last))
        self.data["points"] = _columnar(rows.sort(TIME, maintain_order=True), archive.provider.key)


def _facts(question: Question, start: datetime, end: datetime) -> dict[str, Any]:
    """The answers that are made ahead: about the archive, and its calendar."""
    facts = dict(about(question).data)
    facts |= {"first": ms(start), "last": ms(end)}
    until = end + question.archive.provider.every
    given = {"from": (iso(start),), "to": (iso(until),)}
    wishes = Wishes(given, question.archive.provider, question.shelf.limits)
    days = calendar(Question(question.shelf, question.name, wishes))
    return {"about": facts, "calendar": days.data, "python": question.opened}


def _columnar(rows: pl.DataFrame, key: tuple[str, ...]) -> dict[str, Any]:
    """Rows by column: keys numbered, times in milliseconds."""
    names = list(key)
    keys = rows.select(names).unique().sort(names).with_row_index("n")
    numbers = rows.select(names).join(keys, on=names, how="left", maintain_order="left")["n"]
    values = {}
    for name in rows.columns:
        if name not in (*names, TIME, CEASED):
            values[name] = _values(rows[name])
    return {
        "keys": keys.drop("n").rows(),
        "key": numbers.to_list(),
        "time": millis(rows, TIME),
        "ceased": rows[CEASED].cast(pl.Int8).to_list(),
        "values": values,
    }


def _values(column: pl.Series) -> list[Any]:
    from titans_explorer.encode import rows

    kind = kind_of(column.dtype)
    plain = [value for (value,) in rows(column.to_frame())]
    return [str(v) if kind == "text" and v is not None else v for v in plain]


def _write(file: Path, data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    file.write_text(text, encoding="utf-8")
