"""OpenTelemetry metrics of TITANS archives: an observer and nothing else."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import metrics

from titans import hookimpl

if TYPE_CHECKING:
    from titans.events import Event

__all__ = ["Metrics"]

TITANS_API = 1


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
        self._duration = meter.create_histogram("titans.duration", "s", "How long a step took")

    @hookimpl
    def titans_event(self, event: Event) -> None:
        fields = event.fields
        provider = {"provider": event.provider}
        named = {**provider, "event": event.name}
        self._events.add(1, named)

        if event.name == "snapshot_ingested":
            self._snapshots.add(1, {**provider, "status": fields["status"]})
            self._rows.set(fields["rows"], provider)
            for change in ("added", "changed", "filled", "ceased"):
                if change in fields:
                    self._points.add(fields[change], {**provider, "change": change})
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
