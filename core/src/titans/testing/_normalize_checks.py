"""Checks of what `titans_normalize` makes of frames: the same every time, row by row, and nothing
that was there is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from titans.errors import InputError
from titans.testing._frames import extremes, snapshot, snapshots
from titans.testing._provider_suite import ProviderSuite
from titans.testing._suite import Nonconformance, expect

__all__ = ["NormalizeChecks"]


class NormalizeChecks(ProviderSuite, kit=True):
    """Idempotence, independence of rows, tolerance; dtypes, sentinels and nulls on their way into
    the archive.
    """

    def _each_frame(self, holds: Callable[[pl.DataFrame], None]) -> None:
        """Of the example data as it is, and of what Hypothesis makes of the schema."""
        for frame in self._frames(25, 2):
            holds(frame)
        self._for_all(snapshots(self._provider, self._keys(), self.values), holds)

    # --- titans_normalize -------------------------------------------------------------------------

    def test_normalizing_twice_is_normalizing_once(self) -> None:
        """What is normal stays as it is."""

        def holds(frame: pl.DataFrame) -> None:
            once = self._normalized(frame, "example data")
            twice = self._normalized(once, "a frame that it made itself")
            expect(
                twice.equals(once),
                f"titans_normalize changes what it made itself: {_first_difference(once, twice)}",
            )

        self._each_frame(holds)

    def test_the_order_of_rows_does_not_matter(self) -> None:
        """Rows in another order are normalized to the same rows in that order."""

        def holds(frame: pl.DataFrame) -> None:
            expected = self._normalized(frame, "a frame").reverse()
            backward = self._normalized(frame.reverse(), "a frame")
            expect(
                expected.equals(backward),
                "titans_normalize depends on the order of rows: "
                f"{_first_difference(expected, backward)}",
            )

        self._each_frame(holds)

    def test_rows_do_not_depend_on_each_other(self) -> None:
        """A row alone is normalized as it is among others."""

        def holds(frame: pl.DataFrame) -> None:
            whole = self._normalized(frame, "a frame")
            expect(
                whole.height == frame.height,
                f"titans_normalize made {whole.height} rows of {frame.height}; a snapshot says "
                "which keys there are, so rows may "
                "be neither dropped nor added",
            )

            for row in range(min(frame.height, 6)):
                alone = self._normalized(frame[[row]], "one row")
                among = whole[[row]]
                expect(
                    alone.equals(among),
                    f"a row alone is normalized otherwise: {_first_difference(among, alone)}",
                )

        self._each_frame(holds)

    def test_normalizing_leaves_its_input_alone(self) -> None:
        """The caller's frame is not changed in place."""
        for frame in self._frames(25, 2):
            before = frame.clone()
            self._normalized(frame, "example data")
            expect(
                frame.equals(before),
                "titans_normalize changed the frame it was given; return another one",
            )

    def test_normalizing_keeps_nothing_between_calls(self) -> None:
        """The result depends on the frame alone: nothing comes from an earlier one of the same
        shape.
        """
        frames = self._frames(24, 6)
        half = min(frame.height for frame in frames) // 2
        some = self._normalized(frames[0][:half], "a frame")
        others = self._normalized(frames[0][half : 2 * half], "a frame")
        key = list(self._provider.key)
        expect(
            others.join(some, on=key, how="semi").is_empty(),
            "titans_normalize answers with rows of an earlier frame of the same shape; keep "
            "nothing between calls",
        )

        first = [self._normalized(frame, "example data") for frame in frames]
        for frame, normal in zip(reversed(frames), reversed(first), strict=True):
            expect(
                self._normalized(frame, "example data").equals(normal),
                "the same frame is normalized otherwise after others; keep nothing between calls",
            )

        expect(
            _all_equal(frames) or not _all_equal(first),
            "frames with other values are normalized to the same frame; keep nothing between calls",
        )

    def test_a_frame_without_rows_stays_one(self) -> None:
        """No rows are no reason to fail; a frame without columns may also be refused with an
        InputError.
        """
        frame = self._frames(5, 1)[0].clear()
        expect(
            self._normalized(frame, "a frame without rows").is_empty(),
            "titans_normalize made rows out of none",
        )

        one_column = pl.DataFrame(schema={self._provider.key[0]: pl.String})
        for empty in (pl.DataFrame(), one_column):
            normal = self._tolerated(empty, f"a frame of the columns {empty.columns}")
            expect(normal is None or normal.is_empty(), "titans_normalize made rows out of none")

    def test_value_columns_may_be_missing(self) -> None:
        """A collector that does not know a value leaves its column out: that is null, or an
        InputError, and no crash.
        """
        frame = self._conformed(self._frames(8, 1)[0], "example data")
        for column in self._provider.schema.columns:
            rest = frame.drop(column)
            if self._tolerated(rest, f"a frame without the column {column!r}") is None:
                continue

            values = self._conformed(rest, f"a frame without {column!r}")[column]
            expect(
                values.null_count() == values.len(),
                f"without the column {column!r} its values should be null, not "
                f"{values.drop_nulls().head(1).to_list()}",
            )

    def test_other_columns_do_no_harm(self) -> None:
        """Columns that the schema does not know change nothing in those that it knows."""
        for frame in self._frames(10, 2):
            more = frame.with_columns(
                pl.lit("x").alias("a column of nobody"), pl.lit(None).alias("another")
            )
            expect(
                self._conformed(more, "a frame with more columns").equals(
                    self._conformed(frame, "example data")
                ),
                "a column that the schema does not know changes the result of titans_normalize",
            )

    def test_numbers_may_come_as_text(self) -> None:
        """A collector that reads CSV delivers text; it means the same."""
        for frame in self._frames(15, 2):
            numeric = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
            text = frame.with_columns(pl.col(numeric).cast(pl.String))
            from_text = self._conformed(text, "a frame with numbers as text")
            expected = self._conformed(frame, "example data")
            expect(
                from_text.equals(expected),
                f"numbers as text mean something else: {_first_difference(expected, from_text)}",
            )

    def _tolerated(self, frame: pl.DataFrame, what: str) -> pl.DataFrame | None:
        """The normalized frame, or `None` if the provider refuses it as wrong input."""
        try:
            return self._normalized(frame, what)
        except Nonconformance as failure:
            if isinstance(failure.__cause__, InputError):
                return None
            raise

    # --- values -----------------------------------------------------------------------------------

    def test_every_dtype_keeps_its_extremes(self) -> None:
        """The greatest, smallest and finest values of each column's dtype come out as they went
        in.
        """
        key = self._keys(1)[0]
        ordinary = self._ordinary()
        for column, dtype in self._provider.schema.columns.items():
            if column in self.values:
                continue
            sentinel = self._provider.schema.unobserved.get(column)
            for value in extremes(dtype):
                if value != sentinel:
                    self._keeps(key, ordinary, column, value)

    def _keeps(
        self, key: tuple[str, ...], ordinary: dict[str, Any], column: str, value: Any
    ) -> None:
        row = ordinary | {column: value}
        frame = snapshot(self._provider, [(*key, *row.values())])
        stored = self._conformed(frame, f"{value!r} in column {column!r}")[column][0]
        expect(
            type(stored) is type(value) and stored == value,
            f"{value!r} in column {column!r} ({self._provider.schema.columns[column]}) became "
            f"{stored!r} in titans_normalize; if "
            "this market has no such values, say which it has: values = {"
            f'"{column}": hypothesis strategy'
            "}",
        )

    def test_any_text_can_be_a_key(self) -> None:
        """Spaces inside, slashes, dots, other scripts: keys are stored as they are."""
        odd = ["a b", "a/b", "..", "a=b,c", "ÅNGSTRÖM", "한국", "🛰", "%2F", "x" * 200]
        row = tuple(self._ordinary().values())
        known = self._keys(1)[0]
        for position, column in enumerate(self._provider.key):
            rows = []
            for text in odd:
                key = (*known[:position], text, *known[position + 1 :])
                rows.append((*key, *row))

            frame = snapshot(self._provider, rows)
            stored = set(self._conformed(frame, f"odd text in {column!r}")[column])
            lost = [text for text in odd if text not in stored]
            expect(
                not lost,
                f"key column {column!r}: {lost[:3]} became something else in titans_normalize",
            )

    def test_sentinels_fit_their_columns(self) -> None:
        """The number that means "not observed" is a value of its column's dtype, or it could never
        be met.
        """
        for column, sentinel in self._provider.schema.unobserved.items():
            dtype = self._provider.schema.columns[column]
            polars_dtype = self._provider.schema.value_dtypes()[column]
            cast = pl.Series([sentinel]).cast(polars_dtype, strict=False)
            expect(
                cast[0] == sentinel,
                f"the sentinel {sentinel!r} of column {column!r} is no {dtype}; choose another, or "
                "another dtype",
            )

    def test_sentinels_become_null_and_no_other_value_does(self) -> None:
        """In the column that declares it, in numbers, floats and text."""
        key = self._keys(1)[0]
        ordinary = self._ordinary()
        for column, sentinel in self._provider.schema.unobserved.items():
            row = (*key, *(ordinary | {column: None}).values())
            for form in (sentinel, float(sentinel), str(sentinel)):
                self._becomes(row, column, form, None)
            if column not in self.values:
                self._becomes(row, column, sentinel + 1, sentinel + 1)
                self._becomes(row, column, sentinel + 2, sentinel + 2)

    def _becomes(self, row: tuple[Any, ...], column: str, value: Any, expected: Any) -> None:
        """A row whose `column` is `value` is stored with `expected` in it."""
        frame = snapshot(self._provider, [row])
        frame = frame.with_columns(pl.Series(column, [value]))

        stored = self._conformed(frame, f"{value!r} in column {column!r}")[column][0]
        sentinel = self._provider.schema.unobserved[column]
        expect(
            stored == expected,
            f"{value!r} in column {column!r} became {stored!r} instead of {expected!r}; "
            f"the sentinel is {sentinel!r}",
        )

    def test_null_stays_null(self) -> None:
        """What was not observed is not filled with a number."""
        frame = self._conformed(self._frames(8, 1)[0], "example data")
        for column, dtype in self._provider.schema.value_dtypes().items():
            gap = frame.with_columns(pl.lit(None, dtype=dtype).alias(column))
            stored = self._conformed(gap, f"null in column {column!r}")[column]
            expect(
                stored.null_count() == stored.len(),
                f"null in column {column!r} became {stored.drop_nulls().head(1).to_list()} in "
                "titans_normalize",
            )


def _all_equal(frames: list[pl.DataFrame]) -> bool:
    return all(frame.equals(frames[0]) for frame in frames)


def _first_difference(expected: pl.DataFrame, other: pl.DataFrame) -> str:
    if expected.columns != other.columns:
        return (
            f"the columns are {', '.join(other.columns)} instead of {', '.join(expected.columns)}"
        )

    for column, dtype in expected.schema.items():
        if dtype != other.schema[column]:
            return f"column {column!r} is {other.schema[column]} instead of {dtype}"

    for number, (row, other_row) in enumerate(
        zip(expected.to_dicts(), other.to_dicts(), strict=False)
    ):
        for column, value in row.items():
            if value != other_row[column]:
                return f"{column!r} in row {number} is {other_row[column]!r} instead of {value!r}"

    return f"{other.height} rows instead of {expected.height}"
