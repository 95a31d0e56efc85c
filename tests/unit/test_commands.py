"""Commands of other packages join those of the core, and cost nothing until they are called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from titans.cli.app import run
from titans.cli.commands import GROUP, installed_commands

HELLO = """
import click

@click.command()
@click.option("--name", default="you")
def hello(name):
    "Say hello."
    click.echo(f"hello {name}")
"""


@pytest.fixture
def call(capsys):
    def called(*arguments):
        with pytest.raises(SystemExit) as done:
            run(list(arguments))
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return called


def add(site, code=HELLO, **options):
    return site.add(code, **{"name": "hello", "attribute": "hello", "group": GROUP} | options)


def test_an_installed_command_is_listed_and_runs(site, call):
    add(site)
    _, out, _ = call("--help")
    assert "hello" in out
    code, out, _ = call("hello", "--name", "ann")
    assert (code, out) == (0, "hello ann\n")
    _, out, _ = call("hello", "--help")
    assert "Say hello." in out
    assert [info.name for info in installed_commands() if info.name == "hello"] == ["hello"]


def test_help_imports_no_package_of_a_command(site, call):
    module = add(site, "raise SystemExit('imported')")
    code, out, _ = call("--help")
    assert code == 0
    assert "From acme-titans." in out
    assert module not in sys.modules


def test_a_command_that_cannot_be_imported_says_which_package(site, call):
    add(site, "import nothing_of_this_name")
    code, _, _ = call("hello")
    assert "acme-titans 1.0" in code
    assert "nothing_of_this_name" in code


def test_an_entry_point_that_is_no_command_is_refused(site, call):
    add(site, "hello = 3")
    code, _, _ = call("hello")
    assert "must name a click command" in code


def test_two_packages_with_one_command_are_both_named(site, call):
    add(site)
    add(site, distribution="other-titans")
    code, _, _ = call("hello")
    assert "claimed 2 times" in code
    assert "pip uninstall acme-titans | other-titans" in code


def test_a_command_that_is_denied_is_not_listed(site, call, monkeypatch):
    add(site)
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "hello")
    _, out, _ = call("--help")
    assert "hello" not in out
    code, _, _ = call("hello")
    assert "TITANS_DISABLE_PLUGINS" in code


def test_the_core_keeps_its_commands(site, call):
    add(site, name="status")
    _, out, _ = call("status", "--help")
    assert "month by month" in out


def test_the_list_of_plugins_has_commands(site, call):
    add(site)
    _, out, _ = call("plugins")
    assert "hello" in out
    assert "command" in out


def test_help_imports_neither_the_explorer_nor_its_server():
    code = (
        "import sys\nfrom titans.cli.app import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('|'.join(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split("|"))
    assert not {"titans_explorer", "starlette", "uvicorn", "polars"} & modules
