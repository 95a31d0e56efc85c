"""A plugin that contradicts itself is refused with a message that names it, says what is wrong, and
how to fix it."""

import re

import pytest
from fixtures_plugins import GOOD, HEAD, KEY, SCHEMA

from titans import plugins
from titans.errors import PluginError

REFUSALS = {
    "raises at import": (
        "raise RuntimeError('out of coffee')",
        [
            "RuntimeError: out of coffee",
            "pip install --force-reinstall acme-titans",
            "TITANS_DISABLE_PLUGINS=acme",
        ],
    ),
    "does not parse": ("def (", ["SyntaxError", "reinstall"]),
    "leaves the process at import": ("raise SystemExit(3)", ["SystemExit: 3", "reinstall"]),
    "needs a package that is missing": (
        "import no_such_package",
        ["No module named 'no_such_package'", "reinstall"],
    ),
    "states no API": (
        GOOD.replace("TITANS_API = 1", ""),
        ["declares no TITANS_API", "add `TITANS_API = 1`"],
    ),
    "states an API that is no integer": (
        GOOD.replace("TITANS_API = 1", "TITANS_API = '1'"),
        ["must be an integer, got '1'", "write `TITANS_API = 1`"],
    ),
    "is for a newer API": (
        GOOD.replace("TITANS_API = 1", "TITANS_API = 2"),
        [
            "built for plugin API 2",
            "has API 1",
            r"titans-core \d",
            "pip install --upgrade titans-core",
        ],
    ),
    "is for an older API": (
        GOOD.replace("TITANS_API = 1", "TITANS_API = 0"),
        ["built for plugin API 0", "has API 1", "pip install --upgrade acme-titans"],
    ),
    "misspells a hook": (
        GOOD + "@hookimpl\ndef titans_normalise(frame): return frame",
        ["a hook titans_normalise that TITANS does not know", r"did you mean titans_normalize\?"],
    ),
    "has a hook of its own": (
        GOOD + "@hookimpl\ndef brew(): pass",
        ["a hook brew that TITANS does not know", "the hooks are titans_schema, titans_pk_columns"],
    ),
    "forgets the marker": (
        HEAD + SCHEMA + "def titans_pk_columns(): return ('Type',)",
        [
            "function titans_pk_columns is not marked",
            "put @titans.hookimpl above it",
            "does not start with titans_",
        ],
    ),
    "has a helper named like a hook": (
        GOOD + "def titans_round(): pass",
        ["function titans_round is not marked"],
    ),
    "has a value instead of a hook": (
        HEAD + KEY + "titans_schema = Schema({'Price': 'Float64'})",
        ["titans_schema is a Schema", "make it a function marked with @titans.hookimpl"],
    ),
    "takes an argument no hook has": (
        GOOD + "@hookimpl\ndef titans_normalize(frame, provider): return frame",
        ["titans_normalize", "provider", r"titans\.hookspecs\.ProviderSpec"],
    ),
    "has no schema": (
        HEAD + KEY,
        ["does not implement titans_schema", "needs titans_schema and titans_pk_columns"],
    ),
    "has no key": (
        HEAD + SCHEMA,
        ["does not implement titans_pk_columns", "needs titans_schema and titans_pk_columns"],
    ),
    "returns no schema": (
        HEAD + KEY + "@hookimpl\ndef titans_schema(): pass",
        ["titans_schema must return a Schema, got NoneType"],
    ),
    "returns a dict for a schema": (
        HEAD + KEY + "@hookimpl\ndef titans_schema(): return {'Price': 'Float64'}",
        ["titans_schema must return a Schema, got dict {'Price': 'Float64'}"],
    ),
    "returns a string for a key": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return 'Type'",
        ["titans_pk_columns must return a tuple of column names, got str 'Type'"],
    ),
    "returns a string for a layout": (
        GOOD + "@hookimpl\ndef titans_path_layout(): return 'hot'",
        ["titans_path_layout must return a PathLayout, got str 'hot'"],
    ),
    "has a schema hook that raises": (
        HEAD + KEY + "@hookimpl\ndef titans_schema(): return Schema(1 / 0)",
        ["titans_schema failed: ZeroDivisionError"],
    ),
    "has an empty key": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return ()",
        ["empty primary key", "name at least one column"],
    ),
    "has a key that is no string": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return (7,)",
        ["non-empty string, got 7"],
    ),
    "names a key column twice": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return ('Type', 'Type')",
        ["names a key column twice: Type, Type"],
    ),
    "has a key column that is a value": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return ('Type', 'Price')",
        ["'Price' is both a key and a value column", "keep one"],
    ),
    "has a reserved key column": (
        HEAD + SCHEMA + "@hookimpl\ndef titans_pk_columns(): return ('Time',)",
        ["key column 'Time' is reserved", "choose another name"],
    ),
    "has a reserved value column": (
        HEAD + KEY + "@hookimpl\ndef titans_schema(): return Schema({'Ceased': 'Boolean'})",
        ["titans_schema failed: InputError", "column 'Ceased' is reserved", "choose another name"],
    ),
    "has an unknown dtype": (
        HEAD + KEY + "@hookimpl\ndef titans_schema(): return Schema({'Price': 'Money'})",
        ["dtype 'Money'", "choose one of"],
    ),
    "runs code that fails when it is looked at": (
        GOOD.replace("TITANS_API = 1", "def __getattr__(name): raise RuntimeError(name)"),
        ["looking for its hooks failed: RuntimeError: TITANS_API", "Report it"],
    ),
}


