"""What `titans check` found, said on Slack: `titans check --format json | titans-slack-faults`.

A collector that has stopped causes no event; whoever looks at its archive notices.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from titans_slack_alerts import LONGEST, escaped, post, seconds

__all__ = ["main", "messages"]

NOTHING = "*titans check* said nothing: the store does not answer, or there is no archive in it"


def messages(said: str) -> Iterator[str]:
    """One for each archive in which something is wrong.

    Args:
        said: by `titans check --format json`.
    """
    try:
        checks: list[dict[str, Any]] = json.loads(said)
        for check in checks:
            if check["faults"]:
                yield _of_archive(check)
    except (ValueError, TypeError, KeyError):
        yield NOTHING


def _of_archive(check: dict[str, Any]) -> str:
    lines = [f"*{escaped(check['environment'] + check['provider'])}*: somebody should look at it"]
    lines += [f"• {escaped(fault['name'])}: {escaped(fault['text'])}" for fault in check["faults"]]
    message = "\n".join(lines)
    return message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"


def main() -> None:
    """Post what standard input says. Exit code 1 where that cannot be delivered."""
    webhook = os.environ.get("TITANS_SLACK_WEBHOOK")
    if not webhook:
        sys.exit("titans-slack-faults: TITANS_SLACK_WEBHOOK is not set")
    try:
        for message in messages(sys.stdin.read()):
            post(webhook, message, seconds("TITANS_SLACK_TIMEOUT", 5))
    except (OSError, ValueError) as error:
        sys.exit(f"titans-slack-faults: {error}")
