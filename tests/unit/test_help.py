"""What the command line says of itself: examples, versions, completion."""

import shlex
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from titans.cli.app import cli
from titans.cli.examples import EXAMPLES

LINES = [line for lines in EXAMPLES.values() for line in lines]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Has the files that the examples name."""
    for name in ("snapshots.parquet", "changes.parquet", "prices.json"):
        (tmp_path / name).write_bytes(b"")
    for name in ("snapshots", "prices-repo"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)


def test_every_command_of_the_core_has_an_example():
    assert set(EXAMPLES) == set(cli.commands)


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_a_command_line_that_is_understood(line, folder):
    program, *words = shlex.split(line.partition("||")[0])
    assert program == "titans"
    context = click.Context(cli)
    command, name = cli, "titans"
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        name = words.pop(0)
        command = command.commands[name]
    assert name != "titans"
    made = command.make_context(name, words, parent=context)
    assert not made.args


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_shows_them_line_by_line(name):
    context = click.Context(cli.commands[name], info_name=f"titans {name}", max_content_width=100)
    text = cli.commands[name].get_help(context)
    for line in EXAMPLES[name]:
        assert f"\n    {line}" in text


def test_the_version_is_that_of_all_packages():
    done = subprocess.run(
        [sys.executable, "-m", "titans", "--version"], capture_output=True, text=True, check=True
    )
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names[0] == "titans-core"
    assert {"titans-aws", "titans-explorer", "polars", "Python"} <= set(names)


def test_providers_are_completed():
    completion = ShellComplete(cli, {}, "titans", "_TITANS_COMPLETE")
    for arguments in (["state", "--provider"], ["check", "-p"], ["status", "-p"]):
        assert [item.value for item in completion.get_completions(arguments, "a")] == [
            "aws",
            "azure",
        ]
    assert [item.value for item in completion.get_completions([], "fres")] == ["freshness"]


def test_verification_tells_how_far_it_is(tmp_path):
    from oracle import PROVIDER, at, snapshot

    from titans import Archive
    from titans.store.memory import MemoryStore

    archive = Archive(MemoryStore(), PROVIDER)
    for slot in (0, 20):
        archive.ingest(snapshot({"a": (slot, 0.5)}), at(slot))
    told = []
    archive.verify(deep=True, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
