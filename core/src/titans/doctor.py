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
from titans.entry_points import PluginInfo
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

    kind: Literal["provider", "observer"]
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
        return self.info.status in ("loaded", "blocked") and self.conformance.status in (
            "passed",
            "not run",
        )


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
    providers, observers = plugins.installed(), events.installed_observers()
    if name is not None and name not in {info.name for info in (*providers, *observers)}:
        listed = "; ".join(
            f"{kind}: {', '.join(dict.fromkeys(info.name for info in infos)) or 'none'}"
            for kind, infos in (("providers", providers), ("observers", observers))
        )
        raise UnknownProviderError(f"No installed plugin is called {name!r} ({listed})")
    for group, infos in ((plugins.GROUP, providers), (events.GROUP, observers)):
        for info in infos:
            if name in (None, info.name):
                yield _diagnosed(info, group, conformance, kit or KIT)


def _diagnosed(info: PluginInfo, group: str, conformance: bool, kit: str) -> Diagnosis:
    location, requires = _distribution(info, group)
    needs = next(
        (r for r in requires if re.match(r"titans[-_.]+core(?![\w.-])", r, re.IGNORECASE)), None
    )
    loaded: Mapping[str, Any] = {}
    if info.status in ("found", "loaded"):
        loaded = _load(info, group)
        info = evolve(
            info, status="broken" if loaded["problem"] else "loaded", problem=loaded["problem"]
        )
    if group != plugins.GROUP:
        ran = Conformance("not run", reason="the kit is for providers")
    elif info.status != "loaded":
        ran = Conformance("not run", reason="the plugin is not loaded")
    elif not conformance:
        ran = Conformance("not run", reason="not asked for")
    else:
        ran = run_conformance(info.name, kit)
    return Diagnosis(
        kind="provider" if group == plugins.GROUP else "observer",
        info=info,
        location=location,
        needs=needs,
        core=metadata.version("titans-core"),
        python=platform.python_version(),
        loaded=loaded,
        conformance=ran,
        advice=tuple(_advice(info, needs, loaded, ran)),
    )


def _distribution(info: PluginInfo, group: str) -> tuple[str, list[str]]:
    """Where the distribution of an entry point is installed, and what it requires."""
    for entry in metadata.entry_points(group=group):
        if entry.dist is not None and (entry.name, entry.value) == (info.name, info.value):
            found = entry.dist.metadata
            if (found["Name"], found["Version"]) == (info.distribution, info.version):
                return str(entry.dist.locate_file("")), entry.dist.requires or []
    return "", []


# --- in other processes ---------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    """For a process that imports what this one would."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COVERAGE", "COV_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path),
    }


