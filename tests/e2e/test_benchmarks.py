"""The benchmarks run, and what they compare and assert is right; their times are nobody's business
here."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from compare import machine
from fixtures_stores import SEAWEED
from flat import AGES
from flat import grown as grown_with_age
from peers import PEERS, Peer
from realdata import needs_data
from reference import QUESTIONS, arguments, check, expected
from report import PAGE, RESULTS, filled
from report import sparse as sparse_tables
from sparse import GAPS, Items, Sparse, differences, moments, shapes
from workload import COLUMNS, KEY, VALUES, Market, change_points, moment
from year import MONTHS, MonthCost, Year, grown

ROOT = Path(__file__).resolve().parents[2]
SLOTS, KEYS = 30, 300

pytestmark = pytest.mark.xdist_group("benchmarks")


def run(*command, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lines(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def slots():
    return list(change_points(SLOTS, KEYS))


@pytest.fixture(scope="module")
def rows(slots):
    return pl.concat(slots).sort([*KEY, "Time"])


# --- the workload ---------------------------------------------------------------------------------


def test_the_workload_is_the_same_every_time(slots):
    assert all(a.equals(b) for a, b in zip(slots, change_points(SLOTS, KEYS), strict=True))
    assert not slots[5].equals(list(change_points(6, KEYS, seed=12))[5])


def test_change_points_lead_to_the_snapshots_and_each_changes_something():
    market, state = Market(2000), {}
    ceased = 0
    for _ in range(60):
        for row in market.step().to_dicts():
            key, values = tuple(row[k] for k in KEY), tuple(row[v] for v in VALUES)
            assert state.get(key) != (None if row["Ceased"] else values)
            ceased += row["Ceased"]
            if row["Ceased"]:
                del state[key]
            else:
                state[key] = values
        assert {r[:3]: r[3:] for r in market.snapshot().rows()} == state
    assert ceased


def test_a_few_keys_change_much_more_often_than_most():
    keys = 5000
    counts = (
        pl.concat(list(change_points(SLOTS, keys))[1:])
        .group_by(KEY)
        .len()["len"]
        .sort(descending=True)
    )
    assert 0.03 < counts.sum() / (keys * (SLOTS - 1)) < 0.06
    assert counts[10] > 0.8 * SLOTS
    assert counts.len() < 0.7 * keys  # the others never did


# --- the comparison -------------------------------------------------------------------------------


def test_the_reference_agrees_with_dicts(rows):
    asked = arguments(rows, SLOTS)
    given = asked["state"][2]
    for question, at in (("state", given["at"]), ("latest", moment(SLOTS))):
        state = {}
        for row in rows.sort("Time").to_dicts():
            if row["Time"] <= at:
                state[tuple(row[k] for k in KEY)] = row
        wanted = {key: row for key, row in state.items() if not row["Ceased"]}
        answer = expected(rows, question, given).to_dicts()
        assert {tuple(row[k] for k in KEY): row for row in answer} == wanted
    prices = {}
    for row in rows.to_dicts():
        if not row["Ceased"]:
            prices.setdefault((row["Region"], row["Time"].date()), []).append(row["SpotPrice"])
    assert {day for _, day in prices} == {date(2026, 1, 1)}
    for region, day, mean in expected(rows, "daily", {}).rows():
        assert mean == pytest.approx(sum(prices[region, day]) / len(prices.pop((region, day))))
    assert not prices
    key = asked["history"][0]["key"]
    assert expected(rows, "history", {"key": key}).rows() == [
        r for r in rows.rows() if r[:3] == tuple(key.values())
    ]


def test_a_wrong_answer_is_noticed(rows):
    given = arguments(rows, SLOTS)
    for question in QUESTIONS:
        right = expected(rows, question, given[question][0])
        check(right.sample(fraction=1, shuffle=True, seed=1), right, question)
        column = "SpotPrice"
        with pytest.raises(AssertionError):
            check(right[1:], right, question)
        with pytest.raises(AssertionError):
            check(right.with_columns(pl.col(column) + 0.0001), right, question)


@pytest.mark.parametrize("name", ["titans", "parquet", "duckdb"])
def test_a_peer_answers_right(name, slots, rows, tmp_path):
    """The peers that need nothing beyond what the tests have; the others are checked whenever they
    are measured."""
    peer = PEERS[name](tmp_path)
    peer.load()
    peer.setup()
    for number, frame in enumerate(slots):
        peer.store(frame.select(COLUMNS), moment(number))
    peer.finish()
    reader = PEERS[name](tmp_path)
    reader.load()
    reader.open()
    for question, calls in arguments(rows, SLOTS).items():
        for given in calls:
            check(getattr(reader, question)(**given), expected(rows, question, given), question)


def test_every_peer_answers_every_question():
    assert all(
        getattr(peer, question) is not getattr(Peer, question)
        for peer in PEERS.values()
        for question in QUESTIONS
    )


def test_the_comparison_runs(tmp_path):
    run(
        "benchmarks/compare.py",
        "--size",
        "tiny",
        "--keys",
        KEYS,
        "--peer",
        "titans",
        "--cold",
        1,
        "--results",
        tmp_path,
    )
    about, titans = lines(tmp_path, "tiny")
    assert about["slots"] == SLOTS
    assert titans["p50_ms"] <= titans["p95_ms"] <= titans["max_ms"]
    assert 10 << 20 < titans["peak_bytes"] < 4 << 30
    assert 0 < titans["disk_bytes"] < titans["written_bytes"]
    assert set(titans["questions"]) == set(QUESTIONS)


def test_the_machine_is_described_without_names():
    told = json.dumps(machine("polars"))
    assert os.uname().nodename not in told
    assert str(ROOT) not in told


# --- the others -----------------------------------------------------------------------------------


@needs_data
def test_a_backfill_on_paper_counts_what_it_asks_for():
    printed = run("benchmarks/backfill_paper.py", "--months", 1)
    (fill,) = [line.split() for line in printed.splitlines() if line.startswith("fill")]
    assert float(fill[2]) > float(fill[3]) > 1
    assert "S3 answers" in printed


@needs_data
def test_publishing_is_measured():
    printed = run("benchmarks/published.py", "--publish-only", "--snapshots", 12)
    assert "after a late slot" in printed
    assert "two versions are" in printed


def test_micro_benchmarks_run():
    out = run(
        "-m",
        "pytest",
        "benchmarks/test_micro.py",
        "-q",
        "--benchmark-disable",
        "-p",
        "no:cacheprovider",
        TITANS_BENCH_KEYS="400",
        TITANS_BENCH_ROUNDS="2",
    )
    assert " passed" in out
    assert "skipped" not in out


def test_growth_runs(tmp_path):
    run(
        "benchmarks/growth.py",
        "--keys",
        300,
        "--slots",
        20,
        "--slots-a-month",
        18,
        "--results",
        tmp_path,
    )
    _, *measured = lines(tmp_path, "growth")
    assert [line["month"] for line in measured if line["kind"] == "month"] == [
        str(month) for month in MONTHS
    ]
    (keys,) = (line for line in measured if line["kind"] == "keys")
    assert keys["p50_ms"] <= keys["max_ms"]


@needs_data
def test_questions_run(tmp_path):
    run("benchmarks/questions.py", "--snapshots", 12, "--results", tmp_path)
    _, *measured = lines(tmp_path, "questions")
    assert [line["kind"] for line in measured] == ["question"] * 6 + ["stream"]
    assert all(line["ratio"] > 0 for line in measured[:-1])


def test_what_a_question_takes_stays_as_it_is(tmp_path):
    run("benchmarks/flat.py", "--slots-a-month", 24, "--keys", 200, "--results", tmp_path)
    _, *measured = lines(tmp_path, "flat")
    assert {line["months"] for line in measured} == set(AGES)
    assert all(line["objects"] >= 2 and line["bytes"] > 0 for line in measured)
    assert grown_with_age(measured) == []
    last = max(measured, key=lambda line: line["months"])
    for name in ("objects", "bytes"):
        worse = [line | {name: line[name] * 3} if line is last else line for line in measured]
        assert len(grown_with_age(worse)) == 1


@SEAWEED
def test_remote_questions_run(tmp_path):
    some = [word for name in ("titans", "files", "parquet") for word in ("--peer", name)]
    run("benchmarks/remote.py", "--size", "tiny", "--keys", 300, "--results", tmp_path, *some)
    about, *peers = lines(tmp_path, "remote_tiny")
    assert about["round_trip_ms"] == 30
    assert [peer["peer"] for peer in peers] == ["titans", "files", "parquet"]
    for peer in peers:
        assert set(peer["questions"]) == {*QUESTIONS, "region"}
        for found in peer["questions"].values():
            assert found["cold"]["ms"] >= 30  # nothing is nearer than a round trip
            assert found["cold"]["requests"] >= 1
            assert found["cold"]["bytes"] > 1000


@pytest.mark.parametrize("snapshots", [True, False])
def test_nothing_grows_in_a_short_year(snapshots):
    year = Year(KEYS, snapshots=snapshots)
    costs = [year.step(month, 20) for month in MONTHS]
    assert grown(costs) == []
    assert year.check_all() == 12 * 9
    assert all(
        cost.files_a_state and cost.calls_a_slot >= 4 and cost.manifest_bytes > 1000
        for cost in costs
    )


@pytest.mark.parametrize("field", ["calls_a_slot", "most_calls", "files_a_state", "manifest_bytes"])
def test_growth_is_noticed(field):
    level = MonthCost("2026-01", 4464, 8.5, 40, 17, 40_000, 5.0, 90.0, 4.0)
    assert grown([level] * 12) == []
    rising = [level._replace(**{field: getattr(level, field) * (1 + 0.02 * n)}) for n in range(12)]
    assert any(field in problem for problem in grown(rising))


def test_a_wrong_state_is_noticed_in_the_year():
    year = Year(60)
    year.step(MONTHS[0], 25)
    at, there = next(iter(year.seen.items()))
    year.seen[at] = there[1:]
    with pytest.raises(AssertionError, match="not what was stored"):
        year.check_all()


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """The folder of results, and what was measured of each tiny archive."""
    folder = tmp_path_factory.mktemp("sparse")
    tiny = ("--size", "tiny", "--results", folder)
    run("benchmarks/sparse.py", *tiny, POLARS_MAX_THREADS="1")
    _, *archives = lines(folder, "sparse")
    return folder, {line["archive"]: line for line in archives}


def test_sparse_archives_run(sparse):
    folder, archives = sparse
    assert list(archives) == ["A", "B", "C", "D10", "D1"]
    for line in archives.values():
        objects, size = line["objects"], line["bytes"]
        assert objects["manifest"] == objects["full"] == 2  # one end of a month is passed
        assert line["all_objects"] == sum(objects.values())
        assert line["all_bytes"] == sum(size.values())
        assert line["bytes_without_keyframes"] == line["all_bytes"] - size.get("keyframe", 0)
        for spread in ("files_a_state", "files_a_state_then", "requests_a_slot"):
            assert 1 <= line[spread]["min"] <= line[spread]["median"] <= line[spread]["max"]
        assert line["states_checked"] >= 12
    assert "| D10 | " in sparse_tables(folder)


def test_the_length_of_a_slot_changes_nothing_but_names(sparse):
    _, archives = sparse
    assert differences(archives["D10"], archives["D1"]) == []


def test_a_difference_between_slot_lengths_is_noticed(sparse):
    one = sparse[1]["A"]
    other = one | {"slot_minutes": 1, "all_bytes": 7, "seconds": 0.5, "ingest_p50_ms": 9}
    assert differences(one, other) == []
    for name in ("requests", "objects", "files_a_state"):
        assert differences(one, other | {name: 0}) == [f"{name}: {one[name]} and 0"]


def test_irregular_snapshots_take_a_year():
    (shape,) = shapes("full", ["A"])
    at = moments(shape)
    gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
    assert len(at) == 600
    assert GAPS[0] <= min(gaps) < max(gaps) <= GAPS[1]
    assert 360 < (at[-1] - at[0]).days < 366
    assert at[-1].year == 2025


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_few_items_change_at_a_time(name):
    (shape,) = shapes("full", [name])
    items, again = Items(shape), Items(shape)
    before, total = items.snapshot(), 0
    for _ in range(60):
        count, now = items.step(), items.snapshot()
        gone = before.join(now, on=["Site", "Item"], how="anti").height
        new = now.join(before, on=now.columns, how="anti").height  # there are no nulls
        assert gone + new == count
        before, total = now, total + count
    assert total / 60 == pytest.approx(shape.changes, rel=0.35)
    for _ in range(60):
        again.step()
    assert again.snapshot().equals(before)


def test_a_wrong_state_is_noticed_in_a_sparse_archive(tmp_path):
    (shape,) = shapes("tiny", ["C"])
    archive = Sparse(shape._replace(snapshots=3), tmp_path)
    archive.ingest(moments(archive.shape))
    at = min(archive.seen)
    assert archive.check_all() == 3
    archive.seen[at] = archive.seen[at][1:]
    with pytest.raises(RuntimeError, match="not the snapshot of then"):
        archive.check_all()


def test_the_page_says_what_the_results_say():
    text = PAGE.read_text()
    assert filled(text, RESULTS) == text, (
        "run `make bench` and its kin, or python benchmarks/report.py"
    )
    assert "<!-- end -->" in text
