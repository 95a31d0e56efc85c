"""The example packages are installable, and their own tests pass against what was built."""

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest
from processes import build, call

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/pyproject.toml"))
NAMES = [project.parent.name for project in EXAMPLES]


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    """Builds the wheel of an example and unpacks it: the folder that holds it, as an installer
    would leave it."""

    def built(name):
        out = tmp_path_factory.mktemp(name)
        project = EXAMPLES[NAMES.index(name)].parent
        build(project, out, "--wheel")
        (wheel,) = out.glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            files.extractall(out / "site")
        return out / "site"

    return built


def test_there_are_examples():
    assert {"titans-otel", "titans-slack-alerts"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_complete_and_its_tests_pass(name, install, tmp_path):
    project, site = EXAMPLES[NAMES.index(name)].parent, install(name)
    package = name.replace("-", "_")
    assert (site / package / "py.typed").is_file()
    assert list(site.glob("*.dist-info/licenses/LICENSE"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TITANS", "PYTEST"))}
    environment |= {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        project / "pyproject.toml",
        "--rootdir",
        project,
    ]
    said = call(
        sys.executable, "-m", "pytest", *options, project / "tests", cwd=tmp_path, env=environment
    )
    assert " passed" in said
    assert "skipped" not in said

    code = "from titans.cli import main; main()"
    listed = json.loads(
        call(sys.executable, "-c", code, "plugins", "--json", env=environment, cwd=tmp_path)
    )
    (entry,) = [each for each in listed if each["kind"] == "observer"]
    assert (entry["kind"], entry["distribution"], entry["status"]) == ("observer", name, "loaded")
    report = call(
        sys.executable,
        "-c",
        code,
        "plugins",
        "doctor",
        entry["name"],
        "--json",
        env=environment,
        cwd=tmp_path,
    )
    (found,) = json.loads(report)
    assert (found["healthy"], found["advice"]) == (True, [])
