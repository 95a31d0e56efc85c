"""What happens in an archive can be read from a metric reader in memory."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import titans
from titans import Expectations, Provider, Schema
from titans.errors import StoreError, SuspiciousSnapshotError
from titans.events import Event
from titans.store.memory import MemoryStore
from titans_otel import SECONDS, Metrics


def recorded(reader):
    """Metric and attribute values → its value; of a histogram, the count."""
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = point.count if hasattr(point, "count") else point.value
                    found[(metric.name, *point.attributes.values())] = value
    return found


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def observer(reader):
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    yield Metrics(provider.get_meter("titans"))
    provider.shutdown()


def snapshot(rows, price=0.5):
    return pl.DataFrame({"Type": [f"t{n}" for n in range(rows)], "Price": [price] * rows})


def at(slot):
    return datetime(2026, 1, 23, 9, 10 * slot, tzinfo=UTC)


def test_an_archive_is_measured(installed_reader, monkeypatch):
    provider = Provider(
        name="acme",
        schema=Schema({"Price": "Float64"}),
        key=("Type",),
        expectations=Expectations(min_living=1),
    )
    archive = titans.open(MemoryStore(), provider=provider)
    archive.ingest(snapshot(4), at(0))
    archive.ingest(snapshot(3), at(1))
    archive.ingest(snapshot(3), at(2))
    with pytest.raises(SuspiciousSnapshotError):
        archive.ingest(snapshot(1), at(3))
    monkeypatch.setattr(
        archive.store, "list", lambda *_, **__: (_ for _ in ()).throw(StoreError("no"))
    )
    with pytest.raises(StoreError):
        archive.compact()
    found = recorded(installed_reader)
    assert found["titans.snapshots", "acme", "ingested"] == 2
    assert found["titans.snapshots", "acme", "unchanged"] == 1
    assert found["titans.snapshots", "acme", "refused"] == 1
    assert found["titans.snapshot.rows", "acme"] == 3
    assert [
        found["titans.change_points", "acme", change] for change in ("added", "changed", "ceased")
    ] == [4, 0, 1]
    assert found["titans.failures", "acme", "compact", "StoreError"] == 1
    assert (
        found["titans.events", "acme", "snapshot_ingested"]
        == found["titans.duration", "acme", "snapshot_ingested"]
        == 3
    )


def test_bytes_and_seconds_are_recorded_in_their_units(observer, reader):
    observer.titans_event(
        Event("files_merged", "aws", {"month": "2026-01", "rows": 8, "bytes": 4096, "ms": 250})
    )
    found = recorded(reader)
    assert found["titans.written", "aws", "files_merged"] == 4096
    (duration,) = [
        m.data.data_points[0]
        for m in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        if m.name == "titans.duration"
    ]
    assert duration.sum == 0.25
    assert duration.explicit_bounds == SECONDS
    (filled,) = [number for number, count in enumerate(duration.bucket_counts) if count]
    assert SECONDS[filled - 1] < 0.25 <= SECONDS[filled], "a bucket that tells it from others"


def test_the_age_of_the_newest_observation_grows_with_the_clock(observer, reader, monkeypatch):
    clock = [datetime(2026, 1, 23, 10, 0, tzinfo=UTC).timestamp()]
    monkeypatch.setattr("titans_otel.time.time", lambda: clock[0])
    age = ("titans.observation.age", "aws")
    assert age not in recorded(reader)

    def ingested(slot, status="ingested"):
        fields = {"status": status, "slot": slot, "rows": 3}
        observer.titans_event(Event("snapshot_ingested", "aws", fields))

    ingested("2026-01-23T09:10:00Z")
    assert recorded(reader)[age] == 50 * 60
    clock[0] += 90
    assert recorded(reader)[age] == 50 * 60 + 90
    ingested("2026-01-23T09:50:00Z", "unchanged")
    ingested("2026-01-23T09:20:00Z", "already")
    assert recorded(reader)[age] == 10 * 60 + 90


@pytest.mark.parametrize(("complete", "age"), [(True, 600), (False, None)])
def test_an_upload_is_an_observation_where_it_says_that_it_is_complete(
    observer, reader, monkeypatch, complete, age
):
    monkeypatch.setattr("titans_otel.time.time", lambda: at(1).timestamp())
    fields = {"slot": "2026-01-23T09:00:00Z", "rows": 0, "complete": complete}
    observer.titans_event(Event("hot_created", "aws", fields))
    assert recorded(reader).get(("titans.observation.age", "aws")) == age


def test_an_archive_tells_its_newest_observation(installed_reader):
    provider = Provider(name="fresh", schema=Schema({"Price": "Float64"}), key=("Type",))
    archive = titans.open(MemoryStore(), provider=provider)
    before = datetime.now(UTC)
    archive.ingest(snapshot(4), before)
    archive.upload(snapshot(1, 0.7), before - timedelta(hours=1), complete=True)
    age = recorded(installed_reader)["titans.observation.age", "fresh"]
    expected = (datetime.now(UTC) - archive.freshness().last).total_seconds()
    assert age == pytest.approx(expected, abs=10)


def test_events_it_does_not_know_are_counted(observer, reader):
    observer.titans_event(Event("from_the_future", "aws", {}))
    assert recorded(reader) == {("titans.events", "aws", "from_the_future"): 1}


def test_without_an_sdk_nothing_is_recorded_and_nothing_fails():
    Metrics(metrics.NoOpMeterProvider().get_meter("titans")).titans_event(
        Event("failed", "aws", {"operation": "compact", "error": "Unavailable", "reason": ""})
    )
