"""The public interface as type checkers see it. Never run: mypy and pyright check it, strictly
(`make lint`).

A line that must be wrong says so for both checkers; both are told to complain where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, assert_type

import polars as pl

import titans
import titans_common
from titans import (
    Archive,
    Expectations,
    IngestResult,
    PathLayout,
    Provider,
    ReadTask,
    Schema,
    hookimpl,
)
from titans.errors import ConcurrencyConflictError, InputError, RetryableError, TitansError
from titans.events import Event, emit
from titans.plugins import PluginInfo, installed, load, providers
from titans.provider_tools import Presence, draw, drop_sentinel
from titans.read.explanation import Explanation
from titans.results import Amendment, Compaction, Conversion, Ingestion, MonthStatus, Outcome
from titans.store import Blob, Entry, ObjectStore, open_store

NOW = datetime(2026, 1, 23, 9, tzinfo=UTC)


# --- a collector ----------------------------------------------------------------------------------


def collect(changed: pl.DataFrame, removed: pl.DataFrame) -> None:
    rows = titans.prepare_for_upload(
        changed, removed, value_columns=["Price"], pk_columns=("Type",)
    )
    key = titans.upload_hot_tier(rows, NOW, provider="aws", store="folder")
    assert_type(key, str)
    try:
        titans.run_compaction(key, NOW, provider="aws", timeout_seconds=10.0, store=Path("folder"))
    except titans.ConcurrencyConflictError as error:
        assert_type(error, ConcurrencyConflictError)
    assert_type(titans_common.upload_hot_tier(rows, NOW, "aws", None, record_empty=True), str)
    assert_type(titans_common.get_config("aws").name, str)
    config = titans.get_config("aws")
    assert_type(config, Provider)
    assert_type(config.pk_columns, list[str])
    assert_type(config.value_columns, list[str])
    assert_type(config.score_column, str | None)
    assert_type(config.schema_dtypes, Mapping[str, pl.DataType])
    assert_type(config.key, tuple[str, ...])


def move_in(done: list[int]) -> None:
    def progress(slots: int, total: int) -> None:
        done.append(total - slots)

    moved = titans.convert("old", Path("new"), provider="azure", progress=progress)
    assert_type(moved, Conversion)
    assert_type(moved.key, tuple[str, ...])
    assert_type(moved.already, bool)
    titans.convert("old", "new")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def collect_wrongly(changed: pl.DataFrame) -> None:
    titans.upload_hot_tier(changed, "2026-01-23")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    titans.upload_hot_tier(changed, NOW, "aws", None, "folder")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    titans.get_config(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    titans.get_confg("aws")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert_type(titans.__version__, str)


# --- an archive -----------------------------------------------------------------------------------


def write(snapshot: pl.DataFrame) -> None:
    archive = titans.open("folder", provider="aws")
    archive = titans.open("folder", provider="aws", expectations=Expectations(every="1h"))
    assert_type(archive, Archive)
    assert_type(archive.store, ObjectStore)
    assert_type(archive.provider, Provider)
    result = archive.ingest(snapshot, NOW, max_ceased=1.0)
    assert_type(result, IngestResult)
    assert_type(result.status, Literal["ingested", "unchanged", "already", "skipped"])
    assert_type((result.key, result.timestamp), tuple[str, datetime])
    assert_type(
        (result.rows, result.added, result.changed, result.ceased), tuple[int, int, int, int]
    )
    assert_type(result.change_points, int)
    filled = titans.backfill("snapshots", provider="aws", store="data", workers=2)
    assert_type(filled.months[0].statuses, dict[str, int])
    titans.backfill("a.parquet", provider="aws", engine="slurm")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    done = titans.ingest_files(
        ["a.csv", Path("b")], provider="aws", store="folder", time_from_name="%Y-%m-%d"
    )
    assert_type(done, Ingestion)
    assert_type(done.refused, tuple[Outcome, ...])
    assert_type(done.count("already"), int)
    assert_type(done.outcomes[0].result, IngestResult | None)
    titans.ingest_files("a.csv")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(archive.upload(snapshot, NOW, on_conflict="error", complete=True), str)
    assert_type(archive.amend(snapshot, NOW, reason="wrong", dry_run=True), Amendment)
    assert_type(archive.amend_changes(snapshot, NOW, reason="wrong", complete=True), Amendment)
    assert_type(archive.retract(NOW, reason="wrong").status, Literal["done", "already"])
    assert_type(archive.erase([{"k": "a"}], reason="by law").months, tuple[str, ...])
    assert_type(archive.retain(since="2026-01", reason="old").difference, pl.DataFrame | None)
    archive.retract(NOW)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(archive.amendments(), pl.DataFrame)
    assert_type(archive.compact(), Compaction)
    assert_type(archive.compact(result.key).merged, int)
    assert_type(archive.seal("2026-01"), Compaction)
    assert_type(archive.vacuum(timedelta(hours=1), dry_run=True).removed, tuple[str, ...])
    assert_type(archive.vacuum("1h").waiting, int)
    assert_type(archive.verify(deep=True).passed, bool)
    assert_type(archive.set_aside("parquet_cp_hot/aws/2026/01/23/14-20.parquet"), str)
    for repair in archive.repair(dry_run=True):
        assert_type(repair.reason, str)
    for month in archive.status():
        assert_type(month, MonthStatus)
        assert_type(month.levels, dict[int, int])


def read(archive: Archive) -> None:
    frames = [
        archive.state(NOW, where=pl.col("Price") < 1, columns=["Price"]),
        archive.latest(where=None, columns=("Price",)),
        archive.keys(NOW),
        archive.history(NOW, None, Type="a"),
        archive.history(keys=pl.DataFrame({"Type": ["a"]})),
        archive.changes(NOW, NOW),
        archive.diff(NOW, NOW),
        archive.grid(NOW, NOW, every="1h", columns=["Price"]),
        archive.grid(every=timedelta(hours=1)),
        archive.intervals(NOW),
        archive.coverage(),
        archive.files(),
        archive.writers(),
        archive.sql("select 1"),
    ]
    assert_type(frames, list[pl.DataFrame])
    assert_type(archive.freshness().is_late, bool)
    assert_type(archive.freshness(NOW).age, timedelta | None)
    explained = archive.explain("state", NOW, run=False, Region="a")
    assert_type(explained, Explanation)
    assert_type((explained.rows, explained.ms), tuple[int | None, float])
    assert_type([each.key for each in explained.read], list[str])
    archive.explain(question="state")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    found = titans.catalog("memory://", now=NOW)
    assert_type(found.to_frame(), pl.DataFrame)
    assert_type([each.keys for each in found.archives], list[int])
    assert_type(archive.verify(record=True).passed, bool)
    for task in [*archive.plan(NOW, NOW, Region="a"), *archive.plan_state(NOW, parts=2)]:
        assert_type(ReadTask.from_json(task.to_json()).read(archive), pl.DataFrame)
        assert_type((task.rows, task.bytes, task.end), tuple[int, int, datetime])
    published = archive.publish_iceberg(grace="1h")
    assert_type((published.unchanged, published.changes.location), tuple[bool, str])
    assert_type(archive.scan(NOW, NOW, where=pl.col("Price") < 1, columns=["Price"]), pl.LazyFrame)


def read_wrongly(archive: Archive) -> None:
    archive.state()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    archive.state(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    archive.ingest(None, NOW, 1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    archive.wipe()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    titans.open("folder")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def fail(error: TitansError) -> bool:
    if isinstance(error, InputError):
        assert_type(error.args, tuple[object, ...])  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]
    return isinstance(error, RetryableError)


# --- stores ---------------------------------------------------------------------------------------


class OwnStore:
    """What a third party's store has to look like."""

    @property
    def url(self) -> str:
        return "own://"

    @property
    def parallel(self) -> bool:
        return False

    def get(self, key: str) -> Blob:
        return Blob(b"", "etag", NOW)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return b""

    def head(self, key: str) -> Entry:
        return Entry(key, 0, "etag", NOW)

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[Entry]:
        yield self.head(prefix)

    def create(self, key: str, data: bytes) -> str:
        return "etag"

    def replace(self, key: str, data: bytes, etag: str) -> str:
        return "etag"

    def delete(self, key: str) -> None: ...

    def local_path(self, key: str) -> Path | None:
        return None


