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
            forward, backward = (
                self._normalized(frame, "a frame"),
                self._normalized(frame.reverse(), "a frame"),
            )
            expect(
                forward.reverse().equals(backward),
                "titans_normalize depends on the order of rows: "
                f"{_first_difference(forward.reverse(), backward)}",
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
                alone, among = self._normalized(frame[[row]], "one row"), whole[[row]]
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
        some, others = (
            self._normalized(part, "a frame")
            for part in (frames[0][:half], frames[0][half : 2 * half])
        )
        key = list(self._provider.key)
        expect(
            others.join(some, on=key, how="semi").is_empty(),
            "titans_normalize answers with rows of an earlier frame of the same shape; keep "
            "nothing between calls",
        )
        first = [self._normalized(frame, "example data") for frame in frames]
        again = [self._normalized(frame, "example data") for frame in reversed(frames)][::-1]
        expect(
            all(one.equals(other) for one, other in zip(first, again, strict=True)),
            "the same frame is normalized otherwise after others; keep nothing between calls",
        )
        changed = any(not frame.equals(frames[0]) for frame in frames)
        expect(
            not changed or any(not one.equals(first[0]) for one in first),
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
        for columnless in (
            pl.DataFrame(),
            pl.DataFrame({self._provider.key[0]: []}, schema={self._provider.key[0]: pl.String}),
        ):
            found = self._tolerated(columnless, f"a frame of the columns {columnless.columns}")
            expect(found is None or found.is_empty(), "titans_normalize made rows out of none")

    def test_value_columns_may_be_missing(self) -> None:
        """A collector that does not know a value leaves its column out: that is null, or an
        InputError, and no crash.
        """
        frame = self._conformed(self._frames(8, 1)[0], "example data")
        for column in self._provider.schema.columns:
            found = self._tolerated(frame.drop(column), f"a frame without the column {column!r}")
            if found is not None:
                rest = self._conformed(frame.drop(column), f"a frame without {column!r}")
                expect(
                    rest[column].null_count() == rest.height,
                    f"without the column {column!r} its values should be null, not "
                    f"{rest[column].drop_nulls().head(1).to_list()}",
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
            found = self._conformed(text, "a frame with numbers as text")
            expected = self._conformed(frame, "example data")
            expect(
                found.equals(expected),
                f"numbers as text mean something else: {_first_difference(expected, found)}",
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
        key, ordinary = self._keys(1)[0], self._ordinary()
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
        stored = self._conformed(
            snapshot(self._provider, [(*key, *row.values())]), f"{value!r} in column {column!r}"
        )
        found = stored[column][0]
        expect(
            type(found) is type(value) and found == value,
            f"{value!r} in column {column!r} ({self._provider.schema.columns[column]}) became "
            f"{found!r} in titans_normalize; if "
            "this market has no such values, say which it has: values = {"
            f'"{column}": hypothesis strategy'
            "}",
        )

    def test_any_text_can_be_a_key(self) -> None:
        """Spaces inside, slashes, dots, other scripts: keys are stored as they are."""
        odd = ["a b", "a/b", "..", "a=b,c", "ÅNGSTRÖM", "한국", "🛰", "%2F", "x" * 200]
        row = tuple(self._ordinary().values())
        known = self._keys(1)[0]
        for at, column in enumerate(self._provider.key):
            keys = [(*known[:at], text, *known[at + 1 :]) for text in odd]
            stored = self._conformed(
                snapshot(self._provider, [(*key, *row) for key in keys]), f"odd text in {column!r}"
            )
            lost = [text for text in odd if text not in set(stored[column])]
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
            fits = pl.Series([sentinel]).cast(
                self._provider.schema.value_dtypes()[column], strict=False
            )[0]
            expect(
                fits == sentinel,
                f"the sentinel {sentinel!r} of column {column!r} is no {dtype}; choose another, or "
                "another dtype",
            )

    def test_sentinels_become_null_and_no_other_value_does(self) -> None:
        """In the column that declares it, in numbers, floats and text."""
        key, schema, ordinary = self._keys(1)[0], self._provider.schema, self._ordinary()
        for column, sentinel in schema.unobserved.items():
            near = [sentinel + 1, sentinel + 2] if column not in self.values else []
            forms = [(form, None) for form in (sentinel, float(sentinel), str(sentinel))]
            for value, expected in [*forms, *zip(near, near, strict=True)]:
                others = (None if name == column else other for name, other in ordinary.items())
                frame = snapshot(self._provider, [(*key, *others)]).with_columns(
                    pl.Series(column, [value])
                )
                stored = self._conformed(frame, f"{value!r} in column {column!r}")[column][0]
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


def _first_difference(expected: pl.DataFrame, found: pl.DataFrame) -> str:
    if expected.columns != found.columns:
        return (
            f"the columns are {', '.join(found.columns)} instead of {', '.join(expected.columns)}"
        )
    for column in expected.columns:
        if expected.schema[column] != found.schema[column]:
            return (
                f"column {column!r} is {found.schema[column]} instead of {expected.schema[column]}"
            )
    for row, (one, other) in enumerate(zip(expected.to_dicts(), found.to_dicts(), strict=False)):
        for column in expected.columns:
            if one[column] != other[column]:
                return f"{column!r} in row {row} is {other[column]!r} instead of {one[column]!r}"
    return f"{found.height} rows instead of {expected.height}"
