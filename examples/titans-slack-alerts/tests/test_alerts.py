"""Alerts arrive at a local web server, and a server that fails harms nobody."""

import logging
import threading
import time
from datetime import UTC, datetime

import polars as pl
import pytest

import titans
from titans import Expectations, Provider, Schema, plugins
from titans.errors import SuspiciousSnapshotError
from titans.events import Event
from titans.store.memory import MemoryStore
from titans_slack_alerts import LONGEST, Alerts, text

FAILED = Event(
    "failed", "aws", {"operation": "compact", "error": "Unavailable", "reason": "a < b & c"}
)


@pytest.fixture
def archive():
    plugins.clear()  # the observer starts afresh
    provider = Provider(
        name="acme",
        schema=Schema({"Price": "Float64"}),
        key=("Type",),
        expectations=Expectations(min_living=1),
    )
    yield titans.open(MemoryStore(), provider=provider)
    plugins.clear()


def snapshot(rows):
    return pl.DataFrame({"Type": [f"t{n}" for n in range(rows)], "Price": [0.5] * rows})


def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def at(slot):
    return datetime(2026, 1, 23, 9, 10 * slot, tzinfo=UTC)


def test_an_alert_is_posted_as_slack_wants_it(webhook):
    Alerts().titans_event(FAILED)
    assert webhook.received == [
        (
            "application/json",
            (
                "*aws*: An operation failed\n• operation: compact\n• error: Unavailable\n• reason: a "
                "&lt; b &amp; c"
            ),
        )
    ]


def test_a_refused_snapshot_of_an_archive_is_an_alert(webhook, archive):
    archive.ingest(snapshot(4), at(0))
    assert webhook.texts == []
    with pytest.raises(SuspiciousSnapshotError):
        archive.ingest(snapshot(1), at(1))
    (message,) = webhook.texts
    assert message.startswith("*acme*: A snapshot looked truncated and was refused\n")
    assert "• ceased: 3" in message


def test_without_a_webhook_nothing_is_sent(webhook, monkeypatch):
    monkeypatch.delenv("TITANS_SLACK_WEBHOOK")
    Alerts().titans_event(FAILED)
    assert webhook.received == []


def test_the_environment_chooses_the_events(webhook, monkeypatch):
    monkeypatch.setenv("TITANS_SLACK_EVENTS", "month_sealed, vacuumed")
    alerts = Alerts()
    for name in ("failed", "month_sealed", "files_merged"):
        alerts.titans_event(Event(name, "aws", {}))
    assert webhook.texts == ["*aws*: month_sealed"]


def test_the_same_alert_is_held_back_and_counted(webhook, monkeypatch):
    alerts = Alerts()
    for _ in range(3):
        alerts.titans_event(FAILED)
    alerts.titans_event(Event("failed", "gcp", {}))
    assert len(webhook.received) == 2
    monkeypatch.setenv("TITANS_SLACK_QUIET", "0")
    alerts.titans_event(FAILED)
    assert webhook.texts[-1].endswith("\n2 more of this kind since the last message")
    alerts.titans_event(FAILED)
    assert "more of this kind" not in webhook.texts[-1]


def test_a_long_message_is_cut():
    assert len(text(Event("failed", "aws", {"reason": "x" * 5000}))) == LONGEST
    assert text(Event("failed", "aws", {"reason": "x" * 5000})).endswith("x…")


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_was_not_delivered_is_tried_again_next_time(webhook, status):
    alerts = Alerts()
    webhook.answer = status
    with pytest.raises(OSError, match=str(status)) as caught:
        alerts.titans_event(FAILED)
    assert "secret" not in str(caught.value)
    webhook.answer = 200
    alerts.titans_event(FAILED)
    assert len(webhook.received) == 2


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WEBHOOK", "file:///etc/passwd", "must start with https://"),
        ("TIMEOUT", "soon", "TITANS_SLACK_TIMEOUT must be a number of seconds, got 'soon'"),
    ],
)
def test_a_wrong_setting_is_told(webhook, monkeypatch, variable, value, says):
    monkeypatch.setenv(f"TITANS_SLACK_{variable}", value)
    with pytest.raises(ValueError, match=says):
        Alerts().titans_event(FAILED)


def test_a_webhook_that_fails_is_logged_and_the_archive_works(
    webhook, archive, monkeypatch, caplog
):
    webhook.answer = 500
    monkeypatch.setenv("TITANS_SLACK_EVENTS", "snapshot_ingested")
    assert archive.ingest(snapshot(4), at(0)).status == "ingested"
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "observer slack-alerts (titans-slack-alerts 0.1.0" in record.getMessage()
    assert "secret" not in caplog.text
    assert archive.latest().height == 4


def test_a_webhook_that_never_answers_is_given_up_after_its_timeout(webhook, monkeypatch):
    webhook.answer = threading.Event()
    monkeypatch.setenv("TITANS_SLACK_TIMEOUT", "0.1")
    with pytest.raises(OSError, match="timed out"):
        Alerts().titans_event(FAILED)


def test_a_slow_webhook_does_not_hold_up_the_archive(webhook, archive, monkeypatch, caplog):
    webhook.answer = threading.Event()
    monkeypatch.setattr("titans._observer.PATIENCE", 0.05)
    monkeypatch.setenv("TITANS_SLACK_EVENTS", "snapshot_ingested")
    monkeypatch.setenv("TITANS_SLACK_TIMEOUT", "30")
    for slot in range(4):  # would be 30 s each
        assert archive.ingest(snapshot(4), at(slot)).status in ("ingested", "unchanged")
    assert "no longer waits for it" in caplog.text
    eventually(lambda: webhook.received)
    assert len(webhook.received) == 1
    webhook.answer.set()
    eventually(lambda: "has caught up" in caplog.text)
