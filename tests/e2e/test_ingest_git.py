"""Every version of a file in a git history becomes a snapshot, without a checkout."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

import titans
from titans import Provider, Schema
from titans.cli.app import run

START = datetime(2026, 1, 23, 14, 20, tzinfo=UTC)
PROVIDER = Provider("p", Schema({"n": "Int64"}), ("k",))


class Repository:
    """A git repository whose commits have given times."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, hours=0.0):
        when = f"{int((START + timedelta(hours=hours)).timestamp())} +0900"
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z"}
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, "-C", str(self.folder), *arguments],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, hours, file, content):
        path = self.folder / file
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "collected", hours=hours)


def document(number):
    return json.dumps({"items": [{"k": "a", "n": number}, {"k": "b", "n": 1}]})


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("titans.plugins.load", lambda _: PROVIDER)

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run(["ingest", *map(str, arguments), "-p", "p", "--store", str(tmp_path / "store")])
        out, err = capsys.readouterr()
        code = done.value.code
        if isinstance(code, str):
            return 1, out, err + code
        return code or 0, out, err

    return call


@pytest.fixture
def history(tmp_path):
    """Hours after the start, and what `a` was from then on."""

    def history():
        rows = titans.open(tmp_path / "store", provider=PROVIDER).history(k="a")
        hours = [(time - START) / timedelta(hours=1) for time in rows["Time"]]
        return list(zip(hours, rows["n"], strict=True))

    return history


OPTIONS = ("--records", "items")


def test_every_version_is_a_snapshot_at_the_time_of_its_commit(cli, repository, history):
    for number in range(5):
        repository.commit(number, "data.json", document(number))
        repository.commit(number + 0.5, "other.txt", str(number))
    (repository.folder / "data.json").write_text("changed, not committed")
    before = repository.git("status", "--porcelain")

    arguments = ("--git", repository.folder, "--path", "data.json", *OPTIONS)
    code, out, err = cli(*arguments, "--dry-run")
    assert (code, err) == (0, "")
    assert out.count("0 added, 1 changed, 0 ceased") == 4

    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    assert "5 snapshots, 10 rows: 5 ingested" in out
    assert history() == [(n, n) for n in range(5)]
    assert "5 already" in cli(*arguments)[1]
    assert repository.git("status", "--porcelain") == before


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    "file", ["data.json", "a b/é*[x].json", "deep/er/-x.json", ":(top)/data.json", "a/data.jsonl"]
)
def test_any_path_and_any_kind_of_repository(cli, repository, history, tmp_path, file, bare):
    content = document
    options = OPTIONS
    if file.endswith("jsonl"):
        content, options = (lambda n: f'{{"k": "a", "n": {n}}}\n'), ()
    for number in range(2):
        repository.commit(number, file, content(number))
        repository.commit(number + 0.5, "a b/éx[x].json", f"another {number}")
    folder, path = repository.folder, file
    if bare:
        folder = tmp_path / "bare.git"
        repository.git("clone", "-q", "--bare", ".", str(folder))
    elif "/" in file:
        top, _, path = file.partition("/")
        folder = folder / top  # paths are those below the folder that is named
    code, _, err = cli("--git", folder, "--path", path, *options)
    assert (code, err) == (0, "")
    assert history() == [(0, 0), (1, 1)]


def test_a_merge_counts_when_it_was_made(cli, repository, history):
    repository.commit(0, "data.json", document(0))
    repository.git("checkout", "-q", "-b", "side")
    repository.commit(1, "data.json", document(1))
    repository.commit(2, "data.json", document(2))
    repository.git("checkout", "-q", "main")
    repository.commit(3, "other.txt", "x")
    repository.git("merge", "-q", "--no-ff", "-m", "merged", "side", hours=4)
    assert cli("--git", repository.folder, "--path", "data.json", *OPTIONS)[0] == 0
    assert history() == [(0, 0), (4, 2)]


