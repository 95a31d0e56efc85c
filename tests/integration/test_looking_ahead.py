"""Where hot files are listed and manifests are read at once, what happens in between is noticed."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from elsewhere import Elsewhere
from oracle import PROVIDER, START, as_dict, at, snapshot

from titans import Archive
from titans.read.ahead import Beginning, Confirmation
from titans.slots import Month

QUESTIONS = {
    "state": lambda a: as_dict(a.state(at(30))),
    "latest": lambda a: as_dict(a.latest()),
    "history": lambda a: a.history(k="a").rows(),
    "changes of a range": lambda a: a.changes(at(0), at(40)).rows(),
    "changes": lambda a: a.changes().rows(),
    "scan": lambda a: a.scan().collect().sort("k", "Time").rows(),
    "scan of a range": lambda a: a.scan(at(0), at(40)).collect().sort("k", "Time").rows(),
    "intervals": lambda a: a.intervals().rows(),
    "grid": lambda a: a.grid(at(0), at(20), "30m").rows(),
    "lazy grid": lambda a: (
        a.grid(at(0), at(20), "30m", lazy=True).collect().sort("k", "Time").rows()
    ),
    "diff": lambda a: a.diff(at(0), at(30)).rows(),
    "coverage": lambda a: a.coverage().rows(),
    "files": lambda a: a.files()["rows"].sum(),
    "status": lambda a: len(a.status()),
    "sql": lambda a: a.sql("select count(*) from changes").item(),
}


@pytest.fixture
def store():
    store = Elsewhere()
    archive = Archive(store, PROVIDER)
    for slot in (0, 1, 13):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 0.5)}), at(slot))
    return store


def happening(store, what):
    """Each time manifests were read and before the hot files are listed, `what` happens; once."""
    real, done = Elsewhere.list, []

    def listing(self, prefix="", start_after=""):
        if prefix.startswith("parquet_cp_hot") and not done:
            done.append(prefix)
            what()
        return real(self, prefix, start_after)

    return patch.object(Elsewhere, "list", listing)


def one_by_one(store, ask, wanted):
    """As a store that is slow to list: everything else is there first."""
    return [ask(each) for each in wanted]


def adopted_and_removed(store, slots):
    """Uploads are adopted by others, merged, and their hot files removed."""

    def happen():
        archive = Archive(store, PROVIDER)
        for slot in slots:
            archive.ingest(snapshot({"a": (100 + slot, 0.5), "c": (slot, 0.5)}), at(slot))
        for month in {f"{at(slot):%Y-%m}" for slot in slots} & {"2026-01", "2026-02"}:
            archive.seal(month)
        archive.vacuum("0s")

    return happen


@pytest.mark.parametrize("slots", [(14, 15), (5000,), (2, 14, 5000)], ids=str)
@pytest.mark.parametrize("question", QUESTIONS)
def test_what_was_adopted_and_removed_meanwhile_is_seen(store, question, slots):
    archive, ask = Archive(store, PROVIDER), QUESTIONS[question]
    ask(archive)  # from now on it knows which months to expect
    with (
        patch("titans.read.ahead.fetch_all", one_by_one),
        happening(store, adopted_and_removed(store, slots)),
    ):
        found = ask(archive)
    assert found == ask(Archive(store, PROVIDER))


def test_without_asking_again_it_would_not_be_seen(store):
    archive, ask = Archive(store, PROVIDER), QUESTIONS["changes"]
    before = ask(archive)
    with (
        patch("titans.read.ahead.fetch_all", one_by_one),
        patch.object(Confirmation, "holds", lambda self: True),
        happening(store, adopted_and_removed(store, (14, 15))),
    ):
        assert ask(archive) == before
    assert ask(archive) != before


def test_a_beginning_is_still_so_until_something_is_written(store):
    archive = Archive(store, PROVIDER)
    dataset, january = archive._dataset, Month.of(START)

    def begun():
        return Beginning.read(dataset, [january, january.next(), january.previous()], "")

    assert begun().is_still_so()
    beginning = begun()
    archive.ingest(snapshot({"a": (7, 0.5), "b": (1, 0.5)}), at(2))
    assert not beginning.is_still_so()
    beginning = begun()
    archive.ingest(snapshot({"a": (7, 0.5), "b": (1, 0.5)}), at(5000))
    assert not beginning.is_still_so()


def test_the_second_question_needs_one_round_trip_before_data(store):
    """Of the requests before the first data file none waits for another."""
    archive = Archive(store, PROVIDER)
    archive.seal("2026-01")
    archive.history(k="a")
    levels, seen = [], []
    real = Beginning.read

    def reading(*args):
        levels.append(args)
        return real(*args)

    get, listing = Elsewhere.get, Elsewhere.list

    def recorded(call):
        def record(self, key="", *rest):
            if not levels:
                seen.append(key)
            return call(self, key, *rest)

        return record

    with (
        patch.object(Beginning, "read", reading),
        patch.object(Elsewhere, "get", recorded(get)),
        patch.object(Elsewhere, "list", recorded(listing)),
    ):
        for ask in (
            lambda: archive.history(k="a"),
            lambda: archive.state(at(14)),
            lambda: archive.latest(),
            lambda: archive.changes(at(0), at(20)),
            lambda: archive.scan().collect(),
        ):
            levels.clear()
            seen.clear()
            ask()
            assert len(levels) == 1
            assert seen == []
