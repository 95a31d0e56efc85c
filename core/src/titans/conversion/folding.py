"""Change points of one primary key as those of another: what the provider's `titans_normalize`
makes of the old keys.

Mostly one old key becomes one new key, and rows go through as they are. Where several old keys
become one (or an old key becomes another over time), their change points are replayed: the new key
lives while one of them does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import polars as pl
from attrs import define, field

from titans.changes.conform import conform_changes
from titans.errors import ConversionError
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import Slot, iso

__all__ = ["Folding", "KeyMap"]

_START = "\x00start"
_NEW = "\x00new "
"""Before the names of new key columns beside the old ones."""


@define(eq=False)
class KeyMap:
    """Which old keys became which new keys, in all rows that have been looked at."""

    provider: Provider
    key: tuple[str, ...]
    """Of the source."""
    pairs: pl.DataFrame | None = None
    """Distinct pairs of old and new key of live rows."""

    @property
    def new(self) -> list[str]:
        return [_NEW + name for name in self.provider.key]

    def add(self, rows: pl.DataFrame) -> None:
        """Look at rows of the source."""
        live = rows.filter(~pl.col(CEASED))
        if not live.height:
            return
        pairs = live.select(self.key).with_columns(self._normalized(live)).unique()
        if self.pairs is not None:
            pairs = pl.concat([self.pairs, pairs]).unique()
        self.pairs = pairs

    def _normalized(self, rows: pl.DataFrame) -> list[pl.Series]:
        """The new key of every row."""
        normalized = self.provider.normalize(rows)
        absent = [name for name in self.provider.key if name not in normalized.columns]
        if absent or normalized.height != rows.height:
            raise ConversionError(
                f"{self.provider} makes {normalized.height} row(s) of {rows.height}, with the "
                f"columns {', '.join(normalized.columns)}; its key is "
                f"{', '.join(self.provider.key)}, that of the archive {', '.join(self.key)}"
            )
        return [normalized[name].cast(pl.String).alias(_NEW + name) for name in self.provider.key]

    def folded(self) -> pl.DataFrame:
        """The old keys that are not the only one of their new key, or have several."""
        if self.pairs is None:
            return pl.DataFrame(schema=dict.fromkeys(self.key, pl.String))
        shared = pl.len().over(self.new) > 1
        moved = pl.len().over(self.key) > 1
        return self.pairs.filter(shared | moved).select(self.key).unique()

    def single(self) -> pl.DataFrame:
        """Old key and new key of all others."""
        if self.pairs is None:
            return pl.DataFrame(schema=dict.fromkeys((*self.key, *self.new), pl.String))
        return self.pairs.join(self.folded(), on=self.key, how="anti", nulls_equal=True)


_Key = tuple[Any, ...]
_Values = tuple[Any, ...]


@define(eq=False)
class Folding:
    """Turns the rows of a source into those of the provider, month after month."""

    keys: KeyMap
    _new: dict[_Key, _Key] = field(factory=dict)
    """Folded old keys that live → the new key each stands for."""
    _said: dict[_Key, dict[_Key, _Values]] = field(factory=dict)
    """New key → what each of its old keys says."""
    _last: dict[_Key, _Values] = field(factory=dict)
    """The values of new keys that live, as they were written last."""
    _single: pl.DataFrame = field(init=False)
    _folded: pl.DataFrame = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._single = self.keys.single()
        self._folded = self.keys.folded()

    def slots(self, rows: pl.DataFrame) -> Iterator[tuple[Slot, pl.DataFrame]]:
        """Slot by slot, the change points in canonical columns, sorted by key and `Time`.

        Args:
            rows: of a month of the source.

        Raises:
            ConversionError: several old keys give a new one different values at a time.
            SchemaError: a value does not fit the provider's schema.
        """
        if not rows.height:
            return
        minutes = self.keys.provider.layout.slot_minutes
        start = pl.col(TIME).dt.truncate(f"{minutes}m").alias(_START)
        ordered = rows.sort(TIME, maintain_order=True).with_columns(start)
        for part in ordered.partition_by(_START, maintain_order=True, include_key=False):
            slot = Slot.of(part[TIME][0], minutes)
            changes = self._of_slot(part, slot)
            if changes.height:
                yield slot, changes

    def _of_slot(self, rows: pl.DataFrame, slot: Slot) -> pl.DataFrame:
        key, provider = list(self.keys.key), self.keys.provider
        one = rows.join(self._folded, on=key, how="anti", nulls_equal=True, maintain_order="left")
        frames = [
            self._conformed(one.filter(~pl.col(CEASED)), slot),
            self._tombstones(one.filter(pl.col(CEASED))),
        ]
        if one.height < rows.height:
            several = rows.join(
                self._folded, on=key, how="semi", nulls_equal=True, maintain_order="left"
            )
            frames.append(self._replayed(several, slot))
        return pl.concat(frames).sort([*provider.key, TIME])

    def _conformed(self, live: pl.DataFrame, slot: Slot) -> pl.DataFrame:
        provider = self.keys.provider
        if not live.height:
            return pl.DataFrame(schema=dict(provider.schema_dtypes))
        rows, _ = conform_changes(live, provider, slot.start, slot)
        return rows

    def _tombstones(self, ceased: pl.DataFrame) -> pl.DataFrame:
        """Those of keys that have lived; what never lived cannot cease."""
        key, provider = list(self.keys.key), self.keys.provider
        known = ceased.select(*key, TIME).join(self._single, on=key, nulls_equal=True)
        names = [pl.col(_NEW + name).alias(name) for name in provider.key]
        return _ceased(known.select(*names, TIME), provider)

    # --- several old keys -------------------------------------------------------------------------

    def _replayed(self, rows: pl.DataFrame, slot: Slot) -> pl.DataFrame:
        provider = self.keys.provider
        changed = list[_Values]()
        gone = list[_Values]()
        for time, group in groupby(rows.rows(named=True), _time):
            touched = set[_Key]()
            for row in group:
                touched |= self._apply(row, rows.schema, slot)
            for new in sorted(touched):
                now = self._agreed(new, time)
                was = self._last.pop(new, None)
                if now is not None:
                    self._last[new] = now
                    if now != was:
                        changed.append((*new, time, *now, False))
                elif was is not None:
                    gone.append((*new, time))

        live = pl.DataFrame(changed, schema=dict(provider.schema_dtypes), orient="row")
        times = {name: live.schema[name] for name in (*provider.key, TIME)}
        return pl.concat([live, _ceased(pl.DataFrame(gone, schema=times, orient="row"), provider)])

    def _apply(self, row: Mapping[str, Any], schema: pl.Schema, slot: Slot) -> set[_Key]:
        """Let a row happen; the new keys it touches."""
        old = tuple(row[name] for name in self.keys.key)
        touched = set[_Key]()
        if old in self._new:
            new = self._new.pop(old)
            del self._said[new][old]
            touched.add(new)
        if not row[CEASED]:
            conformed = self._conformed(pl.DataFrame([row], schema=schema), slot).row(0)
            width = len(self.keys.provider.key)
            new = conformed[:width]
            self._new[old] = new
            self._said.setdefault(new, {})[old] = conformed[width + 1 : -1]
            touched.add(new)
        return touched

    def _agreed(self, new: _Key, time: datetime) -> _Values | None:
        """What the old keys that live say of a new one; `None` where none lives."""
        said = dict[_Values, _Key]()
        for old, values in self._said[new].items():
            said.setdefault(values, old)
        if len(said) < 2:
            return next(iter(said), None)

        provider = self.keys.provider
        parts = list[str]()
        for values, old in said.items():
            old_key = _text(self.keys.key, old)
            parts.append(f"{old_key} with {_text(provider.value_columns, values)}")
        raise ConversionError(
            f"at {iso(time)} these keys of the source are one key of {provider}, "
            f"{_text(provider.key, new)}, and have different values: {'; '.join(parts)}; convert "
            "with a provider that keeps them apart, or take one of them out of the source",
            provider=provider.name,
        )


def _time(row: Mapping[str, Any]) -> datetime:
    time: datetime = row[TIME]
    return time


def _ceased(rows: pl.DataFrame, provider: Provider) -> pl.DataFrame:
    """Tombstones of keys with a `Time`, in canonical columns."""
    nothing = [pl.lit(None, dtype=d).alias(v) for v, d in provider.schema.value_dtypes().items()]
    return rows.select(*provider.key, TIME, *nothing, pl.lit(value=True).alias(CEASED))


def _text(names: Sequence[str], values: _Values) -> str:
    pairs = [f"{name}={value!r}" for name, value in zip(names, values, strict=True)]
    return f"({', '.join(pairs)})"
