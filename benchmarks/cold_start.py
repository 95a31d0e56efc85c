"""What a new process pays before it has stored anything, and how large the installation is.

    make cold-start

Everything is the least of `RUNS` new processes, files in the page cache. The S3 server is SeaweedFS
on this machine. Results go to `benchmarks/results/cold_start.jsonl`.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compare import RESULTS, machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

RUNS = 7
LIMIT = 262_144_000
"""Bytes of an unzipped AWS Lambda function, its layers included (250 MB of 1024 × 1024 bytes; AWS
Lambda quotas)."""
ROWS = 2_400
"""Change points in the first slot that is uploaded."""

_CLOCK = "import time; began = time.perf_counter()\n"
_SPENT = "\nprint((time.perf_counter() - began) * 1e3)"

_FIRST_UPLOAD = """
import sys, time
marks = []
def spent(name, since):
    marks.append((name, (time.perf_counter() - since) * 1e3))
    return time.perf_counter()
at = time.perf_counter()
import polars as pl
at = spent("import polars", at)
endpoint, where = sys.argv[1:3]
if endpoint:
    import boto3
    at = spent("import boto3", at)
import titans, titans.facade, titans.archive, titans_aws
if endpoint:
    import titans.store.s3
else:
    import titans.store.local
titans.get_config("aws")
at = spent("import titans and the provider", at)
client = None
if endpoint:
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="titans",
                          aws_secret_access_key="titans-secret")
    at = spent("create the client", at)
from datetime import UTC, datetime
sys.path.insert(0, sys.argv[3])
from workload import Market, moment
market = Market(int(sys.argv[4]))
rows = [market.step(), market.step(), market.step()]
store = None if client is None else titans.open(where, provider="aws", s3_client=client).store
for number, name in enumerate(["first upload_hot_tier", "second", "third"]):
    at = time.perf_counter()
    titans.upload_hot_tier(rows[number], moment(number), store=store or where)
    spent(name, at)
import json
print(json.dumps(dict(marks[:-1])))
"""


def milliseconds(code: str) -> float:
    """What `code` takes in a new process, starting Python not included."""
    return float(_output(_CLOCK + code + _SPENT))


def _output(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return (
        subprocess.run(command, capture_output=True, text=True, check=True)
        .stdout.strip()
        .splitlines()[-1]
    )


def import_times(
    runs: int = RUNS, packages: Sequence[str] = ("polars", "titans", "titans_common", "boto3")
) -> dict[str, float]:
    """Milliseconds that importing each of `packages` takes: the least of `runs` new processes, in
    turn.
    """
    found: dict[str, list[float]] = {name: [] for name in packages}
    for _ in range(runs):
        for name in packages:
            found[name].append(milliseconds(f"import {name}"))
    return {name: min(times) for name, times in found.items()}


def first_upload(endpoint: str, where: Callable[[int], str], runs: int = RUNS) -> dict[str, float]:
    """Milliseconds of each part of the first `upload_hot_tier` of a process, and of the second: the
    least of `runs` processes.
    """
    code = (str(Path(__file__).parent), str(ROWS))
    parts = [json.loads(_output(_FIRST_UPLOAD, endpoint, where(run), *code)) for run in range(runs)]
    return {name: min(part[name] for part in parts) for name in parts[0]}


def wheels(folder: Path) -> None:
    """Build the core and the AWS provider into `folder`."""
    for project in ("core", "plugins/aws"):
        command = [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--outdir",
            str(folder),
            str(ROOT / project),
        ]
        subprocess.run(command, capture_output=True, check=True)


def installed_bytes(wheels: Path, target: Path) -> dict[str, int]:
    """Distribution → bytes of its files, for titans-aws with all it needs, installed into `target`
    as it goes into a Lambda.
    """
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "install",
        "--quiet",
        "--no-compile-bytecode",
    ]
    command += [
        "--python",
        sys.executable,
        "--target",
        str(target),
        "--find-links",
        str(wheels),
        "--reinstall-package",
    ]
    command += ["titans-core", "--reinstall-package", "titans-aws", "titans-aws"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"titans-aws cannot be installed: {done.stderr}")
    sizes = {}
    for record in target.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            paths = [target / row[0] for row in csv.reader(lines)]
        sizes[record.parent.name.rsplit("-", 1)[0].rsplit("-", 1)[0]] = sum(
            p.stat().st_size for p in paths if p.is_file()
        )
    everything = sum(
        p.stat().st_size for p in target.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    sizes["(other files)"] = everything - sum(sizes.values())
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    from fixtures_stores import SHARED, serving

    about = machine("titans-core", "polars", "boto3") | {
        "command": "make cold-start",
        "runs": given.runs,
        "keys": ROWS,
    }
    lines: list[dict[str, Any]] = [about, {"kind": "import", "ms": import_times(given.runs)}]
    with tempfile.TemporaryDirectory(prefix="titans-cold-") as name:
        folder = Path(name)
        parts = first_upload("", lambda run: f"{folder}/archive-{run}", given.runs)
        lines.append({"kind": "first upload", "store": "a folder", "ms": parts})
        with serving(lambda: Path(tempfile.mkdtemp(dir=folder))) as server:
            parts = first_upload(
                server.endpoint, lambda run: f"s3://{SHARED}/cold-{run}", given.runs
            )
        lines.append({"kind": "first upload", "store": "S3", "ms": parts})
        wheels(folder / "dist")
        sizes = installed_bytes(folder / "dist", folder / "lambda")
        lines.append({"kind": "size", "bytes": sizes, "total": sum(sizes.values()), "limit": LIMIT})
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "cold_start.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
