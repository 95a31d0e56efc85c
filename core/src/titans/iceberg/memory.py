"""Files as pyiceberg reads and writes them, in memory: stores take and give whole objects."""

from __future__ import annotations

import io
from typing import Any

from pyiceberg.io import InputFile, OutputFile

__all__ = ["Given", "Written"]


class _Kept(io.BytesIO):
    """What was written stays after it is closed."""

    kept = b""

    def close(self) -> None:
        if not self.closed:
            self.kept = self.getvalue()
        super().close()


class Written(OutputFile):
    """A file that is being written; `location` is the URL that it will have."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self._stream = _Kept()

    @property
    def data(self) -> bytes:
        """All of it, once it was closed."""
        return self._stream.kept

    def __len__(self) -> int:
        return len(self.data)

    def exists(self) -> bool:
        return False

    def to_input_file(self) -> InputFile:
        return Given(self.location, self.data)

    def create(self, overwrite: bool = False) -> Any:  # noqa: ARG002 - as pyiceberg calls it
        return self._stream


class Given(InputFile):
    """An object that was read."""

    def __init__(self, location: str, data: bytes) -> None:
        super().__init__(location)
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002 - as pyiceberg calls it
        return io.BytesIO(self._data)
