"""Changed rows and removed rows → one frame for `upload_hot_tier`. pandas stays pandas, polars
stays polars.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import polars as pl

from titans.changes.frames import from_pandas_column, is_pandas, to_polars, together
from titans.errors import InputError, SchemaError
from titans.exact.convert import equals
from titans.schema import CEASED, TIME

__all__ = ["prepare"]

log = logging.getLogger("titans.changes")

_EXACT_IN_FLOATS = 2**53


def prepare(
    changed: Any,
    removed: Any,
    value_columns: Sequence[str] | None = None,
    pk_columns: Sequence[str] | None = None,
) -> Any:
    """See `titans.prepare_for_upload`."""
    from_pandas = [is_pandas(frame) for frame in (changed, removed) if frame is not None]
    if any(from_pandas) and not all(from_pandas):
        raise InputError(
            "changed and removed must be of the same library: both pandas, or both polars"
        )

    library: Any = _Pandas if any(from_pandas) else _Polars
    frame = library.together(changed, removed)
    if not len(frame):
        return frame

    if value_columns is not None:
        frame = _observed(library, frame, value_columns)
    if pk_columns is not None:
        frame = _live(library, frame, pk_columns)
    return frame


def _observed(library: Any, frame: Any, value_columns: Sequence[str]) -> Any:
    values = [name for name in value_columns if name in frame.columns]
    frame, dropped = library.observed(frame, values)
    if dropped:
        log.info(
            "dropped %d changed row(s) in which none of %s was observed",
            dropped,
            ", ".join(values),
        )

    return frame


def _live(library: Any, frame: Any, pk_columns: Sequence[str]) -> Any:
    missing = [name for name in pk_columns if name not in frame.columns]
    if missing:
        raise SchemaError(
            f"pk_columns {', '.join(missing)} missing; the frames have {', '.join(frame.columns)}"
        )

    by = list(pk_columns)
    if TIME in frame.columns:
        by.append(TIME)
    frame, dropped = library.live(frame, by)
    if dropped:
        log.info("dropped %d removed row(s) whose key and Time also has a changed row", dropped)
    return frame


class _Polars:
    @staticmethod
    def together(changed: Any, removed: Any) -> pl.DataFrame:
        """The rows of both, with `Ceased` as the last column."""
        parts = []
        for rows, ceased in ((changed, False), (removed, True)):
            if rows is None:
                continue
            part = to_polars(rows)
            if len(part):
                parts.append(part.with_columns(pl.lit(ceased).alias(CEASED)))

        if not parts:
            return pl.DataFrame()

        frame = together(parts)
        return frame.select(*(c for c in frame.columns if c != CEASED), CEASED)

    @staticmethod
    def observed(frame: pl.DataFrame, values: list[str]) -> tuple[pl.DataFrame, int]:
        """-1 is null in `values`; without the live rows that say nothing in them."""
        columns = list[pl.Expr]()
        for name in values:
            unobserved = equals(frame[name], -1)
            if unobserved.any():
                columns.append(pl.when(~unobserved).then(name).alias(name))
        frame = frame.with_columns(columns)
        if not values:
            return frame, 0

        kept = frame.filter(pl.col(CEASED) | ~pl.all_horizontal(pl.col(values).is_null()))
        return kept, frame.height - kept.height

    @staticmethod
    def live(frame: pl.DataFrame, by: list[str]) -> tuple[pl.DataFrame, int]:
        """Without the removed rows that agree in `by` with a live one."""
        live = (
            frame.filter(~pl.col(CEASED))
            .select(by)
            .unique()
            .with_columns(pl.lit(value=True).alias("\x00live"))
        )
        marked = frame.join(live, on=by, how="left", nulls_equal=True, maintain_order="left")

        kept = marked.filter(~(pl.col(CEASED) & pl.col("\x00live").is_not_null())).drop("\x00live")
        return kept, frame.height - kept.height


class _Pandas:
    @staticmethod
    def together(changed: Any, removed: Any) -> Any:
        """As for polars."""
        pandas = sys.modules["pandas"]
        parts = []
        for rows, ceased in ((changed, False), (removed, True)):
            if rows is not None and len(rows):
                _refuse_repeated(rows)
                parts.append(rows.assign(**{CEASED: ceased}))

        if not parts:
            return pandas.DataFrame()

        frame = pandas.concat(_kept_exact(parts), ignore_index=True)
        return frame[[*(c for c in frame.columns if c != CEASED), CEASED]]

    @staticmethod
    def observed(frame: Any, values: list[str]) -> tuple[Any, int]:
        """As for polars."""
        frame = frame.copy()
        for name in values:
            unobserved = equals(from_pandas_column(name, frame[name]), -1).to_numpy()
            if unobserved.any():
                column = _nullable(frame[name])
                frame[name] = column.mask(unobserved)

        if not values:
            return frame, 0

        kept = frame[frame[CEASED] | ~frame[values].isna().all(axis=1)].reset_index(drop=True)
        return kept, len(frame) - len(kept)

    @staticmethod
    def live(frame: Any, by: list[str]) -> tuple[Any, int]:
        """As for polars."""
        pandas = sys.modules["pandas"]
        ceased = frame[CEASED].to_numpy()
        rows = pandas.MultiIndex.from_frame(frame[by])

        beaten = ceased & rows.isin(rows[~ceased])
        return frame[~beaten].reset_index(drop=True), int(beaten.sum())


def _refuse_repeated(frame: Any) -> None:
    repeated = sorted(set(frame.columns[frame.columns.duplicated()].map(str)))
    if repeated:
        raise InputError(
            f"the frame has several columns named {', '.join(map(repr, repeated))}; rename or "
            "drop them"
        )


def _kept_exact(parts: list[Any]) -> list[Any]:
    """Frames whose columns pandas can put below each other without making floats of integers that
    no float is.
    """
    names = dict.fromkeys(name for part in parts for name in part.columns)
    parts = [part.copy(deep=False) for part in parts]
    for name in names:
        columns = [part[name] for part in parts if name in part.columns]
        if len(columns) < len(parts):
            changed = [_nullable(column) for column in columns]
        elif any(column.dtype != columns[0].dtype for column in columns):
            changed = _side_by_side(columns)
        else:
            continue
        holders = [part for part in parts if name in part.columns]
        for part, column in zip(holders, changed, strict=True):
            part[name] = column
    return parts


def _nullable(column: Any) -> Any:
    """With a dtype that has a null."""
    if column.dtype.kind in "iub":
        return column.convert_dtypes()
    return column


def _side_by_side(columns: list[Any]) -> list[Any]:
    """Columns of different dtypes, as objects where a common dtype would round integers."""
    kinds = {column.dtype.kind for column in columns}
    if kinds <= {"i"} or kinds <= {"u"} or not kinds & {"i", "u"}:
        return columns
    for column in columns:
        if column.dtype.kind in "iu" and int(column.abs().max() or 0) > _EXACT_IN_FLOATS:
            return [each.astype(object) for each in columns]
    return columns
