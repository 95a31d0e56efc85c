"""The questions of the comparison, and one about a region, to stores on S3 behind a delay.

    make remote                          # seven days of 60,000 keys; about five minutes
    python benchmarks/remote.py --size large --peer titans --peer parquet

A SeaweedFS server on this machine is filled without a delay. Then each peer is asked through a proxy
(`far.py`) that delays every byte by 15 ms each way and lets 800 megabits a second through. Each
question has a process of its own: the first answer is cold, the others are warm, each about
something else. Every answer is checked. The proxy says how many requests and bytes they took.
Results go to `benchmarks/results/remote.jsonl`.

`titans` and `delta` are filled slot by slot, as by `make bench`; `files` is polars' own reader of
object stores on the archive's files, as the archive lists them; `iceberg` and `parquet` are better
off than they would be in practice: `iceberg` has one sorted file for each day, `parquet` and
`duckdb` one sorted file of everything. DuckDB comes with its extension for S3 from a package, in an
environment of its own (`--duckdb PYTHON`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

BUCKET = "shared"
QUESTIONS = ("history", "region", "daily", "state", "latest", "hour")
ROUND_TRIP_MS, MEGABITS = 30.0, 800.0
DUCKDB = "duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5"


# --- the peers ------------------------------------------------------------------------------------


def _options() -> dict[str, str]:
    """What polars and delta-rs need to reach the server."""
    return {
        "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": os.environ["AWS_DEFAULT_REGION"],
        "aws_allow_http": "true",
    }


class Peer:
    """Asked in a process of its own; answers as in `peers.py`."""

    package: ClassVar[str] = "polars"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> None:
        """Import what it takes."""

    def open(self) -> None:
        """Whatever comes before the first question."""


class Titans(Peer):
    package = "titans-core"

    def load(self) -> None:
        import boto3  # noqa: F401

        import titans.archive

        self.titans = titans

    def open(self) -> None:
        self.archive = self.titans.open(f"s3://{BUCKET}/titans", provider="aws")

    def history(self, key: Mapping[str, str]) -> Any:
        return self.archive.history(**key)

    def region(self, region: str) -> Any:
        import polars as pl

        where = pl.col("Region") == region
        return self.archive.scan(where=where, columns=["SpotPrice"]).collect()

    def daily(self) -> Any:
        from peers import by_day

        return by_day(self.archive.scan(columns=["SpotPrice"]))

    def state(self, at: datetime) -> Any:
        import polars as pl

        return self.archive.state(at).with_columns(Ceased=pl.lit(value=False))

    def latest(self) -> Any:
        import polars as pl

        return self.archive.latest().with_columns(Ceased=pl.lit(value=False))

    def hour(self, start: datetime, end: datetime) -> Any:
        return self.archive.changes(start, end)


class Scanned(Peer):
    """Answers from a LazyFrame of all rows."""

    def rows(self) -> Any:
        raise NotImplementedError

    def history(self, key: Mapping[str, str]) -> Any:
        return self.rows().filter(**key).collect()

    def region(self, region: str) -> Any:
        import polars as pl

        return self.rows().filter(pl.col("Region") == region).select(REGION_COLUMNS).collect()

    def daily(self) -> Any:
        from peers import by_day

        return by_day(self.rows().select("Region", "Time", "SpotPrice", "Ceased"))

    def state(self, at: datetime) -> Any:
        import polars as pl
        from peers import last_living
        from workload import COLUMNS

        return last_living(self.rows().filter(pl.col("Time") <= at).select(COLUMNS).collect())

    def latest(self) -> Any:
        from peers import last_living
        from workload import COLUMNS

        return last_living(self.rows().select(COLUMNS).collect())

    def hour(self, start: datetime, end: datetime) -> Any:
        import polars as pl

        time = pl.col("Time")
        return self.rows().filter(time >= start, time < end).collect()


REGION_COLUMNS = ["InstanceType", "Region", "AZ", "Time", "SpotPrice", "Ceased"]


class Parquet(Scanned):
    def rows(self) -> Any:
        import polars as pl

        return pl.scan_parquet(f"s3://{BUCKET}/parquet/all.parquet", storage_options=_options())


class Files(Scanned):
    """The archive's own files, read by polars' own reader of object stores instead of TITANS'."""

    package = "titans-core"

    def open(self) -> None:
        import titans

        self.archive = titans.open(f"s3://{BUCKET}/titans", provider="aws")

    def rows(self) -> Any:
        import polars as pl

        urls = self.archive.files()["url"].to_list()
        return pl.scan_parquet(urls, storage_options=_options(), hive_partitioning=False)


