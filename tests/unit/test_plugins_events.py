"""Observers hear every event; none of them can disturb the work, or another observer."""

import logging
import sys

import pytest
from fixtures_plugins import GOOD

from titans import plugins
from titans.events import GROUP, Event, emit

OBSERVER = """
from titans import hookimpl
TITANS_API = 1
heard = []

@hookimpl
def titans_event(event):
    heard.append(event)
"""

EVENT = Event("slot_conflict", "acme", {"key": "a/b", "rows": 3})


def observe(site, code=OBSERVER, name="watcher"):
    return site.add(code, name=name, distribution=f"{name}-observer", group=GROUP)


def heard(module):
    return sys.modules[module].heard


def test_an_event_is_a_frozen_value():
    assert Event("slot_conflict", "acme", {"key": "a/b", "rows": 3}) == EVENT
    with pytest.raises(TypeError):
        EVENT.fields["rows"] = 4
    with pytest.raises(AttributeError):
        EVENT.name = "other"


def test_an_observer_is_loaded_at_the_first_event_and_hears_it(site):
    module = observe(site)
    plugins.installed(load=True)
    assert module not in sys.modules
    emit(EVENT)
    assert heard(module) == [EVENT]


def test_a_provider_hears_its_own_events_only(site):
    own = OBSERVER + GOOD.partition("TITANS_API = 1")[2]
    first = site.add("from titans import Schema\n" + own, name="one", distribution="one-titans")
    second = site.add("from titans import Schema\n" + own, name="two", distribution="two-titans")
    plugins.load("two")
    emit(EVENT, plugins.load("one"))
    assert heard(first) == [EVENT]
    assert heard(second) == []


def test_an_observer_that_raises_is_logged_and_the_others_hear_the_event(site, caplog):
    raising = OBSERVER + "    raise RuntimeError('out of coffee')\n"
    modules = [observe(site, name="a"), observe(site, raising, name="b"), observe(site, name="c")]
    emit(EVENT)
    emit(EVENT)
    assert [len(heard(module)) for module in modules] == [2, 2, 2]
    records = [record for record in caplog.records if record.name == "titans.events"]
    assert len(records) == 2
    assert "observer b (b-observer 1.0" in records[0].getMessage()
    assert "slot_conflict" in records[0].getMessage()
    assert "out of coffee" in caplog.text


def test_a_provider_whose_hook_raises_is_logged_and_the_observers_hear_the_event(site, caplog):
    site.add(GOOD + "@hookimpl\ndef titans_event(event): raise SystemExit('no')\n")
    module = observe(site)
    emit(EVENT, plugins.load("acme"))
    assert heard(module) == [EVENT]
    assert "titans_event of provider acme failed on event slot_conflict" in caplog.text


@pytest.mark.parametrize(("code", "reason"), [
    ("raise RuntimeError('out of coffee')", "out of coffee"),
    (OBSERVER.replace("TITANS_API = 1", "TITANS_API = 9"), "built for plugin API 9"),
    (OBSERVER.replace("@hookimpl", ""), "titans_event is not marked"),
    (OBSERVER.replace("titans_event", "titans_evnet"), "did you mean titans_event?"),
    ("TITANS_API = 1", "does not implement titans_event"),
])  # fmt: skip
def test_an_observer_that_cannot_be_loaded_is_logged_once_and_left_out(site, caplog, code, reason):
    observe(site, code, name="bad")
    module = observe(site)
    emit(EVENT)
    emit(EVENT)
    assert len(heard(module)) == 2
    (record,) = [record for record in caplog.records if record.name == "titans.events"]
    assert record.levelno == logging.ERROR
    assert "bad-observer 1.0, entry point bad = " in record.getMessage()
    assert reason in record.getMessage()


def test_a_denied_observer_is_not_even_imported(site, monkeypatch):
    module = observe(site)
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "watcher")
    emit(EVENT)
    assert module not in sys.modules
    monkeypatch.delenv("TITANS_DISABLE_PLUGINS")
    emit(EVENT)
    assert heard(module) == [EVENT]


def test_an_observer_that_is_not_allowed_is_not_even_imported(site, monkeypatch):
    module = observe(site)
    monkeypatch.setenv("TITANS_PLUGINS", "aws")
    emit(EVENT)
    assert module not in sys.modules


def test_without_observers_nothing_is_looked_for_twice(site, monkeypatch):
    calls = []
    discover = plugins.discover
    monkeypatch.setattr(plugins, "discover", lambda group: calls.append(group) or discover(group))
    plugins.clear()
    for _ in range(3):
        emit(EVENT)
    assert calls == [GROUP]


def test_an_observer_is_no_provider(site):
    observe(site)
    assert "watcher" not in {info.name for info in plugins.installed()}
