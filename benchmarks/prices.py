"""What a year of an archive costs on S3: requests counted on a server, priced by the list.

    make prices                      # about six minutes on two cores

Each provider's example data (every key there is) goes to SeaweedFS on this machine, three ways:
`upload` and the compaction of `run_compaction`; `ingest` by a process that stays; `ingest` by a new
process in every slot (AWS Lambda). `SLOTS` slots have two merges of the highest level and two
keyframes in them, as often as in a year. Results go to `benchmarks/results/prices.jsonl`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compare import RESULTS, machine

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import polars as pl

from titans import Archive, Provider, plugins
from titans.changes.conform import conform_snapshot
from titans.changes.state import delta
from titans.store.s3 import S3Store

# The only place of prices. Amazon S3 Standard, US East (N. Virginia), USD, list prices as of 2025;
# look them up before you rely on them.
PRICES = {
    "as of": "2025",
    "region": "us-east-1",
    "write": 0.005 / 1000,
    "read": 0.0004 / 1000,
    "gigabyte_month": 0.023,
}
"""`write`: PUT, COPY, POST, LIST; `read`: GET, HEAD and all others; DELETE costs nothing. A
gigabyte has 1024³ bytes."""
WRITES = {
    "PutObject",
    "CopyObject",
    "ListObjectsV2",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
}
FREE = {"DeleteObject", "DeleteObjects", "AbortMultipartUpload"}

YEAR = 52_560
"""Slots."""
SLOTS = 384
START = datetime(2026, 1, 1, tzinfo=UTC)
MOST = 60_000
"""Keys asked for; no example has so many."""
WAYS = ("upload + compaction", "ingest", "ingest, new process")


def classified(requests: Counter[str]) -> dict[str, int]:
    """Requests by name → by price."""
    found = {"write": 0, "read": 0, "free": 0}
    for name, count in requests.items():
        found["write" if name in WRITES else "free" if name in FREE else "read"] += count
    return found


def year_costs(requests: dict[str, float], bytes_a_slot: float) -> dict[str, float]:
    """USD of a year. `requests`: of a slot, mean. Storage: what accumulates in the first year, half
    of it on the average.
    """
    gigabytes = bytes_a_slot * YEAR / 2**30
    return {
        "requests_usd": YEAR
        * (requests["write"] * PRICES["write"] + requests["read"] * PRICES["read"]),
        "gigabytes": gigabytes,
        "storage_usd": gigabytes / 2 * 12 * PRICES["gigabyte_month"],
    }


def counted(client: Any) -> Counter[str]:
    """From now on, the requests of this client by name."""
    seen: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        seen[model.name] += 1

    client.meta.events.register("before-call.s3", count)
    return seen


def measured(
    client: Any, seen: Counter[str], bucket: str, provider: Provider, slots: int
) -> list[dict[str, Any]]:
    """One line for each way."""
    lines = []
    for number, way in enumerate(WAYS):
        prefix = f"{provider.name}-{number}"
        archive = Archive(S3Store(bucket, prefix, client=client), provider)
        before = pl.DataFrame()
        kinds: Counter[str] = Counter()
        quiet: list[int] = []
        for slot, snapshot in enumerate(provider.example(7, MOST, slots)):
            at = START + slot * timedelta(minutes=10)
            now, _ = conform_snapshot(snapshot, provider)
            rows = delta(before if slot else now.clear(), now, at, provider).rows
            before = now
            if way == WAYS[2]:
                archive = Archive(S3Store(bucket, prefix, client=client), provider)
            seen.clear()
            if way != WAYS[0]:
                archive.ingest(snapshot, at)
            elif key := archive.upload(rows, at):
                archive.compact(key, budget_seconds=60)
            if slot:  # the first slot has the check of the server, and every key
                kinds.update(seen)
                quiet.append(sum(seen.values()))
        archive.seal(f"{START:%Y-%m}")
        archive.vacuum("0s")
        stored = sum(entry.size for entry in archive.store.list())
        each = {kind: count / (slots - 1) for kind, count in classified(kinds).items()}
        lines.append(
            {
                "kind": "price",
                "provider": provider.name,
                "way": way,
                "keys": before.height,
                "slots": slots,
                "requests": each,
                "median": sorted(quiet)[len(quiet) // 2],
                "most": max(quiet),
                "bytes_a_slot": stored / slots,
                **year_costs(each, stored / slots),
            }
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--provider", action="append", help="only this one; may be given several times"
    )
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    from fixtures_stores import SHARED, serving

    lines: list[dict[str, Any]] = [
        machine("titans-core", "polars", "boto3") | {"command": "make prices", "prices": PRICES}
    ]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="titans-prices-"))
        server = stack.enter_context(serving(lambda: Path(tempfile.mkdtemp(dir=folder))))
        client = stack.enter_context(contextlib.closing(server.client()))
        seen = counted(client)
        for name in given.provider or sorted(plugins.providers()):
            lines += measured(client, seen, SHARED, plugins.load(name), given.slots)
            print(f"{name}: done", flush=True)
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "prices.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