class Delta(Scanned):
    package = "deltalake"

    def load(self) -> None:
        import deltalake

        self.lib = deltalake

    def open(self) -> None:
        self.table = self.lib.DeltaTable(f"s3://{BUCKET}/delta", storage_options=_options())

    def rows(self) -> Any:
        import polars as pl

        self.table.update_incremental()
        return pl.scan_delta(self.table, storage_options=_options()).drop("day")


class Iceberg(Scanned):
    package = "pyiceberg"

    def load(self) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        self.catalog = SqlCatalog(
            "far",
            uri=f"sqlite:///{self.folder}/catalog.sqlite",
            warehouse=f"s3://{BUCKET}/iceberg",
            **{
                "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
                "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
                "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
                "s3.region": os.environ["AWS_DEFAULT_REGION"],
            },
        )

    def rows(self) -> Any:
        import polars as pl

        table = self.catalog.load_table("market.points")
        return pl.scan_iceberg(table, storage_options=_options(), reader_override="native")

    def fill(self, rows: Any) -> None:
        """One sorted file for each day; without a delay."""
        import polars as pl
        from pyiceberg.transforms import DayTransform

        self.catalog.create_namespace("market")
        schema = rows.head(0).to_arrow().schema
        zstd = {"write.parquet.compression-codec": "zstd"}
        table = self.catalog.create_table("market.points", schema, properties=zstd)
        with table.update_spec() as spec:
            spec.add_field("Time", DayTransform(), "day")
        wanted = table.schema().as_arrow()
        days = rows.with_columns(day=pl.col("Time").dt.date())
        for day in days.partition_by("day", maintain_order=True, include_key=False):
            table.append(day.to_arrow().cast(wanted))


class DuckDB(Peer):
    """SQL over the one sorted file, with DuckDB's cache of metadata and data; its package is not in
    this environment.
    """

    def load(self) -> None:
        import duckdb
        import duckdb_extension_httpfs

        self.db = duckdb.connect()
        folder = Path(duckdb_extension_httpfs.__file__).parent
        (file,) = folder.rglob("httpfs.duckdb_extension")
        self.db.execute(f"LOAD '{file}'")

    def open(self) -> None:
        host = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
        self.db.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET "
            f"'{os.environ['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{host}', URL_STYLE 'path', "
            f"USE_SSL false, REGION '{os.environ['AWS_DEFAULT_REGION']}')"
        )
        self.db.execute("SET parquet_metadata_cache = true")
        self.db.execute("SET TimeZone = 'UTC'")
        self.table = f"read_parquet('s3://{BUCKET}/parquet/all.parquet')"

    def _asked(self, query: str) -> Any:
        return self.db.sql(query).to_arrow_table()

    def _last(self, where: str) -> Any:
        values = ("SPS", "T3", "T2", "Savings", "IF", "OndemandPrice", "SpotPrice", "Ceased")
        lasts = ", ".join(f"arg_max(struct_pack(v := {v}), Time).v AS {v}" for v in values)
        return self._asked(
            f"FROM (SELECT InstanceType, Region, AZ, max(Time) AS Time, {lasts} FROM {self.table} "
            f"WHERE {where} GROUP BY ALL) WHERE NOT Ceased"
        )

    def history(self, key: Mapping[str, str]) -> Any:
        where = " AND ".join(f"{name} = '{value}'" for name, value in key.items())
        return self._asked(f"FROM {self.table} WHERE {where}")

    def region(self, region: str) -> Any:
        columns = ", ".join(REGION_COLUMNS)
        return self._asked(f"SELECT {columns} FROM {self.table} WHERE Region = '{region}'")

    def daily(self) -> Any:
        day = "DATE '1970-01-01' + CAST(epoch_us(Time) // 86400000000 AS INTEGER)"
        return self._asked(
            f"SELECT Region, {day} AS Day, avg(SpotPrice) AS SpotPrice FROM {self.table} "
            "WHERE NOT Ceased GROUP BY ALL"
        )

    def state(self, at: datetime) -> Any:
        return self._last(f"Time <= '{at.isoformat()}'")

    def latest(self) -> Any:
        return self._last("true")

    def hour(self, start: datetime, end: datetime) -> Any:
        return self._asked(
            f"FROM {self.table} WHERE Time >= '{start.isoformat()}' AND Time < '{end.isoformat()}'"
        )


