"""What a question opens and reads while an archive grows older, and where changes are rare.

    make flat                        # two archives of a year, about two minutes
    python benchmarks/flat.py --slots-a-month 12

Exact numbers: objects opened (footers, manifests and listings included) and bytes read, of a new
process that asks a store elsewhere. The same questions are asked after each of some months, always
about the last month that is sealed and the open one; nothing may grow with the months before.
Results go to `benchmarks/results/flat.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from compare import RESULTS, machine
from workload import KEY
from year import MONTHS, CountedStore, Year

from titans import Archive, plugins
from titans.slots import Month
from titans.tiers.files.kept import KEPT
from titans.tiers.files.parts import forget

AGES = (3, 6, 9, 12)
"""Months of the archive after which is asked."""
ARCHIVES = {"dense": 0.04, "sparse": 0.0005}
"""Which share of the keys changes in a slot."""
KEYS = 2000
SLACK, ONE = 1.25, 2


class Far(CountedStore):
    """As a store behind a network is asked; counts the bytes it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.parallel = True
        self.opened: set[str] = set()
        self.bytes = 0

    def get(self, key: str) -> Any:
        blob = super().get(key)
        self.opened.add(key)
        self.bytes += len(blob.data)
        return blob

    def get_range(self, key: str, start: int, end: int) -> bytes:
        data = super().get_range(key, start, end)
        self.opened.add(key)
        self.bytes += len(data)
        return data


def questions(month: Month, key: dict[str, str]) -> dict[str, Callable[[Archive], Any]]:
    """About a month that is over, and about now."""
    day = month.start + timedelta(days=14)
    return {
        "state, last month": lambda a: a.state(day),
        "latest": lambda a: a.latest(),
        "a key's last month": lambda a: a.history(month.start, month.end, **key),
        "an hour": lambda a: a.changes(day, day + timedelta(hours=1)),
        "a key's grid of a day": lambda a: a.grid(day, day + timedelta(days=1), "1h", **key),
        "two moments of a key": lambda a: a.diff(day, day + timedelta(days=3), **key),
    }


def asked(store: Far, ask: Callable[[Archive], Any]) -> dict[str, int]:
    """What a new process takes to answer."""
    KEPT.clear()
    forget()
    store.opened, store.bytes, calls = set(), 0, store.calls
    ask(Archive(store, plugins.load("aws")))
    return {
        "objects": len(store.opened),
        "bytes": store.bytes,
        "requests": store.calls - calls,
    }


def measured(change: float, slots: int | None, keys: int) -> list[dict[str, Any]]:
    """One line for each age and question."""
    year = Year(keys, change=change, store=Far())
    lines = []
    for age, month in enumerate(MONTHS, start=1):
        year.step(month, slots)
        if age not in AGES:
            continue
        store = year.store
        assert isinstance(store, Far)
        key = dict(zip(KEY, year.market.snapshot().select(KEY).row(keys // 3), strict=True))
        for name, ask in questions(month.previous(), key).items():
            lines.append({"question": name, "months": age, **asked(store, ask)})
    return lines


def grown(lines: list[dict[str, Any]]) -> list[str]:
    """What grew with the age of an archive: empty if all is well."""
    found = []
    for line in lines:
        same = ("archive", "question")
        first = next(each for each in lines if all(each[name] == line[name] for name in same))
        for name in ("objects", "bytes"):
            if line[name] > max(SLACK * first[name], first[name] + ONE):
                found.append(
                    f"{line['archive']}: {line['question']} takes {line[name]:,} {name} after "
                    f"{line['months']} months, {first[name]:,} after {first['months']}"
                )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots-a-month", type=int, default=576, help="equally far apart")
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    about = machine("titans-core", "polars") | {
        "command": "make flat",
        "slots_a_month": given.slots_a_month,
        "keys": given.keys,
    }
    lines = []
    for name, change in ARCHIVES.items():
        for line in measured(change, given.slots_a_month, given.keys):
            lines.append({"archive": name, "change": change, **line})
    given.results.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in [about, *lines])
    (given.results / "flat.jsonl").write_text(text)
    problems = grown(lines)
    print("\n".join(problems) or "nothing grew with the age of the archive")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
