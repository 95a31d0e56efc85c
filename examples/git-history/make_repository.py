"""Makes a git repository as people publish them: a job commits, hour by hour, what a source says.

    python make_repository.py prices-repository

It has one file, data/prices.json, with a made-up market of spot prices, and ten days of commits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from titans.plugins import load

START = datetime(2026, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FILE = "data/prices.json"
WHO = "price bot <bot@prices.example>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=int, default=240)
    parser.add_argument("--keys", type=int, default=120)
    given = parser.parse_args()
    if given.folder.exists():
        sys.exit(f"{given.folder} is there; give the name of a new folder")

    git = ["git", "-C", str(given.folder)]
    subprocess.run(["git", "init", "-q", "-b", "main", str(given.folder)], check=True)
    stream = b"".join(commits(given.hours, given.keys))
    subprocess.run([*git, "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run([*git, "checkout", "-q", "main"], check=True)
    print(f"{given.hours} commits of {FILE} in {given.folder}")


def commits(hours: int, keys: int) -> Iterator[bytes]:
    """What `git fast-import` reads: a commit for each hour."""
    for number, snapshot in enumerate(market(hours, keys)):
        at = START + number * HOUR
        when = f"{int(at.timestamp())} +0000"
        message = f"prices of {at:%Y-%m-%d %H:%M}".encode()
        document = {"updated": f"{at:%Y-%m-%dT%H:%M:%SZ}", "items": snapshot.to_dicts()}
        content = (json.dumps(document, indent=1) + "\n").encode()
        yield f"commit refs/heads/main\nauthor {WHO} {when}\ncommitter {WHO} {when}\n".encode()
        yield b"data %d\n%b\n" % (len(message), message)
        yield f"M 100644 inline {FILE}\n".encode()
        yield b"data %d\n%b\n" % (len(content), content)


def market(hours: int, keys: int) -> Iterator[pl.DataFrame]:
    """The market at every hour. One of the types is sold out for a day and a half."""
    slots = load("aws").example(seed=11, keys=keys, slots=6 * hours)
    sold_out = ""
    for number, snapshot in enumerate(slots):
        hour, minute = divmod(number, 6)
        if minute:
            continue
        sold_out = sold_out or snapshot["InstanceType"][0]
        if 0.4 <= hour / hours < 0.55:
            snapshot = snapshot.filter(pl.col("InstanceType") != sold_out)
        yield snapshot


if __name__ == "__main__":
    main()
