"""Archives of the original layout are read, continued and upgraded, without losing or doubling a
row."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO

import polars as pl
import pytest
from attrs import evolve
from oracle import PROVIDER, as_dict, changes, snapshot

from titans import Archive, Schema
from titans.errors import CorruptFileError, ManifestError, ProviderMismatchError
from titans.slots import Slot
from titans.store.memory import MemoryStore

FOLDER = "parquet_warm/small/m8/2026/01/"
MANIFEST = FOLDER + "manifest.json"

pytestmark = pytest.mark.usefixtures("eight_by_eight")


def at(slot):
    return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=10 * slot)


class OriginalWriter:
    """What the original left behind: files without metadata, ranges that count arrivals, stale
    tombstone times."""

    def __init__(self, store):
        self.store, self.levels, self.next_id, self.arrivals = store, {}, 1, 0
        self.pending, self.processed = [], []

    def put(self, key, rows):
        out = BytesIO()
        rows.write_parquet(out, compression="zstd")
        self.store.create(key, out.getvalue())

    def upload(self, slot, rows, adopt=True):
        key = f"parquet_cp_hot/small/{at(slot):%Y/%m/%d/%H-%M}.parquet"
        self.put(key, pl.DataFrame(rows, schema=dict(PROVIDER.schema_dtypes), orient="row"))
        if adopt:
            self.adopt(key)
        return key

    def adopt(self, key):
        self.levels.setdefault(0, []).append((key, self.arrivals, self.arrivals))
        self.processed.append(key)
        self.arrivals += 1
        level = 0
        while len(self.levels.get(level, [])) >= 8:
            group, self.levels[level] = self.levels[level][:8], self.levels[level][8:]
            keys = [name if level == 0 else FOLDER + name for name, _, _ in group]
            rows = pl.concat([pl.read_parquet(BytesIO(self.store.get(k).data)) for k in keys])
            rows = (
                rows.sort("k", "Time", "Ceased")
                .unique(["k", "Time"], keep="first")
                .sort("k", "Time")
            )
            name = f"L{level + 1}_{self.next_id:04d}_{group[0][1]:05d}-{group[-1][2]:05d}.parquet"
            self.put(FOLDER + name, rows)
            self.levels.setdefault(level + 1, []).append((name, group[0][1], group[-1][2]))
            self.next_id, self.pending, level = self.next_id + 1, keys, level + 1

    def save(self, **extra):
        body = {
            "m": 8,
            "provider": "small",
            "year": 2026,
            "month": 1,
            "pk_columns": ["k"],
            "next_file_id": self.next_id,
            "last_hot_idx": self.arrivals - 1,
            "last_updated": "2026-01-05T00:00:00+00:00",
            "pending_deletions": self.pending,
            "levels": {
                str(level): [{"file": f, "hot_range": [a, b]} for f, a, b in files]
                for level, files in self.levels.items()
            },
        } | extra
        self.store.delete(MANIFEST)
        self.store.create(MANIFEST, json.dumps(body, indent=2).encode())


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def original(store):
    """Nineteen slots from the fourth of the day on: two merged groups, three files of level 0, a
    tombstone."""
    writer = OriginalWriter(store)
    for n in range(4, 23):
        rows = [("a", at(n), n, 0.5, False)]
        if n == 6:
            rows.append(("b", at(6), 1, 0.5, False))
        if n == 9:
            rows.append(
                ("b", at(6), 1, 0.5, True)
            )  # gone at 9, but with the time of the row before
        writer.upload(n, rows)
    return writer


EXPECTED_A = list(range(4, 23))


@pytest.mark.parametrize(
    "extra", [{"processed_keys": True}, {"last_processed_time": "2026-01-05T03:40:00+00:00"}, {}]
)
def test_an_original_archive_is_read_as_it_is(store, original, extra):
    original.save(**{"processed_keys": original.processed} if "processed_keys" in extra else extra)
    before = store.get(MANIFEST).data
    archive = Archive(store, PROVIDER)
    assert archive.history(k="a")["v"].to_list() == EXPECTED_A
    assert as_dict(archive.state(at(5)))["a"] == (5, 0.5)
    assert archive.status()[0].waiting == 0
    assert store.get(MANIFEST).data == before, "reading upgrades nothing"


def test_the_next_commit_upgrades_it_and_goes_on(store, original):
    original.save(last_processed_time="2026-01-05T03:40:00+00:00")
    archive = Archive(store, PROVIDER)
    for n in range(23, 80):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
        archive.compact()
    assert json.loads(store.get(MANIFEST).data)["format_version"] == 3
    assert archive.history(k="a")["v"].to_list() == list(range(4, 80))
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
    archive.vacuum("0s")
    assert archive.history(k="a")["v"].to_list() == list(range(4, 80))
    assert archive.verify(deep=True).passed


def test_a_lost_hot_file_older_than_the_watermark_is_found(store, original):
    original.upload(1, [("c", at(1), 7, 0.5, False)], adopt=False)
    original.save(last_processed_time="2026-01-05T03:40:00+00:00")
    archive = Archive(store, PROVIDER)
    assert as_dict(archive.state(at(1))) == {"c": (7, 0.5)}
    assert archive.compact().adopted == 1
    assert archive.status()[0].adopted == 20
    assert archive.history(k="c").height == 1
    assert archive.compact().adopted == 0


def test_files_that_were_to_be_deleted_are_never_adopted_again(store, original):
    assert original.pending
    original.save(last_processed_time="2026-01-05T03:40:00+00:00")
    archive = Archive(store, PROVIDER)
    assert archive.compact().adopted == 0
    assert archive.history(k="a")["v"].to_list() == EXPECTED_A
    assert archive.vacuum("0s").removed
    assert not [e.key for e in store.list() if e.key in original.pending]
    assert archive.history(k="a")["v"].to_list() == EXPECTED_A


def test_a_tombstone_with_a_stale_time_means_its_own_slot(store):
    writer = OriginalWriter(store)
    writer.upload(0, [("b", at(0), 1, 0.5, False)])
    writer.upload(3, [("b", at(0), 1, 0.5, True)])
    writer.save()
    archive = Archive(store, PROVIDER)
    assert archive.history(k="b").select("Time", "Ceased").rows() == [(at(0), False), (at(3), True)]
    archive.ingest(snapshot({"a": (1, 0.5)}), at(4))
    assert archive.history(k="b").select("Time", "Ceased").rows() == [(at(0), False), (at(3), True)]
    for n in range(5, 12):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
    archive.compact()
    assert archive.history(k="b").select("Time", "Ceased").rows() == [(at(0), False), (at(3), True)]
    assert archive.verify(deep=True).passed


def test_an_original_writer_that_saves_over_an_upgraded_manifest_is_noticed(store):
    archive = Archive(store, PROVIDER)
    for n in [0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 11, 10]:
        archive.ingest(snapshot({"a": (n, 0.5), "b": (n // 2, 0.5)}), at(n))
        archive.compact()
    before = [as_dict(archive.state(at(n))) for n in range(12)]
    ours = json.loads(store.get(MANIFEST).data)
    for name in (
        "format_version",
        "version",
        "data_version",
        "commit_ids",
        "adopted",
        "observed",
        "full",
    ):
        del ours[name]
    ours["levels"] = {
        level: [{"file": f["file"], "hot_range": f["hot_range"]} for f in files]
        for level, files in ours["levels"].items()
    }
    ours["pending_deletions"] = []
    store.delete(MANIFEST)
    store.create(MANIFEST, json.dumps(ours).encode())
    archive = Archive(store, PROVIDER)
    assert [as_dict(archive.state(at(n))) for n in range(12)] == before
    archive.ingest(snapshot({"a": (12, 0.5), "b": (6, 0.5)}), at(12))
    archive.compact()
    assert [as_dict(archive.state(at(n))) for n in range(12)] == before
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]
    assert archive.status()[0].observed == 13


def test_columns_that_an_early_writer_did_not_have_are_null(store):
    key = f"parquet_cp_hot/small/{at(0):%Y/%m/%d/%H-%M}.parquet"
    out = BytesIO()
    pl.DataFrame({"k": ["a"], "Time": [at(0)], "w": [1]}).write_parquet(out)
    store.create(key, out.getvalue())
    archive = Archive(store, PROVIDER)
    assert archive.latest().rows() == [("a", at(0), None, 1.0)]
    archive.compact()
    assert archive.changes().rows() == [("a", at(0), None, 1.0, False)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provider": "other"}, "that of provider 'other'"),
        ({"month": 2}, "month 2026-02"),
        ({"levels": {"0": [{"file": "../../secret", "hot_range": [0, 0]}]}}, "cannot be its own"),
        ({"levels": {"0": [{}]}}, "cannot be read"),
    ],
)
def test_a_forged_original_manifest_is_refused(store, original, change, message):
    original.save(**change)
    with pytest.raises(ManifestError, match=message):
        Archive(store, PROVIDER).latest()


def test_an_original_manifest_with_another_key_is_refused(store, original):
    original.save(pk_columns=["k", "l"])
    with pytest.raises(
        ProviderMismatchError, match=r"primary key k, l, but provider 'small' declares k"
    ):
        Archive(store, PROVIDER).latest()


@pytest.mark.parametrize("between", [False, True])
def test_an_original_archive_is_read_under_a_later_schema(store, original, between):
    later = evolve(
        PROVIDER,
        schema=Schema(
            {"x": "String", "price": "Float64", "v": "Float64"},
            version=2,
            score="v",
            renamed={2: {"w": "price"}},
        ),
    )
    original.save(processed_keys=original.processed)
    if between:  # version 1 has had its turn with today's TITANS
        Archive(store, PROVIDER).upload(changes({"a": (99, 0.5)}), at(30))
        Archive(store, PROVIDER).compact()
    archive = Archive(store, later)
    for _ in range(2):
        rows = archive.history(k="a", end=at(30))
        assert rows["v"].to_list() == EXPECTED_A
        assert set(rows["price"]) == {0.5}
        assert rows["x"].null_count() == rows.height
        found = archive.verify(deep=True)
        assert found.passed, [c for c in found.checks if not c.passed]
        archive.upload(pl.DataFrame({"k": ["a"], "x": ["x"], "price": [1.5], "v": [0.5]}), at(31))
        archive.compact()
        archive.seal("2026-01")
    assert archive.latest().drop("Time").row(0) == ("a", "x", 1.5, 0.5)


def test_foreign_pending_deletions_are_never_deleted(store, original):
    store.create("parquet_cp_hot/aws/2026/01/05/00-40.parquet", b"not mine")
    original.pending = ["parquet_cp_hot/aws/2026/01/05/00-40.parquet", "../x", *original.pending]
    original.save()
    archive = Archive(store, PROVIDER)
    archive.vacuum("0s")
    assert store.get("parquet_cp_hot/aws/2026/01/05/00-40.parquet").data == b"not mine"
    assert Slot.of(at(4)).start == at(4)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([61.53], pl.Float64),
        (["61.53"], pl.String),
        ([2**63], pl.UInt64),
        ([float("inf")], pl.Float32),
        (["many"], pl.Categorical),
    ],
)
@pytest.mark.parametrize("adopt", [True, False])
def test_a_value_that_its_column_cannot_hold_is_noticed_and_never_merged(
    store, values, dtype, adopt
):
    """A column of integers in which an early writer has 61.53."""
    writer = OriginalWriter(store)
    for n in range(6):
        writer.upload(n, [("a", at(n), n, 0.5, False)])
    rows = {"k": ["b"], "Time": [at(6)], "v": pl.Series(values, dtype=dtype), "w": [0.5]}
    key = f"parquet_cp_hot/small/{at(6):%Y/%m/%d/%H-%M}.parquet"
    writer.put(key, pl.DataFrame(rows).with_columns(Ceased=pl.lit(value=False)))
    if adopt:
        writer.adopt(key)
    writer.save()
    before = store.get(key).data

    archive = Archive(store, PROVIDER)
    with pytest.raises(
        CorruptFileError, match=r"1 value\(s\) in column 'v'.*are no Int64"
    ) as error:
        archive.latest()
    assert error.value.key == key
    for n in range(7, 20):
        with suppress(CorruptFileError):
            archive.upload(changes({"a": (n, 0.5)}), at(n))
            archive.compact()
    assert store.get(key).data == before
    with pytest.raises(CorruptFileError, match="'v'"):
        archive.latest()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([61.0], pl.Float64), (["61"], pl.String), ([61], pl.Int8), (["61.0"], pl.Categorical)],
)
def test_a_value_of_another_dtype_that_is_the_same_is_read(store, values, dtype):
    writer = OriginalWriter(store)
    rows = {"k": [7], "Time": [at(6)], "v": pl.Series(values, dtype=dtype), "w": ["0.5"]}
    key = f"parquet_cp_hot/small/{at(6):%Y/%m/%d/%H-%M}.parquet"
    writer.put(key, pl.DataFrame(rows))
    writer.adopt(key)
    writer.save()
    archive = Archive(store, PROVIDER)
    assert as_dict(archive.latest()) == {"7": (61, 0.5)}
    for n in range(7, 20):
        archive.upload(changes({"a": (n, 0.5)}), at(n))
        archive.compact()
    assert as_dict(archive.latest())["7"] == (61, 0.5)
    assert archive.verify(deep=True).passed
