"""OpenTelemetry metrics of TITANS archives: an observer and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import metrics

from titans import hookimpl

if TYPE_CHECKING:
    from titans.events import Event

__all__ = ["Metrics"]

TITANS_API = 1

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the buckets of durations; those of the SDK are made for milliseconds."""


class Metrics:
    """Turns events into measurements.

    Args:
        meter: where they are recorded; by default a meter of the global provider, whenever the
            application sets that.
    """

    def __init__(self, meter: metrics.Meter | None = None) -> None:
        if meter is None:
            meter = metrics.get_meter("titans", version("titans-otel"))
        self._events = meter.create_counter("titans.events", "{event}", "Everything that happened")
        self._snapshots = meter.create_counter(
            "titans.snapshots", "{snapshot}", "Snapshots that were looked at"
        )
        self._rows = meter.create_gauge(
            "titans.snapshot.rows", "{row}", "Keys in the last snapshot"
        )
        self._points = meter.create_counter(
            "titans.change_points", "{row}", "Change points of snapshots"
        )
        self._failures = meter.create_counter(
            "titans.failures", "{failure}", "Operations that failed"
        )
        self._written = meter.create_counter("titans.written", "By", "Bytes of files written")
        self._duration = meter.create_histogram(
            "titans.duration",
            "s",
            "How long a step took",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._observed: dict[str, float] = {}
        """Provider → start of the newest slot that this process knows an observation of, in seconds
        since 1970. The thread that exports reads it while others write; each value is whole."""
        meter.create_observable_gauge(
            "titans.observation.age",
            [self._ages],
            "s",
            "Since the start of the newest slot of which this process saw an observation",
        )

    def _ages(self, _options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        now = time.time()
        for provider, start in list(self._observed.items()):
            yield metrics.Observation(now - start, {"provider": provider})

    def _observe(self, provider: str, slot: str) -> None:
        start = datetime.fromisoformat(slot).timestamp()
        self._observed[provider] = max(start, self._observed.get(provider, start))

    @hookimpl
    def titans_event(self, event: Event) -> None:
        fields = event.fields
        provider = {"provider": event.provider}
        named = {**provider, "event": event.name}
        self._events.add(1, named)

        if event.name == "snapshot_ingested":
            self._snapshots.add(1, {**provider, "status": fields["status"]})
            self._rows.set(fields["rows"], provider)
            if "slot" in fields:  # whatever became of it, the slot holds a snapshot
                self._observe(event.provider, fields["slot"])
            for change in ("added", "changed", "filled", "ceased"):
                if change in fields:
                    self._points.add(fields[change], {**provider, "change": change})
        elif event.name == "hot_created" and fields.get("complete"):
            self._observe(event.provider, fields["slot"])
        elif event.name == "snapshot_refused":
            self._snapshots.add(1, {**provider, "status": "refused"})
        elif event.name == "failed":
            self._failures.add(
                1, {**provider, "operation": fields["operation"], "error": fields["error"]}
            )

        if "bytes" in fields:
            self._written.add(fields["bytes"], named)
        if "ms" in fields:
            self._duration.record(fields["ms"] / 1000, named)
