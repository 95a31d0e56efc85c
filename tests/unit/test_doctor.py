"""`titans plugins doctor`: what an installed plugin is, what it costs, and what is wrong with
it."""

import json
import sys

import pytest
from fixtures_plugins import GOOD, HEAD, KEY, SCHEMA

from titans import doctor, plugins
from titans.cli.app import run
from titans.doctor import diagnose, run_conformance
from titans.errors import UnknownProviderError
from titans.events import GROUP as OBSERVERS

KIT = """
import titans

class ProviderConformance:
    def test_it_loads(self):
        assert titans.get_config(self.provider).name == self.provider

    def test_its_key_is_a_type(self):
        assert titans.get_config(self.provider).pk_columns == ["Type"], "the key is not a type"
"""


@pytest.fixture
def kit(site):
    """The name of a conformance kit with two checks."""
    site.folder.mkdir(exist_ok=True)
    (site.folder / "small_kit.py").write_text(KIT)
    return "small_kit"


def examined(name="acme", **options):
    (found,) = diagnose(name, **{"conformance": False, **options})
    return found


@pytest.fixture
def cli(capsys):
    """Runs a command line: exit code and output."""

    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            run(list(arguments))
        return done.value.code, capsys.readouterr().out

    return call


# --- what it says ---------------------------------------------------------------------------------


def test_it_tells_what_a_provider_is(site):
    module = site.add(
        GOOD
        + """
@hookimpl
def titans_normalize(frame):
    return frame

@hookimpl(wrapper=True)
def titans_path_layout():
    return (yield)

@hookimpl
def titans_example(slots, seed):
    return iter(())
"""
    )
    found = examined()
    assert (found.kind, found.info.status, found.healthy) == ("provider", "loaded", True)
    assert (found.info.distribution, found.info.version, found.info.value) == (
        "acme-titans",
        "1.0",
        module,
    )
    assert found.location == str(site.folder)
    assert found.loaded["api"] == 1
    assert found.loaded["declares"] == {
        "key": ["Type"],
        "columns": {"Price": "Float64"},
        "score": None,
        "unobserved": {},
        "nullable": [],
        "passive": [],
        "units": {},
        "description": {},
        "expectations": "looked at once a slot; at most 50% of 20 living keys or more may vanish",
        "every_seconds": 600.0,
        "schema_version": 1,
        "slot_minutes": 10,
        "prefixes": [
            "parquet_cp_hot/{provider}",
            "parquet_warm/{provider}/m8",
            "parquet_state/{provider}/m8",
        ],
    }
    hooks = found.loaded["hooks"]
    assert {name: how["how"] for name, how in hooks.items()} == {
        "titans_schema": "implemented",
        "titans_pk_columns": "implemented",
        "titans_path_layout": "wrapper",
        "titans_expectations": "default",
        "titans_normalize": "implemented",
        "titans_example": "implemented",
        "titans_event": "default",
    }
    assert hooks["titans_example"] == {
        "how": "implemented",
        "arguments": ["slots", "seed"],
        "left_out": ["keys"],
    }
    assert found.loaded["modules"] == 1
    assert found.loaded["import_ms"] >= 0
    assert found.loaded["hooks_ms"] >= 0


def test_the_plugin_is_loaded_in_another_process(site):
    module = site.add()
    assert examined().loaded["modules"] == 1
    assert module not in sys.modules


def test_it_tells_what_an_observer_is(site):
    code = "from titans import hookimpl\nTITANS_API = 1\n@hookimpl\ndef titans_event(): pass"
    site.add(code, name="watcher", distribution="watcher-observer", group=OBSERVERS)
    found = examined("watcher", conformance=True)
    assert (found.kind, found.info.status, found.healthy) == ("observer", "loaded", True)
    assert found.loaded["hooks"] == {
        "titans_event": {"how": "implemented", "arguments": [], "left_out": ["event"]}
    }
    assert (found.conformance.status, found.conformance.reason) == (
        "not run",
        "the kit is for providers",
    )


@pytest.mark.slow
def test_all_plugins_are_examined_without_a_name(site):
    site.add()
    site.add("raise RuntimeError('out of coffee')", name="bad", distribution="bad-titans")
    found = {d.info.name: d for d in diagnose(conformance=False)}
    assert {"acme", "aws", "azure", "bad", "gcp"} <= set(found)
    assert [name for name, diagnosis in found.items() if not diagnosis.healthy] == ["bad"]