def _load(info: PluginInfo, group: str) -> Mapping[str, Any]:
    import json

    with tempfile.TemporaryDirectory(prefix="titans-doctor-") as folder:
        out, said = Path(folder) / "seen.json", Path(folder) / "said"
        code = "import sys; from titans._probe import main; main(*sys.argv[1:])"
        # -P: a module in the current folder must not stand in for an installed one.
        entry = (info.name, info.value, info.distribution, info.version)
        command = [sys.executable, "-P", "-c", code, group, *entry, str(out)]
        try:
            with said.open("wb") as sink:
                # our own interpreter and code; the arguments are no shell's
                done = run(  # noqa: S603
                    command,
                    stdin=DEVNULL,
                    stdout=sink,
                    stderr=STDOUT,
                    env=_environment(),
                    timeout=LOAD_SECONDS,
                    check=False,
                )
            how = f"ended the process with {_exit(done.returncode)}"
        except TimeoutExpired:
            how = f"did not end within {LOAD_SECONDS:.0f} s"
        if out.exists():
            seen: Mapping[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return seen
        last = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        reason = f"loading it {how}{f' ({last[0]})' if last else ''}; report that to its authors"
        return {"problem": reason, "hooks": {}, "declares": {}, "warnings": [], "packages": []}


def _exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def run_conformance(name: str, kit: str) -> Conformance:
    """Run the conformance kit on an installed provider, with pytest in a process of its own."""
    try:
        missing = [module for module in ("pytest", kit) if util.find_spec(module) is None]
    except ModuleNotFoundError as error:
        missing = [str(error.name)]
    if missing:
        return Conformance("not run", reason=f"{' and '.join(missing)} is missing: {INSTALL_KIT}")
    with tempfile.TemporaryDirectory(prefix="titans-doctor-") as folder:
        root = Path(folder)
        title = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", name))
        test, report, said = root / "test_conformance.py", root / "report.xml", root / "said"
        test.write_text(
            f"from {kit} import ProviderConformance\n\n\n"
            f"class Test{title}(ProviderConformance):\n    provider = {name!r}\n",
            encoding="utf-8",
        )
        (root / "pytest.ini").write_text(
            "[pytest]\n", encoding="utf-8"
        )  # not that of the folder we were called in
        options = [
            "-q",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            "-c",
            str(root / "pytest.ini"),
            "--rootdir",
            folder,
        ]
        command = [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            *options,
            f"--junitxml={report}",
            str(test),
        ]
        try:
            with said.open("wb") as sink:
                # our own interpreter and code; the arguments are no shell's
                done = run(  # noqa: S603
                    command,
                    cwd=root,
                    stdin=DEVNULL,
                    stdout=sink,
                    stderr=STDOUT,
                    env=_environment(),
                    timeout=CONFORMANCE_SECONDS,
                    check=False,
                )
        except TimeoutExpired:
            return Conformance(
                "error", reason=f"the checks did not end within {CONFORMANCE_SECONDS:.0f} s"
            )
        return _verdict(done.returncode, report, said.read_text(encoding="utf-8", errors="replace"))


def _verdict(code: int, report: Path, said: str) -> Conformance:
    from xml.etree import ElementTree

    cases: list[Element] = []
    if report.exists():
        # pytest wrote it just now
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314
    bad = {case.get("name", "?"): _why(case) for case in cases if _why(case)}
    passed = sum(not _why(case) and case.find("skipped") is None for case in cases)
    if code == 0 and passed:
        return Conformance("passed", passed)
    if code == 1 and bad:
        return Conformance("failed", passed, bad)
    if INSTALL_KIT in said:  # a part of the extra is missing, and the kit says which
        return Conformance(
            "not run",
            reason=next(line for line in said.splitlines() if INSTALL_KIT in line).lstrip("E "),
        )
    errors = [
        line[1:].strip() for line in said.splitlines() if line.startswith("E  ")
    ] or said.strip().splitlines()
    return Conformance(
        "error",
        passed,
        bad,
        f"pytest ended with {_exit(code)}: {errors[-1] if errors else 'no output'}",
    )


def _why(case: Element) -> str:
    """What a check that failed says, in one line; empty for one that did not fail."""
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            return " ".join((found.get("message") or found.text or kind).split())[:500]
    return ""


# --- advice ---------------------------------------------------------------------------------------


def _advice(
    info: PluginInfo, needs: str | None, loaded: Mapping[str, Any], ran: Conformance
) -> Iterator[str]:
    bound = f"titans-core>={_minor(0)},<{_minor(1)}"
    if info.problem:
        yield info.problem
    if needs is None:
        yield f'its distribution does not require titans-core; add "{bound}" to its dependencies'
    elif not re.search(r"<|~=|==", needs):
        yield f'its requirement "{needs}" has no upper bound; hooks may change in a later minor version: "{bound}"'
    if loaded.get("packages") and loaded["declares"]:
        yield (
            f"loading it imports {', '.join(loaded['packages'])}; import inside the functions that "
            "need it, so that choosing "
            "a provider costs nothing"
        )
    for warning in dict.fromkeys(loaded.get("warnings", ())):
        yield f"loading it warns: {warning}"
    if loaded.get("hooks", {}).get("titans_example", {}).get("how") == "default":
        yield "it has no titans_example; with one, `titans demo` and the conformance kit have data to work with"
    if ran.status == "failed":
        yield f"mend what {len(ran.failed)} check(s) found, listed under conformance"
    elif ran.status == "error":
        yield f"the conformance kit could not be run: {ran.reason}"


def _minor(plus: int) -> str:
    major, minor, *_ = metadata.version("titans-core").split(".")
    return f"{major}.{int(minor) + plus}" if major == "0" else f"{int(major) + plus}"
