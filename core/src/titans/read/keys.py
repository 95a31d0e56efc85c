"""Which keys a caller means: values of any dtype, as the text that keys have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from titans.changes.frames import to_polars
from titans.changes.keys import key_texts, with_key_texts
from titans.errors import InputError
from titans.provider import Provider

__all__ = ["keys_between", "wanted_keys", "wanted_values"]


def wanted_values(key: Mapping[str, Any], provider: Provider) -> dict[str, pl.Series]:
    """Key column → the texts of a value, or of several: a list, tuple, set, series or array.

    Raises:
        InputError: a name is no key column, or a value is null or nothing that a key can be.
    """
    _check_columns(key, provider)
    wanted = {}
    for column, value in key.items():
        if isinstance(value, str):
            texts = pl.Series(column, [value])
        elif isinstance(value, pl.Series):
            texts = key_texts(value.alias(column))
        elif _are_several(value):
            texts = _texts(column, [*value])
        else:
            texts = _texts(column, [value])
        if texts.null_count():
            raise InputError(f"a key is never null, and a wanted value of {column!r} is")
        wanted[column] = texts.unique() if len(texts) > 1 else texts
    return wanted


def _check_columns(names: Iterable[str], provider: Provider) -> None:
    unknown = [column for column in names if column not in provider.key]
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} is no key column of provider {provider.name!r}; the key is "
            f"{', '.join(provider.key)}",
            provider=provider.name,
        )


def _are_several(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping):
        return False
    # An array without dimensions is one value.
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0


def _texts(column: str, values: Sequence[Any]) -> pl.Series:
    try:
        return key_texts(pl.Series(column, values))
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        if len(values) < 2:
            raise InputError(
                f"{values[0]!r} cannot be a value of key column {column!r}; give text, a number, a "
                "boolean or a date"
            ) from error
    # Of several dtypes: each by itself.
    return pl.concat([_texts(column, [value]) for value in values])


def wanted_keys(keys: Any, provider: Provider) -> pl.DataFrame:
    """A frame of several keys (polars, LazyFrame, pandas, Arrow) or a list of dicts as texts.

    Raises:
        InputError: it is none of these, dicts do not name the same columns, a column is none of
            the key, or a value is nothing that a key can be.
    """
    key = provider.key
    if isinstance(keys, pl.LazyFrame):
        try:
            frame = keys.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"the LazyFrame of keys cannot be collected: {error}") from error
    elif isinstance(keys, Mapping):
        frame = _of_dicts([keys], key)
    elif isinstance(keys, list | tuple) and all(isinstance(row, Mapping) for row in keys):
        frame = _of_dicts(keys, key)
    else:
        frame = to_polars(keys)
    _check_columns(frame.columns, provider)
    if not frame.columns:
        raise InputError(f"the frame of keys has no columns; the key is {', '.join(key)}")
    return with_key_texts(frame, key).drop_nulls().unique()


def _of_dicts(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=dict.fromkeys(key, pl.String))
    names = list(rows[0])
    for row in rows:
        if set(row) != set(names):
            raise InputError(
                f"each key names the same columns, and these differ: {', '.join(names)}; "
                f"{', '.join(row)}"
            )
    return pl.DataFrame([_texts(name, [row[name] for row in rows]) for name in names])


def keys_between(
    key: tuple[str, ...], low: tuple[str, ...] | None, high: tuple[str, ...] | None
) -> pl.Expr:
    """The keys from `low` on and before `high`, in the order of all key columns; one of the two at
    least is given.
    """
    conditions = []
    if low is not None:
        conditions.append((pl.col(key[0]) >= low[0]) & ~_less(key, low))
    if high is not None:
        conditions.append((pl.col(key[0]) <= high[0]) & _less(key, high))
    return pl.all_horizontal(conditions)


def _less(key: tuple[str, ...], bound: tuple[str, ...]) -> pl.Expr:
    """Whether a key comes before `bound`."""
    less = pl.col(key[-1]) < bound[-1]
    for column, text in zip(reversed(key[:-1]), reversed(bound[:-1]), strict=True):
        less = (pl.col(column) < text) | ((pl.col(column) == text) & less)
    return less
