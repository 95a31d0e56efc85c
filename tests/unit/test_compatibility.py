"""docs/compatibility.md says what the code does, and what it promises about deprecations holds."""

import inspect
import re
import warnings
from pathlib import Path
from typing import Protocol

import pytest
from fixtures_plugins import GOOD
from readme_blocks import blocks

import titans
from titans import _plugin_checks, plugins
from titans.archive import Archive
from titans.hookspecs import API_VERSION, ProviderSpec, hookspec
from titans.tiers.files.metadata import FORMAT_VERSION

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
TYPED = ROOT / "tests" / "typing" / "public_api.py"

HEAD = (
    "from __future__ import annotations\nfrom datetime import timedelta\nfrom typing import "
    "Protocol\n"
    "from titans.hookspecs import hookspec\n"
)


def shown():
    """What the code blocks of the page define, block by block."""
    found = []
    for block in blocks(PAGE):
        if block.language == "python":
            names = {"__name__": "shown"}
            exec(HEAD + block.text, names)
            defined = {n: v for n, v in names.items() if getattr(v, "__module__", "") == "shown"}
            found.append(defined)
    return found


def signature(function):
    """As text, without quotes round annotations that are not evaluated."""
    return re.sub(r"'([^']*)'(?=[,)]| =|$)", r"\1", str(inspect.signature(function)))


def signatures(owner):
    return {
        name: signature(getattr(owner, name))
        for name in dir(owner)
        if not name.startswith("_") and inspect.isfunction(getattr(owner, name))
    }


@pytest.fixture(scope="module")
def page():
    functions, archive, hooks, deprecated = shown()
    return {
        "functions": functions,
        **archive,
        "hooks": hooks["ProviderSpec"],
        "deprecated": deprecated["ProviderSpec"],
    }


def test_the_functions_are_documented_with_their_signatures(page):
    exported = {
        n: getattr(titans, n) for n in titans.__all__ if inspect.isfunction(getattr(titans, n))
    }
    assert {n: signature(f) for n, f in page["functions"].items()} == {
        n: signature(f) for n, f in exported.items()
    }


def test_every_other_exported_name_is_mentioned():
    text = re.sub(
        r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    (line,) = re.findall(r"`titans` exports (`.*?)\.\n", text, re.DOTALL)
    names = set(re.findall(r"`(\w+)`", line))
    assert names == {n for n in titans.__all__ if not inspect.isfunction(getattr(titans, n))}


def test_the_methods_of_an_archive_are_documented_with_their_signatures(page):
    assert signatures(page["Archive"]) == signatures(Archive)


def test_the_hooks_are_documented_with_their_signatures(page):
    documented, real = signatures(page["hooks"]), signatures(ProviderSpec)
    assert documented == real
    assert set(real) == set(_plugin_checks.HOOKS)


def test_another_signature_would_be_noticed(page):
    class Renamed(page["hooks"]):
        def titans_normalize(self, table: "pl.DataFrame") -> "pl.DataFrame": ...  # noqa: F821

    class Retyped(page["hooks"]):
        def titans_normalize(self, frame: "pl.LazyFrame") -> "pl.DataFrame": ...  # noqa: F821

    for other in (Renamed, Retyped):
        assert signatures(other) != signatures(ProviderSpec)


def test_the_numbers_are_those_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    assert f"`TITANS_API`, now {API_VERSION} |" in text
    assert f"`format_version`, now {FORMAT_VERSION} |" in text


def test_every_public_name_and_method_is_used_in_the_typed_file():
    text = TYPED.read_text(encoding="utf-8")
    names = [*titans.__all__, *signatures(Archive), *_plugin_checks.HOOKS]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


# --- deprecation ----------------------------------------------------------------------------------

EXAMPLE = """
@hookimpl
def titans_example(seed, {argument}, slots):
    return iter([seed, {argument}, slots])
"""


@pytest.fixture
def deprecated(page, monkeypatch):
    """The core as it will be when the deprecation that the page shows is in its specification."""
    hooks = {name: getattr(ProviderSpec, name) for name in _plugin_checks.HOOKS}
    hooks["titans_example"] = page["deprecated"].titans_example
    monkeypatch.setattr(_plugin_checks, "ProviderSpec", type("ProviderSpec", (Protocol,), hooks))


def test_a_plugin_that_names_a_deprecated_argument_is_warned_and_works(site, deprecated):
    site.add(GOOD + EXAMPLE.format(argument="keys"))
    with pytest.warns(
        DeprecationWarning, match=r"`keys` goes away in titans-core 0\.3; use `size`"
    ) as warned:
        provider = plugins.load("acme")
    assert Path(warned[0].filename).is_relative_to(site.folder)
    assert list(provider.hooks.titans_example(seed=1, keys=2, slots=3, size=4)) == [1, 2, 3]


def test_a_plugin_that_has_moved_on_is_not_warned(site, deprecated):
    site.add(GOOD + EXAMPLE.format(argument="size"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        provider = plugins.load("acme")
    assert list(provider.hooks.titans_example(seed=1, keys=2, slots=3, size=4)) == [1, 4, 3]


def test_a_new_argument_breaks_no_plugin(site, monkeypatch):
    class Grown:
        @hookspec(firstresult=True)
        def titans_normalize(self, frame, slot): ...

    hooks = {name: getattr(ProviderSpec, name) for name in _plugin_checks.HOOKS}
    hooks["titans_normalize"] = Grown.titans_normalize
    monkeypatch.setattr(_plugin_checks, "ProviderSpec", type("ProviderSpec", (Protocol,), hooks))
    site.add(GOOD + "@hookimpl\ndef titans_normalize(frame): return [frame]")
    assert plugins.load("acme").hooks.titans_normalize(frame="frame", slot=1) == ["frame"]
