"""What a slot costs as an archive grows older, and as it has more keys.

    make growth                      # about twelve minutes on two cores

Age: 400 keys, every slot of a year, month by month (`year.py`), in memory. Keys: 10,000 to a
million, `SLOTS` slots, on disk. Results go to `benchmarks/results/growth.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from compare import RESULTS, child, machine, made, peak_memory
from workload import CHANGE, moment

KEYS = (10_000, 60_000, 200_000, 1_000_000)
SLOTS = 200
"""More than 192, so that every level was merged once, and a state may start from a keyframe."""
PROBES = 9


def aged(job: dict[str, Any]) -> dict[str, Any]:
    """The cost of every month of a year."""
    from year import KEYS as FEW
    from year import MONTHS, Year

    year = Year(FEW, snapshots=False)
    return {"keys": FEW, "months": [year.step(month, job["count"])._asdict() for month in MONTHS]}


def keyed(job: dict[str, Any]) -> dict[str, Any]:
    """What slots of many keys cost, the first one, which has them all, apart; and a state a little
    before the end.
    """
    import polars as pl

    from titans import Archive
    from titans.plugins import load
    from titans.slots import Month
    from titans.store.local import LocalStore

    archive, slots, times = Archive(LocalStore(job["store"]), load("aws")), job["slots"], []
    loaded = first_peak = peak_memory()
    for slot in range(slots):
        rows = pl.read_ipc(Path(job["workload"]) / f"{slot:05}.arrow")
        began = time.perf_counter()
        archive.compact(archive.upload(rows, moment(slot)), budget_seconds=1.0)
        times.append((time.perf_counter() - began) * 1e3)
        if slot == 0:
            first_peak = peak_memory()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    peak, at, states = peak_memory(), moment(slots - 1), []
    for probe in range(PROBES):
        began = time.perf_counter()
        archive.state(at - timedelta(hours=probe))
        states.append((time.perf_counter() - began) * 1e3)
    later = sorted(times[1:])
    return {
        "slots": slots,
        "first_ms": times[0],
        "p50_ms": statistics.median(later),
        "p95_ms": later[int(0.95 * (len(later) - 1))],
        "max_ms": later[-1],
        "total_s": sum(times) / 1e3,
        "state_ms": statistics.median(states),
        "loaded_bytes": loaded,
        "first_peak_bytes": first_peak,
        "peak_bytes": peak,
        "manifest_bytes": len(archive.store.get(archive.paths.manifest_key(Month.of(at))).data),
    }


def main() -> int:
    if "--job" in sys.argv:
        job = json.loads(sys.argv[-1])
        Path(job["answer"]).write_text(json.dumps({"age": aged, "keys": keyed}[job["do"]](job)))
        os._exit(0)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, nargs="*", default=KEYS)
    parser.add_argument("--slots", type=int, default=SLOTS, help="of each number of keys")
    parser.add_argument("--slots-a-month", type=int, help="of the year; by default all")
    parser.add_argument("--only", choices=("age", "keys"), help="keep what there is of the other")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    began, out = time.monotonic(), given.results / "growth.jsonl"
    about = machine("titans-core", "polars") | {"command": "make growth", "change": CHANGE}
    there = [json.loads(line) for line in out.read_text().splitlines()] if given.only else []
    months, keyed_lines = (([x for x in there if x["kind"] == kind]) for kind in ("month", "keys"))
    if given.only != "keys":
        job = {"do": "age", "count": given.slots_a_month}
        year = child(Path(__file__), job, POLARS_MAX_THREADS="1")
        months = [{"kind": "month", "keys": year["keys"]} | month for month in year["months"]]
        print(f"a year: {time.monotonic() - began:.0f} s", flush=True)
    if given.only != "age":
        keyed_lines = [grown_to(keys, given.slots) for keys in given.keys]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(line) + "\n" for line in (about, *months, *keyed_lines)))
    return 0


def grown_to(keys: int, slots: int) -> dict[str, Any]:
    """`keyed`, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="titans-growth-") as folder:
        job = {
            "do": "keys",
            "workload": str(made(Path(folder), slots, keys)),
            "store": f"{folder}/archive",
            "slots": slots,
        }
        found = {"kind": "keys", "keys": keys} | child(Path(__file__), job)
    print(f"{keys:,} keys: {found['total_s']:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
