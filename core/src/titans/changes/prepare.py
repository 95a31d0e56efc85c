"""Changed rows and removed rows → one frame for `upload_hot_tier`. pandas stays pandas, polars
stays polars.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import polars as pl

from titans.changes.frames import is_pandas, to_polars
from titans.errors import InputError, SchemaError
from titans.schema import CEASED, TIME

__all__ = ["prepare"]

log = logging.getLogger("titans.changes")


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

        frame = pl.concat(parts, how="diagonal_relaxed")
        return frame.select(*(c for c in frame.columns if c != CEASED), CEASED)

    @staticmethod
    def observed(frame: pl.DataFrame, values: list[str]) -> tuple[pl.DataFrame, int]:
        """-1 is null in `values`; without the live rows that say nothing in them."""
        numeric = [name for name in values if frame[name].dtype.is_numeric()]
        frame = frame.with_columns(
            pl.when(pl.col(name) != -1).then(name).alias(name) for name in numeric
        )
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
                parts.append(rows.assign(**{CEASED: ceased}))

        if not parts:
            return pandas.DataFrame()

        frame = pandas.concat(parts, ignore_index=True)
        return frame[[*(c for c in frame.columns if c != CEASED), CEASED]]

    @staticmethod
    def observed(frame: Any, values: list[str]) -> tuple[Any, int]:
        """As for polars."""
        frame = frame.copy()
        for name in values:
            if frame[name].dtype.kind in "iuf":
                frame[name] = frame[name].mask(frame[name] == -1)

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
