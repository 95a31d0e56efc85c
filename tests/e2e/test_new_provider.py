"""`titans new-provider`: what it writes is a package that installs, passes its own tests, and
builds."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from processes import build, call

from titans.errors import InputError
from titans.scaffold import Answers, render, write
from titans.schema import DTYPES
from titans.testing import ProviderConformance

BIN = Path(sys.executable).parent


def new_provider(folder, *arguments):
    """Without a terminal, as in CI."""
    return subprocess.run(
        [BIN / "titans", "new-provider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


PLAIN = ("newcloud",)
FULL = (
    "deep-sea",
    "--directory",
    "elsewhere",
    "--key",
    "Probe",
    "--value",
    "Temperature:Float32",
    "--value",
    "Depth:UInt16",
    "--value",
    "Kind:String",
    "--value",
    "Open:Boolean",
    "--value",
    "Since:Date",
    "--value",
    "Salt:Int64",
    "--score",
    "Depth",
    "--unobserved",
    "Salt=-1",
    "--unobserved",
    "Temperature=-999",
    "--slot-minutes",
    "60",
    "--license",
    "mit",
    "--author",
    'Jo "J" O\'Hara \\ sons',
    "--description",
    'What probes "see" below',
    "--repository",
    "https://example.org/jo/titans-deep-sea",
)


@pytest.mark.parametrize("arguments", [PLAIN, FULL], ids=["defaults", "every-option"])
def test_a_new_package_installs_passes_its_tests_and_builds(tmp_path, arguments):
    done = new_provider(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert folder.name == ("titans-newcloud" if arguments == PLAIN else "elsewhere")

    site = tmp_path / "site"
    call(
        BIN / "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--target",
        site,
        folder,
        cwd=tmp_path,
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TITANS", "PYTEST"))}
    environment["PYTHONPATH"] = str(site)
    out = call(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        cwd=folder,
        env=environment,
    )
    assert f"{len(ProviderConformance.checks) + 3} passed" in out, out
    assert "skipped" not in out
    listed = call(BIN / "titans", "plugins", "--json", cwd=tmp_path, env=environment)
    assert '"status": "loaded"' in listed

    call(BIN / "ruff", "check", "--no-cache", cwd=folder)
    call(BIN / "ruff", "format", "--check", "--no-cache", cwd=folder)
    build(folder, tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("test" in name for name in names)


def test_the_plugin_is_about_twenty_lines():
    code = render(Answers("newcloud"))["src/titans_newcloud/__init__.py"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25


def test_the_package_is_bounded_to_this_core_and_names_its_entry_point():
    project = tomllib.loads(render(Answers("deep-sea"))["pyproject.toml"])["project"]
    assert project["name"] == "titans-deep-sea"
    assert project["dependencies"] == ["titans-core>=0.1,<0.2"]
    assert project["entry-points"] == {"titans.providers": {"deep-sea": "titans_deep_sea"}}


@pytest.mark.parametrize(
    ("version", "bounds"),
    [("0.1.0", ">=0.1,<0.2"), ("1.4.2", ">=1.4,<2"), ("0.12.0rc1", ">=0.12,<0.13")],
)
def test_bounds_follow_the_version_of_the_core(monkeypatch, version, bounds):
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    assert f'"titans-core{bounds}"' in render(Answers("newcloud"))["pyproject.toml"]


def test_the_workflow_lints_tests_builds_and_publishes_without_a_password():
    workflow = yaml.safe_load(render(Answers("newcloud"))[".github/workflows/ci.yml"])
    jobs = workflow["jobs"]
    assert list(jobs) == ["lint", "test", "build", "publish"]
    assert jobs["test"]["strategy"]["matrix"]["python-version"] == ["3.11", "3.12", "3.13"]
    assert jobs["build"]["needs"] == ["lint", "test"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets" not in str(workflow)


@pytest.mark.parametrize("licence", ["apache-2.0", "mit"])
def test_nothing_is_left_to_fill_in(licence):
    for path, text in render(Answers("newcloud", license=licence)).items():
        assert "%%" not in text + path
        assert text.endswith("\n")


REFUSED = {
    ("New_Cloud",): "not a name for a provider package: 'New_Cloud'.*such as 'new-cloud'",
    ("2cloud",): "a letter first, such as 'cloud'",
    ("a--b",): "such as 'a-b'",
    ("../up",): "such as 'up'",
    ("",): "not a name",
    ("core",): "titans-core is the core itself",
    ("aws",): "the provider 'aws' is installed already (titans-aws",
    ("newcloud", "--value", "Price"): "'Price' is not COLUMN:DTYPE",
    ("newcloud", "--value", "Price:Money"): "column 'Price' has dtype 'Money'; choose one of",
    ("newcloud", "--value", "P:Int64", "--value", "P:Int8"): "names 'P' twice",
    ("newcloud", "--value", "Time:Int64"): "column 'Time' is reserved",
    ("newcloud", "--key", "Price"): "'Price' is both a key and a value column",
    ("newcloud", "--key", ""): "a key column must be a non-empty string",
    ("newcloud", "--score", "Rank"): "score column 'Rank' is not among the columns",
    ("newcloud", "--unobserved", "Price=low"): "'low' is no number",
    ("newcloud", "--unobserved", "Prize=-1"): "sentinel for 'Prize'",
    (
        "newcloud",
        "--slot-minutes",
        "7",
    ): "slot_minutes must be a whole number of minutes that divides a day",
    ("newcloud", "--license", "gpl"): "'gpl' is not one of",
    ("newcloud", "--repository", "my repo"): "a repository is a URL",
    ("newcloud", "--directory", "no/such/folder"): "there is no folder",
    ("newcloud", "--directory", "taken"): "is there already; choose another --directory",
    ("newcloud", "--directory", "file"): "is there already",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_cannot_be_is_one_clear_error_and_writes_nothing(tmp_path, arguments):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("mine")
    done = new_provider(tmp_path, *arguments)
    said = " ".join(done.stderr.split())
    assert done.returncode in (1, 2)
    assert "Traceback" not in said
    assert re.search(REFUSED[arguments].replace("(", r"\("), said), said
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "taken"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    count = iter(range(3))
    write_text = Path.write_text

    def full(self, *given, **options):
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        return write_text(self, *given, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(render(Answers("newcloud")), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_answers_have_no_control_characters():
    with pytest.raises(InputError, match="control characters"):
        Answers("newcloud", author="a\x1b[31mb")


def test_the_template_ships_with_the_package():
    from importlib import resources

    assert {path.name for path in (resources.files("titans.scaffold") / "template").iterdir()} >= {
        "plugin.py.tmpl",
        "ci.yml.tmpl",
    }


# --- its own test, for every width ----------------------------------------------------------------


def own_tests(site, answers, plugin, entries):
    """Install a package that was changed by hand, and run the tests that it was made with."""
    files = render(answers)
    site.add(plugin, distribution=answers.distribution, module=answers.package)
    (info,) = site.folder.glob("*.dist-info")
    lines = [f"{name} = {answers.package}{target}" for name, target in entries.items()]
    info.joinpath("entry_points.txt").write_text("[titans.providers]\n" + "\n".join(lines) + "\n")
    importlib.invalidate_caches()

    namespace = {"__name__": "own"}
    (path,) = (path for path in files if path.startswith("tests/") and "conformance" not in path)
    exec(files[path], namespace)
    assert sorted(entries) == namespace["PROVIDERS"]
    namespace["test_every_name_of_the_source_is_one_of_the_archive"]()
    for name in entries:
        namespace["test_names_of_the_source_become_those_of_the_archive"](name)
        folder = site.folder.parent / f"archive of {name}"
        namespace["test_a_snapshot_goes_in_and_comes_out"](name, folder)


PLUGIN = "src/titans_newcloud/__init__.py"


@pytest.mark.parametrize("width", range(1, 41))
def test_the_own_test_passes_for_every_number_of_columns_and_keys(site, width):
    key = [f"Key{number}" for number in range(1 + width % 4)]
    columns = {f"Value{number}": DTYPES[number % len(DTYPES)] for number in range(width)}
    answers = Answers("newcloud", key=key, columns=columns)
    own_tests(site, answers, render(answers)[PLUGIN], {"newcloud": ""})


def test_the_own_test_passes_without_the_names(site):
    answers = Answers("newcloud", key=["type"], columns={"price": "Float64"})
    plugin = render(answers)[PLUGIN]
    start, end = plugin.index("NAMES = "), plugin.index("@hookimpl")
    plugin = plugin[:start] + plugin[end:]
    plugin = plugin.replace("frame.rename(NAMES, strict=False)", "frame")
    plugin = plugin.replace(
        "    as_delivered = {column: name for name, column in NAMES.items()}\n", ""
    )
    plugin = plugin.replace("snapshot.rename(as_delivered, strict=False)", "snapshot")
    assert "NAMES" not in plugin
    own_tests(site, answers, plugin, {"newcloud": ""})


def test_the_own_test_passes_with_two_providers_in_one_package(site):
    plugin = """
        from titans import Schema, hookimpl
        from titans.provider_tools import made_up

        TITANS_API = 1
        NAMES = {"type": "Type", "price": "Price", "memory": "Memory"}

        class Market:
            def __init__(self, *columns):
                self.columns = columns

            @hookimpl
            def titans_schema(self):
                return Schema(dict.fromkeys(self.columns, "Float64"))

            @hookimpl
            def titans_pk_columns(self):
                return ("Type",)

            @hookimpl
            def titans_normalize(self, frame):
                return frame.rename(NAMES, strict=False)

            @hookimpl
            def titans_example(self, seed, keys, slots):
                yield from made_up(self.titans_schema(), ("Type",), seed, keys, slots)

        cpu = Market("Price")
        gpu = Market("Price", "Memory")
        """
    entries = {"newcloud": ":cpu", "newcloud-gpu": ":gpu"}
    own_tests(site, Answers("newcloud"), plugin, entries)
