"""A healthy provider, and what goes wrong with providers: each class below has one defect, and the check meant for it."""

from titans import Schema, hookimpl
from titans.errors import InputError
from titans.provider_tools import made_up

RENAMED = {"flavor": "Flavor", "zone": "Zone", "usd": "Price", "free": "Free"}
KEY = ("Flavor", "Zone")
SCHEMA = Schema(
    {"Price": "Float64", "Free": "Int64", "Rank": "UInt8", "Open": "Boolean", "Since": "Date", "Note": "String"},
    score="Free",
    unobserved={"Price": -1, "Free": -1},
)

MUTANTS = {}
"""Class → (the check that must reject it, words its message must have)."""


def rejected_by(check, saying):
    def register(cls):
        MUTANTS[cls] = (check, saying)
        return cls

    return register


class Healthy:
    TITANS_API = 1

    @hookimpl
    def titans_schema(self):
        return SCHEMA

    @hookimpl
    def titans_pk_columns(self):
        return KEY

    @hookimpl
    def titans_normalize(self, frame):
        return self.change(frame.rename(RENAMED, strict=False))

    def change(self, frame):
        return frame

    @hookimpl
    def titans_example(self, seed, keys, slots):
        return self.snapshots(seed, keys, slots)

    def snapshots(self, seed, keys, slots):
        names = {known: delivered for delivered, known in RENAMED.items()}
        for frame in made_up(SCHEMA, KEY, seed, keys, slots):
            yield frame.rename(names)

    @hookimpl
    def titans_event(self, event):
        self.heard = event.name


# --- what a plugin declares -------------------------------------------------------------------------------------------


@rejected_by("test_the_plugin_loads", "its titans_schema failed: RuntimeError")
class RaisesWhenLoaded(Healthy):
    @hookimpl
    def titans_schema(self):
        raise RuntimeError("no network")


@rejected_by("test_hooks_return_what_their_specification_says", "must return a tuple")
class KeyIsAList(Healthy):
    @hookimpl
    def titans_pk_columns(self):
        return ["Flavor", "Zone"]


@rejected_by("test_hooks_return_the_same_every_time", "titans_schema returned")
class SchemaDrifts(Healthy):
    version = 0

    @hookimpl
    def titans_schema(self):
        self.version += 1
        return Schema({"Price": "Float64"}, version=self.version)


@rejected_by("test_every_process_sees_the_same_key_and_schema", "not out of a set")
class ColumnsOutOfASet(Healthy):
    columns = {"Price", "Free", "Rank", "Open", "Since", "Note"}

    @hookimpl
    def titans_schema(self):
        return Schema(dict.fromkeys(self.columns, "Float64"))


@rejected_by("test_choosing_the_provider_imports_nothing_heavy", "imports polars")
class ImportsPolarsWhenLoaded(Healthy):
    @hookimpl
    def titans_schema(self):
        import polars as pl

        return Schema({"Price": pl.Float64})


@rejected_by("test_choosing_the_provider_imports_no_other_provider", "titans_aws")
class ImportsAnotherProvider(Healthy):
    @hookimpl
    def titans_pk_columns(self):
        import titans_aws  # noqa: F401

        return KEY


@rejected_by("test_the_package_bounds_its_core", "later core")
class PackageWithoutBounds(Healthy):
    """Installed from a distribution of its own, which requires any core."""


@rejected_by("test_events_do_not_raise", "KeyError: 'key'")
class KnowsOneKindOfEvent(Healthy):
    @hookimpl
    def titans_event(self, event):
        return event.fields["key"]


# --- example data -----------------------------------------------------------------------------------------------------


@rejected_by("test_example_keys_are_complete", "null in 1 row")
class KeyWithGaps(Healthy):
    def snapshots(self, seed, keys, slots):
        import polars as pl

        for frame in super().snapshots(seed, keys, slots):
            yield frame.with_columns(zone=pl.when(pl.int_range(pl.len()) > 0).then("zone"))


