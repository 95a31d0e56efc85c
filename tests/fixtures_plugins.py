"""Installed packages that no installer has seen: a folder with a module and its dist-info, put on
`sys.path`."""

from __future__ import annotations

import itertools
import sys
import textwrap
from pathlib import Path

import pytest

from titans import plugins

NEWCLOUD = Path(__file__).parent / "newcloud"

_number = itertools.count()

HEAD = """
from titans import PathLayout, Schema, hookimpl
TITANS_API = 1
"""
SCHEMA = """
@hookimpl
def titans_schema():
    return Schema({"Price": "Float64"})
"""
KEY = """
@hookimpl
def titans_pk_columns():
    return ("Type",)
"""
GOOD = HEAD + SCHEMA + KEY


class Site:
    """A folder of installed distributions. What is imported from it is forgotten at the end of the
    test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch

    def add(
        self,
        code: str = GOOD,
        *,
        name: str = "acme",
        distribution: str = "acme-titans",
        version: str = "1.0",
        attribute: str = "",
        group: str = plugins.GROUP,
        module: str | None = None,
        folder: Path | None = None,
    ) -> str:
        """Install a distribution with one module and one entry point; the name of the module."""
        module = module or f"fake_plugin_{next(_number)}"
        folder = folder or self.folder
        folder.mkdir(exist_ok=True, parents=True)
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        value = f"{module}:{attribute}" if attribute else module
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
        (info / "RECORD").write_text(f"{module}.py,,\n")
        if str(folder) not in sys.path:
            self._monkeypatch.syspath_prepend(str(folder))
        plugins.clear()
        return module

    def forget(self) -> None:
        for module, loaded in list(sys.modules.items()):
            file = getattr(loaded, "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[module]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty `Site`; `TITANS_PLUGINS` and `TITANS_DISABLE_PLUGINS` are unset."""
    monkeypatch.delenv(plugins.ALLOW, raising=False)
    monkeypatch.delenv(plugins.DENY, raising=False)
    made = Site(tmp_path / "site", monkeypatch)
    yield made
    made.forget()
    plugins.clear()


@pytest.fixture
def newcloud(monkeypatch: pytest.MonkeyPatch):
    """The third-party provider `newcloud` is installed; its name."""
    monkeypatch.delenv(plugins.ALLOW, raising=False)
    monkeypatch.delenv(plugins.DENY, raising=False)
    monkeypatch.syspath_prepend(str(NEWCLOUD))
    plugins.clear()
    yield "newcloud"
    sys.modules.pop("titans_newcloud", None)
    plugins.clear()
