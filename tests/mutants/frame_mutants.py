"""What goes wrong between a frame and the archive: each class below has one defect."""

from titans_mutants import KEY, RENAMED, SCHEMA, Healthy, rejected_by

from titans import Expectations, Schema, hookimpl
from titans.errors import InputError

# --- titans_normalize -----------------------------------------------------------------------------


class Changes(Healthy):
    """A plugin whose defect is an expression for a column, where the column is there."""

    column = "Price"

    def change(self, frame):
        import polars as pl

        return (
            frame.with_columns(self.changed(pl.col(self.column)))
            if self.column in frame.columns
            else frame
        )


@rejected_by("test_normalizing_twice_is_normalizing_once", "'Price' in row")
class CentsEveryTime(Changes):
    def changed(self, column):
        return column.cast(float) * 100


@rejected_by("test_the_order_of_rows_does_not_matter", "depends on the order of rows")
class SortsRows(Healthy):
    def change(self, frame):
        return frame.sort("Flavor") if "Flavor" in frame.columns else frame


@rejected_by("test_rows_do_not_depend_on_each_other", "a row alone is normalized otherwise")
class GapsGetTheMean(Changes):
    def changed(self, column):
        return column.fill_null(column.mean())


@rejected_by("test_rows_do_not_depend_on_each_other", "neither dropped nor added")
class DropsRowsWithGaps(Healthy):
    def change(self, frame):
        return frame.drop_nulls()


@rejected_by("test_normalizing_leaves_its_input_alone", "changed the frame it was given")
class ChangesInPlace(Healthy):
    @hookimpl
    def titans_normalize(self, frame):
        if "usd" in frame.columns:
            frame.insert_column(0, frame.drop_in_place("usd").rename("Price"))
        return frame.rename(RENAMED, strict=False)


@rejected_by("test_normalizing_keeps_nothing_between_calls", "of an earlier frame")
class StaleCache(Healthy):
    def __init__(self):
        self.cache = {}

    def change(self, frame):
        return self.cache.setdefault((frame.height, *frame.columns), frame)


@rejected_by("test_a_frame_without_rows_stays_one", "OutOfBounds")
class LooksAtTheFirstRow(Healthy):
    def change(self, frame):
        return frame.filter(True) if frame.columns and frame.row(0) else frame


@rejected_by("test_value_columns_may_be_missing", "without the column 'Note'")
class NeedsEveryColumn(Healthy):
    def change(self, frame):
        return (
            frame.with_columns(frame["Note"].str.strip_chars_end("\0"))
            if "Zone" in frame.columns
            else frame
        )


@rejected_by("test_value_columns_may_be_missing", "its values should be null")
class FillsInWhatIsMissing(Healthy):
    def change(self, frame):
        import polars as pl

        return frame if "Rank" in frame.columns else frame.with_columns(Rank=pl.lit(0))


@rejected_by("test_other_columns_do_no_harm", "with more columns")
class BelievesAllColumnsAreNumbers(Healthy):
    def change(self, frame):
        import polars as pl

        known = {"Flavor", "Zone", "Note", "Since"}
        return frame.with_columns(pl.col(c).cast(float) for c in frame.columns if c not in known)


@rejected_by("test_numbers_may_come_as_text", "numbers as text is refused")
class ReckonsWithText(Changes):
    def changed(self, column):
        return column * 1


@rejected_by("test_every_dtype_keeps_its_extremes", "in column 'Price' (Float64) became")
class LossyCast(Changes):
    def changed(self, column):
        import polars as pl

        return column.cast(pl.Float32)


@rejected_by("test_every_dtype_keeps_its_extremes", "in column 'Free' is refused")
class IntegersThroughFloats(Changes):
    column = "Free"

    def changed(self, column):
        import polars as pl

        return column.cast(pl.Float64)


@rejected_by("test_any_text_can_be_a_key", "['a/b']")
class SlashesInKeysAreReplaced(Changes):
    column = "Zone"

    def changed(self, column):
        return column.str.replace_all("/", "-")


@rejected_by("test_sentinels_fit_their_columns", "0.5 of column 'Free' is no Int64")
class SentinelNobodyCanMeet(Healthy):
    @hookimpl
    def titans_schema(self):
        return Schema({"Free": "Int64"}, unobserved={"Free": 0.5})