@rejected_by("test_example_keys_are_unique", "is a column missing from it")
class WrongKey(Healthy):
    @hookimpl
    def titans_pk_columns(self):
        return ("Flavor",)


@rejected_by("test_example_keys_are_unique", "fold keys together")
class FoldsKeysTogether(Healthy):
    def change(self, frame):
        import polars as pl

        return frame.with_columns(pl.col("Zone").str.head(4)) if "Zone" in frame.columns else frame


@rejected_by("test_example_has_no_column_that_the_archive_writes", "Time")
class ExampleWithTimes(Healthy):
    def snapshots(self, seed, keys, slots):
        import polars as pl

        for frame in super().snapshots(seed, keys, slots):
            yield frame.with_columns(Time=pl.lit("2026-01-01 00:00:00"))


@rejected_by("test_example_fits_the_schema", "are no Int64")
class HalvesInAColumnOfIntegers(Healthy):
    def snapshots(self, seed, keys, slots):
        import polars as pl

        for frame in super().snapshots(seed, keys, slots):
            yield frame.with_columns(pl.col("free") + 0.5)


@rejected_by("test_example_fills_every_column", "'Price' is never observed")
class RenameIsMisspelt(Healthy):
    @hookimpl
    def titans_normalize(self, frame):
        return frame.rename({**RENAMED, "usd": "Prize"}, strict=False)


@rejected_by("test_example_is_the_same_for_the_same_seed", "different snapshots the second time")
class ChanceWithoutSeed(Healthy):
    def snapshots(self, seed, keys, slots):
        from random import random

        return super().snapshots(int(random() * 1e9), keys, slots)


@rejected_by("test_example_is_the_same_for_the_same_seed", "another process made different snapshots")
class SeedThroughHash(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(hash(f"seed {seed}"), keys, slots)


@rejected_by("test_example_differs_for_another_seed", "makes the same for the seeds")
class IgnoresTheSeed(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(1, keys, slots)


@rejected_by("test_example_of_more_slots_begins_the_same", "change with the number of slots")
class SeedFromTheNumberOfSlots(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(seed + slots, keys, slots)


@rejected_by("test_example_has_the_number_of_slots_and_keys_that_was_asked_for", "yields 5 snapshots")
class OneSlotTooMany(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(seed, keys, slots + 1)


@rejected_by("test_example_has_the_number_of_slots_and_keys_that_was_asked_for", "a snapshot of 1 rows")
class OneKeyTooMany(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(seed, keys + 1, slots)


@rejected_by("test_example_is_made_slot_by_slot", "yield snapshots one by one")
class AllSlotsAtOnce(Healthy):
    @hookimpl
    def titans_example(self, seed, keys, slots):
        return [frame for frame in self.snapshots(seed, keys, slots) if frame.height < keys]


@rejected_by("test_example_changes_from_slot_to_slot", "all the same")
class NothingEverChanges(Healthy):
    def snapshots(self, seed, keys, slots):
        (frame,) = super().snapshots(seed, keys, 1)
        for _ in range(slots):
            yield frame


@rejected_by("test_example_changes_from_slot_to_slot", "keys vanish")
class OtherKeysEverySlot(Healthy):
    def snapshots(self, seed, keys, slots):
        import polars as pl

        for slot, frame in enumerate(super().snapshots(seed, keys, slots)):
            yield frame.with_columns(flavor=pl.format(f"{slot} {{}}", "flavor"))


# --- titans_normalize -------------------------------------------------------------------------------------------------


class Changes(Healthy):
    """A plugin whose defect is an expression for a column, where the column is there."""

    column = "Price"

    def change(self, frame):
        import polars as pl

        return frame.with_columns(self.changed(pl.col(self.column))) if self.column in frame.columns else frame


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
        return frame.with_columns(frame["Note"].str.strip_chars_end("\0")) if "Zone" in frame.columns else frame


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


# --- the full way -----------------------------------------------------------------------------------------------------


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


@rejected_by("test_vanished_keys_are_ceased", "")
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