PEERS: dict[str, type[Peer]] = {
    "titans": Titans,
    "files": Files,
    "delta": Delta,
    "iceberg": Iceberg,
    "parquet": Parquet,
    "duckdb": DuckDB,
}


# --- in a process of its own ----------------------------------------------------------------------


def ask(job: dict[str, Any]) -> None:
    """Ask one question as often as there are arguments. After each answer a line is written, and
    one awaited.
    """
    peer = PEERS[job["peer"]](Path(job["folder"]))
    peer.load()
    for number, given in enumerate(job["arguments"]):
        arguments = {
            name: datetime.fromisoformat(value) if name in ("at", "start", "end") else value
            for name, value in given.items()
        }
        began = time.perf_counter()
        if number == 0:
            peer.open()
        answer = getattr(peer, job["question"])(**arguments)
        took = (time.perf_counter() - began) * 1e3
        _write(answer, Path(job["folder"]) / f"answer-{number}.arrow")
        print(json.dumps(round(took, 1)), flush=True)
        sys.stdin.readline()


def _write(answer: Any, path: Path) -> None:
    if hasattr(answer, "write_ipc"):
        answer.write_ipc(path)
        return
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, answer.schema) as writer:
        writer.write_table(answer)


# --- in the process that was started --------------------------------------------------------------