@rejected_by("test_sentinels_become_null_and_no_other_value_does", "became 0")
class SentinelBecomesZero(Changes):
    def changed(self, column):
        return column.replace(-1, 0)


@rejected_by("test_sentinels_become_null_and_no_other_value_does", "instead of 0")
class MoreThanTheSentinelIsNull(Changes):
    def changed(self, column):
        import polars as pl

        return pl.when(column.cast(float) > 0).then(column)


@rejected_by("test_null_stays_null", "became [0.0]")
class GapsBecomeZero(Changes):
    def changed(self, column):
        return column.fill_null(0)


# --- the full way ---------------------------------------------------------------------------------


@rejected_by("test_the_full_way_in_memory", "is not what was ingested")
class ForgetsARowNowAndThen(Healthy):
    calls = 0

    def change(self, frame):
        self.calls += 1
        return frame[:-1] if self.calls % 3 == 0 and frame.height > 1 else frame


@rejected_by("test_late_and_repeated_snapshots", "not already")
class NumbersItsCalls(Healthy):
    calls = 0

    def change(self, frame):
        import polars as pl

        self.calls += 1
        return frame.with_columns(Note=pl.lit(f"call {self.calls}"))


@rejected_by("test_any_snapshots_come_back", "is not accepted: no empty notes, please")
class RefusesSomeText(Healthy):
    def change(self, frame):
        if "Note" in frame.columns and (frame["Note"] == "").any():
            raise InputError("no empty notes, please")
        return frame


@rejected_by("test_vanished_keys_are_ceased", "must not bring back")
class VanishedKeysStay(Healthy):
    known = None

    def change(self, frame):
        import polars as pl

        if self.known is not None and self.known.schema == frame.schema:
            lost = self.known.join(frame, on=list(KEY), how="anti")
            frame = pl.concat([frame, lost])
        self.known = frame
        return frame


@rejected_by("test_unobserved_values_are_carried", "the state says [0.0]")
class SentinelIsAPrice(SentinelBecomesZero):
    pass


@rejected_by("test_uploaded_changes_come_back", "the state has")
class KeepsOnlyItsOwnColumns(Healthy):
    def change(self, frame):
        return frame.select(c for c in frame.columns if c in (*KEY, *SCHEMA.columns))


# --- what the schema says of its columns ----------------------------------------------------------


@rejected_by("test_null_is_a_value_in_nullable_columns", "'Note' is nullable")
class NullIsTheEmptyText(Changes):
    column = "Note"

    def changed(self, column):
        return column.fill_null("")


@rejected_by("test_passive_values_make_no_change_point", "'Checked' is passive")
class SaysInANoteWhenItLooked(Healthy):
    def change(self, frame):
        import polars as pl

        if not {"Checked", "Note"} <= set(frame.columns):
            return frame
        return frame.with_columns(pl.col("Checked").cast(pl.String).alias("Note"))


@rejected_by("test_the_example_meets_the_expectations", "own expectations")
class ExpectsThatNothingVanishes(Healthy):
    @hookimpl
    def titans_expectations(self):
        return Expectations(max_ceased=0, min_living=1)


@rejected_by("test_the_example_meets_the_expectations", "the same Expectations every time")
class ExpectsOtherThingsEachTime(Healthy):
    looks = 0

    @hookimpl
    def titans_expectations(self):
        self.looks += 1
        return Expectations(every=f"{self.looks}h")


@rejected_by("test_equal_content_is_one_value", "in column 'Details' means")
class KeepsDetailsAsTheyAreWritten(Changes):
    column = "Details"

    def changed(self, column):
        return column.str.len_bytes().cast(str)


@rejected_by("test_every_dtype_keeps_its_extremes", "in column 'Checked'")
class ForgetsMicroseconds(Changes):
    column = "Checked"

    def changed(self, column):
        return column.dt.truncate("1s")


@rejected_by("test_every_dtype_keeps_its_extremes", "in column 'Cost'")
class CalculatesInFloats(Changes):
    column = "Cost"

    def changed(self, column):
        return (column.cast(float) * 3 / 3).round(1)
