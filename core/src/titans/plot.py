"""Charts of what an archive answers, through Altair (extra `titans-core[plot]`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import frozen

from titans.errors import InputError
from titans.read.api import ReadableArchive
from titans.read.queries import VALID_FROM, VALID_TO
from titans.schema import TIME
from titans.slots import Moment, to_moment

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Plots"]

_MOST_KEYS = 20
_MOST_POINTS = 50_000
_KEY = "key"
_COLOURS = {
    "observed": "#2a9d8f",
    "changes": "#e9a13b",
    "empty": "#9fb8c4",
    "missing": "#d9534f",
}


def _altair() -> Any:
    try:
        import altair
    except ImportError as error:
        raise InputError("charts need Altair: pip install 'titans-core[plot]'") from error
    return altair


@frozen(eq=False)
class Plots:
    """Charts of an archive: `archive.plot.history("SpotPrice", InstanceType="m5.large")`.

    Each is an `altair.Chart`, which a notebook shows and `chart.save("prices.html")` keeps. It
    carries its rows itself, so Altair's limit of 5,000 rows does not apply.
    """

    _archive: ReadableArchive

    def history(
        self,
        column: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        keys: Any = None,
        **key: Any,
    ) -> alt.Chart:
        """A value as it held, a step line for each key; with gaps while a key was not there.

        Args:
            column: a value column of numbers.
            start, end, keys, key: as for `Archive.intervals`; at most 20 keys.

        Raises:
            InputError: no such column of numbers, or too many keys or change points.
        """
        self._check(column)
        periods = self._archive.intervals(start, end, columns=[column], keys=keys, **key)
        named = periods.select(self._name(), VALID_FROM, VALID_TO, column)
        _check_size(named)
        until = _last(periods) if end is None else to_moment(end, "end")
        last = pl.col(VALID_TO).fill_null(until)
        # A step up to the end of each period, and nothing until the next one.
        begins = named.select(_KEY, pl.col(VALID_FROM).alias(TIME), column)
        ends = named.select(_KEY, last.alias(TIME), column)
        gaps = named.filter(_is_before_a_gap()).select(
            _KEY, pl.col(VALID_TO).alias(TIME), pl.lit(None).alias(column)
        )
        rows = pl.concat([begins, ends, gaps], how="vertical_relaxed")
        rows = rows.sort(_KEY, TIME, column, nulls_last=True, maintain_order=True)
        return self._lines(rows, column, "step-after")

    def grid(
        self,
        column: str,
        start: Moment | None = None,
        end: Moment | None = None,
        every: timedelta | str = "1h",
        *,
        keys: Any = None,
        **key: Any,
    ) -> alt.Chart:
        """A value at regular times, a line for each key.

        Args:
            column: a value column of numbers.
            start, end, every, keys, key: as for `Archive.grid`; at most 20 keys.

        Raises:
            InputError: no such column of numbers, or too many keys or times.
        """
        self._check(column)
        cells = self._archive.grid(start, end, every, [column], keys=keys, **key)
        rows = cells.select(self._name(), TIME, column)
        _check_size(rows)
        return self._lines(rows, column, "linear")

    def coverage(self, start: Moment | None = None, end: Moment | None = None) -> alt.Chart:
        """Day by day, which of the slots or intervals somebody looked at."""
        altair = _altair()
        looked = self._archive.coverage(start, end)
        rows = looked.select(
            pl.col("slot").dt.strftime("%Y-%m-%d").alias("day"),
            pl.col("slot").dt.strftime("%H:%M").alias("time"),
            "status",
        )
        if rows.height > _MOST_POINTS:
            raise InputError(f"{rows.height:,} slots; ask for fewer days, with start and end")
        colour = altair.Color(
            "status:N",
            scale=altair.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
            title=None,
        )
        chart: alt.Chart = (
            altair.Chart(_data(rows))
            .mark_rect()
            .encode(
                x=altair.X("time:O", title=None),
                y=altair.Y("day:O", title=None),
                color=colour,
                tooltip=["day:O", "time:O", "status:N"],
            )
        )
        return chart

    # --- inside -----------------------------------------------------------------------------------

    def _check(self, column: str) -> None:
        provider = self._archive.provider
        dtype = provider.schema_dtypes.get(column)
        if column not in provider.value_columns or dtype is None or not dtype.is_numeric():
            numbers = [n for n in provider.value_columns if provider.schema_dtypes[n].is_numeric()]
            raise InputError(f"{column!r} is no column of numbers; there are {', '.join(numbers)}")

    def _name(self) -> pl.Expr:
        return pl.concat_str(*self._archive.provider.key, separator=" · ").alias(_KEY)

    def _lines(self, rows: pl.DataFrame, column: str, interpolate: Any) -> alt.Chart:
        altair = _altair()
        unit = self._archive.provider.schema.units.get(column, "")
        title = f"{column} ({unit})" if unit else column
        lines = altair.Chart(_data(rows)).mark_line(interpolate=interpolate)
        chart: alt.Chart = lines.encode(
            x=altair.X(f"{TIME}:T", title=None),
            y=altair.Y(f"{column}:Q", title=title, scale=altair.Scale(zero=False)),
            color=altair.Color(f"{_KEY}:N", title=None),
            tooltip=[f"{_KEY}:N", f"{TIME}:T", f"{column}:Q"],
        )
        return chart


def _check_size(rows: pl.DataFrame) -> None:
    keys = rows[_KEY].n_unique()
    if keys > _MOST_KEYS:
        raise InputError(
            f"{keys:,} keys; a chart shows at most {_MOST_KEYS}: say which, with key columns or "
            "keys="
        )
    if rows.height > _MOST_POINTS:
        raise InputError(
            f"{rows.height:,} points; a chart shows at most {_MOST_POINTS:,}: ask for a shorter "
            "range, or for a grid"
        )


def _is_before_a_gap() -> pl.Expr:
    """Whether a period ends, and no other of its key begins then."""
    following = pl.col(VALID_FROM).shift(-1).over(_KEY)
    return pl.col(VALID_TO).is_not_null() & following.ne_missing(pl.col(VALID_TO))


def _last(periods: pl.DataFrame) -> Any:
    """The last time at which something changed."""
    times = pl.concat([periods[VALID_FROM], periods[VALID_TO].drop_nulls()])
    return times.max()


def _data(rows: pl.DataFrame) -> Any:
    altair = _altair()
    times: Sequence[str] = [name for name, dtype in rows.schema.items() if dtype.is_temporal()]
    plain = rows.with_columns(pl.col(*times).dt.to_string("iso:strict")) if times else rows
    return altair.InlineData(values=plain.to_dicts())
