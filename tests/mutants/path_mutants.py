"""What goes wrong with paths, slots and files: providers made by hand, each with one defect."""

from attrs import frozen
from titans_mutants import KEY, SCHEMA

from titans import PathLayout, Provider, Schema
from titans.layout import Paths

MUTANTS = {}
"""Provider → (the check that must reject it, words its message must have)."""


def rejected_by(check, saying):
    def register(cls):
        MUTANTS[cls.provider()] = (check, saying)
        return cls

    return register


class Mutant(Paths):
    """Paths with a defect, and a provider that uses them."""

    @classmethod
    def provider(cls):
        class Made(Provider):
            def paths(self):
                return cls.of(self.name, self.layout)

        Made.__name__ = cls.__name__
        return Made("mutant", SCHEMA, KEY)


@frozen
class Unchecked(PathLayout):
    """A layout that nobody has validated."""

    def __attrs_post_init__(self):
        pass


def with_layout(name, **layout):
    made = type(name, (Provider,), {})
    return made("mutant", SCHEMA, KEY, layout=Unchecked(**layout))


@rejected_by("test_every_slot_has_a_path_of_its_own", "share the path")
class OnePathPerHour(Mutant):
    def hot_key(self, slot):
        return f"{self.hot_prefix}/{slot.start:%Y/%m/%d/%H}-00.parquet"


@rejected_by("test_paths_are_sorted_by_time", "the later slot's path comes first")
class DayBeforeMonth(Mutant):
    def hot_key(self, slot):
        return f"{self.hot_prefix}/{slot.start:%d/%m/%Y/%H-%M}.parquet"


@rejected_by("test_paths_are_sorted_by_time", "sorts before")
class MonthsWithoutZeros(Mutant):
    def hot_key(self, slot):
        return (
            f"{self.hot_prefix}/{slot.month.year}/{slot.month.month}/{slot.start:%d/%H-%M}.parquet"
        )


@rejected_by("test_a_path_tells_its_slot", "is read as")
class PathIsReadAsTheHour(Mutant):
    def parse_hot_key(self, key):
        return super().parse_hot_key(key[:-10] + "00.parquet")


@rejected_by("test_paths_are_keys_that_every_store_takes", "a store would refuse")
class AbsolutePaths(Mutant):
    def hot_key(self, slot):
        return "/" + super().hot_key(slot)


@rejected_by("test_foreign_paths_are_refused", "is taken for the hot file")
class AnyPrefixWillDo(Mutant):
    def parse_hot_key(self, key):
        return super().parse_hot_key(self.hot_prefix + key[-25:])


@rejected_by(
    "test_foreign_paths_are_refused", "a manifest that names '../manifest.json' is believed"
)
class BelievesItsManifest(Mutant):
    def file_key(self, month, file):
        return self.warm_month(month) + file


@rejected_by("test_the_test_environment_has_its_own_paths", "with TITANS_ENV=test the path is")
class TestsWriteIntoTheArchive(Mutant):
    @classmethod
    def of(cls, provider, layout):
        return cls(provider, layout, "")


@rejected_by("test_nothing_is_written_outside_the_providers_prefixes", "elsewhere/")
class WarmFilesElsewhere(Mutant):
    def warm_month(self, month):
        return f"elsewhere/{month.path}/"


@rejected_by("test_two_providers_in_one_store_do_not_meet", "neighbour")
class AllProvidersShareOneFolder(Mutant):
    @classmethod
    def of(cls, provider, layout):
        return super().of("all", layout)


MUTANTS |= {
    with_layout("NameNotInThePath", hot="hot", warm="warm", state="state"): (
        "test_paths_belong_to_this_provider_alone",
        "does not name the provider",
    ),
    with_layout("TierInsideATier", hot="x/{provider}", warm="x/{provider}/warm"): (
        "test_tiers_do_not_overlap",
        "lies inside",
    ),
    with_layout("SevenMinutes", slot_minutes=7): ("test_slots_divide_the_day", "slot_minutes is 7"),
    with_layout("ElevenMinutes", slot_minutes=11): (
        "test_slots_meet_without_gap_or_overlap",
        "the last slot of",
    ),
    with_layout("ThirteenMinutes", slot_minutes=13): (
        "test_every_moment_lies_in_one_slot",
        "starts at",
    ),
    with_layout("NameTooLongForAFile", hot="x" * 300 + "/{provider}"): (
        "test_the_full_way_in_a_folder",
        "not accepted",
    ),
}


class FloatsAreStoredShort(Schema):
    """Says of files what is not so."""

    def dtypes(self, key):
        import polars as pl

        return {**super().dtypes(key), "Price": pl.Float32()}


MUTANTS[
    type("FloatsAreStoredShort", (Provider,), {})(
        "mutant", FloatsAreStoredShort({"Price": "Float64"}), KEY
    )
] = (
    "test_rows_survive_parquet",
    "not those of the schema",
)
