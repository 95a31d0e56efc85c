"""What a question takes is what a store saw, and being watched changes no answer."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import polars as pl
import pytest
from elsewhere import Elsewhere, small_parts
from fixtures_stores import BUCKET, SEAWEED
from oracle import PROVIDER, at, changes, snapshot

from titans import Archive
from titans.errors import ArchiveNotFoundError, InputError, NotFound
from titans.read.explain import QUESTIONS, traced
from titans.read.explained import counted, round_trips, waited
from titans.store import ObjectStore
from titans.store._watched import Request
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.store.s3 import S3Store
from titans.tiers.files import parts
from titans.tiers.files.kept import KEPT

KEYS = [f"{n:03}" for n in range(60)]
LATE, NEWEST = 13, 19

ASKED = {
    "state": ((at(17, 5),), {}),
    "state of a key": ((at(9),), {"k": "010"}),
    "latest": ((), {"columns": ["w"]}),
    "keys": ((at(10),), {}),
    "history": ((), {"k": "010"}),
    "history of several": ((at(2), at(15)), {"k": ["010", "050"]}),
    "changes": ((at(1), at(16)), {"where": pl.col("v") > 1}),
    "scan": ((None, at(16)), {"where": pl.col("k") == "010", "columns": ["v"]}),
    "diff": ((at(-1), at(17)), {}),
    "grid": ((at(2), at(17)), {"every": "30m"}),
    "grid of all": ((), {"every": "1h", "lazy": True}),
    "intervals": ((at(2), at(17)), {"k": "010"}),
    "coverage": ((), {}),
    "sql": (("select count(*) from changes",), {}),
}
"""The first word of each is the question."""
PARTS = ("history", "scan", "intervals")
"""Those that ask for a key only."""


class Counting:
    """A store over another that counts by itself."""

    def __init__(self, below):
        self.below = below
        self.url, self.parallel = below.url, below.parallel
        self.count, self.bytes = Counter(), Counter()
        self.asked = []
        self._lock = threading.Lock()

    def _counted(self, kind, key, size):
        with self._lock:
            self.count[kind] += 1
            self.bytes[kind] += size
            self.asked.append((kind, key))

    def get(self, key):
        try:
            blob = self.below.get(key)
        except Exception:
            self._counted("get", key, 0)
            raise
        self._counted("get", key, len(blob.data))
        return blob

    def get_range(self, key, start, end):
        data = self.below.get_range(key, start, end)
        self._counted("get_range", key, len(data))
        return data

    def head(self, key):
        self._counted("head", key, 0)
        return self.below.head(key)

    def list(self, prefix="", start_after=""):
        self._counted("list", prefix, 0)
        return self.below.list(prefix, start_after)

    def create(self, key, data):
        return self.below.create(key, data)

    def replace(self, key, data, etag):
        return self.below.replace(key, data, etag)

    def delete(self, key):
        self.below.delete(key)

    def local_path(self, key):
        return self.below.local_path(key)


def fill(store):
    """Two months: one sealed; in the other a slot has just come late, and one has come last."""
    archive = Archive(store, PROVIDER)
    for slot in range(-16, NEWEST):
        if slot != LATE:
            rows = {key: (slot % (n % 5 + 2), 0.5) for n, key in enumerate(KEYS)}
            archive.ingest(snapshot(rows), at(slot))
    archive.seal("2026-01")
    archive.vacuum("0s")
    archive.upload(changes({"000": (77, 0.5)}), at(LATE))
    archive.upload(changes({"001": (78, 0.5), "002": None}), at(NEWEST))
    return store


def made(kind, folder):
    store = {
        "folder": lambda: LocalStore(folder / "archive"),
        "memory": MemoryStore,
        "elsewhere": Elsewhere,
    }[kind]()
    plan = "titans.tiers.compact.plan"
    with (
        small_parts(),
        patch(f"{plan}.is_worth_a_keyframe", lambda rows, keys: True),
        patch(f"{plan}.FANOUTS", (2, 2)),
        patch(f"{plan}.TOP", 2),
        patch(f"{plan}.FINAL_ROWS", 0),
    ):
        return fill(store)


@pytest.fixture(scope="module", params=["folder", "memory", "elsewhere"])
def store(request, tmp_path_factory):
    return made(request.param, tmp_path_factory.mktemp("explain"))


@pytest.fixture
def elsewhere(tmp_path):
    with small_parts():
        yield made("elsewhere", tmp_path)


@pytest.fixture
def folder(tmp_path):
    return made("folder", tmp_path)


def plain(name):
    """The question, its arguments and options."""
    arguments, options = ASKED[name]
    return name.partition(" ")[0], arguments, options


def answer(archive, name):
    question, arguments, options = plain(name)
    found = getattr(archive, question)(*arguments, **options)
    return found.lazy().collect()


# --- the same answers, the same counts ------------------------------------------------------------


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_the_same_when_it_is_watched(store, name):
    question, arguments, options = plain(name)
    watched = traced(Archive(store, PROVIDER), question, arguments, options).answer
    expected = answer(Archive(store, PROVIDER), name)
    by = expected.columns
    assert watched.sort(by).equals(expected.sort(by))


@pytest.mark.parametrize("run", [True, False])
@pytest.mark.parametrize("name", ASKED)
def test_what_is_counted_is_what_the_store_saw(store, name, run):
    counting = Counting(store)
    assert isinstance(counting, ObjectStore)
    question, arguments, options = plain(name)
    found = Archive(counting, PROVIDER).explain(question, *arguments, run=run, **options)
    assert {each.kind: each.count for each in found.requests} == dict(counting.count)
    assert {each.kind: each.bytes for each in found.requests} == {
        kind: counting.bytes[kind] for kind in counting.count
    }
    assert sum(each.requests for each in found.files) <= sum(counting.count.values())
    asked = Counter(key for _, key in counting.asked)
    assert {each.key: each.requests for each in found.files} == {
        each.key: asked[each.key] for each in found.files
    }
    assert found.rows == (answer(Archive(store, PROVIDER), name).height if run else None)
    assert 1 <= found.round_trips <= sum(counting.count.values())
    assert 0 < found.waited_ms <= found.ms


@pytest.mark.parametrize("name", ASKED)
def test_a_plan_names_the_files_that_are_read_then(store, name):
    question, arguments, options = plain(name)
    KEPT.clear()
    plan = Archive(store, PROVIDER).explain(question, *arguments, run=False, **options)
    ran = Archive(store, PROVIDER).explain(question, *arguments, **options)
    assert (plan.ran, ran.ran) == (False, True)
    assert [each.key for each in plan.files] == [each.key for each in ran.files]
    assert [each.skipped_by for each in plan.files] == [each.skipped_by for each in ran.files]
    if question != "sql":  # of which DuckDB decides what it needs
        assert [each.needed for each in plan.files] == [each.needed for each in ran.files]
    assert plan.states == ran.states
    assert plan.waiting == ran.waiting
    assert plan.months == ran.months


def test_a_plan_fetches_no_rows(elsewhere):
    counting = Counting(elsewhere)
    for name in ASKED:
        question, arguments, options = plain(name)
        parts.forget()
        found = Archive(counting, PROVIDER).explain(question, *arguments, run=False, **options)
        merged = {each.key for each in found.files if each.kind not in ("hot", "correction")}
        assert merged, name
    whole = {key for kind, key in counting.asked if kind == "get"}
    hot = {each.key for each in found.waiting}
    manifests = {key for key in whole if key.endswith("manifest.json")}
    assert whole == manifests | hot
    assert hot == {PROVIDER.paths().hot_key(slot) for slot in _slots(LATE, NEWEST)}
    assert counting.count["get_range"] > 0, "the footers"


def _slots(*numbers):
    from titans.slots import Slot

    return [Slot.of(at(number)) for number in numbers]


# --- why ------------------------------------------------------------------------------------------


def test_the_keyframe_a_state_begins_with_is_named(folder):
    archive = Archive(folder, PROVIDER)
    found = archive.explain("state", at(9, 5))
    (state,) = [each for each in found.states if each.end > at(9, 5)]
    assert (state.kind, state.month, state.rows) == ("keyframe", "2026-01", 60)
    assert state.slot is not None
    assert state.slot <= at(9, 5)
    assert state.key.rpartition("/")[2].startswith("K_")
    (used,) = [each for each in found.files if each.key == state.key]
    assert (used.kind, used.source, used.bytes) == ("keyframe", "mapped", state.bytes)
    assert f"keyframe of {state.slot:%Y-%m-%d %H:%M} (60 rows" in str(found)
    after = [each for each in found.read if each.key != state.key]
    assert all(each.last >= state.slot for each in after)
    assert {each.skipped_by for each in found.files} >= {"keyframe"}


def test_a_full_snapshot_is_what_a_state_begins_with_where_no_keyframe_is(tmp_path):
    archive = Archive(LocalStore(tmp_path / "one"), PROVIDER)
    for slot in (20, 21):
        archive.ingest(snapshot({"a": (slot, 0.5), "b": (1, 0.5)}), at(slot))
    (state,) = archive.explain("latest").states
    assert (state.kind, state.slot, state.rows) == ("full snapshot", at(20), 2)
    (early,) = archive.explain("state", at(14)).states
    assert (early.kind, early.key) == ("nothing", "")
    assert "from the first change point on" in early.why


def test_a_month_without_one_begins_with_what_the_earlier_left(tmp_path):
    archive = Archive(LocalStore(tmp_path / "two"), PROVIDER)
    for slot in (10, 13):
        archive.upload(changes({"a": (slot, 0.5)}), at(slot))
        archive.compact()
    found = archive.explain("state", at(14))
    assert [(each.month, each.kind) for each in found.states] == [
        ("2026-01", "nothing"),
        ("2026-02", "earlier months"),
    ]
    assert found.rows == 1
    assert "no keyframe of 2026-02 lies before that; from what earlier months left" in str(found)


def test_slots_that_wait_are_named_and_what_the_late_one_does_to_keyframes(folder):
    found = Archive(folder, PROVIDER).explain("state", at(18, 5))
    late, newest = found.waiting
    assert (late.slot, late.is_late, late.kind, late.rows) == (at(LATE), True, "changes", 1)
    assert (newest.slot, newest.is_late, newest.rows) == (at(NEWEST), False, 2)
    assert {late.key} <= {each.key for each in found.read}
    assert newest.key not in {each.key for each in found.read}
    assert "came late; not adopted yet" in str(found)

    Archive(folder, PROVIDER).compact()
    assert Archive(folder, PROVIDER).explain("state", at(18, 5)).waiting == ()


def test_a_keyframe_after_a_late_slot_is_passed_over(folder):
    archive = Archive(folder, PROVIDER)
    newest = archive.explain("state", at(18, 5)).states[-1]
    if "newer may not be used" not in newest.why:
        pytest.fail(f"no keyframe lies between the late slot and the moment: {newest}")
    assert f"({at(LATE):%Y-%m-%d %H:%M})" in newest.why
    assert newest.slot <= at(LATE)


def test_a_hot_file_that_is_damaged_is_named_as_left_out(folder):
    path = folder.root / PROVIDER.paths().hot_key(_slots(NEWEST)[0])
    path.write_bytes(b"PAR1 and nothing else")
    found = Archive(folder, PROVIDER).explain("state", at(18))
    (bad,) = [each for each in found.waiting if each.left_out]
    assert bad.slot == at(NEWEST)
    assert "left out: " in str(found)


# --- files, row groups, bytes ---------------------------------------------------------------------


def test_of_a_key_few_row_groups_are_read(store):
    with small_parts():
        found = Archive(store, PROVIDER).explain("history", at(-16), at(-1), k="010")
    some = [each for each in found.read if each.kind == "merged" and each.row_groups is not None]
    assert some or not store.parallel
    for each in some:
        assert 0 < each.row_groups < each.row_groups_of, each
        assert each.needed < each.bytes, each
    assert found.rows == Archive(store, PROVIDER).history(at(-16), at(-1), k="010").height


def test_files_are_left_out_by_keys_and_by_statistics(store):
    with small_parts():
        beyond = Archive(store, PROVIDER).explain("history", k="zzz")
        between = Archive(store, PROVIDER).explain("history", k="00:")  # after 009, before 010
    assert {each.skipped_by for each in beyond.files if not each.source} == {"key bounds"}
    if store.parallel or store.local_path("a") is not None:
        assert "row groups" in {each.skipped_by for each in between.files}
    assert beyond.rows == between.rows == 0


def test_what_is_kept_is_not_fetched_again(elsewhere):
    with patch.object(KEPT, "limit", 64 << 20):
        KEPT.clear()
        first = Archive(elsewhere, PROVIDER).explain("state", at(9))
        again = Archive(elsewhere, PROVIDER).explain("state", at(9))
    KEPT.clear()
    merged = [each for each in first.read if each.kind != "hot"]
    assert merged
    assert {each.source for each in merged} == {"store"}
    assert all(each.fetched >= each.needed > 0 for each in merged)
    kept = [each for each in again.read if each.kind != "hot"]
    assert {each.source for each in kept} == {"kept"}
    assert {each.fetched for each in kept} == {0}
    assert [each.needed for each in kept] == [each.needed for each in merged]


def test_of_files_on_this_machine_nothing_is_fetched(folder):
    found = Archive(folder, PROVIDER).explain("changes", at(-5), at(-1))
    assert {each.source for each in found.read} == {"mapped"}
    assert {each.fetched for each in found.read} == {0}
    assert all(0 < each.needed < each.bytes for each in found.read)
    outside = [each for each in found.files if each.skipped_by == "slots"]
    assert all(each.last < at(-5) or each.first >= at(-1) for each in outside)


def test_a_question_that_is_asked_again_says_so(elsewhere):
    archive = Archive(elsewhere, PROVIDER)
    KEPT.clear()
    once = archive.explain("state", at(9))
    key = next(each.key for each in once.read if each.kind == "keyframe")
    real, gone = elsewhere.get, []

    def vanishing(asked):
        if asked == key and not gone:
            gone.append(asked)
            raise NotFound(f"no object {asked}", key=asked)
        return real(asked)

    with patch.object(elsewhere, "get", vanishing):
        again = archive.explain("state", at(9))
    assert gone
    assert (once.looks, again.looks) == (1, 2)
    assert again.rows == once.rows
    assert "in 2 looks at the archive" in str(again)
    (used,) = [each for each in again.files if each.key == key]
    assert used.requests == 2


def test_where_no_rows_are_asked_for_no_file_is_read(folder):
    Archive(folder, PROVIDER).compact()
    found = Archive(folder, PROVIDER).explain("coverage")
    assert found.read == ()
    assert {each.skipped_by for each in found.files} == {"not asked"}
    assert found.states == ()
    assert "files of whose rows nothing is asked" in str(found)


# --- time -----------------------------------------------------------------------------------------


def test_round_trips_are_those_that_had_to_wait_for_each_other():
    spans = [(0, 10), (0, 8), (1, 9), (10, 20), (11, 12), (13, 19), (30, 40)]
    some = [Request("get", str(span), 0, *span) for span in spans]
    # (0, 8), then (11, 12), (13, 19), (30, 40).
    assert round_trips(some) == 4
    assert waited(some) == 1000 * (20 + 10)
    assert (round_trips([]), waited([])) == (0, 0.0)
    assert [(each.kind, each.count, each.ms) for each in counted(some)] == [("get", 7, 53_000)]


def test_what_is_asked_at_once_is_one_round_trip(elsewhere):
    delay = 0.05

    class Slow(Counting):
        def _counted(self, kind, key, size):
            time.sleep(delay)
            super()._counted(kind, key, size)

    slow = Slow(elsewhere)
    archive = Archive(slow, PROVIDER)
    archive.latest()  # from now on it knows where to begin
    slow.count.clear()
    found = archive.explain("state", at(9))
    asked = sum(slow.count.values())
    assert 2 <= found.round_trips < asked
    assert found.waited_ms >= 1000 * delay * found.round_trips
    assert sum(each.ms for each in found.requests) >= 1000 * delay * asked


# --- errors, and what is left behind --------------------------------------------------------------


@pytest.mark.parametrize("run", [True, False])
@pytest.mark.parametrize("name", ASKED)
def test_a_question_that_fails_raises_the_same_error(tmp_path, name, run):
    question, arguments, options = plain(name)
    archive = Archive(LocalStore(tmp_path / "nothing"), PROVIDER)
    with pytest.raises(Exception) as expected:
        answer(archive, name)
    with pytest.raises(type(expected.value)) as raised:
        archive.explain(question, *arguments, run=run, **options)
    assert str(raised.value).splitlines()[0] == str(expected.value).splitlines()[0]
    if question != "scan" and "lazy" not in options:
        assert isinstance(raised.value, ArchiveNotFoundError)


def test_there_are_these_questions_and_no_others(folder):
    archive = Archive(folder, PROVIDER)
    assert {name.partition(" ")[0] for name in ASKED} == set(QUESTIONS)
    with pytest.raises(InputError, match="no question 'compact'; there are changes, coverage"):
        archive.explain("compact")
    with pytest.raises(InputError, match="no column"):
        archive.explain("state", at(9), columns=["nonsense"])


def test_a_plan_says_nothing_of_values_that_look_like_patterns(folder, caplog):
    archive = Archive(folder, PROVIDER)
    archive.explain("history", k="01*", run=False)
    assert not caplog.records
    archive.explain("history", k="01*")
    assert "wildcards mean nothing" in caplog.text


def test_nothing_is_left_behind(folder):
    archive = Archive(folder, PROVIDER)
    archive.explain("latest")
    assert archive.store is folder
    assert archive._dataset.store is folder
    assert archive._dataset.trace is None
    before = archive.explain("latest")
    archive.latest()
    assert archive.explain("latest").requests[0].count == before.requests[0].count


def test_each_thread_counts_what_it_asked(elsewhere):
    asked = [ASKED["state"], ASKED["history"]] * 8
    names = ["state", "history"] * 8
    alone = {
        name: Archive(elsewhere, PROVIDER).explain(name, *args, **options)
        for name, (args, options) in zip(names[:2], asked[:2], strict=True)
    }

    def explained(number):
        arguments, options = asked[number]
        return Archive(elsewhere, PROVIDER).explain(names[number], *arguments, **options)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(explained, range(len(asked))))
    for name, found in zip(names, together, strict=True):
        assert [each.key for each in found.files] == [each.key for each in alone[name].files]
        assert found.rows == alone[name].rows
        # Footers are known by now; no more than alone.
        assert found.fetched <= alone[name].fetched


# --- as text, JSON and HTML -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKED)
def test_it_is_told_in_every_form(folder, name):
    question, arguments, options = plain(name)
    found = Archive(folder, PROVIDER).explain(question, *arguments, **options)
    text, page = str(found), found._repr_html_()
    data = json.loads(json.dumps(found.to_json()))
    assert text.startswith(f"{question}(")
    assert f"{found.rows:,} row" in text
    assert data["rows"] == found.rows
    assert len(data["files"]) == len(found.files)
    assert data["months"][-1]["month"] in ("2026-01", "2026-02")
    assert [each.month for each in found.months] == sorted({each.month for each in found.months})
    for each in found.read[:20]:
        assert each.key.rpartition("/")[2] in text
        assert each.key.rpartition("/")[2] in page


def test_a_value_is_text_in_a_page(folder):
    found = Archive(folder, PROVIDER).explain("history", k="<script>")
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert found.question == "history(k='<script>')"


# --- S3 -------------------------------------------------------------------------------------------

CALLS = {"list": "ListObjectsV2", "get": "GetObject", "get_range": "GetObject"}


def counted_on_s3(client, prefix, bucket):
    """Explanations, each beside the requests that the client sent."""
    fill(S3Store(bucket, prefix, client=client))
    sent = []

    def record(model, **_):
        sent.append(model.name)

    client.meta.events.register("before-call.s3", record)
    try:
        for name in ASKED:
            question, arguments, options = plain(name)
            for run in (True, False):
                archive = Archive(S3Store(bucket, prefix, client=client), PROVIDER)
                KEPT.clear()
                sent.clear()
                found = archive.explain(question, *arguments, run=run, **options)
                yield name, found, Counter(sent)
    finally:
        client.meta.events.unregister("before-call.s3", record)


def check_s3(client, prefix, bucket):
    near = None
    for name, found, sent in counted_on_s3(client, prefix, bucket):
        counts = Counter()
        for each in found.requests:
            counts[CALLS[each.kind]] += each.count
        assert counts == sent, name
        assert 1 <= found.round_trips <= sum(sent.values()), name
        near = near or Archive(S3Store(bucket, prefix, client=client), PROVIDER)
        if found.ran:
            assert found.rows == answer(near, name).height, name


@SEAWEED
def test_what_is_counted_is_what_was_sent_to_a_server(seaweed_bucket, seaweed_client):
    check_s3(seaweed_client, "explain", seaweed_bucket.name)


def test_what_is_counted_is_what_was_sent_to_s3(moto_s3):
    check_s3(moto_s3, "explain", BUCKET)


@SEAWEED
def test_a_manifest_that_is_the_same_is_not_sent_again(seaweed_bucket, seaweed_client):
    archive = Archive(S3Store(seaweed_bucket.name, "again", client=seaweed_client), PROVIDER)
    archive.ingest(snapshot({"a": (1, 0.5)}), at(0))
    first, again = (archive.explain("coverage", at(0), at(1)) for _ in range(2))
    assert first.fetched > 0
    assert again.fetched == 0
    assert sum(each.count for each in again.requests) == sum(each.count for each in first.requests)
