"""An archive that version 1 of a provider began and version 2 goes on with."""

import json
from io import BytesIO
from unittest.mock import patch

import polars as pl
import pytest
from attrs import evolve
from oracle import at
from polars.testing import assert_frame_equal
from schema_versions import (
    V1,
    V2,
    as_second,
    first,
    first_changes,
    replayed_second,
    second,
    second_changes,
)

from titans import Archive, Schema
from titans.dataset import Dataset
from titans.errors import CorruptFileError, ManifestError, ProviderMismatchError
from titans.read.scan import Plan
from titans.slots import Month
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore
from titans.tiers.maintain.verify import CHECKS
from titans.tiers.manifest.commit import read_head

JANUARY, FEBRUARY = (f"parquet_warm/small/m8/2026/0{month}/manifest.json" for month in (1, 2))


pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture(params=["memory", pytest.param("folder", marks=pytest.mark.slow)])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


def market(n: int) -> dict[str, tuple]:
    return {"a": (n, 0.5), "b": (n // 3, 1.5), **({"c": (7, 2.5)} if n % 4 else {})}


def begun(store, slots=range(12)) -> tuple[Archive, dict]:
    """A month end under version 1; what was seen, as version 2 says it."""
    archive, seen = Archive(store, V1), {}
    for n in slots:
        archive.ingest(first(market(n)), at(n), max_ceased=1.0)
        seen[at(n)] = {key: (*values, None) for key, values in market(n).items()}
    return archive, seen


def gone_on(store, seen, slots=range(12, 18)) -> Archive:
    archive = Archive(store, V2)
    for n in slots:
        rows = {key: (*values, "xyz"[n // 4 % 3]) for key, values in market(n).items()}
        archive.ingest(second(rows), at(n), max_ceased=1.0)
        seen[at(n)] = rows
    return archive


def manifest(store, key=JANUARY):
    return json.loads(store.get(key).data)


def objects(store):
    return {e.key: store.get(e.key).data for e in store.list()}


def check(archive: Archive, seen: dict) -> None:
    points = archive.changes()
    assert points.schema == V2.schema_dtypes
    for moment, rows in seen.items():
        assert as_second(archive.state(moment)) == rows
        assert replayed_second(points, moment) == rows
    assert_frame_equal(archive.scan().collect().sort("k", "Time"), points)
    assert_frame_equal(archive.history(k="a"), points.filter(k="a"))
    found = archive.verify(deep=True)
    assert found.passed, [c for c in found.checks if not c.passed]


def test_an_archive_of_version_1_reads_under_version_2_as_it_is(store):
    old, seen = begun(store)
    old.seal("2026-01")
    before = objects(store)
    check(Archive(store, V2), seen)
    assert objects(store) == before
    assert any(e.key.endswith(".parquet") for e in store.list("parquet_state/small/m8/2026/01/"))


def test_it_goes_on_under_version_2(store):
    _, seen = begun(store)
    archive = gone_on(store, seen)
    check(archive, seen)
    archive.compact()
    for month in ("2026-01", "2026-02"):
        archive.seal(month)
    archive.vacuum("0s")
    check(archive, seen)
    checked = {c.name: c.asked for c in archive.verify(deep=True).checks}
    assert all(checked[name] for name in CHECKS if name != "waiting")


def test_the_manifest_says_which_file_has_which_version_and_what_was_cast(store):
    _, seen = begun(store, range(13, 16))
    archive = gone_on(store, seen, range(16, 17))
    found = manifest(store, FEBRUARY)
    assert found["schemas"] == {
        "1": {"n": "Int32", "w": "Float32"},
        "2": {"zone": "String", "n": "Int64", "price": "Float64"},
    }
    assert found["casts"] == [
        {
            "from": 1,
            "to": 2,
            "renamed": {"w": "price"},
            "widened": {"n": ["Int32", "Int64"], "price": ["Float32", "Float64"]},
            "added": {"zone": "String"},
        }
    ]
    versions = {
        e["file"][:2]: (e["schema_version"], e.get("cast_from"))
        for es in found["levels"].values()
        for e in es
    }
    # 13, a full snapshot, by version 1; so are 14 and 15, which are merged with 16.
    assert versions == {"B_": (1, None), "L2": (2, [1])}
    archive.seal("2026-02")
    entries = [e for es in manifest(store, FEBRUARY)["levels"].values() for e in es]
    (entry,) = [e for e in entries if e["file"].startswith("L")]
    name = f"{FEBRUARY.removesuffix('manifest.json')}{entry['file']}"
    path = store.local_path(name)
    metadata = pl.read_parquet_metadata(store.get(name).data if path is None else path)
    described = json.loads(metadata["titans"])
    assert described["format_version"] == 3
    assert (described["schema_version"], described["cast_from"]) == (2, [1])
    check(archive, seen)


def test_while_only_version_1_is_in_use_nothing_is_cast(store):
    begun(store, range(4))
    assert manifest(store)["format_version"] == 3
    assert manifest(store)["casts"] == []
    assert manifest(store)["slot_minutes"] == 10


def test_sealed_months_keep_their_files(store):
    old, seen = begun(store)
    old.seal("2026-01")
    before = {e["file"] for es in manifest(store)["levels"].values() for e in es}
    archive = gone_on(store, seen)
    archive.compact()
    levels = manifest(store)["levels"]
    assert {e["file"] for es in levels.values() for e in es} == before
    assert {e["schema_version"] for es in levels.values() for e in es} == {1}
    check(archive, seen)


def test_a_late_slot_under_version_2_keeps_the_states_that_version_1_saw(store):
    _, seen = begun(store, [0, 1, 2, 4, 5, 6])
    archive = Archive(store, V2)
    rows = {"a": (99, 9.5, "late"), "d": (1, 1.0, "new")}
    result = archive.ingest(second(rows), at(3), max_ceased=1.0)
    assert result.corrections
    seen[at(3)] = rows
    check(archive, seen)
    archive.seal("2026-01")
    archive.vacuum("0s")
    check(archive, seen)


def test_files_that_version_1_left_unadopted_are_adopted_by_version_2(store):
    old = Archive(store, V1)
    for n in range(3):
        old.upload(first_changes({"a": (n, 0.5), "b": None}), at(n))
    archive = Archive(store, V2)
    expected = [("a", at(n), None, n, 0.5, False) for n in range(3)]
    expected += [("b", at(n), None, None, None, True) for n in range(3)]
    assert archive.changes().rows() == expected
    archive.upload(second_changes({"a": (5, 0.5, "x")}), at(3))
    assert archive.compact().adopted == 4
    assert archive.changes().rows() == sorted([*expected, ("a", at(3), "x", 5, 0.5, False)])
    assert set(manifest(store)["schemas"]) == {"1", "2"}
    assert archive.verify(deep=True).passed


def test_months_without_a_snapshot_build_on_version_1(store):
    old = Archive(store, V1)
    for n in range(8, 12):
        old.upload(first_changes({"a": (n, 0.5), "b": (1, 1.0)}), at(n))
        old.compact()
    archive = Archive(store, V2)
    for n in range(12, 16):  # the next month
        archive.upload(second_changes({"a": (n, 0.5, "x")}), at(n))
    archive.compact()
    archive.seal("2026-01")
    assert as_second(archive.state(at(15))) == {"a": (15, 0.5, "x"), "b": (1, 1.0, None)}
    archive.seal("2026-02")
    assert any(k["dependent"] for k in manifest(store, FEBRUARY)["keyframes"])
    assert as_second(archive.state(at(15))) == {"a": (15, 0.5, "x"), "b": (1, 1.0, None)}
    assert archive.verify(deep=True).passed


# --- the first snapshot under version 2 -----------------------------------------------------------


def test_an_added_column_without_values_changes_nothing(store):
    begun(store, range(3))
    archive = Archive(store, V2)
    result = archive.ingest(second({k: (*v, None) for k, v in market(2).items()}), at(3))
    assert (result.status, result.change_points) == ("unchanged", 0)
    assert as_second(archive.latest()) == {k: (*v, None) for k, v in market(2).items()}
    assert archive.diff(at(2), at(3)).height == 0


def test_first_values_of_an_added_column_are_stored_and_counted_as_filled(store):
    begun(store, range(3))
    archive = Archive(store, V2)
    rows = {"a": (2, 0.5, "x"), "b": (5, 1.5, "x"), "c": (7, 2.5, None)}
    result = archive.ingest(second(rows), at(3))
    assert (result.added, result.changed, result.filled, result.ceased) == (0, 1, 1, 0)
    assert result.change_points == archive.changes(at(3), at(4)).height == 2
    assert as_second(archive.latest()) == rows
    again = archive.ingest(second(rows), at(4))
    assert again.status == "unchanged"
    unseen = archive.ingest(second({k: (n, w, None) for k, (n, w, _) in rows.items()}), at(5))
    assert unseen.status == "unchanged"
    assert as_second(archive.latest()) == rows  # what is not observed is carried


def test_the_first_snapshot_of_a_month_carries_over_the_versions(store):
    begun(store, range(10, 12))
    archive = Archive(store, V2)
    result = archive.ingest(second({k: (None, w, "x") for k, (_, w) in market(11).items()}), at(12))
    assert (result.changed, result.filled) == (0, 3)
    assert as_second(archive.latest()) == {k: (*v, "x") for k, v in market(11).items()}


# --- questions over renamed, widened and added columns --------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        pl.col("price") > 1.0,
        pl.col("price") == 2.5,
        pl.col("n") >= 11,
        pl.col("n") + 0.5 < 4,
        pl.col("zone").is_null(),
        pl.col("zone") == "y",
        pl.col("zone").is_null() & (pl.col("price") < 1),
        (pl.col("k") == "b") & (pl.col("price") > 1),
    ],
)
def test_row_groups_are_pruned_by_the_names_and_values_of_today(store, where):
    with patch("titans.tiers.files.parquet.ROW_GROUP", 2):
        _, seen = begun(store)
        archive = gone_on(store, seen)
        for month in ("2026-01", "2026-02"):
            archive.seal(month)
        expected = archive.changes().filter(where)
        assert_frame_equal(archive.scan(where=where).collect().sort("k", "Time"), expected)
        chosen = archive.scan(where=where, columns=["price"]).collect()
        assert sorted(chosen["price"].fill_null(-1)) == sorted(expected["price"].fill_null(-1))
        state = archive.state(at(17)).filter(where)
        assert_frame_equal(archive.state(at(17), where=where), state)


def test_a_predicate_on_a_renamed_column_reaches_the_files(tmp_path):
    old, _ = begun(LocalStore(tmp_path))
    old.seal("2026-01")
    renamed = Schema(
        {"count": "Int64", "price": "Float32"}, version=2, renamed={2: {"w": "price", "n": "count"}}
    )
    archive = Archive(LocalStore(tmp_path), evolve(V1, schema=renamed))
    for where, predicate in (
        (pl.col("price") > 1.0, 'col("w") > 1.0'),
        (pl.col("count") > 3, 'col("n").cast(Int64) > 3'),
        (pl.col("k") == "a", 'col("k") == "a"'),
    ):
        rows = Plan.of(archive._reader(), None, None).scans[0].rows
        plan = rows.filter(where).select("k").explain()
        assert predicate in plan.partition("Parquet SCAN")[2], plan
        assert (
            archive.scan(where=where, columns=["k"]).collect().height
            == archive.changes().filter(where).height
        )


def test_derived_questions_work_over_both_versions(store):
    _, seen = begun(store)
    archive = gone_on(store, seen)
    moments = sorted(seen)
    grid = {
        (r["k"], r["Time"]): (r["n"], r["price"], r["zone"])
        for r in archive.grid(every="10m").to_dicts()
    }
    for moment in moments:
        for key in "abc":
            assert grid[key, moment] == seen[moment].get(key, (None, None, None))
    found = {r["k"]: r for r in archive.diff(moments[3], moments[-1]).to_dicts()}
    assert found["a"]["n_old"] == 3
    assert found["a"]["n_new"] == 17
    assert (found["a"]["zone_old"], found["a"]["zone_new"]) == (None, seen[moments[-1]]["a"][2])
    intervals = archive.intervals()
    assert intervals.schema["price"] == pl.Float64
    assert intervals.height == archive.changes().filter(~pl.col("Ceased")).height


# --- refusals -------------------------------------------------------------------------------------


def refused(call, *parts):
    with pytest.raises(ProviderMismatchError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


def test_version_1_refuses_what_version_2_has_begun_and_writes_nothing(store):
    _, seen = begun(store)
    gone_on(store, seen)
    before = objects(store)
    old = Archive(store, V1)
    for call in (
        lambda: old.ingest(first(market(18)), at(18)),
        lambda: old.upload(first_changes({"a": (1, 0.5)}), at(18)),
        lambda: old.ingest(
            first(market(1)), at(2000)
        ),  # a month nobody has begun; the nearest one is version 2's
        lambda: old.upload(first_changes({"a": (1, 0.5)}), at(9000)),
        old.compact,
        old.latest,
        lambda: old.changes(),
        lambda: old.scan().collect(),
        lambda: old.seal("2026-02"),
        old.vacuum,
        old.repair,
        old.verify,
    ):
        refused(
            call,
            "has schema version 2, but provider 'small' (small 1.0) declares version 1",
            "upgrade",
        )
    assert objects(store) == before


def test_version_1_refuses_a_hot_file_of_version_2(store):
    begun(store, range(3))
    Archive(store, V2).upload(second_changes({"a": (1, 0.5, "x")}), at(3))
    before = objects(store)
    old = Archive(store, V1)
    for call in (old.compact, old.latest, old.verify):
        refused(call, "was written with schema version 2", "declares version 1", "upgrade")
    assert objects(store) == before


def test_hot_files_alone_say_which_versions_may_go_on(store):
    Archive(store, V2).upload(second_changes({"a": (1, 0.5, "x")}), at(0))
    before = objects(store)
    refused(
        lambda: Archive(store, V1).upload(first_changes({"a": (1, 0.5)}), at(1)),
        "written with schema version 2",
    )
    lesser = evolve(V2, schema=Schema({"n": "Int64"}, version=3))
    refused(
        lambda: Archive(store, lesser).ingest(pl.DataFrame({"k": ["a"]}), at(1)),
        "column 'zone' of schema version 2",
    )
    assert objects(store) == before


def test_months_that_version_2_has_not_touched_stay_readable_under_version_1(store):
    _, seen = begun(store, range(6, 14))
    gone_on(store, seen, range(14, 15))
    assert Archive(store, V1).state(at(11)).height == len(market(11))


@pytest.mark.parametrize(
    ("schema", "parts"),
    [
        (
            Schema({"n": "Int16", "w": "Float32"}, version=2),
            ["'n' is Int32 in schema version 1", "Int16 in version 2", "declare it as"],
        ),
        (
            Schema({"n": "Int32"}, version=2),
            [
                "column 'w' of schema version 1",
                "is missing in version 2",
                "renamed={2: {'w': '…'}}",
            ],
        ),
        (
            Schema({"n": "Int32", "w": "Float64"}),
            ["under the same version", "raise its schema version to 2"],
        ),
    ],
)
def test_what_is_no_evolution_is_refused_and_changes_nothing(store, schema, parts):
    begun(store)
    before = objects(store)
    archive = Archive(store, evolve(V1, schema=schema, version="2.0"))
    parts = [*parts, "2026/0", "provider 'small' (small 2.0)"]
    for call in (
        archive.compact,
        archive.latest,
        lambda: archive.ingest(pl.DataFrame({"k": ["a"], "n": [1]}), at(12)),
        archive.repair,
        archive.verify,
    ):
        refused(call, *parts)
    assert objects(store) == before


def test_another_key_is_refused_even_by_repair(store):
    begun(store, range(3))
    archive = Archive(store, evolve(V2, key=("k", "l")))
    before = objects(store)
    for call in (archive.latest, archive.compact, archive.repair):
        refused(
            call,
            "primary key k, but",
            "declares k, l (schema version 2)",
            "a key cannot change",
            "another archive",
        )
    assert objects(store) == before


def test_integers_that_no_float_holds_stop_the_merge_and_nothing_is_lost(store):
    before = evolve(V1, schema=Schema({"n": "Int64"}))
    after = evolve(V1, schema=Schema({"n": "Float64"}, version=2))
    Archive(store, before).ingest(pl.DataFrame({"k": ["a"], "n": [2**53 + 1]}), at(0))
    archive = Archive(store, after)
    refused(archive.latest, "no exact Float64", str(2**53 + 1), "declare Int64")
    with pytest.raises(ProviderMismatchError):
        archive.ingest(pl.DataFrame({"k": ["a"], "n": [1.0]}), at(1))
    assert Archive(store, before).latest()["n"].to_list() == [2**53 + 1]


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_collector_of_version_1_that_is_overtaken_in_the_middle_is_refused_and_its_file_stays(
    store,
):
    begun(store, range(3))

    class Overtaken:
        """Version 2 ingests slot 4 just before slot 3 of version 1 is stored."""

        def __init__(self):
            self.done = False

        def __getattr__(self, name):
            return getattr(store, name)

        def create(self, key, data):
            if not self.done and "parquet_cp_hot" in key:
                self.done = True
                Archive(store, V2).ingest(second({"a": (4, 4.0, "x")}), at(4), max_ceased=1.0)
            return store.create(key, data)

    old = Archive(Overtaken(), V1)
    refused(
        lambda: old.ingest(first({"a": (3, 3.0)}), at(3), max_ceased=1.0), "has schema version 2"
    )
    archive = Archive(store, V2)
    for _ in range(2):
        assert as_second(archive.state(at(3))) == {"a": (3, 3.0, None)}
        assert as_second(archive.state(at(4))) == {"a": (4, 4.0, "x")}
        archive.compact()
    assert archive.verify(deep=True).passed


def test_a_manifest_that_does_not_say_the_columns_of_a_file_is_refused(store):
    begun(store)
    data = manifest(store) | {"schemas": {}}
    store.replace(JANUARY, json.dumps(data).encode(), store.get(JANUARY).etag)
    with pytest.raises(ManifestError, match="does not say the columns"):
        Archive(store, V2).latest()


@pytest.mark.parametrize("version", [1, 2])
def test_lost_manifests_are_made_again_with_the_versions_of_their_files(store, version):
    old, seen = begun(store)
    archive = gone_on(store, seen) if version == 2 else Archive(store, V2)
    for key in (JANUARY, FEBRUARY):
        try:
            store.delete(key)
        except KeyError:
            assert version == 1
    assert archive.repair()
    archive.compact()
    check(archive, seen)
    assert "1" in manifest(store)["schemas"]


def test_a_damaged_file_of_version_1_is_noticed_under_version_2(store):
    begun(store, range(11))
    name = manifest(store)["levels"]["1"][0]["file"]
    key = f"parquet_warm/small/m8/2026/01/{name}"
    path = store.local_path(key)
    source = path if path is not None else store.get(key).data
    metadata = pl.read_parquet_metadata(source)
    rows = pl.read_parquet(source).with_columns(pl.col("n") + 1)
    store.delete(key)
    buffer = BytesIO()
    rows.write_parquet(buffer, metadata={"titans": metadata["titans"]})
    store.create(key, buffer.getvalue())
    new = Archive(store, V2)
    assert {c.name for c in new.verify(deep=True).checks if not c.passed} >= {"content"}
    with pytest.raises(CorruptFileError, match="nothing was merged"):
        new.seal("2026-01")


def test_files_that_have_not_the_columns_of_their_version_are_refused(store):
    other = evolve(V1, schema=Schema({"n": "Int32", "w": "Float32", "y": "Int8"}))
    Archive(store, other).upload(first_changes({"a": (1, 0.5)}), at(0))
    with pytest.raises(CorruptFileError, match="not those of schema version 1 .*has to be raised"):
        Archive(store, V1).latest()


def test_a_forged_schema_is_refused(store):
    begun(store, range(3))
    for forged in ({"1": {"n": "Int99"}}, {"x": {}}, {"1": ["n"]}, [1]):
        data = manifest(store) | {"schemas": forged}
        store.replace(JANUARY, json.dumps(data).encode(), store.get(JANUARY).etag)
        with pytest.raises(Exception, match="cannot be read|under the same version"):
            Archive(store, V1).latest()


def test_three_versions_in_a_row(store):
    third = evolve(
        V2,
        schema=Schema(
            {"n": "Float64", "zone": "String", "cost": "Float64"},
            version=3,
            renamed={2: {"w": "price"}, 3: {"price": "cost"}},
        ),
        version="3.0",
    )
    _, seen = begun(store, range(3))
    gone_on(store, seen, range(3, 6))
    archive = Archive(store, third)
    archive.ingest(
        pl.DataFrame({"k": ["a"], "n": [0.5], "zone": ["z"], "cost": [1.0]}), at(6), max_ceased=1.0
    )
    for moment, rows in seen.items():
        found = {r["k"]: (r["n"], r["cost"], r["zone"]) for r in archive.state(moment).to_dicts()}
        assert found == rows
    archive.seal("2026-01")
    assert archive.verify(deep=True).passed
    assert [(c["from"], c["to"]) for c in manifest(store)["casts"]] == [(1, 2), (1, 3), (2, 3)]
    head = read_head(Dataset(store, archive.paths, third), Month(2026, 1)).manifest
    assert {version for f in head.files for version in f.cast_from} == {1, 2}
    refused(Archive(store, V2).latest, "has schema version 3", "declares version 2")


def test_a_large_file_of_version_1_says_its_columns_in_its_last_bytes():
    store = MemoryStore()  # not on this machine: only the end of a large file is fetched
    rows = pl.DataFrame(
        {
            "k": [f"{n:06d}" for n in range(50_000)],
            "n": range(50_000),
            "w": [n / 8 for n in range(50_000)],
        }
    )
    for slot in range(2):
        Archive(store, V1).ingest(rows.with_columns(pl.col("n") + slot), at(slot))
    store.delete(JANUARY)
    archive = Archive(store, V2)
    (repair,) = archive.repair()
    assert repair.manifest.schemas[1].columns == {"n": "Int32", "w": "Float32"}
    assert min(entry.bytes for entry in repair.manifest.files) > 1 << 16
    archive.compact()
    assert archive.latest()["n"].to_list() == list(range(1, 50_001))
