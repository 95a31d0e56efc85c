"""TITANS and its peers, end to end: the same slots stored one by one, the same five questions,
every answer checked.

    make bench SIZE=small            # 1 day; medium: 7 days, large: 30 days, of 60,000 keys
    python benchmarks/compare.py --size tiny --keys 500 --peer titans --peer parquet

Each peer stores in a process of its own, and answers in others. Times are those of the calls alone:
reading the workload and importing libraries are not in them. Results go to
`benchmarks/results/SIZE.jsonl`, one line for the machine and one for each peer; a wrong answer ends
the run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
_TIMEOUT = 3600


# --- in a process of its own ----------------------------------------------------------------------


def store(job: dict[str, Any]) -> dict[str, Any]:
    """Store every slot; what that took."""
    import polars as pl
    from peers import PEERS
    from workload import moment

    peer = PEERS[job["peer"]](Path(job["store"]))
    began = time.perf_counter()
    peer.load()
    imports = _ms(began)
    peer.setup()
    before, times = _written(), []
    for slot in range(job["slots"]):
        rows = pl.read_ipc(Path(job["workload"]) / f"{slot:05}.arrow")
        began = time.perf_counter()
        peer.store(rows, moment(slot))
        times.append(_ms(began))
    began = time.perf_counter()
    peer.finish()
    finish = _ms(began)
    later = sorted(times[1:])
    return {
        "imports_ms": imports,
        "first_ms": times[0],
        "p50_ms": statistics.median(later),
        "p95_ms": later[int(0.95 * (len(later) - 1))],
        "max_ms": later[-1],
        "finish_ms": finish,
        "total_s": (sum(times) + finish) / 1e3,
        "peak_bytes": peak_memory(),
        "written_bytes": _written() - before,
        "disk_bytes": _size(Path(job["store"])),
    }


def ask(job: dict[str, Any]) -> dict[str, Any]:
    """Ask one question as often as there are arguments; the first time includes opening the
    store.
    """
    from peers import PEERS

    peer = PEERS[job["peer"]](Path(job["store"]))
    peer.load()
    times, answers = [], []
    for number, given in enumerate(job["arguments"]):
        arguments = {
            k: datetime.fromisoformat(v) if isinstance(v, str) else v for k, v in given.items()
        }
        began = time.perf_counter()
        if number == 0:
            peer.open()
        answers.append(getattr(peer, job["question"])(**arguments))
        times.append(_ms(began))
    peak = peak_memory()
    for number, answer in enumerate(answers):
        answer.write_ipc(Path(job["answers"]) / f"{number}.arrow")
    return {"times_ms": times, "peak_bytes": peak}


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1e3, 3)


def peak_memory() -> int:
    """The most memory this process ever had, in bytes. Not `ru_maxrss`: that begins with what the
    parent had.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/self/status says nothing of VmHWM; this measures on Linux only")


def _written() -> int:
    """Bytes that this process has handed to `write` so far."""
    return int(
        next(
            line
            for line in Path("/proc/self/io").read_text().splitlines()
            if line.startswith("wchar")
        ).split()[1]
    )


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


# --- in the process that was started --------------------------------------------------------------


