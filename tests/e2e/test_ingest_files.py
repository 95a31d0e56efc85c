"""Full snapshots in files: every format, packed in every way, from every place."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from backports import zstd

import titans
from titans import Expectations, Provider, Schema
from titans.cli.app import run
from titans.errors import InputError
from titans.store import open_store

START = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
PROVIDER = Provider(
    "p",
    Schema({"n": "Int64", "x": "Float64", "s": "String"}),
    ("k",),
    expectations=Expectations(min_living=1),
)
BIG = 2**53 + 1


def rows(number):
    """The `number`-th snapshot: a key comes, one goes, one changes."""
    kept = {"k": "007", "n": BIG + number, "x": 0.1, "s": "1.10"}
    new = {"k": f"new {number}\u2028", "n": None, "x": 1e300, "s": 'a "b", c'}
    stays = {"k": "stays", "n": -1, "x": None, "s": "é"}
    return [kept, new, stays]


def csv(rows):
    return pl.DataFrame(rows).write_csv().encode()


def parquet(rows):
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def array(rows):
    return b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode()


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def inside(rows):
    """A list two objects deep, with others beside it that look like it."""
    other = {"a": {"items": [1, {"items": []}]}, "data": {"no": [], "items": rows}, "z": "]}"}
    return json.dumps(other, indent=1).encode()


FORMS = {
    "csv": (csv, "csv", ()),
    "parquet": (parquet, "parquet", ()),
    "array": (array, "json", ()),
    "lines": (lines, "jsonl", ()),
    "ndjson": (lines, "ndjson", ()),
    "lines-in-json": (lines, "json", ()),
    "inside": (inside, "json", ("--records", "data.items")),
}
PACKINGS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}
PATTERN = ("--time-from-name", "prices-%Y-%m-%dT%H%M")


def name(number, ending):
    return f"prices-{START + timedelta(hours=number):%Y-%m-%dT%H%M}.{ending}"


def states(archive, count=3):
    return [
        archive.state(START + timedelta(hours=n)).drop("Time").sort("k").rows()
        for n in range(count)
    ]


def expected(count=3):
    return [sorted(tuple(row.values()) for row in rows(n)) for n in range(count)]


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    """Runs `titans ingest` for the small provider: exit code, and what was printed."""
    monkeypatch.setattr("titans.plugins.load", lambda _: PROVIDER)
    monkeypatch.delenv("TITANS_STORE", raising=False)

    def call(*arguments, command="ingest"):
        with pytest.raises(SystemExit) as done:
            run([command, *map(str, arguments), "-p", "p", "--store", str(tmp_path / "store")])
        out, err = capsys.readouterr()
        code = done.value.code
        if isinstance(code, str):
            return 1, out, err + code
        return code or 0, out, err

    return call


@pytest.fixture
def archive(tmp_path):
    return titans.open(tmp_path / "store", provider=PROVIDER)


def _local(folder, files):
    for file, data in files.items():
        path = folder / "a b" / file
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
    return folder / "a b"


def as_paths(folder, files, request):
    place = _local(folder, files)
    return [place / file for file in reversed(files)]


def as_folder(folder, files, request):
    place = _local(folder / "[x]", files)
    (place / "README.md").write_text("no snapshot")
    (place / ".prices-2026-01-23T1420.csv").write_text("hidden")
    return [place]


def as_pattern(folder, files, request):
    return [f"{_local(folder, files).parent}/**/prices-*"]


def as_file_url(folder, files, request):
    return [_local(folder, files).as_uri()]


def as_s3_objects(folder, files, request):
    client = request.getfixturevalue("moto_s3")
    client.create_bucket(Bucket="files")
    for file, data in files.items():
        client.put_object(Bucket="files", Key=f"in/a b/{file}", Body=data)
    return [f"s3://files/in/a%20b/{file}" for file in files]


def as_s3_prefix(folder, files, request):
    as_s3_objects(folder, files, request)
    return ["s3://files/in"]


def as_s3_pattern(folder, files, request):
    as_s3_objects(folder, files, request)
    return ["s3://files/**/prices-*"]


def as_memory(folder, files, request):
    store = open_store(f"memory://{os.urandom(4).hex()}")
    for file, data in files.items():
        store.create(f"in/{file}", data)
    return [f"{store.url}/in/"]


PLACES = [
    as_paths,
    as_folder,
    as_pattern,
    as_file_url,
    as_s3_objects,
    as_s3_prefix,
    as_s3_pattern,
    as_memory,
]


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_every_format_packed_in_every_way_from_every_place(
    cli, archive, tmp_path, request, place, inner
):
    """One file of each in one run; a path inside is for all files of a run."""
    files, options = {}, FORMS["inside"][2] if inner else ()
    for encode, ending, needed in FORMS.values():
        if needed != options:
            continue
        for packing, pack in PACKINGS.items():
            number = len(files)
            files[name(number, ending + packing)] = pack(encode(rows(number)))
    assert len(files) == len(PACKINGS) * (1 if inner else len(FORMS) - 1)
    sources = place(tmp_path / "in", files, request)

    code, out, err = cli(*sources, *PATTERN, *options)
    assert (code, err) == (0, "")
    assert f"{len(files)} snapshots, {3 * len(files)} rows: {len(files)} ingested" in out
    assert states(archive, len(files)) == expected(len(files))

    code, out, _ = cli(*sources, *PATTERN, *options)
    assert code == 0
    assert f"{len(files)} already" in out
    assert "nothing new: the archive is as it was" in out


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMS)
def test_standard_input_of_every_format(cli, archive, monkeypatch, form, packing):
    encode, ending, options = FORMS[form]
    data = PACKINGS[packing](encode(rows(0)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    kind = {"ndjson": "jsonl"}.get(ending, ending)
    code, _, err = cli("-", "--at", START.isoformat(), "--format", kind, *options)
    assert (code, err) == (0, "")
    assert states(archive, 1) == expected(1)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_column_of_times_tells_the_snapshots_of_a_file_apart(
    cli, archive, tmp_path, form, packing, shuffled
):
    encode, ending, options = FORMS[form]
    table = []
    for number in range(3):
        when = (START + timedelta(hours=number)).strftime("%Y-%m-%d %H:%M:%S")
        table += [row | {"seen at": when} for row in rows(number)]
    if shuffled:
        table = table[::2] + table[1::2]
    path = tmp_path / f"table.{ending}{packing}"
    path.write_bytes(PACKINGS[packing](encode(table)))
    code, out, err = cli(path, "--time-column", "seen at", *options)
    assert (code, err) == (0, "")
    assert "3 snapshots, 9 rows: 3 ingested" in out
    assert states(archive) == expected()


def test_replay_is_the_same_as_a_column_time(cli, tmp_path, archive):
    table = pl.concat(
        pl.DataFrame(rows(n)).with_columns(Time=pl.lit(START + timedelta(hours=n)))
        for n in range(3)
    )
    table.write_parquet(tmp_path / "t.parquet")
    assert cli(tmp_path / "t.parquet", command="replay")[0] == 0
    code, out, _ = cli(tmp_path / "t.parquet", "--time-column", "Time")
    assert (code, "3 already" in out) == (0, True)


# --- what is refused ------------------------------------------------------------------------------


BAD = {
    "prices-2026-01-23T1520.csv.gz": b"k,n\na,1\n",
    "prices-2026-01-23T1521.json": b'[{"k": "a"}, 7]',
    "prices-2026-01-23T1522.json": b'{"data": []}',
    "prices-2026-01-23T1523.json": b'[{"k": "a", "n": NaN}]',
    "prices-2026-01-23T1524.json": b'[{"k": "a"}',
    "prices-2026-01-23T1525.json": b'[{"k": "a"}] []',
    "prices-2026-01-23T1526.json": b"[" * 100_000,
    "prices-2026-01-23T1527.json": b"\xff\xfe",
    "prices-2026-01-23T1548.json": b"[]",
    "prices-2026-01-23T1529.parquet": b"PAR1 not really PAR1",
    "prices-2026-01-23T1530.csv": b"k,n\na,one\n",
    "prices-2026-01-23T1531.csv": b"n\n1\n",
    "prices-2026-01-23T1532.csv": b"",
    "prices-2026-01-23T1533.jsonl": b'{"k": "a"\n',
    "prices-2026-01-23T1534.csv.gz": gzip.compress(b"k,n\na,1\n" * 1000)[:-20],
    "prices-2026-01-23T1535.csv.bz2": bz2.compress(b"k,n\na,1\n" * 1000)[:-20],
    "prices-2026-01-23T1536.csv.zst": zstd.compress(b"k,n\na,1\n" * 1000)[:-5],
    "prices-2026-01-23T2520.csv": b"k,n\na,1\n",
    "prices-2026-13-23T1520.csv": b"k,n\na,1\n",
    "prices-2026-01-23.csv": b"k,n\na,1\n",
    "prices-2026-01-23T14200.csv": b"k,n\na,1\n",
    "prices-2026-01-23T1520.xlsx": b"k,n\na,1\n",
}


def test_what_cannot_be_read_is_refused_by_name_and_the_rest_goes_on(cli, archive, tmp_path):
    paths = []
    for file, data in BAD.items():
        paths.append(tmp_path / file)
        paths[-1].write_bytes(data)
    for number in range(3):
        paths.append(tmp_path / name(number, "csv"))
        paths[-1].write_bytes(csv(rows(number)))

    code, out, err = cli(*paths, *PATTERN)
    assert (code, err) == (1, "")
    assert f"3 ingested, {len(BAD)} refused" in out
    notes = [line for line in out.splitlines() if line.startswith("  ")]
    assert len(notes) == len(BAD)
    for file in BAD:
        assert sum(file in note for note in notes) == 1, file
    assert states(archive) == expected()
    (pattern,) = [note for note in notes if "prices-2026-01-23.csv" in note]
    assert "does not match the pattern 'prices-%Y-%m-%dT%H%M'" in pattern


def test_a_truncated_snapshot_is_refused_and_accepted_where_that_is_said(cli, archive, tmp_path):
    for number in range(3):
        full = rows(number) if number != 1 else rows(number)[:0] + [{"k": "x", "n": 1}]
        (tmp_path / name(number, "csv")).write_bytes(csv(full))
    code, out, _ = cli(f"{tmp_path}/prices-*.csv", *PATTERN)
    assert code == 1
    assert "2 ingested, 1 refused" in out
    assert "it looks truncated and nothing was stored" in out
    code, out, _ = cli(f"{tmp_path}/prices-*.csv", *PATTERN, "--max-ceased", "1")
    assert code == 0
    assert archive.state(START + timedelta(hours=1))["k"].to_list() == ["x"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("FILE",), 2, "--at, --time-from-name and"),
        (("FILE", "--at", "2026-01-01", "--time-column", "Time"), 2, "--at, --time-from-name and"),
        (("--at", "2026-01-01"), 2, "name files"),
        (("FILE", "--at", "2026-01-01", "--every", "1h"), 2, "belong to --git"),
        (("FILE", "--git", ".", "--path", "x"), 2, "takes neither FILE"),
        (("--git", "."), 2, "needs --path"),
        (("FILE", "FILE2", "--at", "2026-01-01"), 1, "one time for 2 files"),
        (("nowhere.csv", "--at", "2026-01-01"), 1, "there is no file 'nowhere.csv'"),
        (("nowhere-*.csv", "--at", "2026-01-01"), 1, "there is no file of snapshots"),
        (("EMPTY", "--at", "2026-01-01"), 1, "there is no file of snapshots"),
        (("FILE", "--time-from-name", "%H%M"), 1, "says no day"),
        (("FILE", "--time-from-name", "%Y-%q"), 1, "%q is none of"),
        (("FILE", "--time-from-name", "%Y%Y%m%d"), 1, "twice"),
        (("memory://none/x.csv", "--at", "2026-01-01"), 1, "there is no file of snapshots"),
        (("nosuch://none/x.csv", "--at", "2026-01-01"), 1, "nosuch"),
    ],
)
def test_what_is_asked_wrongly_is_said_and_nothing_is_written(
    cli, tmp_path, arguments, code, message
):
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty"}
    for number, file in enumerate(("FILE", "FILE2")):
        places[file] = tmp_path / name(number, "csv")
        places[file].write_bytes(csv(rows(number)))
    done = cli(*(places.get(argument, argument) for argument in arguments))
    assert done[0] == code
    assert message in done[2].replace("\n", " ")
    assert not list((tmp_path / "store").rglob("*.parquet"))


# --- stopping, and trying -------------------------------------------------------------------------


def tree(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def write_many(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / name(number, "csv.gz")).write_bytes(gzip.compress(csv(rows(number))))


def test_a_dry_run_says_what_the_run_does_and_writes_nothing(cli, tmp_path):
    write_many(tmp_path / "in", 40)
    in_slot = START + timedelta(minutes=3)
    (tmp_path / "in" / f"prices-{in_slot:%Y-%m-%dT%H%M}.csv").write_bytes(csv(rows(9)))
    (tmp_path / "in" / name(7, "csv")).write_bytes(b"k,n\nx,1\n")  # beside its packed twin

    arguments = {"provider": PROVIDER, "time_from_name": PATTERN[1]}
    for share in (0, 10, 30, 40):
        some = sorted((tmp_path / "in").iterdir())[:share]
        if some:
            titans.ingest_files(some, store=tmp_path / "store", **arguments)
        before = tree(tmp_path / "store")
        code, out, _ = cli(tmp_path / "in", *PATTERN, "--dry-run")
        assert code == (1 if share == 0 else 0)
        assert "nothing was written: this was a dry run" in out
        assert tree(tmp_path / "store") == before
        tried = titans.ingest_files(
            tmp_path / "in", store=tmp_path / "store", dry_run=True, **arguments
        )
        assert tree(tmp_path / "store") == before
        # The same, beside a copy of the archive that is really written to.
        copied = open_store("memory://")
        for path, (_, data) in before.items():
            if not path.name.startswith("."):
                copied.create(path.relative_to(tmp_path / "store").as_posix(), data)
        assert tried == titans.ingest_files(tmp_path / "in", store=copied, **arguments)
        # The truncated twin is refused until the slot is taken.
        assert (tried.count("skipped"), tried.count("refused")) == ((2, 0) if share else (1, 1))
        assert (tried.count("already") > 0) == (share > 0)


def test_a_dry_run_shows_the_counts_of_each_file(cli, tmp_path):
    write_many(tmp_path / "in", 2)
    (tmp_path / "in" / name(2, "csv")).write_bytes(csv(rows(1)))
    (tmp_path / "in" / "prices.csv").write_bytes(csv(rows(1)))
    code, out, _ = cli(tmp_path / "in", *PATTERN, "--dry-run")
    assert code == 1
    folder = tmp_path / "in"
    first, second = "3 added, 0 changed, 0 ceased", "1 added, 1 changed, 1 ceased"
    assert out.splitlines()[:4] == [
        f"{folder}/prices.csv  refused",
        f"{folder}/{name(0, 'csv.gz')}  2026-01-23T14:20:00Z  ingested  {first}",
        f"{folder}/{name(1, 'csv.gz')}  2026-01-23T15:20:00Z  ingested  {second}",
        f"{folder}/{name(2, 'csv')}  2026-01-23T16:20:00Z  unchanged",
    ]


def test_a_dry_run_is_heard_by_nobody(cli, tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr("titans.correctable.emit", lambda event, _: heard.append(event.name))
    write_many(tmp_path / "in", 3)
    assert cli(tmp_path / "in", *PATTERN, "--dry-run")[0] == 0
    assert heard == []
    assert cli(tmp_path / "in", *PATTERN)[0] == 0
    assert heard.count("snapshot_ingested") == 3


def test_killed_anywhere_and_run_again_it_ends_in_the_same_content(tmp_path, newcloud):
    folder = tmp_path / "in"
    folder.mkdir()
    provider = titans.get_config(newcloud)
    for number, frame in enumerate(provider.example(seed=1, keys=50, slots=60)):
        frame.write_csv(folder / name(number, "csv"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = titans.ingest_files(folder, provider=newcloud, store=whole, time_from_name=PATTERN[1])
    assert not done.refused

    command = [sys.executable, "-c", "from titans.cli import main; main()", "ingest", str(folder)]
    command += [*PATTERN, "-p", newcloud, "--store", str(broken)]
    paths = os.pathsep.join(path for path in sys.path if path)
    for kill in range(3):
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        goal, deadline = 4 + 13 * kill, time.monotonic() + 60
        while (
            len(list(broken.rglob("*.parquet"))) < goal
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = titans.ingest_files(folder, provider=newcloud, store=broken, time_from_name=PATTERN[1])
    assert again.count("already") >= 1
    assert not again.refused
    a, b = (titans.open(place, provider=newcloud) for place in (whole, broken))
    assert a.changes().equals(b.changes())
    assert a.latest().equals(b.latest())


# --- from Python ----------------------------------------------------------------------------------


def test_the_function_wants_exactly_one_time_before_anything_is_written(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(csv(rows(0)))
    place = {"provider": PROVIDER, "store": tmp_path / "store"}
    for wrong in (
        {},
        {"at": START, "time_column": "t"},
        {"at": START.replace(tzinfo=None)},
        {"at": START, "max_ceased": 2},
        {"at": START, "format": "xlsx"},
    ):
        with pytest.raises(InputError):
            titans.ingest_files(file, **place, **wrong)
    assert not (tmp_path / "store").exists()


def test_a_path_is_no_pattern_and_a_text_that_is_a_file_neither(tmp_path):
    for number, file in enumerate(("[ab].csv", "a.csv")):
        (tmp_path / file).write_bytes(csv(rows(number)))
    for file in (tmp_path / "[ab].csv", f"{tmp_path}/[ab].csv"):
        store = open_store("memory://")
        done = titans.ingest_files(file, provider=PROVIDER, store=store, at=START)
        assert [outcome.name for outcome in done.outcomes] == [f"{tmp_path}/[ab].csv"]
    with pytest.raises(InputError, match="there is no file"):
        titans.ingest_files(tmp_path / "*.csv", provider=PROVIDER, store="memory://", at=START)


def test_a_file_that_vanishes_meanwhile_is_refused(tmp_path, monkeypatch):
    write_many(tmp_path / "in", 2)
    first = tmp_path / "in" / name(0, "csv.gz")
    ingest = titans.Archive.ingest

    def vanishing(self, *arguments, **options):
        (tmp_path / "in" / name(1, "csv.gz")).unlink()
        return ingest(self, *arguments, **options)

    monkeypatch.setattr(titans.Archive, "ingest", vanishing)
    done = titans.ingest_files(
        tmp_path / "in", provider=PROVIDER, store="memory://", time_from_name=PATTERN[1]
    )
    assert [outcome.status for outcome in done.outcomes] == ["ingested", "refused"]
    assert done.outcomes[0].name == str(first)
    assert "cannot be read" in done.refused[0].reason
