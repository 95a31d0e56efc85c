"""Whatever bytes lie under a name of the archive: it answers rightly, or raises an error of its own
that names the object."""

from __future__ import annotations

import json
from io import BytesIO
from random import Random

import polars as pl
import pytest
from oracle import PROVIDER, as_dict, at, changes, snapshot

from titans import Archive
from titans.errors import FormatError, SnapshotExpiredError, TitansError
from titans.slots import Month, Slot
from titans.store.memory import MemoryStore
from titans.tiers.manifest.commit import read_head

SEEDS = range(50)
JANUARY = Month(2026, 1)
MANIFEST = "parquet_warm/small/m8/2026/01/manifest.json"

JUNK = [
    None,
    True,
    -1,
    0,
    1,
    1.5,
    2**63,
    10**400,
    float("nan"),
    "",
    "x",
    "a" * 5000,
    "2026-01-01T00:00:00",
    "9" * 5000,
    [],
    [[]],
    [[0, 10**12]],
    [[5, 2]],
    ["x"],
    {},
    {"x": 1},
    {"file": 3},
]
DEEP = "[" * 100_000 + "]" * 100_000


def filled():
    """Merged files, corrections, a full snapshot of its own, and hot files, one of them waiting."""
    archive = Archive(MemoryStore(), PROVIDER)
    for n in [0, 1, 3, 5, 4, 7, 6, 8, 9]:
        archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 3, 1.5)}), at(n), max_ceased=1.0)
        archive.compact()
    archive.upload(changes({"d": (1, 0.5)}), at(11))
    return {entry.key: archive.store.get(entry.key).data for entry in archive.store.list()}


@pytest.fixture(scope="module")
def objects():
    return filled()


def put(objects):
    store = MemoryStore()
    for key, data in objects.items():
        store.create(key, data)
    return Archive(store, PROVIDER, wait=lambda attempt: None)


def somewhere(value, random):
    """A path to some place in a JSON value."""
    path = []
    while isinstance(value, dict | list) and value and (not path or random.random() < 0.8):
        step = (
            random.choice(sorted(value))
            if isinstance(value, dict)
            else random.randrange(len(value))
        )
        path.append(step)
        value = value[step]
    return path


def mutated(text, random):
    """JSON with some values in it replaced, removed or doubled; or bytes that are hardly JSON."""
    if random.random() < 0.15:
        cut = random.randrange(len(text))
        return random.choice([text[:cut], text[:cut] + b"\xff" + text[cut:], b"", DEEP.encode()])
    data = json.loads(text)
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        path = somewhere(data, random)
        if not path:
            break
        holder = data
        for step in path[:-1]:
            holder = holder[step]
        if random.random() < 0.2:
            del holder[path[-1]]
        else:
            holder[path[-1]] = random.choice(JUNK)
    out = json.dumps(data)
    if random.random() < 0.05:
        out = out.replace("1", DEEP, 1)
    return out.encode()


QUESTIONS = {
    "state": lambda archive: archive.state(at(4)),
    "latest": lambda archive: archive.latest(),
    "changes": lambda archive: archive.changes(),
    "history": lambda archive: archive.history(k="a"),
    "range": lambda archive: archive.changes(at(2), at(5)),
    "files": lambda archive: archive.files(),
    "scan": lambda archive: archive.scan().collect(),
    "coverage": lambda archive: archive.coverage(),
    "intervals": lambda archive: archive.intervals(),
    "status": lambda archive: archive.status(),
    "compact": lambda archive: archive.compact(),
    "verify": lambda archive: archive.verify(),
    "verify deep": lambda archive: archive.verify(deep=True),
    "vacuum": lambda archive: archive.vacuum("0s"),
    "repair": lambda archive: archive.repair(dry_run=True),
    "repaired": lambda archive: archive.repair(),
    "ingest": lambda archive: archive.ingest(snapshot({"a": (12, 0.5)}), at(13), max_ceased=1.0),
    "upload": lambda archive: archive.upload(changes({"z": (1, 0.5)}), at(14)),
    "seal": lambda archive: archive.seal("2026-01"),
}


def ask_everything(objects, key):
    """Each question of an archive of its own: nothing but TITANS' own errors, and what is broken is
    named by them."""
    for ask in QUESTIONS.values():
        archive = put(objects)
        try:
            ask(archive)
        except SnapshotExpiredError:
            pass
        except FormatError as error:
            name = key.rpartition("/")[2]
            assert name in str(error) or "merge" in str(error) or "manifest" in str(error)
        except TitansError:
            pass
        hot = [k for k in objects if "cp_hot" in k and k != key]
        left = {entry.key for entry in archive.store.list()}
        adopted = read_adopted(archive)
        for each in hot:
            assert each in left or Slot.of(archive.paths.parse_hot_key(each).start).index in adopted


def read_adopted(archive):
    try:
        return read_head(archive._dataset, JANUARY).manifest.adopted
    except TitansError:
        return ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_manifest_of_any_content_raises_nothing_but_our_own_errors(seed, objects):
    random = Random(seed)
    data = mutated(objects[MANIFEST], random)
    ask_everything({**objects, MANIFEST: data}, MANIFEST)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_original_manifest_of_any_content_raises_nothing_but_our_own_errors(seed, objects):
    random = Random(seed)
    ours = json.loads(objects[MANIFEST])
    levels = {
        level: [
            {"file": e["file"], "hot_range": e["hot_range"], "rows": e["rows"]} for e in entries
        ]
        for level, entries in ours["levels"].items()
    }
    original = {
        "m": 8,
        "provider": "small",
        "year": 2026,
        "month": 1,
        "pk_columns": ["k"],
        "levels": levels,
        "next_file_id": 9,
        "last_hot_idx": 3,
        "processed_keys": [],
        "pending_deletions": ours["pending_deletions"],
    }
    data = mutated(json.dumps(original).encode(), random)
    ask_everything({**objects, MANIFEST: data}, MANIFEST)


def with_metadata(data, text):
    rows = pl.read_parquet(BytesIO(data))
    out = BytesIO()
    rows.write_parquet(out, metadata={"titans": text})
    return out.getvalue()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_that_says_anything_of_itself_raises_nothing_but_our_own_errors(seed, objects):
    random = Random(seed)
    key = random.choice(sorted(key for key in objects if key.endswith(".parquet")))
    said = pl.read_parquet_metadata(BytesIO(objects[key]))["titans"]
    text = mutated(said.encode(), random).decode(errors="replace")
    ask_everything({**objects, key: with_metadata(objects[key], text)}, key)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_of_any_bytes_raises_nothing_but_our_own_errors(seed, objects):
    """Cut short, bits turned, bytes put in: at the end, where the footer is, more than elsewhere."""
    random = Random(seed)
    key = random.choice(sorted(key for key in objects if key.endswith(".parquet")))
    data = bytearray(objects[key])
    for _ in range(random.choice([1, 1, 2, 8])):
        place = random.randrange(len(data))
        if random.random() < 0.4:
            place = len(data) - 1 - random.randrange(min(300, len(data)))
        action = random.random()
        if action < 0.6:
            data[place] ^= 1 << random.randrange(8)
        elif action < 0.8:
            del data[place : place + random.choice([1, 4, 1000])]
        else:
            data[place:place] = random.randbytes(random.choice([1, 4, 100]))
        if not data:
            break
    ask_everything({**objects, key: bytes(data)}, key)


def test_what_is_asked_works_where_nothing_is_broken(objects):
    for ask in QUESTIONS.values():
        ask(put(objects))
    assert as_dict(put(objects).state(at(4)))["a"] == (4, 0.5)
