"""What `titans check` found is said on Slack, and nothing where nothing is wrong."""

import contextlib
import io
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import titans
from titans import Provider, Schema
from titans.cli.app import run
from titans.store.local import LocalStore
from titans_slack_alerts import LONGEST
from titans_slack_alerts.faults import NOTHING, main, messages

NOW = datetime.now(UTC)
ROWS = pl.DataFrame({"Type": ["a", "b"], "Price": [0.5, 0.25]})


def filled(folder, *ages):
    """An archive with observations so many minutes ago."""
    provider = Provider(name="acme", schema=Schema({"Price": "Float64"}), key=("Type",))
    archive = titans.open(LocalStore(folder), provider=provider)
    for age in sorted(ages, reverse=True):
        archive.ingest(ROWS, NOW - timedelta(minutes=age))


def checked(folder):
    """What `titans check --format json` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        run(["check", "--store", str(folder), "--format", "json"])
    return out.getvalue()


@pytest.fixture
def said(monkeypatch):
    """Gives the command something to read."""

    def give(text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return give


def test_a_collector_that_has_stopped_is_told(tmp_path, webhook, said):
    filled(tmp_path, 300)
    said(checked(tmp_path))
    main()
    (message,) = webhook.texts
    assert message.startswith("*acme*: somebody should look at it\n• late: observed last at ")


def test_an_archive_that_is_well_is_not_told(tmp_path, webhook, said):
    filled(tmp_path, 20, 10, 0)
    said(checked(tmp_path))
    main()
    assert webhook.texts == []


@pytest.mark.parametrize("text", ["", "no archive", "{}x", '[{"provider": "acme"}]', "[1]"])
def test_a_check_that_says_nothing_is_told(text, webhook, said):
    said(text)
    main()
    assert webhook.texts == [NOTHING]


def test_where_the_store_is_empty_the_check_says_nothing(tmp_path, webhook, said):
    said(checked(tmp_path))
    main()
    assert webhook.texts == [NOTHING]


def test_texts_are_escaped_and_cut():
    fault = '{"name": "verify", "text": "a < b' + "x" * 5000 + '"}'
    (message,) = messages(
        '[{"environment": "test/", "provider": "a&b", "faults": [' + fault + "]}]"
    )
    assert message.startswith("*test/a&amp;b*: ")
    assert "a &lt; b" in message
    assert len(message) == LONGEST


def test_what_cannot_be_delivered_is_an_error(webhook, said):
    webhook.answer = 500
    said("")
    with pytest.raises(SystemExit, match="the webhook answered 500"):
        main()


def test_without_a_webhook_it_says_so(monkeypatch, said):
    monkeypatch.delenv("TITANS_SLACK_WEBHOOK", raising=False)
    said("[]")
    with pytest.raises(SystemExit, match="TITANS_SLACK_WEBHOOK is not set"):
        main()
