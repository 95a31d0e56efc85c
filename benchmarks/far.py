"""A place far away, on this machine: a proxy in front of a local server that delays every byte and
counts what goes through.

    with far("127.0.0.1", port, round_trip_ms=30) as proxy:
        ...                      # http://127.0.0.1:{proxy.port} instead of the server
        proxy.counted()          # since the last time it was asked

Every byte takes half a round trip each way, and a new connection a whole one, as TCP's handshake
does. Bytes to the client share one line of so many megabits a second. Nothing that follows waits
for what is on its way. The proxy is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from attrs import frozen

__all__ = ["Counted", "Far", "far"]

_REQUEST = re.compile(rb"(?:^|\r\n)(?:GET|PUT|POST|HEAD|DELETE) \S+ HTTP/1\.[01]\r\n")


@frozen
class Counted:
    """What went through a proxy."""

    connections: int
    requests: int
    """HTTP requests, by their first lines."""
    bytes: int
    """Sent to the client, headers included."""


class Far:
    """A running proxy."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._answer())

    def counted(self) -> Counted:
        """What went through since the last time this was asked."""
        assert self._process.stdin is not None
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        return Counted(**json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextlib.contextmanager
def far(
    host: str, port: int, round_trip_ms: float = 30.0, megabits: float = 800.0
) -> Iterator[Far]:
    """A proxy in front of the server at `host`:`port`, which ends with the block."""
    command = [sys.executable, __file__, host, str(port), str(round_trip_ms), str(megabits)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield Far(process)
    finally:
        process.kill()
        process.communicate()


# --- in the process of the proxy ------------------------------------------------------------------


class _Line:
    """How long bytes take, and how many went through."""

    def __init__(self, round_trip_ms: float, megabits: float) -> None:
        self.half = round_trip_ms / 2000
        self.bytes_a_second = megabits * 1e6 / 8
        self.free_at = 0.0
        """When the line to the client has sent all it has been given."""
        self.connections = self.requests = self.bytes = 0

    def due(self, now: float, size: int, *, to_client: bool) -> float:
        """When `size` bytes given at `now` arrive."""
        if not to_client:
            return now + self.half
        self.free_at = max(self.free_at, now) + size / self.bytes_a_second
        return self.free_at + self.half

    def taken(self) -> Counted:
        """The counts, which begin again."""
        counted = Counted(self.connections, self.requests, self.bytes)
        self.connections = self.requests = self.bytes = 0
        return counted


class _End(asyncio.Protocol):
    """One end of a connection: hands what it gets to the other end, late."""

    def __init__(self, line: _Line, other: _End | None) -> None:
        self.line = line
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.last = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        line, to_client = self.line, not isinstance(self, _Client)
        if to_client:
            line.bytes += len(data)
        else:
            line.requests += len(_REQUEST.findall(data))
        loop = asyncio.get_running_loop()
        # In the order they came, whatever the clock's resolution.
        self.last = max(self.last, line.due(loop.time(), len(data), to_client=to_client))
        loop.call_at(self.last, self._hand_on, data)

    def connection_lost(self, error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        self.last = max(self.last, loop.time() + self.line.half)
        loop.call_at(self.last, self._hand_on, None)

    def _hand_on(self, data: bytes | None) -> None:
        other = None if self.other is None else self.other.transport
        if other is None or other.is_closing():
            return
        if data is None:
            other.close()
        else:
            other.write(data)


class _Client(_End):
    """The end at which the client is."""

    def __init__(self, line: _Line, target: tuple[str, int]) -> None:
        super().__init__(line, None)
        self.target = target
        self.waiting: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.line.connections += 1
        self.connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(2 * self.line.half)  # the handshake
        try:
            _, self.other = await loop.create_connection(
                lambda: _End(self.line, self), *self.target
            )
        except OSError:
            if self.transport is not None:
                self.transport.abort()
            return
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.waiting.append(data)
        else:
            super().data_received(data)


async def _serve(host: str, port: int, line: _Line) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(line, (host, port)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        counted = line.taken()
        answer = {name: getattr(counted, name) for name in ("connections", "requests", "bytes")}
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("round_trip_ms", type=float)
    parser.add_argument("megabits", type=float)
    given = parser.parse_args()
    line = _Line(given.round_trip_ms, given.megabits)
    asyncio.run(_serve(given.host, given.port, line))


if __name__ == "__main__":
    main()
