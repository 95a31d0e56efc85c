"""`titans trace`, as a user types it, and the page that shows what it says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import blocks

import titans
from titans.cli.app import cli, run
from titans.cli.asking import TRACED
from titans.read.explain import QUESTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs/performance.md"


@pytest.fixture
def call(capsys):
    """Runs a command line: exit code, standard output and standard error."""

    def called(line):
        with pytest.raises(SystemExit) as done:
            run(shlex.split(line)[1:])
        out, err = capsys.readouterr()
        code = done.value.code
        if isinstance(code, str):
            return 1, out, err + code
        return code or 0, out, err

    return called


def shown():
    """The Python of the page, what it prints, and the lines of a shell."""
    found = [block for block in blocks(PAGE) if block.language in ("python", "text", "console")]
    assert [block.language for block in found] == ["python", "text", "console"]
    return found


def told(text):
    """What is the same on every machine: no times, sizes, places and names made up at random."""
    text = re.sub(r"[0-9a-f]{16}(?=\.parquet)", "…", text)
    text = re.sub(r"\bin file://\S+", "in …", text)
    text = re.sub(r"\d[\d,]*\.\d\b", "…", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_page_shows_what_is_printed_and_its_lines_work(reader, call, capsys):
    python, text, console = shown()
    exec(compile("\n" * (python.line - 1) + python.text, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert told(printed) == told(text.text)
    assert "…" not in printed

    lines = [line.removeprefix("$ ") for line in console.text.splitlines()]
    code, out, _ = call(lines[0])
    assert code == 0
    by_command = told(out)
    assert by_command[1:] == told(printed)[1:]
    assert by_command[0].startswith("state(2026-01-23T09:45:00Z, Region=['eu-west-1']) of aws in ")

    code, out, _ = call(lines[1])
    plan = json.loads(out)
    assert (code, plan["ran"], plan["rows"]) == (0, False, None)
    assert {each["kind"] for each in plan["files"]} == {"border", "full snapshot", "hot", "merged"}


def test_another_text_than_shown_would_be_noticed():
    _, text, _ = shown()
    assert told(text.text) != told(text.text.replace("5 of 6 files", "5 of 7 files"))
    assert told(text.text) == told(text.text.replace("32.1 ms", "7.0 ms"))


def test_every_question_of_the_command_line_can_be_traced():
    assert set(cli.commands["trace"].commands) == set(TRACED)
    assert set(TRACED) == set(QUESTIONS) - {"keys", "scan"}
    for name, command in cli.commands["trace"].commands.items():
        options = {each.name for each in command.params} - {"plan"}
        of_question = {each.name for each in cli.commands[name].params}
        assert options == of_question - {"out", "spreadsheet"}, name


@pytest.fixture
def prices(reader):
    python, _, _ = shown()
    quiet = python.text.replace("print(", "str(").replace("keys=2000", "keys=50")
    exec(quiet.replace("slots=60", "slots=8"), {})
    return titans.open("prices", provider="aws")


@pytest.mark.parametrize("plan", ["", "--plan"])
@pytest.mark.parametrize(
    "question",
    [
        "state --at 2026-01-23T00:50Z --column SpotPrice",
        "latest",
        "history --key Region=eu-west-1 --from 2026-01-23",
        "changes --where 'SpotPrice > 1' --to 2026-01-24",
        "diff --from 2026-01-23T00:05Z --to 2026-01-23T01:00Z",
        "grid --every 30m",
        "intervals --key Region=eu-west-1",
        "coverage",
        "sql 'select count(*) from changes'",
    ],
)
def test_a_question_is_traced_with_its_own_options(prices, call, question, plan):
    rows = call(f"titans {question} -p aws --store prices --format json")[1]
    code, out, err = call(f"titans trace {question} {plan} -p aws --store prices --format json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["rows"] == (None if plan else len(json.loads(rows)))
    assert found["requests"]
    assert found["months"][0]["month"] == "2026-01"


def test_errors_are_those_of_the_question(prices, call):
    for line in (
        "titans {} state --at yesterday -p aws --store prices",
        "titans {} history -p aws --store prices",
        "titans {} state --at 2026-01-23 --column Nonsense -p aws --store prices",
        "titans {} latest -p aws --store elsewhere",
    ):
        code, _, said = call(line.format(""))
        again = call(line.format("trace"))
        assert (code, again[0]) in ((1, 1), (2, 2))
        assert again[2].splitlines()[-1] == said.splitlines()[-1]


def test_what_stands_in_data_gives_a_terminal_no_orders(prices, call):
    code, out, _ = call("titans trace history --key 'Region=\x1b[31m' -p aws --store prices")
    assert code == 0
    assert "\x1b" not in out


SHOW_HELP = """
import sys
from titans.cli.app import cli
try:
    cli(["trace", "state", "--help"])
except SystemExit:
    print("polars" in sys.modules)
"""


def test_help_imports_nothing_that_reads():
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