def measure(name: str, question: str, given: list[Any], rows: Any, place: _Place) -> dict[str, Any]:
    """Cold and warm milliseconds, requests and bytes. Raises `SystemExit` where an answer is
    wrong.
    """
    from reference import ASKED, expected

    job = {
        "peer": name,
        "question": question,
        "folder": str(place.folder),
        "arguments": given[:ASKED],
    }
    python = place.duckdb if name == "duckdb" else sys.executable
    place.proxy.counted()
    process = subprocess.Popen(
        [str(python), __file__, "--job", json.dumps(job, default=str)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{place.proxy.port}"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    for number, arguments in enumerate(given[:ASKED]):
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{name} does not answer {question} {arguments}")
        counted = place.proxy.counted()
        answers.append(
            {"ms": json.loads(line), "requests": counted.requests, "bytes": counted.bytes}
        )
        _check(place.folder / f"answer-{number}.arrow", question, arguments, rows, expected, name)
        process.stdin.write("\n")
        process.stdin.flush()
    process.communicate()

    cold, warm = answers[0], answers[1:]
    return {
        "cold": cold,
        "warm": {unit: _median([answer[unit] for answer in warm]) for unit in cold},
        "answers": answers,
    }


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _check(
    path: Path, question: str, given: Mapping[str, Any], rows: Any, expected: Any, name: str
) -> None:
    import polars as pl
    from polars.testing import assert_frame_equal
    from reference import check

    answer = pl.read_ipc(path)
    try:
        if question != "region":
            check(answer, expected(rows, question, given), question)
            return
        wanted = rows.filter(pl.col("Region") == given["region"]).select(REGION_COLUMNS)
        time = pl.col("Time").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
        found = answer.with_columns(time).select(REGION_COLUMNS).sort(REGION_COLUMNS[:4])
        assert_frame_equal(found, wanted.sort(REGION_COLUMNS[:4]))
    except AssertionError as error:
        raise SystemExit(f"{name} gives a wrong answer to {question} {given}:\n{error}") from error


class _Place:
    """A server with all peers' data, and the way to it."""

    def __init__(self, folder: Path, proxy: Any, duckdb: Path | None) -> None:
        self.folder = folder
        self.proxy = proxy
        self.duckdb = duckdb


def fill(
    names: list[str], folder: Path, workload: Path, slots: int, rows: Any, client: Any
) -> None:
    """Store everything, without a delay."""
    import compare

    for name in ("titans", "delta"):
        if name in names:
            place = folder / name
            place.mkdir()
            job = {"do": "store", "peer": name, "store": str(place), "workload": str(workload)}
            compare.child(Path(compare.__file__), job | {"slots": slots})
            for path in sorted(place.rglob("*")):
                if path.is_file() and not path.name.endswith(".lock"):
                    key = f"{name}/{path.relative_to(place)}"
                    client.upload_file(str(path), BUCKET, key)
    if {"parquet", "duckdb"} & set(names):
        path = folder / "all.parquet"
        rows.write_parquet(path, compression_level=12, row_group_size=131_072)
        client.upload_file(str(path), BUCKET, "parquet/all.parquet")
    if "iceberg" in names:
        peer = Iceberg(folder)
        peer.load()
        peer.fill(rows)


@contextlib.contextmanager
def served() -> Iterator[Any]:
    """A SeaweedFS server, which the environment names."""
    from fixtures_stores import ACCESS_KEY, REGION, SECRET_KEY, serving

    with (
        tempfile.TemporaryDirectory(prefix="titans-far-") as folder,
        serving(lambda: Path(tempfile.mkdtemp(dir=folder))) as server,
    ):
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }
        yield server


def run(given: argparse.Namespace, folder: Path, server: Any) -> list[dict[str, Any]]:
    """What was measured: the machine, then one line for each peer."""
    from compare import machine, made
    from far import far
    from reference import arguments, load
    from workload import SIZES

    slots = SIZES[given.size]
    workload = made(folder, slots, given.keys)
    rows = load(workload, slots)
    names = given.peer or [name for name in PEERS if name != "duckdb" or given.duckdb]
    with contextlib.closing(server.client()) as client:
        fill(names, folder, workload, slots, rows, client)

    asked = arguments(rows, slots)
    regions = rows["Region"].value_counts(sort=True)["Region"].to_list()
    asked["region"] = [
        {"region": regions[n * 5 % len(regions)]} for n in range(len(asked["daily"]))
    ]
    packages = sorted({PEERS[name].package for name in names} | {"polars", "boto3"})
    lines = [
        machine(*packages)
        | {
            "command": f"make remote SIZE={given.size}",
            "size": given.size,
            "slots": slots,
            "keys": given.keys,
            "rows": rows.height,
            "round_trip_ms": ROUND_TRIP_MS,
            "megabits": MEGABITS,
        }
    ]
    results: dict[str, dict[str, Any]] = {name: {} for name in names}
    address = urlsplit(server.endpoint)
    with far(str(address.hostname), int(address.port or 0), ROUND_TRIP_MS, MEGABITS) as proxy:
        place = _Place(folder, proxy, given.duckdb)
        for question in QUESTIONS:
            for name in names:
                found = measure(name, question, asked[question], rows, place)
                results[name][question] = found
                print(
                    f"{question:8} {name:8} cold {found['cold']['ms']:7.0f} ms   "
                    f"warm {found['warm']['ms']:6.0f} ms, {found['warm']['requests']:4} requests, "
                    f"{found['warm']['bytes'] / 1e6:7.2f} MB",
                    flush=True,
                )
    for name in names:
        lines.append({"kind": "peer", "peer": name, "questions": results[name]})
    return lines


def main() -> int:
    if "--job" in sys.argv:
        ask(json.loads(sys.argv[-1]))
        os._exit(0)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("tiny", "small", "medium", "large"), default="medium")
    parser.add_argument("--keys", type=int, default=60_000)
    parser.add_argument("--peer", action="append", help="only this one; may be given several times")
    parser.add_argument("--duckdb", type=Path, help=f"a Python with {' and '.join(DUCKDB)}")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="titans-remote-") as folder, served() as server:
        lines = run(given, Path(folder), server)
    given.results.mkdir(parents=True, exist_ok=True)
    name = "remote" if given.size == "medium" else f"remote_{given.size}"
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (given.results / f"{name}.jsonl").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