@pytest.mark.parametrize(("code", "says"), REFUSALS.values(), ids=REFUSALS)
def test_a_plugin_is_refused_when_it(site, code, says):
    module = site.add(code)
    with pytest.raises(PluginError) as caught:
        plugins.load("acme")
    message = str(caught.value)
    assert message.startswith(f"Provider 'acme' (acme-titans 1.0, entry point acme = {module}): ")
    for pattern in says:
        assert re.search(pattern if "\\" in pattern else re.escape(pattern), message), (
            f"{pattern!r} is not in {message!r}"
        )

    (info,) = [info for info in plugins.installed() if info.name == "acme"]
    assert info.status == "broken"
    assert info.problem in message
    assert plugins.load("gcp").name == "gcp"


def test_the_reason_is_chained(site):
    site.add("raise RuntimeError('out of coffee')")
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            plugins.load("acme")
        assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_broken_plugin_is_tried_once(site, tmp_path):
    counted = tmp_path / "count"
    site.add(f"with open({str(counted)!r}, 'a') as file: file.write('x')\nraise RuntimeError")
    for _ in range(3):
        with pytest.raises(PluginError):
            plugins.load("acme")
    plugins.installed(load=True)
    assert counted.read_text() == "x"


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("nothing", "AttributeError"),
        ("Acme", "TypeError.*missing 1 required positional argument"),
    ],
)
def test_an_entry_point_that_names_nothing_usable_is_refused(site, attribute, says):
    site.add(GOOD + "class Acme:\n    def __init__(self, name): pass\n", attribute=attribute)
    with pytest.raises(PluginError, match=f"cannot be imported: {says}"):
        plugins.load("acme")


def test_an_imported_module_whose_name_starts_like_a_hook_is_no_hook(site):
    site.add("x = 1", module="titans_acme_prices", name="prices", distribution="prices")
    site.add(GOOD + "import titans_acme_prices")
    assert plugins.load("acme").name == "acme"


def test_an_imported_marker_of_another_project_is_no_marker(site):
    site.add(
        HEAD
        + SCHEMA
        + "import pluggy\n@pluggy.HookimplMarker('pytest')\ndef titans_pk_columns(): return ('Type',)"
    )
    with pytest.raises(PluginError, match="titans_pk_columns is not marked"):
        plugins.load("acme")
