"""What a slot of an archive holds, and how something else differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

import polars as pl
from attrs import frozen

from titans.archive import Archive
from titans.errors import InputError, NotFound
from titans.exact.convert import convert
from titans.loading.rehearsal import rehearsal
from titans.provider import Provider
from titans.schema import CEASED, TIME
from titans.slots import TICK, Slot, iso, to_utc
from titans.tiers.manifest.commit import read_head
from titans.tiers.write.hot import read_adopted_record

__all__ = ["Stored", "edited", "stored_in"]


@frozen(eq=False)
class Stored:
    """What a slot holds."""

    rows: pl.DataFrame
    """Of a snapshot: key and value columns; of an upload also `Time` and `Ceased`."""
    time: datetime
    """When it was collected."""
    is_snapshot: bool
    is_complete: bool = False
    """Of an upload: the rows are all that had changed."""


def stored_in(archive: Archive, moment: datetime) -> Stored:
    """What the slot of `moment` holds, adopted or not. Nothing is written.

    Raises:
        InputError: nothing is stored there.
    """
    slot = Slot.of(to_utc(moment, "at"), archive.paths.minutes)
    archive = rehearsal(archive)
    dataset = archive._dataset
    with suppress(NotFound):
        archive.compact(archive.paths.hot_key(slot))
    record = read_adopted_record(dataset, read_head(dataset, slot.month).manifest, slot)
    if record is None or record.claim == "retracted":
        raise InputError(
            f"nothing is stored for slot {slot} of provider {archive.provider.name!r}, so there is "
            "nothing to correct"
        )
    if record.is_snapshot:
        rows = archive.state(slot.end - TICK).drop(TIME)
        return Stored(rows, record.time, is_snapshot=True)
    rows = archive.changes(slot.start, slot.end)
    return Stored(rows, record.time, is_snapshot=False, is_complete=bool(record.claim))


def edited(
    stored: Stored, provider: Provider, values: Mapping[str, str], key: Mapping[str, str]
) -> pl.DataFrame:
    """The rows of `stored`, those of a key with other values.

    Args:
        values: value column → text; empty text is a null.
        key: some or all key columns → text; none of them: all keys.

    Raises:
        InputError: no such column, or no such key among the rows.
    """
    unknown = sorted(set(key) - set(provider.key))
    unknown += sorted(set(values) - set(provider.value_columns))
    if unknown:
        raise InputError(
            f"no such column: {', '.join(unknown)}; the key is {', '.join(provider.key)}, the "
            f"values are {', '.join(provider.value_columns)}"
        )
    here = pl.all_horizontal([pl.lit(value=True), *(pl.col(k) == v for k, v in key.items())])
    if CEASED in stored.rows.columns:
        here &= ~pl.col(CEASED)
    if not stored.rows.select(here.any()).item():
        named = ", ".join(f"{name}={value}" for name, value in key.items())
        raise InputError(f"what was collected at {iso(stored.time)} has no key with {named}")

    columns = []
    for name, text in values.items():
        dtype = stored.rows.schema[name]
        value = pl.lit(None, dtype)
        if text:
            value = _parsed(name, text, provider.schema.columns[name])
        columns.append(pl.when(here).then(value).otherwise(name).alias(name))
    return stored.rows.with_columns(columns)


def _parsed(name: str, text: str, dtype: str) -> pl.Expr:
    """A text as a value of a column."""
    value = convert(pl.Series(name, [text]), dtype).values
    if value[0] is None:
        raise InputError(f"{text!r} is no value of column {name!r}, which is {dtype}")
    return pl.lit(value).first()
