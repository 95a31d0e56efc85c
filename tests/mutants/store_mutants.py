"""What goes wrong with object stores: each class below has one defect, and the check meant for
it."""

import time
from urllib.parse import unquote

from attrs import evolve

from titans.errors import AlreadyExists, NotFound, PreconditionFailed
from titans.store import check_key, check_prefix
from titans.store._protocol import Entry
from titans.store.memory import MemoryStore

MUTANTS = {}
"""Class → (the check that must reject it, words its message must have)."""


def rejected_by(check, saying):
    def register(cls):
        MUTANTS[cls] = (check, saying)
        return cls

    return register


class Healthy(MemoryStore):
    """Several objects for one place: `place` is the one that was there first."""

    def __init__(self, place=None):
        super().__init__("mutant")
        if place is not None:
            self._objects, self._lock = place._objects, place._lock

    @classmethod
    def stores(cls):
        place = cls()
        return lambda: cls(place)


# --- objects --------------------------------------------------------------------------------------


@rejected_by("test_it_has_the_methods_of_an_object_store", "has no method local_path")
class LacksAMethod(Healthy):
    local_path = None


@rejected_by("test_it_has_the_methods_of_an_object_store", "no credentials")
class TellsItsPassword(Healthy):
    def __init__(self, place=None):
        super().__init__(place)
        self.url = "mutant://user:secret@place"


@rejected_by("test_created_objects_are_read_back", "what was created is")
class AnotherEtagOnReading(Healthy):
    def get(self, key):
        return evolve(super().get(key), etag="W/" + super().get(key).etag)


@rejected_by("test_head_agrees_with_get", "head is")
class HeadKnowsNoSize(Healthy):
    def head(self, key):
        return evolve(super().head(key), size=0)


@rejected_by("test_every_object_for_a_place_sees_all_writes", "seen by another")
class StaleCache(Healthy):
    def __init__(self, place=None):
        super().__init__(place)
        self.cache = {}

    def get(self, key):
        if key not in self.cache:
            self.cache[key] = super().get(key)
        return self.cache[key]


@rejected_by("test_what_is_read_again_is_what_is_there_now", "what get_again gives is")
class GivesAgainWhatWasThere(Healthy):
    def __init__(self, place=None):
        super().__init__(place)
        self.given = {}

    def get_again(self, key):
        return self.given.setdefault(key, self.get(key))


@rejected_by("test_missing_objects_are_not_found", "raised KeyError")
class PlainKeyError(Healthy):
    def get(self, key):
        return self._objects[check_key(key)]


@rejected_by("test_missing_objects_are_not_found", "does not mention")
class ErrorsWithoutWords(Healthy):
    def get(self, key):
        try:
            return super().get(key)
        except NotFound:
            raise NotFound("404") from None


@rejected_by("test_a_folder_is_no_object", "must raise NotFound")
class FoldersAreObjects(Healthy):
    def head(self, key):
        check_key(key)
        return super().head(next((k for k in self._objects if k.startswith(f"{key}/")), key))


@rejected_by("test_create_refuses_what_is_there", "must raise AlreadyExists")
class IgnoredIfNoneMatch(Healthy):
    def create(self, key, data):
        check_key(key)
        return self._put(key, data)


@rejected_by("test_create_refuses_what_is_there", "must raise AlreadyExists")
class SameContentIsNoConflict(Healthy):
    def create(self, key, data):
        if key in self._objects and self._objects[key].data == data:
            return self._objects[key].etag
        return super().create(key, data)


@rejected_by("test_replace_swaps_the_version_it_was_given", "the object is")
class ReplaceReturnsAnEtagOfItsOwn(Healthy):
    def replace(self, key, data, etag):
        super().replace(key, data, self.head(key).etag if etag == "replaced" else etag)
        return "replaced"


@rejected_by("test_replace_refuses_another_version", "must raise PreconditionFailed")
class IgnoredIfMatch(Healthy):
    def replace(self, key, data, etag):
        self.head(key) if key in self._objects else super().replace(key, data, etag)
        return self._put(key, data)


@rejected_by("test_replace_refuses_another_version", "must raise PreconditionFailed")
class AStarMatchesAll(Healthy):
    def replace(self, key, data, etag):
        return super().replace(
            key, data, self.head(key).etag if etag == "*" and key in self._objects else etag
        )