def test_a_name_that_nobody_has_is_refused_with_those_there_are(site):
    site.add()
    with pytest.raises(
        UnknownProviderError, match=r"'nimbus' \(providers: acme, .*aws.*; observers: none\)"
    ):
        list(diagnose("nimbus"))


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "says", "api"),
    [
        ("raise RuntimeError('out of coffee')", "RuntimeError: out of coffee", None),
        (GOOD.replace("TITANS_API = 1", "TITANS_API = 2"), "built for plugin API 2", 2),
        (GOOD.replace("TITANS_API = 1", "TITANS_API = {}"), "must be an integer, got {}", "{}"),
        (
            GOOD + "@hookimpl\ndef titans_normalise(frame): return frame",
            "did you mean titans_normalize?",
            1,
        ),
        (HEAD + SCHEMA, "does not implement titans_pk_columns", 1),
        (
            GOOD.replace("TITANS_API = 1", "def __getattr__(name): raise RuntimeError(name)"),
            "looking for its hooks failed",
            None,
        ),
    ],
)
def test_a_refused_plugin_is_diagnosed_with_its_one_message(site, code, says, api):
    site.add(code)
    found = examined()
    assert (found.info.status, found.healthy) == ("broken", False)
    assert says in found.info.problem
    assert found.advice[0] == found.info.problem
    (info,) = [info for info in plugins.installed(load=True) if info.name == "acme"]
    assert found.info.problem == info.problem
    assert found.loaded["api"] == api
    assert found.conformance.reason == "the plugin is not loaded"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os; os._exit(3)", "ended the process with exit code 3"),
        (
            "import os; print('last words', flush=True); os.abort()",
            r"ended the process with signal 6 (last words)",
        ),
        ("import time; time.sleep(600)", "did not end within 1 s"),
    ],
)
def test_a_plugin_that_takes_its_process_along_does_not_take_the_doctor(
    site, monkeypatch, code, says
):
    if "sleep" in code:
        monkeypatch.setattr(doctor, "LOAD_SECONDS", 1.0)
    site.add(code)
    found = examined()
    assert (found.info.status, found.healthy) == ("broken", False)
    assert says in found.info.problem


def test_a_plugin_that_prints_is_still_understood(site):
    site.add("print('{')\n" + GOOD)
    assert examined().loaded["declares"]["key"] == ["Type"]


def test_a_blocked_plugin_is_not_loaded(site, monkeypatch):
    site.add("raise RuntimeError('out of coffee')")
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "acme")
    found = examined()
    assert (found.info.status, found.loaded, found.healthy) == ("blocked", {}, True)
    assert "take 'acme' out of that list" in found.advice[0]


def test_both_claims_to_a_name_are_diagnosed(site):
    site.add(distribution="acme-titans")
    site.add(distribution="other-acme")
    found = list(diagnose("acme"))
    assert [(d.info.distribution, d.info.status, d.healthy) for d in found] == [
        ("acme-titans", "duplicate", False),
        ("other-acme", "duplicate", False),
    ]
    assert all("pip uninstall acme-titans | other-acme" in d.advice[0] for d in found)


# --- advice ---------------------------------------------------------------------------------------


def require(site, requirement):
    (metadata,) = site.folder.glob("acme_titans-*.dist-info/METADATA")
    metadata.write_text(metadata.read_text() + f"Requires-Dist: {requirement}\n")


@pytest.mark.parametrize(
    ("requirement", "says"),
    [
        ("attrs>=25", 'does not require titans-core; add "titans-core>=0.1,<0.2"'),
        ("titans-core-tools<2", "does not require titans-core"),
        ("titans-core>=0.1", 'requirement "titans-core>=0.1" has no upper bound'),
        ("titans_core>=0.1,<0.2", None),
        ("titans-core~=0.1.0", None),
    ],
)
def test_it_advises_to_bound_the_core(site, requirement, says):
    site.add()
    require(site, requirement)
    advice = "\n".join(examined().advice)
    assert says in advice if says else "titans-core" not in advice


def test_it_advises_against_what_loading_imports(site):
    site.add("x = 1", module="heavy_things", name="x", distribution="x")
    site.add("import csv, heavy_things\n" + GOOD)
    found = examined()
    assert found.loaded["packages"] == ["heavy_things"]
    assert any(
        "loading it imports heavy_things; import inside the functions" in advice
        for advice in found.advice
    )
    assert not any("titans_example" in advice for advice in found.advice if "imports" in advice)


def test_it_passes_on_what_loading_warns_of_and_misses_example_data(site):
    site.add("import warnings; warnings.warn('going away', DeprecationWarning)\n" + GOOD)
    advice = examined().advice
    assert "loading it warns: DeprecationWarning: going away" in advice
    assert any("no titans_example" in one for one in advice)


# --- conformance ----------------------------------------------------------------------------------


def test_without_the_kit_it_says_what_to_install(site):
    site.add()
    for kit in ("no_such_kit", "no_such_package.kit"):
        ran = run_conformance("acme", kit)
        assert (ran.status, ran.passed) == ("not run", 0)
        assert ran.reason.endswith("is missing: pip install 'titans-core[testing]'")


