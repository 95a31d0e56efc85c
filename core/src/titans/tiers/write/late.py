"""Late adoption into a month that later months build on.

Where no full snapshot comes first, a month's keyframes hold what earlier months left; the border of
its first full snapshot says what that changed against it. Months have manifests of their own, and
no commit spans two of them. So a late adoption first marks the later months dirty (what depends on
earlier months is not trusted from then on), then adopts, then drops that and takes its marks away.
Marks of a process that died are cleared by whoever wants to write a keyframe, after it has raised
the *fence* of the month they came from: should the process be alive, its adoption fails at the
fence, and it begins again with new marks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

from attrs import define, evolve, frozen

from titans.dataset import Dataset
from titans.errors import RetryableError
from titans.slots import Month
from titans.tiers.manifest.commit import ATTEMPTS, Head, commit, list_months
from titans.tiers.manifest.deletion import stamped, without_files, without_keyframes
from titans.tiers.manifest.model import Manifest

__all__ = ["MarkedCommit", "Marks", "clear_marks", "list_later_months"]


def list_later_months(dataset: Dataset, month: Month) -> list[Month]:
    """Months after `month` that may have a manifest, ascending; the next one even if the store's
    list lags.
    """
    stored = list_months(dataset, dataset.paths.after_warm_month(month))
    return sorted({month.next(), *stored})


@frozen
class Marks:
    """What one adoption into `month` has set on later months."""

    month: Month
    token: str
    fence: int
    """The month's fence when they were set: the adoption is void if it is another one by then."""
    later: tuple[Month, ...]

    @classmethod
    def set(cls, dataset: Dataset, month: Month, fence: int) -> Marks:
        """Mark the months up to the first one with a full snapshot: nothing reaches past that."""
        token = f"{month}/{secrets.token_hex(8)}"

        def mark(head: Head) -> Manifest | None:
            if head.blob is None:
                return None
            now = stamped(head)
            return evolve(now, dirty=(*now.dirty, token), marks=now.marks + 1)

        marked = []
        for later in list_later_months(dataset, month):
            manifest = commit(dataset, later, mark)
            if token in manifest.dirty:
                marked.append(later)
            if manifest.full:
                break
        return cls(month, token, fence, tuple(marked))

    def release(self, dataset: Dataset) -> None:
        """Drop the keyframes and borders that the adoption has made wrong, and the marks."""
        for later in self.later:
            commit(dataset, later, lambda head: _released(head, (self.token,)))


class _UnmarkedError(Exception):
    """Later months may build on this one, and have to be marked first."""

    def __init__(self, fence: int) -> None:
        super().__init__(fence)
        self.fence = fence


@define(eq=False)
class MarkedCommit:
    """A commit to a month that sets marks on later ones first, where it turns out that it must."""

    dataset: Dataset
    month: Month
    marks: Marks | None = None

    def require_marks(self, head: Head) -> None:
        """To be called by what is committed, where it changes what later months are built on."""
        fence = head.manifest.fence
        if self.marks is None or self.marks.fence != fence:
            raise _UnmarkedError(fence)

    def run(
        self, mutate: Callable[[Head], Manifest | None], head: Head | None = None
    ) -> Manifest | None:
        """As `commit`; `None` where the fence was raised again and again."""
        for _ in range(ATTEMPTS):
            try:
                manifest = commit(self.dataset, self.month, mutate, head=head)
            except _UnmarkedError as unmarked:
                self.marks = Marks.set(self.dataset, self.month, unmarked.fence)
                head = None
                continue
            if self.marks is not None:
                # Else the marks stay, and what they are on is not trusted.
                with suppress(RetryableError):
                    self.marks.release(self.dataset)
            return manifest
        return None


def clear_marks(dataset: Dataset, manifest: Manifest) -> Manifest:
    """`manifest`'s month without the marks that are on it now; what set them begins again, if it is
    still alive.
    """
    for month in sorted({Month.parse(token.partition("/")[0]) for token in manifest.dirty}):
        commit(dataset, month, _fenced)
    return commit(dataset, manifest.month, lambda head: _released(head, manifest.dirty))


def _fenced(head: Head) -> Manifest:
    return evolve(stamped(head), fence=head.manifest.fence + 1)


def _released(head: Head, tokens: tuple[str, ...]) -> Manifest | None:
    kept = tuple(token for token in head.manifest.dirty if token not in tokens)
    if kept == head.manifest.dirty:
        return None
    manifest = evolve(stamped(head), dirty=kept)
    keyframes = [keyframe for keyframe in manifest.keyframes if keyframe.dependent]
    borders = [entry for entry in manifest.files if manifest.is_dependent(entry)]
    if borders:
        manifest = evolve(without_files(manifest, borders), sealed=False)
    return without_keyframes(manifest, keyframes)
