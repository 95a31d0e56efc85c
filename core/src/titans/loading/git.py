"""The versions of a file in the history of a git repository. Nothing is checked out.

The history is that of the first parents of what is checked out now: a merge counts when it was
made, not what was merged. A file that was renamed has its history under the name that is asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from attrs import define, field, frozen

from titans.errors import InputError

__all__ = ["FileHistory", "Version", "last_of_each"]

_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")
"""Variables that would lead to another repository than the one that is named."""


@frozen
class Version:
    """A commit that changed the file."""

    commit: str
    time: datetime
    """When it was committed, in UTC."""


def last_of_each(versions: list[Version], interval: timedelta) -> list[Version]:
    """Of versions in order, the last one of each interval; they are counted from 1970 on."""
    if interval <= timedelta(0):
        raise InputError("--every is longer than nothing, like 1h")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    last = {(version.time - epoch) // interval: version for version in versions}
    return list(last.values())


@define(eq=False)
class FileHistory:
    """A file in a repository.

    A context manager: one process of git answers all questions for contents.

    Args:
        repository: a folder of a work tree, or a bare repository.
        path: of the file, below that folder.

    Raises:
        InputError: there is no git, no repository, or the path cannot be one.
    """

    repository: Path
    path: str
    _git: str = field(init=False)
    _full: str = field(init=False)
    """The path below the top of the repository."""
    _contents: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        git = shutil.which("git")
        if git is None:
            raise InputError("git is not installed, or not on the PATH; it reads the history")
        if not self.path or any(letter in self.path for letter in "\n\0"):
            raise InputError(f"{self.path!r} is no path of a file")
        self._git = git

        below = self._ask("rev-parse", "--show-prefix").strip()
        self._full = os.path.normpath(os.path.join(below, self.path))  # noqa: PTH118 - in git
        if self._full.startswith(("..", "/")):
            raise InputError(f"{self.path} lies outside the repository {self.repository}")

    def __enter__(self) -> FileHistory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._contents is not None:
            self._contents.kill()
            self._contents.communicate()
            self._contents = None

    def versions(self) -> list[Version]:
        """The commits that changed the file, by their times; of equal times, in order.

        Raises:
            InputError: there is none.
        """
        listed = self._ask(
            "rev-list",
            "--first-parent",
            "--reverse",
            "--timestamp",
            "HEAD",
            "--",
            f":(top,literal){self._full}",
        )
        found = []
        for line in listed.splitlines():
            seconds, commit = line.split()
            found.append(Version(commit, datetime.fromtimestamp(int(seconds), UTC)))
        if not found:
            raise InputError(
                f"no commit of the current branch of {self.repository} has a file {self.path}"
            )
        return sorted(found, key=lambda version: version.time)

    def content(self, version: Version) -> bytes | None:
        """The file as it was then; `None` where the commit removed it.

        Raises:
            InputError: it was no file, or its content is not in this repository.
        """
        if self._contents is None:
            self._contents = subprocess.Popen(  # noqa: S603 - the arguments are ours
                [self._git, "-C", str(self.repository), "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        asked, answered = _pipes(self._contents)
        asked.write(f"{version.commit}:{self._full}\n".encode("utf-8", "surrogateescape"))
        asked.flush()

        head = answered.readline()
        if head.endswith(b" missing\n"):
            listed = self._ask("ls-tree", version.commit, "--", f":(top,literal){self._full}")
            if not listed:
                return None
            raise InputError(
                f"{self._at(version)}: its content is not in this clone; fetch it whole"
            )
        if not head:
            raise InputError(f"{self._at(version)}: git gave no answer")
        _, kind, size = head.split()
        data = answered.read(int(size) + 1)[:-1]
        if kind != b"blob":
            raise InputError(f"{self._at(version)} is a folder, not a file")
        return data

    def _at(self, version: Version) -> str:
        return f"{self.path} in commit {version.commit[:12]}"

    def _ask(self, *arguments: str) -> str:
        if not self.repository.is_dir():
            raise InputError(f"{self.repository} is no folder, so it is no git repository")
        done = subprocess.run(  # noqa: S603 - no shell; a path stands behind --
            [self._git, "-C", str(self.repository), *arguments],
            capture_output=True,
            check=False,
            env=_environment(),
        )
        if done.returncode == 0:
            return os.fsdecode(done.stdout)

        said = os.fsdecode(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        if "ambiguous argument 'HEAD'" in said[0] or "bad revision 'HEAD'" in said[0]:
            raise InputError(f"{self.repository} has no commit yet on its current branch")
        raise InputError(f"git cannot read {self.repository}: {said[0].removeprefix('fatal: ')}")


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise InputError("git cannot be asked")  # it was started with both
    return process.stdin, process.stdout


def _environment() -> dict[str, str]:
    """Ours, in English, and for the repository that is named."""
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
