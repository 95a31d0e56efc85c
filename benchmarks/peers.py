"""The systems that `make bench` compares: each stores change points slot by slot, and answers the
same five questions.

A peer is set up as its documentation advises for many small appends, with maintenance as often as
it pays. Libraries are imported in `load`, so that importing can be told apart.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from workload import COLUMNS, DAY, DTYPES, KEY, VALUES

MAINTENANCE = 64
"""Slots between two compactions of the peers that need them."""


class Peer:
    """A system under test. One process calls `setup`, `store` for every slot, `finish`; others call
    `open` and ask.

    Answers are frames with the columns of the workload, in any order of rows; `daily`: `Region`,
    `Day`, `SpotPrice`.
    """

    package: ClassVar[str]
    durable: ClassVar[str]
    """What is safe when `store` has returned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slots = 0

    def load(self) -> None:
        """Import what it takes."""

    def setup(self) -> None:
        """An empty store in `folder`, to be written."""

    def store(self, rows: pl.DataFrame, at: datetime) -> None:
        """Make one slot part of the store: `append`, and the maintenance that is due."""
        self.append(rows, at)
        self.slots += 1
        if self.slots % MAINTENANCE == 0:
            self.maintain()

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        raise NotImplementedError

    def maintain(self) -> None:
        """Compact."""

    def finish(self) -> None:
        """The last maintenance."""
        self.maintain()

    def open(self) -> None:
        """What is in `folder`, to be asked."""

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        """All change points of a key."""
        raise NotImplementedError

    def state(self, at: datetime) -> pl.DataFrame:
        """The living keys at `at`."""
        raise NotImplementedError

    def latest(self) -> pl.DataFrame:
        """The living keys at the end."""
        raise NotImplementedError

    def daily(self) -> pl.DataFrame:
        """The mean price of live rows by region and day."""
        raise NotImplementedError

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Change points with `start <= Time < end`."""
        raise NotImplementedError


class Scanned(Peer):
    """A peer that gives a LazyFrame of all its rows; polars answers."""

    def rows(self, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """All rows with `start <= Time <= end`, and possibly more."""
        raise NotImplementedError

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        return self.rows().filter(**key).select(COLUMNS).collect()

    def state(self, at: datetime) -> pl.DataFrame:
        return last_living(
            self.rows(None, at).filter(pl.col("Time") <= at).select(COLUMNS).collect()
        )

    def latest(self) -> pl.DataFrame:
        return last_living(self.rows().select(COLUMNS).collect())

    def daily(self) -> pl.DataFrame:
        return by_day(self.rows().select("Region", "Time", "SpotPrice", "Ceased"))

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        rows = self.rows(start, end).filter(pl.col("Time") >= start, pl.col("Time") < end)
        return rows.select(COLUMNS).collect()


def last_living(rows: pl.DataFrame) -> pl.DataFrame:
    """The last row of each key, unless it is a tombstone."""
    last = rows.lazy().group_by(KEY).agg(pl.col("Time").max())
    return rows.lazy().join(last, on=[*KEY, "Time"], how="semi").filter(~pl.col("Ceased")).collect()


def by_day(rows: pl.LazyFrame) -> pl.DataFrame:
    day = pl.col("Time").dt.date().alias("Day")
    return (
        rows.filter(~pl.col("Ceased"))
        .group_by("Region", day)
        .agg(pl.col("SpotPrice").mean())
        .collect()
    )


class Titans(Peer):
    """`upload`, then the compaction that a collector does (`run_compaction`); keyframes included.
    Sealed and vacuumed at the end.
    """

    package = "titans-core"
    durable = "file and manifest synced"

    def load(self) -> None:
        import titans
        import titans.archive
        from titans.plugins import load

        self.titans = titans
        load("aws")

    def setup(self) -> None:
        self.open()

    def open(self) -> None:
        self.archive = self.titans.open(self.folder, provider="aws")

    def store(self, rows: pl.DataFrame, at: datetime) -> None:
        self.archive.compact(self.archive.upload(rows, at), budget_seconds=1.0)
        self.month = f"{at:%Y-%m}"

    def finish(self) -> None:
        self.archive.compact()
        self.archive.seal(self.month)
        self.archive.vacuum("0s")

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        return self.archive.history(**key)

    def state(self, at: datetime) -> pl.DataFrame:
        return self.archive.state(at).with_columns(Ceased=pl.lit(value=False))

    def latest(self) -> pl.DataFrame:
        return self.archive.latest().with_columns(Ceased=pl.lit(value=False))

    def daily(self) -> pl.DataFrame:
        return by_day(self.archive.scan(columns=["Region", "Time", "SpotPrice", "Ceased"]))

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self.archive.changes(start, end)


class Parquet(Scanned):
    """One file per slot in a folder per day, synced, never merged: what is done without any
    library.
    """

    package = "polars"
    durable = "file synced"

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        buffer = io.BytesIO()
        rows.sort(KEY).write_parquet(buffer, compression="zstd")
        path = self.folder / f"{at:%Y-%m-%d}" / f"{at:%H-%M}.parquet"
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    def rows(self, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        low, high = (None if t is None else f"{t:%Y-%m-%d}" for t in (start, end))
        days = sorted(self.folder.iterdir())
        days = [
            d for d in days if (low is None or d.name >= low) and (high is None or d.name <= high)
        ]
        return pl.scan_parquet(days)


class DuckDB(Peer):
    """One native file. Opened and closed in every slot: while a writer holds it, no other process
    can read.
    """

    package = "duckdb"
    durable = "synced"

    def load(self) -> None:
        import duckdb

        self.lib = duckdb

    def setup(self) -> None:
        empty = pl.DataFrame(schema=DTYPES).to_arrow()  # noqa: F841  DuckDB finds it by its name
        with self.lib.connect(self.folder / "points.duckdb") as db:
            db.execute("CREATE TABLE points AS SELECT * FROM empty")

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        sorted_rows = rows.sort(KEY).to_arrow()  # noqa: F841  DuckDB finds it by its name
        with self.lib.connect(self.folder / "points.duckdb") as db:
            db.execute("INSERT INTO points SELECT * FROM sorted_rows")

    def open(self) -> None:
        self.db = self.lib.connect(self.folder / "points.duckdb", read_only=True)
        self.db.execute("SET TimeZone = 'UTC'")

    def _asked(self, sql: str, *values: Any) -> pl.DataFrame:
        return pl.DataFrame(self.db.sql(sql, params=list(values)).to_arrow_table())

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        return self._asked(
            f"FROM points WHERE {' AND '.join(f'{k} = ?' for k in key)}", *key.values()
        )

    def _last(self, where: str, *values: Any) -> pl.DataFrame:
        # Rows come in the order of time, so the greatest rowid of a key is its last row.
        last = f"SELECT max(rowid) FROM points WHERE {where} GROUP BY {', '.join(KEY)}"
        return self._asked(f"SELECT * FROM points WHERE rowid IN ({last}) AND NOT Ceased", *values)

    def state(self, at: datetime) -> pl.DataFrame:
        return self._last("Time <= ?", at)

    def latest(self) -> pl.DataFrame:
        return self._last("true")

    def daily(self) -> pl.DataFrame:
        day = "DATE '1970-01-01' + CAST(epoch_us(Time) // 86400000000 AS INTEGER)"
        return self._asked(
            f"SELECT Region, {day} AS Day, avg(SpotPrice) AS SpotPrice FROM points WHERE NOT "
            "Ceased GROUP BY ALL"
        )

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self._asked("FROM points WHERE Time >= ? AND Time < ?", start, end)


class Delta(Scanned):
    """delta-rs, partitioned by day. What is new is z-ordered by key, and old versions go, every
    `MAINTENANCE` slots.
    """

    package = "deltalake"
    durable = "page cache"

    def load(self) -> None:
        import deltalake

        self.lib = deltalake
        self.options = deltalake.WriterProperties(compression="ZSTD")
        self.touched: set[str] = set()

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        day = f"{at:%Y-%m-%d}"
        table = rows.sort(KEY).with_columns(day=pl.lit(day)).to_arrow()
        self.lib.write_deltalake(
            str(self.folder),
            table,
            mode="append",
            partition_by=["day"],
            writer_properties=self.options,
        )
        self.touched.add(day)

    def maintain(self) -> None:
        table = self.lib.DeltaTable(str(self.folder))
        for day in sorted(self.touched):
            table.optimize.z_order(
                KEY, partition_filters=[("day", "=", day)], writer_properties=self.options
            )
        self.touched.clear()
        table.vacuum(0, dry_run=False, enforce_retention_duration=False)
        table.create_checkpoint()
        table.cleanup_metadata()

    def open(self) -> None:
        self.table = self.lib.DeltaTable(str(self.folder))

    def rows(self, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        rows = pl.scan_delta(self.table)
        if start is not None:
            rows = rows.filter(pl.col("day") >= f"{start:%Y-%m-%d}")
        return rows if end is None else rows.filter(pl.col("day") <= f"{end:%Y-%m-%d}")


class Iceberg(Scanned):
    """pyiceberg with a catalog in SQLite, partitioned by day. It has no compaction; a day that is
    over is written again, sorted.
    """

    package = "pyiceberg"
    durable = "catalog synced"

    def load(self) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        self.catalog = SqlCatalog(
            "bench",
            uri=f"sqlite:///{self.folder}/catalog.sqlite",
            warehouse=f"file://{self.folder}/tables",
        )

    def setup(self) -> None:
        from pyiceberg.transforms import DayTransform

        self.catalog.create_namespace("market")
        empty = pl.DataFrame(schema=DTYPES).to_arrow()
        few = {
            "commit.manifest-merge.enabled": "true",
            "write.metadata.delete-after-commit.enabled": "true",
            "write.metadata.previous-versions-max": "1",
            "write.parquet.compression-codec": "zstd",
        }
        self.table = self.catalog.create_table("market.points", empty.schema, properties=few)
        with self.table.update_spec() as spec:
            spec.add_field("Time", DayTransform(), "day")

    def store(self, rows: pl.DataFrame, at: datetime) -> None:
        self.table.append(rows.sort(KEY).to_arrow().cast(self.table.schema().as_arrow()))
        self.slots += 1
        if self.slots % DAY == 0:
            self._rewrite(at.replace(hour=0, minute=0))

    def _rewrite(self, day: datetime) -> None:
        from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

        after = day + timedelta(days=1)
        inside = And(
            GreaterThanOrEqual("Time", day.isoformat()), LessThan("Time", after.isoformat())
        )
        rows = self.table.scan(row_filter=inside).to_arrow()
        self.table.overwrite(
            rows.sort_by([(c, "ascending") for c in (*KEY, "Time")]), overwrite_filter=inside
        )
        now = self.table.current_snapshot()
        old = [s.snapshot_id for s in self.table.snapshots() if s.snapshot_id != now.snapshot_id]
        self.table.maintenance.expire_snapshots().by_ids(old).commit()
        self._remove_unused()

    def _remove_unused(self) -> None:
        """Expiring snapshots leaves their files where they are."""
        now = self.table.current_snapshot()
        used = {now.manifest_list, *(m.manifest_path for m in now.manifests(self.table.io))}
        used |= set(self.table.inspect.files()["file_path"].to_pylist())
        names = {Path(u.removeprefix("file://")) for u in used}
        for path in (self.folder / "tables").rglob("*"):
            if path.is_file() and path not in names and not path.name.endswith(".metadata.json"):
                path.unlink()

    def finish(self) -> None:
        """The last day was over with its last slot."""

    def open(self) -> None:
        self.table = self.catalog.load_table("market.points")

    def rows(self, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        return pl.scan_iceberg(self.table)


class Lance(Peer):
    """Fragments are compacted, and old versions go, every `MAINTENANCE` slots; indices on type and
    time.
    """

    package = "pylance"
    durable = "page cache"

    def load(self) -> None:
        import lance

        self.lib = lance
        self.where = str(self.folder / "points.lance")

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        mode = "append" if self.slots else "create"
        self.lib.write_dataset(rows.sort(KEY).to_arrow(), self.where, mode=mode)

    def maintain(self) -> None:
        data = self.lib.dataset(self.where)
        data.optimize.compact_files(target_rows_per_fragment=1 << 20)
        if self.slots <= MAINTENANCE:
            data.create_scalar_index("InstanceType", "BITMAP", replace=True)
            data.create_scalar_index("Time", "ZONEMAP", replace=True)
        else:
            data.optimize.optimize_indices()
        data.cleanup_old_versions(retain_versions=1, delete_unverified=True)

    def open(self) -> None:
        self.data = self.lib.dataset(self.where)

    def _asked(
        self, condition: str | None = None, columns: list[str] | None = None
    ) -> pl.DataFrame:
        return pl.DataFrame(self.data.to_table(filter=condition, columns=columns))

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        return self._asked(" AND ".join(f"{k} = '{v}'" for k, v in key.items()))

    def state(self, at: datetime) -> pl.DataFrame:
        return last_living(self._asked(f"Time <= {_stamp(at)}"))

    def latest(self) -> pl.DataFrame:
        return last_living(self._asked())

    def daily(self) -> pl.DataFrame:
        return by_day(self._asked(columns=["Region", "Time", "SpotPrice", "Ceased"]).lazy())

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self._asked(f"Time >= {_stamp(start)} AND Time < {_stamp(end)}")


def _stamp(at: datetime) -> str:
    return f"timestamp '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


class ClickHouse(Peer):
    """ClickHouse in process (chdb): one MergeTree in the order of key and time, an insert for each
    slot; merged to one part at the end.
    """

    package = "chdb"
    durable = "synced"

    def load(self) -> None:
        from chdb import session

        self.lib = session

    def setup(self) -> None:
        self._start()
        values = [f"{name} Nullable({_CLICKHOUSE[DTYPES[name]]}) CODEC(ZSTD(3))" for name in VALUES]
        columns = [f"{name} LowCardinality(String)" for name in KEY]
        columns += ["Time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3))", *values, "Ceased Bool"]
        self.session.query(
            f"CREATE TABLE market.points ({', '.join(columns)}) ENGINE = MergeTree "
            f"ORDER BY ({', '.join(KEY)}, Time) SETTINGS fsync_after_insert = 1, "
            "fsync_part_directory = 1, index_granularity = 2048"
        )

    def _start(self) -> None:
        self.session = self.lib.Session(str(self.folder / "clickhouse"))
        self.session.query("CREATE DATABASE IF NOT EXISTS market ENGINE = Atomic")

    def append(self, rows: pl.DataFrame, at: datetime) -> None:
        path = self.folder / "slot.arrow"
        rows.select(COLUMNS).write_ipc(path, compat_level=pl.CompatLevel.oldest())
        columns = ", ".join(COLUMNS)
        self.session.query(
            f"INSERT INTO market.points ({columns}) SELECT {columns} FROM file('{path}', Arrow)"
        )
        path.unlink()

    def maintain(self) -> None:
        """ClickHouse merges in the background."""

    def finish(self) -> None:
        self.session.query("OPTIMIZE TABLE market.points FINAL")

    def open(self) -> None:
        self._start()

    def _asked(self, sql: str) -> pl.DataFrame:
        texts = "output_format_arrow_string_as_string = 1"
        answer = self.session.query(f"{sql} SETTINGS {texts}", "Arrow")
        return pl.read_ipc(io.BytesIO(answer.bytes()))

    def _last(self, where: str) -> pl.DataFrame:
        order = ", ".join(f"{name} DESC" for name in (*KEY, "Time"))
        last = f"SELECT * FROM market.points WHERE {where} ORDER BY {order} LIMIT 1 BY {', '.join(KEY)}"
        return self._asked(f"SELECT * FROM ({last}) WHERE NOT Ceased")

    def history(self, key: Mapping[str, str]) -> pl.DataFrame:
        where = " AND ".join(f"{name} = '{value}'" for name, value in key.items())
        return self._asked(f"SELECT * FROM market.points WHERE {where}")

    def state(self, at: datetime) -> pl.DataFrame:
        return self._last(f"Time <= {_clickhouse_time(at)}")

    def latest(self) -> pl.DataFrame:
        return self._last("1")

    def daily(self) -> pl.DataFrame:
        return self._asked(
            "SELECT Region, toDate32(Time) AS Day, avg(SpotPrice) AS SpotPrice FROM market.points "
            "WHERE NOT Ceased GROUP BY Region, Day"
        )

    def hour(self, start: datetime, end: datetime) -> pl.DataFrame:
        return self._asked(
            f"SELECT * FROM market.points WHERE Time >= {_clickhouse_time(start)} "
            f"AND Time < {_clickhouse_time(end)}"
        )


_CLICKHOUSE = {pl.Int64(): "Int64", pl.Float64(): "Float64"}


def _clickhouse_time(at: datetime) -> str:
    return f"toDateTime64('{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"


PEERS: dict[str, type[Peer]] = {
    peer.__name__.lower(): peer
    for peer in (Titans, Parquet, DuckDB, ClickHouse, Delta, Iceberg, Lance)
}