@rejected_by("test_replace_does_not_create", "must raise PreconditionFailed")
class ReplaceCreates(Healthy):
    def replace(self, key, data, etag):
        return super().replace(key, data, etag) if key in self._objects else self.create(key, data)


@rejected_by("test_every_version_has_an_etag_of_its_own", "of an earlier one")
class EtagFromSize(Healthy):
    def _put(self, key, data):
        super()._put(key, data)
        self._objects[key] = evolve(self._objects[key], etag=f"size-{len(data)}")
        return self._objects[key].etag


@rejected_by("test_deleting_a_missing_object_succeeds", "it must succeed")
class DeletingTwiceFails(Healthy):
    def delete(self, key):
        self.get(key)
        super().delete(key)


@rejected_by("test_deleted_objects_are_gone_and_their_keys_free", "it must succeed")
class DeletedKeysStayTaken(Healthy):
    taken = frozenset()

    def create(self, key, data):
        if key in self.taken:
            raise AlreadyExists(f"{key} was there once")
        return super().create(key, data)

    def delete(self, key):
        super().delete(key)
        self.taken |= {key}


@rejected_by("test_ranges_are_cut_at_the_end", "the range [0, 3)")
class InclusiveRanges(Healthy):
    def get_range(self, key, start, end):
        return super().get_range(key, start, end + 1)


@rejected_by("test_empty_objects_are_objects", "the listing is []")
class EmptyObjectsAreNotListed(Healthy):
    def list(self, prefix="", start_after=""):
        return (entry for entry in super().list(prefix, start_after) if entry.size)


@rejected_by("test_large_objects_come_back_as_they_were", "five megabytes")
class CutsAtFourMegabytes(Healthy):
    def _put(self, key, data):
        return super()._put(key, data[: 4 * 1024 * 1024])


@rejected_by("test_times_are_aware_and_never_go_backwards", "has no timezone")
class NaiveTimes(Healthy):
    def head(self, key):
        return evolve(
            super().head(key), last_modified=super().head(key).last_modified.replace(tzinfo=None)
        )


@rejected_by("test_times_are_aware_and_never_go_backwards", "clock says")
class ClockOfYesterday(Healthy):
    def __init__(self, place=None):
        from datetime import UTC, datetime, timedelta

        super().__init__(place)
        self._clock = lambda: datetime.now(UTC) - timedelta(days=1)


@rejected_by("test_a_local_path_is_the_object_or_none", "does not hold the object")
class PathOfSomethingElse(Healthy):
    def local_path(self, key):
        from pathlib import Path

        return Path(__file__)


# --- keys -----------------------------------------------------------------------------------------


@rejected_by("test_odd_keys_work", "the listing with 'plus+and%20percent")
class KeysAreUnquoted(Healthy):
    def list(self, prefix="", start_after=""):
        return (
            evolve(entry, key=unquote(entry.key)) for entry in super().list(prefix, start_after)
        )


@rejected_by("test_malformed_keys_are_refused", "must raise InvalidKeyError")
class DeletesWhateverItIsTold(Healthy):
    def delete(self, key):
        with self._lock:
            self._objects.pop(key, None)


@rejected_by("test_malformed_prefixes_are_refused_at_the_call", "must raise InvalidKeyError")
class ChecksPrefixesTooLate(Healthy):
    def list(self, prefix="", start_after=""):
        yield from super().list(prefix, start_after)


# --- listing --------------------------------------------------------------------------------------


@rejected_by("test_the_empty_store_lists_nothing", "instead of []")
class ListsAMarker(Healthy):
    def list(self, prefix="", start_after=""):
        from datetime import UTC, datetime

        marker = Entry("a/b/.keep", 0, "", datetime.now(UTC))
        found = [*super().list(prefix, start_after)]
        return iter(found or [marker])


@rejected_by("test_listing_is_in_order_of_keys", "the listing is")
class OrderWithoutCase(Healthy):
    def list(self, prefix="", start_after=""):
        return iter(sorted(super().list(prefix, start_after), key=lambda entry: entry.key.lower()))


