"""`TITANS_TRACE=1` shows every call of a hook."""

import logging
import os
import subprocess
import sys

import pytest
from fixtures_plugins import GOOD

from titans import plugins
from titans.events import GROUP, Event, emit

PLUGIN = (
    GOOD
    + """
@hookimpl
def titans_normalize(frame):
    return [frame]

@hookimpl
def titans_event(event):
    raise RuntimeError("out of coffee")
"""
)


@pytest.fixture
def lines(site, monkeypatch, caplog):
    """What was traced so far: hook, plugin, error."""
    monkeypatch.setenv("TITANS_TRACE", "1")
    caplog.set_level(logging.INFO, logger="titans.trace")
    return lambda: [(r.hook, r.plugin, r.error) for r in caplog.records if r.name == "titans.trace"]


def test_every_hook_call_is_logged_with_the_plugin_and_the_time(site, lines, caplog):
    site.add(PLUGIN)
    acme = plugins.load("acme")
    acme.normalize("frame")
    who = "provider acme (acme-titans 1.0)"
    assert lines() == [
        ("titans_schema", who, None),
        ("titans_pk_columns", who, None),
        ("titans_path_layout", who, None),
        ("titans_expectations", who, None),
        ("titans_normalize", who, None),
    ]
    records = [r for r in caplog.records if r.name == "titans.trace"]
    assert all(r.ms >= 0 for r in records)
    assert records[0].getMessage().startswith("titans_schema of provider acme (acme-titans 1.0): ")
    assert "(the default)" in records[2].getMessage()
    assert "(the default)" in records[3].getMessage()
    assert "(the default)" not in records[4].getMessage()


def test_a_call_that_raises_is_logged_with_what_it_raised(site, lines, caplog):
    site.add(PLUGIN)
    emit(Event("slot_conflict", "acme"), plugins.load("acme"))
    assert lines()[-1] == ("titans_event", "provider acme (acme-titans 1.0)", "RuntimeError")
    assert "raised RuntimeError: out of coffee" in caplog.text


def test_observers_are_traced_too(site, lines):
    site.add(
        "from titans import hookimpl\nTITANS_API = 1\n@hookimpl\ndef titans_event(event): pass",
        name="watcher",
        distribution="watcher-observer",
        group=GROUP,
    )
    emit(Event("slot_conflict", "acme"))
    assert lines() == [("titans_event", "observer watcher (watcher-observer 1.0)", None)]


@pytest.mark.parametrize("value", ["", "0"])
def test_without_the_variable_nothing_is_logged(site, lines, monkeypatch, value):
    monkeypatch.setenv("TITANS_TRACE", value)
    site.add(PLUGIN)
    plugins.load("acme").normalize("frame")
    assert lines() == []


LOADS = "from titans import plugins; plugins.load('acme')"


@pytest.mark.parametrize(
    ("code", "stream"),
    [
        (LOADS, "stderr"),
        ("import logging, sys; logging.basicConfig(stream=sys.stdout)\n" + LOADS, "stdout"),
    ],
)
def test_it_goes_to_standard_error_unless_logging_is_set_up_and_never_to_both(site, code, stream):
    site.add()
    environment = dict(os.environ, PYTHONPATH=str(site.folder), TITANS_TRACE="1")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert getattr(done, stream).count("titans_pk_columns of provider acme") == 1
    assert (done.stdout + done.stderr).count("titans_pk_columns of provider acme") == 1
