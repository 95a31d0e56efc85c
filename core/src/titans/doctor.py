"""What an installed plugin is, what loading it costs, whether it works, and what its authors could
do better.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from subprocess import DEVNULL, STDOUT, TimeoutExpired, run
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve, field, frozen

from titans import events, plugins
from titans.entry_points import PluginInfo, Status, entries
from titans.errors import UnknownProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

__all__ = ["Conformance", "Diagnosis", "diagnose", "run_conformance"]

LOAD_SECONDS = 60.0
"""A plugin that takes longer to load is given up."""
CONFORMANCE_SECONDS = 900.0
KIT = "titans.testing"
INSTALL_KIT = "pip install 'titans-core[testing]'"

_Kind = Literal["provider", "observer"]
_Group = tuple[_Kind, str, tuple[PluginInfo, ...]]
"""A kind of plugin, its group of entry points, and these."""

_ON_CORE = re.compile(r"titans[-_.]+core(?![\w.-])", re.IGNORECASE)
"""A requirement on the core."""


@frozen
class Conformance:
    """How the conformance kit went."""

    status: Literal["passed", "failed", "error", "not run"]
    passed: int = 0
    failed: Mapping[str, str] = field(factory=dict)
    """Name of a check → what it says."""
    reason: str = ""
    """Why it ended in an error, or was not run."""


@frozen
class Diagnosis:
    """One entry point, examined."""

    kind: _Kind
    info: PluginInfo
    """With status `loaded`, `broken`, `duplicate` or `blocked`."""
    location: str
    """The folder it is installed in."""
    needs: str | None
    """The requirement on `titans-core` that its distribution states, `None` where it states
    none."""
    core: str
    """Version of the installed core."""
    python: str
    loaded: Mapping[str, Any]
    """What loading it showed, empty if it was not tried: `api`, `import_ms`, `hooks_ms`, `modules`
    (how many), `packages` (third-party ones), `warnings`, `hooks`, `declares`."""
    conformance: Conformance
    advice: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Nothing about it is known to be wrong."""
        if self.info.status not in ("loaded", "blocked"):
            return False
        return self.conformance.status in ("passed", "not run")


def diagnose(
    name: str | None = None, *, conformance: bool = True, kit: str | None = None
) -> Iterator[Diagnosis]:
    """Examine the plugins of this name, or all, one after the other; each is loaded in a process of
    its own.

    Args:
        name: of an entry point: a provider or an observer.
        conformance: run the conformance kit on providers, where it is installed.
        kit: the module that holds the kit's `ProviderConformance`; by default `titans.testing`.

    Raises:
        UnknownProviderError: nothing of this name is installed.
    """
    groups: list[_Group] = [
        ("provider", plugins.GROUP, plugins.installed()),
        ("observer", events.GROUP, events.installed_observers()),
    ]
    chosen = []
    for kind, group, infos in groups:
        chosen += [(kind, group, info) for info in infos if name in (None, info.name)]

    if name is not None and not chosen:
        listed = "; ".join(_listed(kind, infos) for kind, _, infos in groups)
        raise UnknownProviderError(
            f"No installed plugin is called {name!r} ({listed})", provider=name
        )

    wanted_kit = None
    if conformance:
        wanted_kit = kit or KIT
    for kind, group, info in chosen:
        yield _examine(kind, group, info, wanted_kit)


def _listed(kind: str, infos: tuple[PluginInfo, ...]) -> str:
    names = dict.fromkeys(info.name for info in infos)
    return f"{kind}s: {', '.join(names) or 'none'}"


