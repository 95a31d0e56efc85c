"""Texts without what must not be shown: passwords, tokens and keys in URLs and options."""

from __future__ import annotations

import re

__all__ = ["redacted"]

_HIDDEN = "…"
_HARMLESS = {"endpoint_url", "region", "expected_bucket_owner", "list-type", "prefix", "delimiter"}
"""Options of a URL whose values say nothing secret."""

_USER = re.compile(r"(?P<before>(?::|%3A)(?://|%2F%2F))[^\s/?#\"'<>]*?(?P<at>@|%40)", re.IGNORECASE)
_OPTION = re.compile(r"(?P<name>[?&;][\w.\-%\[\]]+=)(?P<value>[^&;\s\"'<>)]*)")
_PARAMETER = re.compile(r"(SSE\w*Key\w*, value: ).*?(, type)", re.DOTALL)


def redacted(text: str) -> str:
    """`text` with the user and password of every URL in it, and the values of its options, left
    out.
    """
    if "://" not in text and "%3A" not in text.upper() and ", value: " not in text:
        return text
    text = _USER.sub(rf"\g<before>{_HIDDEN}\g<at>", text)
    text = _PARAMETER.sub(rf"\1{_HIDDEN}\2", text)
    return re.sub(r"\b[a-zA-Z][\w+.\-]*://[^\s\"'<>]*", _without_values, text)


def _without_values(url: re.Match[str]) -> str:
    return _OPTION.sub(_hidden, url.group())


def _hidden(option: re.Match[str]) -> str:
    name = option["name"]
    if name[1:-1].lower() in _HARMLESS:
        return option.group()
    return f"{name}{_HIDDEN}"