class NoStore:
    def get(self, key: str) -> bytes:
        return b""


def keep() -> None:
    store: ObjectStore = OwnStore()
    assert_type(open_store(store), ObjectStore)
    assert_type(
        open_store("s3://bucket", put_args={"ServerSideEncryption": "aws:kms"}), ObjectStore
    )
    assert_type(Archive(store, titans.get_config("aws")), Archive)
    titans.open(NoStore(), provider="aws")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- a provider and an observer -------------------------------------------------------------------

TITANS_API = 1


@hookimpl
def titans_schema() -> Schema:
    return Schema(
        {"Price": "Float64", "Free": pl.Int64}, score="Free", unobserved={"Free": -1}, version=1
    )


@hookimpl
def titans_pk_columns() -> tuple[str, ...]:
    return ("Type",)


@hookimpl
def titans_path_layout() -> PathLayout:
    return PathLayout(
        hot="hot/{provider}", warm="warm/{provider}", state="state/{provider}", slot_minutes=60
    )


@hookimpl
def titans_expectations() -> Expectations:
    return Expectations(every="6h", max_ceased=0.2, min_living=5, allow_empty=True, accept_after=3)


@hookimpl
def titans_normalize(frame: pl.DataFrame) -> pl.DataFrame:
    return drop_sentinel(frame, "Price", -1, unless=("Free",))


@hookimpl(trylast=True)
def titans_example(seed: int, keys: int, slots: int) -> Iterator[pl.DataFrame]:
    from random import Random

    random = Random(seed)
    there = Presence(random, keys, late=0.1, vanish=0.1, wait=3)
    for _ in range(slots):
        there.step()
        yield there.there(
            pl.DataFrame({"Price": [draw(random, [(0, 0.1), (1, 2.0)]) for _ in range(keys)]})
        )


class Observer:
    @hookimpl
    def titans_event(self, event: Event) -> None:
        assert_type(event.name, str)
        assert_type(event.provider, str)
        for name in event.fields:
            assert_type(name, str)
        event.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def look() -> None:
    assert_type(titans_schema(), Schema)
    assert_type(titans_normalize(pl.DataFrame()), pl.DataFrame)
    made = Provider(name="acme", schema=titans_schema(), key=("Type",), layout=PathLayout())
    emit(Event("slot_conflict", made.name, {"rows": 3}), made)
    assert_type(load("acme"), Provider)
    assert_type(installed(load=True), tuple[PluginInfo, ...])
    assert_type(providers()["aws"], Provider)
    assert_type(made.normalize(pl.DataFrame()), pl.DataFrame)
    for snapshot in made.example(seed=1, keys=10, slots=2):
        assert_type(snapshot, pl.DataFrame)
    Schema(["Price"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PathLayout(slot_minutes="60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