def _examine(kind: _Kind, group: str, info: PluginInfo, kit: str | None) -> Diagnosis:
    """Without a kit, no conformance is looked at."""
    location, requires = _find_distribution(info, group)
    needs = next((text for text in requires if _ON_CORE.match(text)), None)

    loaded: Mapping[str, Any] = {}
    if info.status in ("found", "loaded"):
        loaded = _load(info, group)
        status: Status = "broken" if loaded["problem"] else "loaded"
        info = evolve(info, status=status, problem=loaded["problem"])

    conformance = _check_conformance(kind, info, kit)
    return Diagnosis(
        kind=kind,
        info=info,
        location=location,
        needs=needs,
        core=metadata.version("titans-core"),
        python=platform.python_version(),
        loaded=loaded,
        conformance=conformance,
        advice=tuple(_advice(info, needs, loaded, conformance)),
    )


def _check_conformance(kind: _Kind, info: PluginInfo, kit: str | None) -> Conformance:
    if kind != "provider":
        return Conformance("not run", reason="the kit is for providers")
    if info.status != "loaded":
        return Conformance("not run", reason="the plugin is not loaded")
    if kit is None:
        return Conformance("not run", reason="not asked for")
    return run_conformance(info.name, kit)


def _find_distribution(info: PluginInfo, group: str) -> tuple[str, list[str]]:
    """Where the distribution of an entry point is installed, and what it requires."""
    for entry in entries(group):
        if entry.dist is not None and (entry.name, entry.value) == (info.name, info.value):
            declared = entry.dist.metadata
            if (declared["Name"], declared["Version"]) == (info.distribution, info.version):
                return str(entry.dist.locate_file("")), entry.dist.requires or []
    return "", []


