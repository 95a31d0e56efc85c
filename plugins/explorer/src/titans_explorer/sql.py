"""SQL in a process of its own, which is ended when it takes too long or too much.

The query can reach nothing but the archive (see `Archive.sql`). The process is started before the
first question and stays for the next one.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
from attrs import define, field

from titans import Archive
from titans.errors import InputError
from titans_explorer.limits import Limits

__all__ = ["Queries", "answer_all"]

log = logging.getLogger("titans.explorer")

_LOOK = 0.05
"""Seconds between two looks at the process."""
_TELLS_PLACES = ("explain", "current_setting", "filename")
"""Words that would show where files lie, unless they are columns of the archive."""


@define(eq=False)
class _Process:
    """The process, the pipe to it, and the folder for what it has no memory for."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def start(cls) -> _Process:
        ours, theirs = multiprocessing.Pipe()
        folder = tempfile.TemporaryDirectory(prefix="titans-explorer-", ignore_cleanup_errors=True)
        # Not through multiprocessing, which would import the main module of this process again.
        code = (
            "import sys; from titans_explorer.sql import answer_all; answer_all(int(sys.argv[1]))"
        )
        process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", code, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "TMPDIR": folder.name},
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        return cls(process, ours, folder)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.pipe.close()
        self.folder.cleanup()

    @property
    def memory(self) -> int:
        """Bytes that it holds; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * 4096


@define(eq=False)
class Queries:
    """Answers SQL, one query after the other."""

    limits: Limits
    _process: _Process | None = field(default=None, init=False)
    _turn: Lock = field(factory=Lock, init=False)

    def warm(self) -> None:
        """Start the process, so that the first query need not wait for it."""
        with self._turn:
            if self._process is None:
                self._process = _Process.start()

    def close(self) -> None:
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def ask(self, archive: Archive, query: str) -> tuple[pl.DataFrame, int]:
        """The first rows of the answer, and how many it has.

        Raises:
            InputError: the query is not acceptable, takes too long or too much memory.
        """
        columns = {name.lower() for name in archive.provider.canonical_columns}
        for word in _TELLS_PLACES:
            if word not in columns and re.search(rf"\b{word}\b", query, re.IGNORECASE):
                raise InputError(f"{word} is not answered here: it would tell where files lie")
        if archive.store.url.startswith("memory:"):
            raise InputError("SQL needs a store that another process can open: a folder or S3")
        if not self._turn.acquire(timeout=self.limits.sql_seconds):
            raise InputError("another query is still running; try again")
        try:
            return self._ask(archive, query)
        finally:
            self._turn.release()

    def _ask(self, archive: Archive, query: str) -> tuple[pl.DataFrame, int]:
        process = self._process
        if process is None or process.process.poll() is not None:
            self._end()
            process = self._process = _Process.start()
            self._wait(process, 60.0)  # until it has imported what it needs
        elif process.pipe.poll():
            process.pipe.recv()  # it says so when it is ready
        process.pipe.send((archive, query, self.limits.sql_rows))
        answer = self._wait(process, self.limits.sql_seconds)
        while answer == "ready":
            answer = self._wait(process, self.limits.sql_seconds)
        error, data, count = answer
        if error:
            raise InputError(error.replace(process.folder.name, "…"))
        return pl.read_ipc(BytesIO(data)), count

    def _wait(self, process: _Process, seconds: float) -> Any:
        """What the process says next; it is ended where it takes too long or too much."""
        until = time.monotonic() + seconds
        try:
            while not process.pipe.poll(_LOOK):
                if process.memory > self.limits.sql_bytes:
                    self._end()
                    raise InputError(
                        f"the query needs more than {self.limits.sql_bytes / 1e9:.1f} GB of memory "
                        "and was stopped; ask for fewer rows or columns"
                    )
                if time.monotonic() > until:
                    self._end()
                    raise InputError(
                        f"the query took longer than {seconds:g} s and was stopped; ask for less"
                    )
            return process.pipe.recv()
        except (EOFError, OSError) as error:
            self._end()
            raise InputError("the query ended the process that answers; ask for less") from error


def answer_all(handle: int) -> None:
    """In the process: one query after the other, until the pipe is closed."""
    import duckdb  # noqa: F401  imported now, not by the first query

    pipe = Connection(handle)
    pipe.send("ready")
    while True:
        try:
            archive, query, rows = pipe.recv()
        except EOFError:
            return
        try:
            frame = archive.sql(query)
            buffer = BytesIO()
            frame.head(rows).write_ipc(buffer, compression="zstd")
            pipe.send(("", buffer.getvalue(), frame.height))
        # Whatever it is, the page says it, and the next query is answered.
        except Exception as error:  # noqa: BLE001
            pipe.send((str(error) or type(error).__name__, b"", 0))
