"""Which keys, rows and columns of an answer a caller wants: the same for every question.

An answer with a choice is the answer without it, of which the rows of these keys that satisfy the
condition are left, with the key, the times, and the value columns that are wanted. What is known to
hold of a key whatever its values are (`titans.read.pushdown`) is applied while files are read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import polars as pl
from attrs import field, frozen

from titans.errors import CorruptFileError, InputError
from titans.provider import Provider
from titans.read.pushdown import check_condition, filtered, filtered_scan, is_pushable

__all__ = ["Choice", "value_columns"]

log = logging.getLogger("titans.read")

_WILDCARDS = frozenset("*?[]%")

T = TypeVar("T")


@frozen(eq=False)
class Choice:
    """What is wanted of an answer."""

    provider: Provider
    where: pl.Expr | None = None
    """Over the columns of the answer."""
    columns: tuple[str, ...] | None = None
    """The value columns, `None` for all."""
    key: Mapping[str, pl.Series] = field(factory=dict)
    """Key column → the texts of which any will do."""
    among: pl.DataFrame | None = None
    """Some or all key columns: the key agrees with a row."""
    is_plan: bool = False
    """No rows are read, so that none are found says nothing."""

    @property
    def values(self) -> tuple[str, ...]:
        """The value columns that are wanted."""
        return tuple(self.provider.schema.columns) if self.columns is None else self.columns

    # --- while files are read ---------------------------------------------------------------------

    @property
    def single(self) -> dict[str, str] | None:
        """Key columns of which one value is wanted."""
        found = {column: texts[0] for column, texts in self.key.items() if len(texts) == 1}
        return found or None

    @property
    def of_keys(self) -> pl.Expr | None:
        """The condition on the key that `key` and `among` are, or a part of it."""
        conditions = []
        for column, texts in self.key.items():
            if len(texts) == 1:
                conditions.append(pl.col(column) == texts[0])
            else:
                conditions.append(pl.col(column).is_in(texts.implode()))
        if self.among is not None:
            for column in self.among.columns:
                texts = self.among[column].unique()
                conditions.append(pl.col(column).is_in(texts.implode()))
        return _all(conditions)

    @property
    def pushed(self) -> pl.Expr | None:
        """All that may be applied to rows before the last one of a key is known."""
        conditions = [self.of_keys]
        if self.where is not None and is_pushable(self.where, self.provider.key):
            conditions.append(self.where)
        return _all([each for each in conditions if each is not None])

    def read(self, read: Callable[[pl.Expr | None], T]) -> T:
        """What `read` gives, with the condition that may be pushed."""
        if self.where is not None and self.pushed is not None:
            try:
                return read(self.pushed)
            except CorruptFileError as error:
                # Or polars cannot compare the statistics of a file with it, as in `true | (k > 3)`.
                log.debug("read again without the condition: %s", error)
        return read(self.of_keys)

    # --- of the answer ----------------------------------------------------------------------------

    def check(self, nothing: pl.DataFrame) -> None:
        """Raise `InputError` where the condition cannot be applied to an answer, of which `nothing`
        is one without rows.
        """
        if self.where is not None:
            check_condition(self.where, nothing)

    def rows(self, answer: pl.DataFrame) -> pl.DataFrame:
        """The rows that are wanted, of an answer that was read with what may be pushed."""
        answer = self.of_these_keys(answer)
        if self.where is not None:
            answer = filtered(answer, self.where)
        self._say_if_a_pattern(answer)
        return answer

    def of_these_keys(self, answer: pl.DataFrame) -> pl.DataFrame:
        """The rows of the keys that are wanted, whatever the condition says of them."""
        if self.among is None:
            return answer
        on = self.among.columns
        return answer.join(self.among, on=on, how="semi", maintain_order="left")

    def of_lazy(self, answer: pl.LazyFrame) -> pl.LazyFrame:
        """The rows for which the condition holds, of an answer that has these keys: it may look at
        rows of several batches.
        """
        return answer if self.where is None else filtered_scan(answer, self.where)

    def _say_if_a_pattern(self, answer: pl.DataFrame) -> None:
        """A value such as `m5.*` is a key of that very text, which nobody may have meant."""
        if answer.height or self.is_plan:
            return
        for column, texts in self.key.items():
            patterns = [text for text in texts if _WILDCARDS & set(text)]
            if patterns:
                log.warning(
                    "%s: nothing has %s=%r; a value is compared as it is, and wildcards mean "
                    "nothing in it: to match a pattern use where=, as in "
                    "pl.col(%r).str.starts_with('…')",
                    self.provider.name,
                    column,
                    patterns[0],
                    column,
                )


def _all(conditions: Sequence[pl.Expr]) -> pl.Expr | None:
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else pl.all_horizontal(conditions)


def value_columns(
    columns: Sequence[str] | None, known: Collection[str], provider: Provider
) -> tuple[str, ...] | None:
    """The value columns among those that are wanted; key and times always come.

    Raises:
        InputError: one is not among the columns of the answer, which are `known`.
    """
    if columns is None:
        return None
    if isinstance(columns, str) or not isinstance(columns, Collection):
        raise InputError(f"columns is a list of names, got {columns!r}")
    unknown = [repr(column) for column in columns if column not in known]
    if unknown:
        raise InputError(f"no column {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(name for name in columns if name in provider.schema.columns))
