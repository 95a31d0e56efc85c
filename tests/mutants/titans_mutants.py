"""A healthy provider, and what goes wrong with plugins and their example data: each class below has
one defect."""

from titans import Schema, hookimpl
from titans.provider_tools import made_up

RENAMED = {"flavor": "Flavor", "zone": "Zone", "usd": "Price", "free": "Free"}
KEY = ("Flavor", "Zone")
SCHEMA = Schema(
    {
        "Price": "Float64",
        "Free": "Int64",
        "Rank": "UInt8",
        "Open": "Boolean",
        "Since": "Date",
        "Note": "String",
        "Cost": "Decimal(10, 4)",
        "Details": "Json",
        "Checked": "Datetime",
        "Token": "Binary",
    },
    score="Free",
    unobserved={"Price": -1, "Free": -1},
    nullable=("Note",),
    passive=("Checked",),
    units={"Price": "USD/h"},
    description={"Price": "of an hour"},
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


# --- what a plugin declares -----------------------------------------------------------------------


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


# --- example data ---------------------------------------------------------------------------------


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


@rejected_by(
    "test_example_is_the_same_for_the_same_seed", "another process made different snapshots"
)
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


@rejected_by(
    "test_example_has_the_number_of_slots_and_keys_that_was_asked_for", "yields 5 snapshots"
)
class OneSlotTooMany(Healthy):
    def snapshots(self, seed, keys, slots):
        return super().snapshots(seed, keys, slots + 1)


@rejected_by(
    "test_example_has_the_number_of_slots_and_keys_that_was_asked_for", "a snapshot of 1 rows"
)
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
