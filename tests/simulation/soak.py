"""Runs of the simulation, one seed after the other: `soak.py --seconds 600`, or `--seed 17` to see
one step by step."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path

os.environ.setdefault(
    "POLARS_MAX_THREADS", "1"
)  # frames of three rows: half of the time went into waking threads
sys.path[0] = str(Path(__file__).resolve().parents[1])  # tests/, as pytest has it

from simulation.store import FAULTS
from simulation.world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    given = parser.parse_args()
    if given.seed is not None:
        outcome = simulate(given.seed)
        print(outcome)
        return 0 if outcome.failure is None else 1
    fired: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
    done: Counter[str] = Counter()
    began, runs, steps = time.monotonic(), 0, 0
    for seed in count(given.start):
        outcome = simulate(seed)
        if outcome.failure is not None:
            print(outcome)
            print(f"rerun it with: python {sys.argv[0]} --seed {seed}")
            return 1
        fired, done, runs, steps = (
            fired + outcome.fired,
            done + outcome.done,
            runs + 1,
            steps + outcome.steps,
        )
        if time.monotonic() - began > given.seconds:
            break
    spent = time.monotonic() - began
    print(
        f"{runs} runs, seeds {given.start} to {seed}, {steps:,} steps, {runs / spent:.1f} runs a "
        "second: nothing found"
    )
    for title, counts in (("faults", fired), ("jobs", done)):
        print(f"\n{title}")
        for name, number in sorted(counts.items()):
            print(f"  {number:8,}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
