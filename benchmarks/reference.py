"""What the right answers are: brute force over all rows, sharing nothing with the peers; and what
is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal
from workload import COLUMNS, DTYPES, KEY, SLOT, moment

__all__ = ["ASKED", "QUESTIONS", "arguments", "check", "expected", "load"]

QUESTIONS = ("history", "state", "daily", "latest", "hour")
ASKED = 6
"""How often each question is asked: once cold, the rest warm, each time about something else."""


def arguments(rows: pl.DataFrame, slots: int) -> dict[str, list[dict[str, Any]]]:
    """Of each question the arguments of `ASKED` calls: busy and quiet keys, early and late
    times.
    """
    busy = rows.group_by(KEY).len().sort(["len", *KEY], descending=[True, False, False, False])
    last = busy.height - 1
    keys = [
        busy.select(KEY).row(round(part * last), named=True)
        for part in (0.03, 0.001, 0.15, 0.4, 0.7, 0.95)
    ]
    parts = (0.93, 0.8, 0.66, 0.52, 0.41, 0.3)
    times = [moment(round(part * (slots - 1))) + timedelta(minutes=3) for part in parts]
    hours = [moment(round(part * (slots - 7))) for part in parts]
    return {
        "history": [{"key": key} for key in keys],
        "state": [{"at": at} for at in times],
        "daily": [{}] * ASKED,
        "latest": [{}] * ASKED,
        "hour": [{"start": start, "end": start + 6 * SLOT} for start in hours],
    }


def expected(rows: pl.DataFrame, question: str, given: Mapping[str, Any]) -> pl.DataFrame:
    """The answer, from all change points sorted by key and `Time`."""
    if question == "history":
        return rows.filter(pl.all_horizontal(pl.col(k) == v for k, v in given["key"].items()))
    if question == "hour":
        return rows.filter(pl.col("Time").is_between(given["start"], given["end"], closed="left"))
    if question == "daily":
        live = rows.filter(~pl.col("Ceased")).with_columns(Day=pl.col("Time").dt.date())
        return live.group_by("Region", "Day").agg(pl.col("SpotPrice").mean())
    until = rows if question == "latest" else rows.filter(pl.col("Time") <= given["at"])
    return until.unique(KEY, keep="last", maintain_order=True).filter(~pl.col("Ceased"))


def check(got: pl.DataFrame, wanted: pl.DataFrame, question: str) -> None:
    """Raise `AssertionError` unless both hold the same rows, in whatever order; of means, but for
    rounding.
    """
    assert wanted.height, (
        f"{question}: the right answer has no rows, so comparing with it proves nothing"
    )
    if question == "daily":
        dtypes: dict[str, Any] = {"Region": pl.String, "Day": pl.Date, "SpotPrice": pl.Float64}
        a, b = (
            f.select(pl.col(c).cast(d) for c, d in dtypes.items()).sort("Region", "Day")
            for f in (got, wanted)
        )
        assert_frame_equal(a, b, rel_tol=1e-9)
        return
    assert_frame_equal(_canonical(got), _canonical(wanted), check_exact=True)


def _canonical(frame: pl.DataFrame) -> pl.DataFrame:
    time = frame.schema["Time"]
    assert isinstance(time, pl.Datetime)
    at = pl.col("Time") if time.time_zone else pl.col("Time").dt.replace_time_zone("UTC")
    frame = frame.with_columns(at.dt.convert_time_zone("UTC").cast(DTYPES["Time"]))
    return frame.select(pl.col(c).cast(DTYPES[c]) for c in COLUMNS).sort([*KEY, "Time"])


def load(folder: Path, slots: int) -> pl.DataFrame:
    """All rows of a stored workload, sorted by key and `Time`."""
    return pl.concat(pl.read_ipc(folder / f"{n:05}.arrow") for n in range(slots)).sort(
        [*KEY, "Time"]
    )
