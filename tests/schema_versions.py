"""One provider in two versions: version 2 widens `n`, renames `w` to `price`, adds `zone`, and
orders its columns anew."""

from __future__ import annotations

import polars as pl

from titans import Provider, Schema

V1 = Provider(
    "small",
    Schema({"n": "Int32", "w": "Float32"}, score="n"),
    ("k",),
    distribution="small",
    version="1.0",
)
V2 = Provider(
    "small",
    Schema(
        {"zone": "String", "n": "Int64", "price": "Float64"}, version=2, renamed={2: {"w": "price"}}
    ),
    ("k",),
    distribution="small",
    version="2.0",
)


def first(rows: dict[str, tuple]) -> pl.DataFrame:
    """`{"a": (1, 0.5)}` → a snapshot of version 1."""
    return pl.DataFrame(
        [(key, *values) for key, values in rows.items()],
        schema={"k": pl.String, "n": pl.Int32, "w": pl.Float32},
        orient="row",
    )


def second(rows: dict[str, tuple]) -> pl.DataFrame:
    """`{"a": (1, 0.5, "x")}` → a snapshot of version 2."""
    return pl.DataFrame(
        [(key, *values) for key, values in rows.items()],
        schema={"k": pl.String, "n": pl.Int64, "price": pl.Float64, "zone": pl.String},
        orient="row",
    )


def first_changes(rows: dict[str, tuple | None]) -> pl.DataFrame:
    """`{"a": (1, 0.5), "b": None}` → change points of version 1: b is gone."""
    live = first({key: values or (None, None) for key, values in rows.items()})
    return live.with_columns(
        Ceased=pl.Series([values is None for values in rows.values()], dtype=pl.Boolean)
    )


def second_changes(rows: dict[str, tuple | None]) -> pl.DataFrame:
    """As `first_changes`, of version 2."""
    live = second({key: values or (None, None, None) for key, values in rows.items()})
    return live.with_columns(
        Ceased=pl.Series([values is None for values in rows.values()], dtype=pl.Boolean)
    )


def as_second(state: pl.DataFrame) -> dict[str, tuple]:
    """A state under version 2 → `{"a": (1, 0.5, "x")}`."""
    return {row["k"]: (row["n"], row["price"], row["zone"]) for row in state.to_dicts()}


def replayed_second(points: pl.DataFrame, moment) -> dict[str, tuple]:
    """The state that change points lead to, one by one."""
    state: dict[str, tuple] = {}
    for row in points.sort("Time", maintain_order=True).to_dicts():
        if row["Time"] <= moment:
            state.pop(row["k"], None)
            if not row["Ceased"]:
                state[row["k"]] = (row["n"], row["price"], row["zone"])
    return state
