"""What a check found, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from titans.holdings.check import Check

__all__ = ["METRICS", "exposition"]


@frozen
class _Metric:
    name: str
    help: str
    value: Callable[[Check], float | None]
    """`None`: there is none."""


def _last_verified(check: Check) -> float | None:
    return None if check.verified is None else check.verified.at.timestamp()


def _verify_passed(check: Check) -> float | None:
    return None if check.verified is None else float(check.verified.passed)


METRICS = (
    _Metric(
        "titans_last_observed_timestamp_seconds",
        "Start of the last slot for which somebody looked at the source.",
        lambda check: None if check.last is None else check.last.timestamp(),
    ),
    _Metric(
        "titans_observation_interval_seconds",
        "How often the source is to be looked at.",
        lambda check: check.every.total_seconds(),
    ),
    _Metric(
        "titans_late",
        "1 where a whole interval has passed in which nobody looked.",
        lambda check: float(check.is_late),
    ),
    _Metric("titans_gaps", "Intervals without an observation.", lambda check: check.gaps),
    _Metric(
        "titans_waiting_files",
        "Hot files that nobody has adopted for an hour.",
        lambda check: check.waiting,
    ),
    _Metric(
        "titans_unsealed_months",
        "Months that are over and have not their final form.",
        lambda check: check.unsealed,
    ),
    _Metric("titans_orphans", "Objects that no manifest names.", lambda check: check.orphans),
    _Metric(
        "titans_last_verified_timestamp_seconds", "When the archive was verified.", _last_verified
    ),
    _Metric("titans_verify_passed", "1 where the last verification passed.", _verify_passed),
    _Metric(
        "titans_faults",
        "What somebody should look at, by number.",
        lambda check: len(check.faults),
    ),
)


def exposition(checks: Sequence[Check]) -> str:
    """All metrics of all archives; labels are `provider` and `environment`."""
    lines = []
    for metric in METRICS:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
        for check in checks:
            value = metric.value(check)
            if value is None:
                continue
            labels = (
                f'provider="{_label(check.provider)}",environment="{_label(check.environment)}"'
            )
            lines.append(f"{metric.name}{{{labels}}} {value!r}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