# --- in other processes ---------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    """For a process that imports what this one would."""
    # Without the settings of a test run that this process may be part of.
    ours = ("PYTEST", "COVERAGE", "COV_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}

    folders = [str(Path(folder).absolute()) for folder in sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(folders)
    return environment


def _run(arguments: list[str], folder: Path | None, seconds: float) -> tuple[int | None, str]:
    """Run our own Python with these arguments.

    Args:
        arguments: of the interpreter.
        folder: where to run it; by default, here.
        seconds: after which it is given up.

    Returns:
        Its exit code, `None` if it was given up; and what it printed.
    """
    with tempfile.TemporaryFile() as sink:
        try:
            # -P: a module in the current folder must not stand in for an installed one.
            # Our own interpreter and code; the arguments are no shell's.
            process = run(  # noqa: S603
                [sys.executable, "-P", *arguments],
                cwd=folder,
                stdin=DEVNULL,
                stdout=sink,
                stderr=STDOUT,
                env=_environment(),
                timeout=seconds,
                check=False,
            )
            code = process.returncode
        except TimeoutExpired:
            code = None

        sink.seek(0)
        return code, sink.read().decode("utf-8", errors="replace")


def _load(info: PluginInfo, group: str) -> Mapping[str, Any]:
    import json

    with tempfile.TemporaryDirectory(prefix="titans-doctor-") as folder:
        out = Path(folder) / "seen.json"
        code = "import sys; from titans._probe import main; main(*sys.argv[1:])"
        entry = (info.name, info.value, info.distribution, info.version)
        status, printed = _run(["-c", code, group, str(out), *entry], None, LOAD_SECONDS)
        if out.exists():
            seen: Mapping[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return seen

    if status is None:
        reason = f"loading it did not end within {LOAD_SECONDS:.0f} s"
    else:
        reason = f"loading it ended the process with {_exit(status)}"
    lines = printed.strip().splitlines()
    if lines:
        reason += f" ({lines[-1]})"
    return {
        "problem": f"{reason}; report that to its authors",
        "hooks": {},
        "declares": {},
        "warnings": [],
        "packages": [],
    }


def _exit(code: int) -> str:
    if code < 0:
        return f"signal {-code}"
    return f"exit code {code}"


def run_conformance(name: str, kit: str) -> Conformance:
    """Run the conformance kit on an installed provider, with pytest in a process of its own."""
    missing = _missing("pytest", kit)
    if missing:
        return Conformance("not run", reason=f"{' and '.join(missing)} is missing: {INSTALL_KIT}")

    with tempfile.TemporaryDirectory(prefix="titans-doctor-") as folder:
        root = Path(folder)
        report = root / "report.xml"
        title = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", name))
        test = root / "test_conformance.py"
        test.write_text(
            f"from {kit} import ProviderConformance\n\n\n"
            f"class Test{title}(ProviderConformance):\n    provider = {name!r}\n",
            encoding="utf-8",
        )

        # Not the configuration of the folder we were called in.
        configuration = root / "pytest.ini"
        configuration.write_text("[pytest]\n", encoding="utf-8")
        options = ["-q", "--tb=short", "-p", "no:cacheprovider"]
        options += ["-c", str(configuration), "--rootdir", folder, f"--junitxml={report}"]
        code, printed = _run(["-m", "pytest", *options, str(test)], root, CONFORMANCE_SECONDS)
        if code is None:
            return Conformance(
                "error", reason=f"the checks did not end within {CONFORMANCE_SECONDS:.0f} s"
            )
        return _verdict(code, report, printed)


def _missing(*modules: str) -> list[str]:
    """Those of the modules that are not installed."""
    try:
        return [module for module in modules if util.find_spec(module) is None]
    except ModuleNotFoundError as error:  # a package that a module lies in
        return [str(error.name)]


def _verdict(code: int, report: Path, printed: str) -> Conformance:
    from xml.etree import ElementTree

    passed = 0
    failed: dict[str, str] = {}
    if report.exists():
        # pytest wrote it just now
        for case in ElementTree.parse(report).getroot().iter("testcase"):  # noqa: S314
            message = _message(case)
            if message:
                failed[case.get("name", "?")] = message
            elif case.find("skipped") is None:
                passed += 1

    if code == 0 and passed:
        return Conformance("passed", passed)
    if code == 1 and failed:
        return Conformance("failed", passed, failed)

    # A part of the extra is missing, and the kit says which.
    lines = printed.splitlines()
    for line in lines:
        if INSTALL_KIT in line:
            return Conformance("not run", reason=line.lstrip("E "))

    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    last = (errors or printed.strip().splitlines() or ["no output"])[-1]
    return Conformance("error", passed, failed, f"pytest ended with {_exit(code)}: {last}")


def _message(case: Element) -> str:
    """What a check that failed says, in one line; empty for one that did not fail."""
    for kind in ("failure", "error"):
        problem = case.find(kind)
        if problem is not None:
            text = problem.get("message") or problem.text or kind
            return " ".join(text.split())[:500]
    return ""


# --- advice ---------------------------------------------------------------------------------------


def _advice(
    info: PluginInfo, needs: str | None, loaded: Mapping[str, Any], conformance: Conformance
) -> Iterator[str]:
    if info.problem:
        yield info.problem

    bound = f"titans-core>={_minor(0)},<{_minor(1)}"
    if needs is None:
        yield f'its distribution does not require titans-core; add "{bound}" to its dependencies'
    elif not re.search(r"<|~=|==", needs):
        yield (
            f'its requirement "{needs}" has no upper bound; hooks may change in a later minor '
            f'version: "{bound}"'
        )

    if loaded.get("packages") and loaded["declares"]:
        yield (
            f"loading it imports {', '.join(loaded['packages'])}; import inside the functions that "
            "need it, so that choosing a provider costs nothing"
        )
    for warning in dict.fromkeys(loaded.get("warnings", ())):
        yield f"loading it warns: {warning}"
    if loaded.get("hooks", {}).get("titans_example", {}).get("how") == "default":
        yield (
            "it has no titans_example; with one, `titans demo` and the conformance kit have data "
            "to work with"
        )

    if conformance.status == "failed":
        yield f"fix what {len(conformance.failed)} check(s) found, listed under conformance"
    elif conformance.status == "error":
        yield f"the conformance kit could not be run: {conformance.reason}"


def _minor(plus: int) -> str:
    """The version of this core up to where hooks may change, or so many such steps later."""
    major, minor, *_ = metadata.version("titans-core").split(".")
    if major == "0":
        return f"0.{int(minor) + plus}"
    return f"{int(major) + plus}"
