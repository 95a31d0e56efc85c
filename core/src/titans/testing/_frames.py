"""Frames for the checks: of any dtype a schema can have, with any value, and Hypothesis to look
through them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Literal

import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from titans.dtypes import decimal_digits
from titans.provider import Provider

__all__ = ["extremes", "for_all", "snapshot", "snapshots", "values"]

Strategies = Mapping[str, st.SearchStrategy[Any]]


def for_all(strategy: st.SearchStrategy[Any], holds: Callable[[Any], None], examples: int) -> None:
    """Call `holds` with examples of the strategy, the same ones as long as the code is the same.

    Hypothesis takes its seed from the source of `example`: another word in there, other examples.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def example(given: Any) -> None:
        holds(given)

    example()


def values(dtype: str) -> st.SearchStrategy[Any]:
    """Values of a dtype that a column can have."""
    if dtype.startswith("Float"):
        width: Literal[32, 64] = 32 if dtype == "Float32" else 64
        return st.floats(allow_nan=False, allow_infinity=False, width=width)
    if dtype.startswith(("Int", "UInt")):
        return st.integers(*_range(dtype))
    if dtype.startswith("Decimal"):
        return _decimals(dtype)
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "Binary": st.binary(max_size=12),
        "Boolean": st.booleans(),
        "Date": st.dates(date(1900, 1, 1), date(2200, 1, 1)),
        "Datetime": _moments,
        "Json": _documents(texts).map(_text_of_document),
        "String": texts,
    }
    return strategies[dtype]


_moments = st.integers(-(2**51), 2**51).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
"""The years 1898 to 2041."""


def _decimals(dtype: str) -> st.SearchStrategy[Decimal]:
    digits, behind = decimal_digits(dtype)
    whole = st.integers(-(10**digits) + 1, 10**digits - 1)
    return whole.map(lambda number: Decimal(number).scaleb(-behind, Context(prec=digits)))


def _documents(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | texts
    nested = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    )
    return nested.filter(lambda document: document is not None)


def _text_of_document(document: Any) -> str:
    """As it is stored."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def extremes(dtype: str) -> list[Any]:
    """Values of a dtype that do not survive a detour through a smaller one."""
    if dtype == "Float32":
        return [0.0, 1.5, -1.5, 3.4028234663852886e38, 1.401298464324817e-45, 16_777_216.0]
    if dtype == "Float64":
        return [0.0, 0.1, -1e308, 5e-324, math.pi, 9_007_199_254_740_991.0, 16_777_217.0]
    if dtype.startswith(("Int", "UInt")):
        low, high = _range(dtype)
        return [low, 0, 1, high - 1, high]
    if dtype.startswith("Decimal"):
        digits, behind = decimal_digits(dtype)
        context = Context(prec=digits)
        return [Decimal(n).scaleb(-behind, context) for n in (0, 1, -1, 10**digits - 1)]
    others: dict[str, list[Any]] = {
        "Binary": [b"", b"\x00", b"\xff\xfe", b"titans"],
        "Datetime": [
            datetime(1900, 1, 1, tzinfo=UTC),
            datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
        "Json": ['{"a":[1,2.5,null],"b":{}}', "[]", '""', "true", "12345678901234567890"],
        "Boolean": [True, False],
        "Date": [date(1900, 1, 1), date(1970, 1, 1), date(2024, 2, 29), date(2200, 1, 1)],
        "String": ["", " ", "0", "null", "한국", "🛰", "a,b;\"c'", "line\nbreak", "x" * 300],
    }
    return others[dtype]


def _range(dtype: str) -> tuple[int, int]:
    bits = int(dtype.lstrip("UInt"))
    if dtype.startswith("U"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def snapshot(provider: Provider, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of key and value columns as a frame of the schema's dtypes."""
    dtypes = {**{name: pl.String() for name in provider.key}, **provider.schema.value_dtypes()}
    return pl.DataFrame(rows, schema=dtypes, orient="row")


def snapshots(
    provider: Provider, keys: Sequence[tuple[str, ...]], narrowed: Strategies
) -> st.SearchStrategy[pl.DataFrame]:
    """Full snapshots with some of `keys`; values of any kind, null and sentinels among them, or
    those of the strategies in `narrowed`.
    """
    columns = []
    for name, dtype in provider.schema.columns.items():
        kinds = [narrowed.get(name, values(dtype)), st.none()]
        if name in provider.schema.unobserved and name not in narrowed:
            kinds.append(st.just(provider.schema.unobserved[name]))
        columns.append(st.one_of(kinds))

    def as_snapshot(rows: dict[tuple[str, ...], tuple[Any, ...]]) -> pl.DataFrame:
        return snapshot(provider, [(*key, *row) for key, row in rows.items()])

    rows = st.dictionaries(st.sampled_from(list(keys)), st.tuples(*columns), max_size=len(keys))
    return rows.map(as_snapshot)