def machine(*packages: str) -> dict[str, Any]:
    """What the numbers were measured on: no names, no paths."""
    model = next(
        (x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")),
        platform.machine(),
    )
    memory = next(
        int(x.split()[1]) << 10 for x in _lines("/proc/meminfo") if x.startswith("MemTotal")
    )
    return {
        "kind": "machine",
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "python": platform.python_version(),
        "system": platform.system(),
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def child(script: Path, job: dict[str, Any], **environment: str) -> dict[str, Any]:
    """What `script` answers to `job` in a new process, with more in its environment."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
        command = [
            sys.executable,
            str(script),
            "--job",
            json.dumps(job | {"answer": answer.name}, default=str),
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, **environment},
        )
        if done.returncode:
            raise SystemExit(
                f"{job} ended with exit status {done.returncode}\n{done.stderr[-3000:]}"
            )
        found: dict[str, Any] = json.loads(answer.read())
        return found


def measure(
    name: str, workload: Path, slots: int, rows: Any, folder: Path, colds: int
) -> dict[str, Any]:
    """Everything about one peer. Raises `AssertionError` where an answer is wrong."""
    import polars as pl
    from peers import PEERS
    from reference import QUESTIONS, arguments, check, expected

    place, answers = folder / name, folder / f"{name}-answers"
    place.mkdir()
    answers.mkdir()
    job = {"peer": name, "store": str(place), "workload": str(workload), "slots": slots}
    peer = PEERS[name]
    result = {"kind": "peer", "peer": name, "package": peer.package, "durable": peer.durable}
    result |= child(Path(__file__), job | {"do": "store"})
    asked = arguments(rows, slots)
    result["questions"] = {}
    for question in QUESTIONS:
        job = {
            "do": "ask",
            "peer": name,
            "store": str(place),
            "question": question,
            "answers": str(answers),
        }
        got = child(Path(__file__), job | {"arguments": asked[question]})
        for number, given in enumerate(asked[question]):
            answer = pl.read_ipc(answers / f"{number}.arrow")
            try:
                check(answer, expected(rows, question, given), question)
            except AssertionError as error:
                raise SystemExit(
                    f"{name} gives a wrong answer to {question} {given}:\n{error}"
                ) from error
        once = job | {"arguments": asked[question][:1]}
        cold = [
            got["times_ms"][0],
            *(child(Path(__file__), once)["times_ms"][0] for _ in range(colds - 1)),
        ]
        warm = got["times_ms"][1:]
        result["questions"][question] = {
            "cold_ms": statistics.median(cold),
            "warm_ms": statistics.median(warm),
            "peak_bytes": got["peak_bytes"],
            "cold": cold,
            "warm": warm,
        }
    return result


def made(folder: Path, slots: int, keys: int) -> Path:
    """The workload, one file per slot: what measures reads it slot by slot, and its memory is its
    own.
    """
    from workload import change_points

    workload = folder / f"workload-{keys}"
    workload.mkdir()
    for number, rows in enumerate(change_points(slots, keys)):
        rows.write_ipc(workload / f"{number:05}.arrow", compression="zstd")
    return workload


def run(given: argparse.Namespace, folder: Path) -> None:
    from peers import PEERS
    from reference import load
    from workload import CHANGE, SEED, SIZES

    slots = SIZES[given.size]
    workload = made(folder, slots, given.keys)
    everything = load(workload, slots)
    names = given.peer or list(PEERS)
    packages = sorted({PEERS[name].package for name in names} | {"polars", "pyarrow"})
    about = machine(*packages) | {
        "command": "make bench SIZE=" + given.size,
        "size": given.size,
        "slots": slots,
        "keys": given.keys,
        "rows": everything.height,
        "change": CHANGE,
        "seed": SEED,
    }
    given.results.mkdir(parents=True, exist_ok=True)
    lines = [about]
    for name in names:
        began = time.monotonic()
        lines.append(measure(name, workload, slots, everything, folder, given.cold))
        print(f"{name}: {time.monotonic() - began:.0f} s, every answer right", flush=True)
    out = given.results / f"{given.size}.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))


def main() -> int:
    if "--job" in sys.argv:
        job = json.loads(sys.argv[-1])
        Path(job["answer"]).write_text(json.dumps({"store": store, "ask": ask}[job["do"]](job)))
        os._exit(0)  # nobody's tidying up is measured
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("tiny", "small", "medium", "large"), default="small")
    parser.add_argument("--keys", type=int, default=60_000)
    parser.add_argument("--peer", action="append", help="only this one; may be given several times")
    parser.add_argument(
        "--cold", type=int, default=3, help="processes whose first answers give the cold time"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="titans-bench-") as folder:
        run(given, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