def test_without_pytest_it_says_what_to_install(site, kit, monkeypatch):
    site.add()
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "pytest" else object()
    )
    assert (
        run_conformance("acme", kit).reason
        == "pytest is missing: pip install 'titans-core[testing]'"
    )


@pytest.mark.slow
def test_a_kit_without_all_it_needs_says_what_to_install(site, kit):
    site.add()
    says = "the conformance kit needs hypothesis: pip install 'titans-core[testing]'"
    (site.folder / "small_kit.py").write_text(f"raise ImportError({says!r})")
    found = examined(conformance=True, kit=kit)
    assert (found.conformance.status, found.healthy) == ("not run", True)
    assert says in found.conformance.reason


@pytest.mark.slow
def test_checks_that_pass_are_counted(site, kit, monkeypatch):
    site.add(name="ac-me.2")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    found = examined("ac-me.2", conformance=True, kit=kit)
    assert (found.conformance.status, found.conformance.passed, found.healthy) == (
        "passed",
        2,
        True,
    )


@pytest.mark.slow
def test_checks_that_fail_are_named_with_what_they_say(site, kit):
    site.add(HEAD + SCHEMA + KEY.replace("Type", "Flavor"))
    found = examined(conformance=True, kit=kit)
    assert (found.conformance.status, found.conformance.passed, found.healthy) == (
        "failed",
        1,
        False,
    )
    assert list(found.conformance.failed) == ["test_its_key_is_a_type"]
    assert "the key is not a type" in found.conformance.failed["test_its_key_is_a_type"]
    assert any("fix what 1 check(s) found" in advice for advice in found.advice)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("class ProviderConformance: pass", "exit code 5"),
        ("import os; os._exit(7)", "exit code 7"),
        (
            (
                "class ProviderConformance:\n    def test_it(self):\n        "
                "__import__('time').sleep(600)"
            ),
            "did not end within 2 s",
        ),
    ],
)
def test_a_kit_that_cannot_run_is_an_error_with_its_reason(site, kit, monkeypatch, code, says):
    site.add()
    (site.folder / "small_kit.py").write_text(code)
    if "sleep" in code:
        monkeypatch.setattr(doctor, "CONFORMANCE_SECONDS", 2.0)
    found = examined(conformance=True, kit=kit)
    assert (found.conformance.status, found.healthy) == ("error", False)
    assert says in found.conformance.reason
    assert any("could not be run" in advice for advice in found.advice)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_reports_and_its_exit_code_tells(site, cli):
    module = site.add()
    site.add("raise RuntimeError('out of coffee')", name="bad", distribution="bad-titans")
    code, out = cli("plugins", "doctor", "acme", "--quick")
    assert code == 0
    for says in (
        "acme: provider, loaded",
        "acme-titans 1.0",
        f"acme = {module}",
        "1; this core has 1",
        "import ",
        "Type",
        "Price Float64",
        "titans_schema(): implemented",
        "titans_event: default",
        "not run: not asked for",
        "- its distribution does not require titans-core",
    ):
        assert says in out, says
    code, out = cli("plugins", "doctor", "bad", "--quick")
    assert code == 1
    assert "bad: provider, broken" in out
    assert "out of coffee" in out


@pytest.mark.slow
def test_the_command_tells_how_the_checks_went(site, kit, cli, monkeypatch):
    monkeypatch.setattr(doctor, "KIT", kit)
    site.add()
    assert "passed, 2 checks" in cli("plugins", "doctor", "acme")[1]
    site.add(
        HEAD + SCHEMA + KEY.replace("Type", "Flavor"), name="other", distribution="other-titans"
    )
    code, out = cli("plugins", "doctor", "other")
    assert code == 1
    assert "failed, 1 of 2 checks" in out
    assert "test_its_key_is_a_type: AssertionError: the key is not a type" in out


def test_the_command_speaks_json(site, cli):
    site.add()
    code, out = cli("plugins", "doctor", "acme", "--quick", "--json")
    (row,) = json.loads(out)
    assert code == 0
    assert (row["kind"], row["info"]["status"], row["healthy"]) == ("provider", "loaded", True)
    assert row["loaded"]["hooks"]["titans_schema"]["how"] == "implemented"


def test_json_in_the_wrong_place_is_wrong_usage(cli):
    assert cli("plugins", "--json", "doctor", "aws")[0] == 2


@pytest.mark.slow
def test_the_three_of_this_repository_are_healthy_and_there_is_nothing_to_mend():
    for name in ("aws", "azure", "gcp"):
        found = examined(name)
        assert found.healthy
        assert found.advice == ()
        assert found.loaded["packages"] == []
