"""Who may ask, and how: the page answers its own browser only, and nothing in it runs that was not
shipped with it.

A page of another site may make a browser send requests to this server, also under a name of its own
that it points at 127.0.0.1 (DNS rebinding). So the host has to be one that the server was told of,
and whoever says where a request comes from has to say: from here.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import frozen

__all__ = ["COOKIE", "Guard", "is_loopback"]

COOKIE = "titans-explorer"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d{1,5})?")
_LONGEST = 32_000
"""Bytes of an address."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    """Whether it is a number, which no other site can have for a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@frozen(eq=False)
class _Refusal:
    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@frozen(eq=False)
class Guard:
    """An ASGI application that lets through what may be asked.

    Args:
        app: what answers.
        host: the address that is listened on.
        names: other names under which browsers reach it.
        token: what a browser has to know; empty: nothing, for a server that only this machine
            reaches.
    """

    app: App
    host: str = "127.0.0.1"
    names: frozenset[str] = frozenset()
    token: str = ""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(refusal, scope["method"], send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, sent)

    def _refusal(self, scope: Message) -> _Refusal | None:
        headers = _headers(scope)
        if scope["method"] not in ("GET", "HEAD"):
            return _Refusal(405, "this server only answers GET", ((b"allow", b"GET, HEAD"),))
        if len(scope.get("query_string", b"")) > _LONGEST:
            return _Refusal(414, "the address is too long")

        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _Refusal(
                421,
                "this server is not known under that name; give it with --allow-host where it is "
                "right",
            )
        if not _is_from_here(headers, hosts[0]):
            return _Refusal(403, "the request comes from another site")
        return self._without_token(scope, headers)

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        if name in self.names:
            return True
        if is_loopback(self.host):
            return is_loopback(name)
        # Whoever comes over the network knows the token; a name might be anybody's.
        return _is_address(name) or name in ("localhost", self.host)

    def _without_token(self, scope: Message, headers: dict[str, list[str]]) -> _Refusal | None:
        if not self.token:
            return None
        if any(self._is_token(given) for given in _tokens(headers)):
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and self._is_token(given[0]) and "/api/" not in scope["path"]:
            return self._welcome(scope, query)
        return _Refusal(401, "open the address that the command printed: it has the token in it")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _welcome(self, scope: Message, query: list[tuple[str, str]]) -> _Refusal:
        """The same page without the token in its address; the browser keeps that."""
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        # Never another host: two slashes at the start would be one.
        target = "/" + scope["path"].lstrip("/\\")
        target += f"?{rest}" if rest else ""
        cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Lax; Path=/"
        where = target.encode("ascii", "ignore").replace(b"\r", b"").replace(b"\n", b"")
        return _Refusal(303, "", ((b"location", where), (b"set-cookie", cookie.encode())))


def _headers(scope: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _name(host: str) -> str:
    """`[::1]:8000` → `::1`; empty where it is no host."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _is_from_here(headers: dict[str, list[str]], host: str) -> bool:
    for origin in headers.get("origin", []):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
            return False
    site = headers.get("sec-fetch-site", ["none"])[0]
    if site in ("none", "same-origin"):
        return True
    # A link on another page may open this one; what it embeds or fetches may not.
    return headers.get("sec-fetch-mode", [""])[0] == "navigate"


def _tokens(headers: dict[str, list[str]]) -> list[str]:
    found = []
    for value in headers.get("authorization", []):
        kind, _, token = value.partition(" ")
        if kind.lower() == "bearer":
            found.append(token.strip())
    for value in headers.get("cookie", []):
        try:
            cookies = SimpleCookie(value)
        except CookieError:
            continue
        if COOKIE in cookies:
            found.append(cookies[COOKIE].value)
    return found


async def _refuse(refusal: _Refusal, method: str, send: Send) -> None:
    body = b"" if method == "HEAD" else refusal.text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(refusal.text.encode())).encode()),
        (b"cache-control", b"no-store"),
        *refusal.headers,
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
