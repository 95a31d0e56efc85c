"""Observers hear every event; none of them can disturb the work, or another observer."""

import decimal
import logging
import os
import subprocess
import sys
import time

import pytest
from fixtures_plugins import GOOD

from titans import entry_points, plugins
from titans.events import GROUP, Event, emit, installed_observers
from titans.events import _settle as settle

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


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('out of coffee')", "out of coffee"),
        (OBSERVER.replace("TITANS_API = 1", "TITANS_API = 9"), "built for plugin API 9"),
        (OBSERVER.replace("@hookimpl", ""), "titans_event is not marked"),
        (OBSERVER.replace("titans_event", "titans_evnet"), "did you mean titans_event?"),
        ("TITANS_API = 1", "does not implement titans_event"),
    ],
)
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
    discover = entry_points.discover
    monkeypatch.setattr(
        entry_points, "discover", lambda group: calls.append(group) or discover(group)
    )
    plugins.clear()
    for _ in range(3):
        emit(EVENT)
    assert calls == [GROUP]


def test_an_observer_is_no_provider(site):
    observe(site)
    assert "watcher" not in {info.name for info in plugins.installed()}


def test_installed_observers_are_listed_and_only_on_request_loaded(site, monkeypatch, caplog):
    module = observe(site)
    observe(site, "raise RuntimeError('out of coffee')", name="bad")
    observe(site, name="denied")
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "denied")
    assert [(i.name, i.status) for i in installed_observers()] == [
        ("bad", "found"),
        ("denied", "blocked"),
        ("watcher", "found"),
    ]
    assert module not in sys.modules
    found = {info.name: info for info in installed_observers(load=True)}
    assert [info.status for info in found.values()] == ["broken", "blocked", "loaded"]
    assert "RuntimeError: out of coffee" in found["bad"].problem


# --- slow ones ------------------------------------------------------------------------------------

SLOW = """
import threading
from titans import hookimpl
TITANS_API = 1
heard, busy, let_go = [], threading.Event(), threading.Event()

@hookimpl
def titans_event(event):
    heard.append(event.fields["n"])
    busy.set()
    let_go.wait(60)
"""


def numbered(n):
    return Event("slot_conflict", "acme", {"n": n})


@pytest.fixture
def slow(site, monkeypatch):
    """The module of an observer that does not return before it is let go; nobody has patience with
    it."""
    monkeypatch.setattr("titans._observer.PATIENCE", 0.01)
    name = observe(site, SLOW, name="slow")
    assert [info.status for info in installed_observers(load=True)] == ["loaded"]
    yield sys.modules[name]
    sys.modules[name].let_go.set()


def caught_up(caplog):
    deadline = time.monotonic() + 30
    while "has caught up" not in caplog.text:
        assert time.monotonic() < deadline, "the observer never caught up"
        time.sleep(0.005)


def test_an_observer_that_does_not_return_is_not_waited_for_and_hears_everything_later(
    slow, caplog
):
    for n in range(5):
        emit(numbered(n))
    assert slow.busy.wait(30)
    assert slow.heard == [0]
    assert "observer slow (slow-observer 1.0" in caplog.text
    assert caplog.text.count("no longer waits for it") == 1
    slow.let_go.set()
    caught_up(caplog)
    assert slow.heard == [0, 1, 2, 3, 4]
    assert "0 event(s) were dropped" in caplog.text
    emit(numbered(5))  # and is waited for again


def test_a_slow_observer_does_not_keep_others_from_hearing_an_event_at_once(
    slow, site, monkeypatch
):
    monkeypatch.setattr("titans._observer.PATIENCE", 1.0)
    quick = observe(site, name="watcher")
    for n in range(3):
        emit(numbered(n))
    assert [event.fields["n"] for event in heard(quick)] == [0, 1, 2]


def test_a_backlog_is_limited_and_what_is_dropped_is_counted(site, slow, monkeypatch, caplog):
    monkeypatch.setattr("titans._observer.BACKLOG", 2)
    plugins.clear()  # made again, with the small backlog
    emit(numbered(0))
    assert slow.busy.wait(30)
    for n in range(1, 6):
        emit(numbered(n))
    slow.let_go.set()
    caught_up(caplog)
    assert slow.heard == [0, 1, 2]
    assert "3 event(s) were dropped" in caplog.text


def test_an_observer_that_causes_events_does_not_wait_for_itself(site):
    module = observe(
        site,
        OBSERVER
        + "    if len(heard) < 3:\n        from titans.events import emit\n        emit(event)\n",
    )
    emit(EVENT)
    settle()
    assert heard(module) == [EVENT, EVENT, EVENT]


def test_the_context_of_the_caller_is_the_observers(site):
    module = observe(
        site,
        OBSERVER.replace("heard.append(event)", "heard.append(decimal.getcontext().prec)").replace(
            "from titans", "import decimal\nfrom titans"
        ),
    )
    with decimal.localcontext(prec=7):
        emit(EVENT)
    assert heard(module) == [7]


@pytest.mark.parametrize(
    ("seconds", "patience", "expected"),
    [
        (0.3, 30, "heard"),
        (600, 0.05, "has not heard the last 1 event(s)"),
    ],
)
def test_a_process_ends_with_its_events_told_but_does_not_wait_for_ever(
    site, seconds, patience, expected
):
    observe(
        site,
        f"""
import time
from titans import hookimpl
TITANS_API = 1

@hookimpl
def titans_event(event):
    time.sleep({seconds})
    print("heard", flush=True)
""",
    )
    code = (
        "import titans._observer, titans.events as events\n"
        f"titans._observer.PATIENCE, events.PATIENCE = 0.01, {patience}\n"
        "events.emit(events.Event('slot_conflict', 'acme'))"
    )
    environment = dict(os.environ, PYTHONPATH=str(site.folder))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0
    assert expected in done.stdout + done.stderr


def test_a_forked_process_has_observers_of_its_own(site, tmp_path):
    out = tmp_path / "heard"
    observe(
        site,
        f"""
import os
from titans import hookimpl
TITANS_API = 1

@hookimpl
def titans_event(event):
    with open({str(out)!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
""",
    )
    code = """
import os, warnings
from titans.events import Event, emit
warnings.simplefilter("ignore")
emit(Event("slot_conflict", "acme"))
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    emit(Event("slot_conflict", "acme"))
    os._exit(0)
"""
    environment = dict(os.environ, PYTHONPATH=str(site.folder))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
    assert len(set(out.read_text().split())) == 2
