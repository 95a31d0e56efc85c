"""What a slot costs as an archive grows older, and as it has more keys.

    make growth                      # about ten minutes on two cores

Age: 100 keys, every slot of 1, 3 and 12 months (52,560 slots), in memory. Keys: 10,000 to a million, `SLOTS` slots, on disk. Each in a
process of its own; results go to `benchmarks/results/growth.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compare import RESULTS, child, machine, peak_memory
from workload import SLOT, Market, moment

AGES = (1, 3, 12)
KEYS = (10_000, 60_000, 200_000, 1_000_000)
SLOTS = 200
"""More than 192, so that every level was merged once, and a state may start from a keyframe."""
AGE_KEYS = 100
PROBES = 9
CHANGE = 0.04


def aged(job: dict[str, Any]) -> dict[str, Any]:
    """Slots of whole months, and what the last month costs."""
    from titans import Archive
    from titans.plugins import load
    from titans.store.memory import MemoryStore

    archive, market = Archive(MemoryStore(), load("aws")), Market(AGE_KEYS, CHANGE)
    end = datetime(2026, job["months"] + 1, 1, tzinfo=UTC) if job["months"] < 12 else datetime(2027, 1, 1, tzinfo=UTC)
    slots = (end - moment(0)) // SLOT
    if job.get("slots"):
        slots = min(slots, job["slots"])
    times = stored(archive, market, slots)
    last = times[-min(len(times), 4000) :]
    return {"months": job["months"], "keys": AGE_KEYS, "slots": slots, "total_s": sum(times) / 1e3} | costs(
        archive, last, slots
    )


def keyed(job: dict[str, Any]) -> dict[str, Any]:
    """`SLOTS` slots of many keys, and what the last ones cost."""
    from titans import Archive
    from titans.plugins import load
    from titans.store.local import LocalStore

    with tempfile.TemporaryDirectory(prefix="titans-growth-") as folder:
        archive, market = Archive(LocalStore(folder), load("aws")), Market(job["keys"], CHANGE)
        times = stored(archive, market, job["slots"])
        found = {"keys": job["keys"], "slots": job["slots"], "total_s": sum(times) / 1e3}
        return found | costs(archive, times[1:], job["slots"])


def stored(archive: Any, market: Market, slots: int) -> list[float]:
    """Upload and compact slot after slot; milliseconds of each."""
    times = []
    for slot in range(slots):
        rows = market.step()
        began = time.perf_counter()
        key = archive.upload(rows, moment(slot))
        if key:
            archive.compact(key, budget_seconds=1.0)
        times.append((time.perf_counter() - began) * 1e3)
    return times


def costs(archive: Any, times: list[float], slots: int) -> dict[str, Any]:
    """Of the slots stored last, of a state a little before the end, and of the manifest of the last month."""
    from titans.slots import Month

    at = moment(slots - 1)
    states = []
    for probe in range(PROBES):
        began = time.perf_counter()
        archive.state(at - timedelta(hours=probe))
        states.append((time.perf_counter() - began) * 1e3)
    manifest = archive.store.get(archive.paths.manifest_key(Month.of(at)))
    ranked = sorted(times)
    return {
        "slot_p50_ms": statistics.median(ranked), "slot_p99_ms": ranked[int(0.99 * (len(ranked) - 1))],
        "slot_max_ms": ranked[-1], "state_ms": statistics.median(states), "manifest_bytes": len(manifest.data),
        "peak_bytes": peak_memory(),
    }  # fmt: skip


def main() -> int:
    if "--job" in sys.argv:
        job = json.loads(sys.argv[-1])
        Path(job["answer"]).write_text(json.dumps({"age": aged, "keys": keyed}[job["do"]](job)))
        os._exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, nargs="*", default=KEYS)
    parser.add_argument("--months", type=int, nargs="*", default=AGES)
    parser.add_argument("--slots", type=int, default=SLOTS, help="of each number of keys")
    parser.add_argument("--most", type=int, default=0, help="slots of a number of months, at most; 0: all of them")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    began = time.monotonic()
    lines: list[dict[str, Any]] = [machine("titans-core", "polars") | {"command": "make growth", "change": CHANGE}]
    for months in given.months:
        lines.append({"kind": "age"} | child(Path(__file__), {"do": "age", "months": months, "slots": given.most}))
        print(f"{months} months: {lines[-1]['total_s']:.0f} s", flush=True)
    for keys in given.keys:
        lines.append({"kind": "keys"} | child(Path(__file__), {"do": "keys", "keys": keys, "slots": given.slots}))
        print(f"{keys:,} keys: {lines[-1]['total_s']:.0f} s", flush=True)
    lines[0]["seconds"] = round(time.monotonic() - began)
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "growth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
