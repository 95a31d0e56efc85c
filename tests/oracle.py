"""What the archive must answer, kept as a plain dict; and a small provider to ask about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from titans import Provider, Schema

PROVIDER = Provider(
    "small", Schema({"v": "Int64", "w": "Float64"}, score="v", unobserved={"v": -1}), ("k",)
)

UPGRADED = Provider(
    "small",
    Schema(
        {"x": "String", "w": "Float64", "v": "Float64"}, score="v", unobserved={"v": -1}, version=2
    ),
    ("k",),
)
"""The next version of its schema: a new column that stays null, a wider one, another order."""

START = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)
"""Two hours before a month ends."""


def at(slot: int, minutes: float = 0) -> datetime:
    """The start of the `slot`-th slot after `START`, and a little later."""
    return START + timedelta(minutes=10 * slot + minutes)


def snapshot(rows: dict[str, tuple]) -> pl.DataFrame:
    """`{"a": (1, 0.5)}` → a snapshot of the small provider."""
    return pl.DataFrame(
        [(key, *values) for key, values in rows.items()],
        schema={"k": pl.String, "v": pl.Int64, "w": pl.Float64},
        orient="row",
    )


def changes(rows: dict[str, tuple | None]) -> pl.DataFrame:
    """`{"a": (1, 0.5), "b": None}` → change points: a changed, b is gone."""
    live = {key: values or (None, None) for key, values in rows.items()}
    return snapshot(live).with_columns(
        Ceased=pl.Series([rows[key] is None for key in rows], dtype=pl.Boolean)
    )


def as_dict(state: pl.DataFrame) -> dict[str, tuple]:
    """A state of the small provider → `{"a": (1, 0.5)}`."""
    return {row["k"]: (row["v"], row["w"]) for row in state.to_dicts()}


def replayed(change_points: pl.DataFrame, moment: datetime) -> dict[str, tuple]:
    """The state that change points lead to, one by one."""
    state: dict[str, tuple] = {}
    for row in change_points.sort("Time", maintain_order=True).to_dicts():
        if row["Time"] <= moment:
            state.pop(row["k"], None)
            if not row["Ceased"]:
                state[row["k"]] = (row["v"], row["w"])
    return state


class Clock:
    """A store's clock, which tests turn; a little later at every look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def last_state(snapshots: dict, uploads: dict, at: datetime) -> dict:
    """The last snapshot at `at`, and what was uploaded after it; both are time → rows, as
    `snapshot` and `changes` take them."""
    last = max((t for t in snapshots if t <= at), default=None)
    state = dict(snapshots[last]) if last else {}
    for time, rows in sorted(uploads.items()):
        if time <= at and (last is None or time > last):
            state |= rows
    return {key: values for key, values in state.items() if values is not None}
