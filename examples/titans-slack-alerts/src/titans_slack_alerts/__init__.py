"""Alerts on Slack when something goes wrong in a TITANS archive: an observer and nothing else."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from titans import hookimpl

if TYPE_CHECKING:
    from titans.events import Event

__all__ = ["LONGEST", "Alerts", "escaped", "post", "seconds", "text"]

TITANS_API = 1

TITLES = {
    "failed": "An operation failed",
    "repaired": "A manifest was made again from the files",
    "slot_conflict": "Two collectors uploaded different rows for one slot; the first ones stay",
    "snapshot_refused": "A snapshot looked truncated and was refused",
}
LONGEST = 3000
"""Characters of a message; Slack cuts longer ones."""

_Kind = tuple[str, str, Any]


class Alerts:
    """Posts the events that `TITANS_SLACK_EVENTS` names to the webhook `TITANS_SLACK_WEBHOOK`."""

    def __init__(self) -> None:
        self._sent: dict[_Kind, float] = {}
        """Kind of alert → when it was last delivered, on the monotonic clock."""
        self._unsent: Counter[_Kind] = Counter()
        """Kind of alert → how many were not sent since."""

    @hookimpl
    def titans_event(self, event: Event) -> None:
        webhook = os.environ.get("TITANS_SLACK_WEBHOOK")
        wanted = os.environ.get("TITANS_SLACK_EVENTS") or ",".join(TITLES)
        if not webhook or event.name not in wanted.replace(",", " ").split():
            return

        kind = (event.provider, event.name, event.fields.get("error"))
        silence = time.monotonic() - self._sent.get(kind, -math.inf)
        if silence < seconds("TITANS_SLACK_QUIET", 3600):
            self._unsent[kind] += 1
            return

        # TITANS logs what this raises; what could not be delivered counts as not sent, so the next
        # one is tried.
        post(webhook, text(event, self._unsent[kind]), seconds("TITANS_SLACK_TIMEOUT", 5))
        self._sent[kind] = time.monotonic()
        self._unsent.pop(kind, None)


def text(event: Event, unsent: int = 0) -> str:
    """What Slack shows for an event, if `unsent` ones like it were not sent."""
    title = TITLES.get(event.name, event.name)
    lines = [f"*{escaped(event.provider)}*: {escaped(title)}"]
    lines += [f"• {escaped(name)}: {escaped(str(value))}" for name, value in event.fields.items()]
    if unsent:
        lines.append(f"{unsent} more of this kind since the last message")

    message = "\n".join(lines)
    if len(message) > LONGEST:
        return message[: LONGEST - 1] + "…"
    return message


def post(webhook: str, message: str, timeout: float) -> None:
    """Deliver one message.

    Raises:
        ValueError: the webhook is no URL of the web.
        OSError: it was not delivered. The text does not tell the URL, which is a secret.
    """
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    if not webhook.startswith(("https://", "http://")):
        raise ValueError("TITANS_SLACK_WEBHOOK must start with https:// (or http://)")

    class Stay(HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            """A redirected POST would become a GET, and succeed without delivering anything."""

    body = json.dumps({"text": message}).encode()
    # checked above
    request = Request(webhook, body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with build_opener(Stay).open(request, timeout=timeout) as answer:
            answer.read(1024)
    except HTTPError as error:
        with error:  # it holds the connection, and the URL
            raise OSError(f"the webhook answered {error.code} {error.reason}") from None


def escaped(value: str) -> str:
    """Text that Slack takes for text."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def seconds(variable: str, default: float) -> float:
    """The number that a variable of the environment holds. Raises `ValueError` where it is none."""
    value = os.environ.get(variable, "")
    if not value:
        return default
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{variable} must be a number of seconds, got {value!r}") from None