def test_removed_and_there_again_and_renamed(cli, repository, history):
    repository.commit(0, "old.json", document(0))
    repository.git("mv", "old.json", "data.json")
    repository.git("commit", "-q", "-m", "renamed", hours=1)
    repository.git("rm", "-q", "data.json")
    repository.git("commit", "-q", "-m", "removed", hours=2)
    repository.commit(3, "data.json", document(3))
    code, out, _ = cli("--git", repository.folder, "--path", "data.json", *OPTIONS)
    assert code == 0
    assert "2 snapshots" in out
    assert history() == [(1, 0), (3, 3)]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), [0, 0.5, 1.25, 1.5, 3]),
        (("--every", "1h"), [0.5, 1.5, 3]),  # hours of the clock: the start is 14:20
        (("--every", "1d"), [3]),
        (("--since", "2026-01-23T15:35Z"), [1.25, 1.5, 3]),
        (("--since", "2026-01-23T15:36Z", "--every", "1h"), [1.5, 3]),
    ],
)
def test_since_and_every(cli, repository, history, options, kept):
    for hours in (0, 0.5, 1.25, 1.5, 3):
        repository.commit(hours, "data.json", document(int(hours * 4)))
    code, _, _ = cli("--git", repository.folder, "--path", "data.json", *OPTIONS, *options)
    assert code == 0
    assert [hours for hours, _ in history()] == kept


def test_commits_whose_clock_went_back(cli, repository, history):
    for hours in (0, 2, 1, 3):
        repository.commit(hours, "data.json", document(hours))
    code, out, _ = cli("--git", repository.folder, "--path", "data.json", *OPTIONS)
    assert code == 0
    assert "4 ingested" in out
    assert history() == [(n, n) for n in range(4)]


def test_a_version_that_is_no_snapshot_is_refused_with_its_commit(cli, repository, history):
    repository.commit(0, "data.json", document(0))
    repository.commit(1, "data.json", "broken")
    broken = repository.git("rev-parse", "HEAD")
    repository.commit(2, "data.json", document(2))
    repository.git("rm", "-q", "data.json")
    repository.commit(3, "data.json/inside.json", document(3))
    folder = repository.git("rev-parse", "HEAD")
    code, out, _ = cli("--git", repository.folder, "--path", "data.json", *OPTIONS)
    assert code == 1
    assert "2 ingested, 2 refused" in out
    assert f"data.json@{broken[:12]}" in out
    assert f"in commit {folder[:12]} is a folder, not a file" in out
    assert history() == [(0, 0), (2, 2)]


def test_content_that_a_clone_lacks_is_no_removal(cli, repository, history):
    for number in range(3):
        repository.commit(number, "data.json", document(number))
    blob = repository.git("rev-parse", "HEAD~1:data.json")
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    code, out, _ = cli("--git", repository.folder, "--path", "data.json", *OPTIONS)
    assert code == 1
    assert "its content is not in this clone" in out
    assert history() == [(0, 0), (2, 2)]


def test_variables_of_another_repository_lead_nowhere(
    cli, repository, history, tmp_path, monkeypatch
):
    repository.commit(0, "data.json", document(7))
    other = Repository(tmp_path / "other")
    other.commit(0, "data.json", document(8))
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    assert cli("--git", repository.folder, "--path", "data.json", *OPTIONS)[0] == 0
    assert history() == [(0, 7)]


@pytest.mark.parametrize(
    ("where", "path", "options", "message"),
    [
        ("repository", "nothing.json", (), "has a file nothing.json"),
        ("repository", "../data.json", (), "lies outside the repository"),
        ("repository", "", (), "is no path of a file"),
        ("repository", "data.json", ("--every", "0s"), "longer than nothing"),
        ("repository", "data.json", ("--every", "often"), "a duration is written like"),
        ("empty", "data.json", (), "has no commit yet"),
        ("no-repository", "data.json", (), "not a git repository"),
        ("nowhere", "data.json", (), "is no folder"),
    ],
)
def test_what_cannot_be_asked_of_git(
    cli, repository, tmp_path, monkeypatch, where, path, options, message
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    repository.commit(0, "data.json", document(0))
    Repository(tmp_path / "empty")
    (tmp_path / "no-repository").mkdir()
    code, _, err = cli("--git", tmp_path / where, "--path", path, *OPTIONS, *options)
    assert code == 1
    assert message in err
    assert not (tmp_path / "store").exists()


def test_a_machine_without_git(cli, repository, monkeypatch, tmp_path):
    repository.commit(0, "data.json", document(0))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = cli("--git", repository.folder, "--path", "data.json", *OPTIONS)
    assert code == 1
    assert "git is not installed" in err