@rejected_by("test_listing_is_in_order_of_keys", "the listing is")
class FolderByFolder(Healthy):
    def list(self, prefix="", start_after=""):
        return iter(
            sorted(super().list(prefix, start_after), key=lambda entry: entry.key.split("/"))
        )


@rejected_by("test_a_prefix_is_a_string", "the listing of 'a'")
class PrefixesAreFolders(Healthy):
    def list(self, prefix="", start_after=""):
        folder = prefix.rstrip("/") + "/" if prefix else ""
        return super().list(check_prefix(prefix) and folder, start_after)


@rejected_by("test_start_after_continues_behind_any_string", "the listing after 'a-b'")
class StartAfterIsStartAt(Healthy):
    def list(self, prefix="", start_after=""):
        check_prefix(prefix)
        found = sorted(k for k in self._objects if k.startswith(prefix) and k >= start_after)
        return iter([self.head(key) for key in found])


@rejected_by("test_prefix_and_start_after_go_together", "the listing of 'a' after")
class PrefixBeatsStartAfter(Healthy):
    def list(self, prefix="", start_after=""):
        return super().list(prefix, "" if prefix else start_after)


@rejected_by("test_a_listing_tells_size_time_and_etag", "gives a/x the etag")
class WrongEtagsInListings(Healthy):
    def list(self, prefix="", start_after=""):
        return (evolve(entry, etag="0") for entry in super().list(prefix, start_after))


@rejected_by("test_a_listing_may_be_left_or_outlive_its_objects", "what was listed")
class ListsByPosition(Healthy):
    def list(self, prefix="", start_after=""):
        check_prefix(prefix)

        def entries():
            at = 0
            while at < len(found := [*MemoryStore.list(self, prefix, start_after)]):
                yield found[at]
                at += 1

        return entries()


@rejected_by("test_more_than_a_page_is_listed_whole", "of 51 objects 50 are listed")
class OnlyTheFirstPage(Healthy):
    def list(self, prefix="", start_after=""):
        return iter([*super().list(prefix, start_after)][:50])


@rejected_by("test_any_operations_agree_with_a_dict", "Failing test case")
class DeletionBringsBackTheVersionBefore(Healthy):
    def __init__(self, place=None):
        super().__init__(place)
        self.versions = {} if place is None else place.versions

    def replace(self, key, data, etag):
        before = self._objects.get(key)
        etag = super().replace(key, data, etag)
        self.versions[key] = before
        return etag

    def delete(self, key):
        super().delete(key)
        if (before := self.versions.pop(key, None)) is not None:
            self._objects[key] = before


# --- many at once ---------------------------------------------------------------------------------


@rejected_by("test_of_many_that_create_an_object_one_wins", "create must be atomic")
class NonAtomicCreate(Healthy):
    def create(self, key, data):
        if key in self._objects:
            raise AlreadyExists(f"{key} exists in {self.url}")
        time.sleep(0.002)
        return self._put(key, data)


class NonAtomicReplace(Healthy):
    def replace(self, key, data, etag):
        there = self._objects.get(check_key(key))
        if there is None or there.etag != etag:
            raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}")
        time.sleep(0.002)
        return self._put(key, data)


@rejected_by("test_no_swap_is_lost", "replace must be atomic")
class LosesSwaps(NonAtomicReplace):
    pass


@rejected_by("test_a_version_is_swapped_only_once", "compare and write in one step")
class SwapsTwice(NonAtomicReplace):
    pass


@rejected_by("test_readers_see_whole_objects", "a part of an object")
class WritesInTwoSteps(Healthy):
    def replace(self, key, data, etag):
        with self._lock:
            there = self._objects.get(key)
            if there is None or there.etag != etag:
                raise PreconditionFailed(f"{key} in {self.url} is not the version {etag}")
            self._objects[key] = evolve(there, data=data[: len(data) // 2])
            time.sleep(0.001)
            return self._put(key, data)


# --- what it is for -------------------------------------------------------------------------------


@rejected_by("test_an_archive_lives_in_it", "an archive in this store fails")
class ForgetsAnObjectNowAndThen(Healthy):
    """Acknowledges every fifth creation without writing it."""

    count = 0

    def __init__(self, place=None):
        super().__init__(place)
        self.place = place or self

    def create(self, key, data):
        self.place.count += 1
        return super().create(key, data) if self.place.count % 5 else "acknowledged"
