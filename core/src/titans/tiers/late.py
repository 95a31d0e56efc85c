"""Late adoption into a month that later months build on.

Where no full snapshot comes first, a month's keyframes hold what earlier months left. Months have
manifests of their own, and no commit spans two of them. So a late adoption first marks the later
months dirty (their dependent keyframes are not trusted from then on), then adopts, then drops those
keyframes and takes its marks away. Marks of a process that died are cleared by whoever wants to
write a keyframe, after it has raised the *fence* of the month they came from: should the process be
alive, its adoption fails at the fence, and it begins again with new marks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from attrs import evolve, frozen

from titans.layout import Paths
from titans.provider import Provider
from titans.slots import Month
from titans.store import ObjectStore
from titans.tiers.commit import Head, commit, pause
from titans.tiers.deletion import listed, stamped
from titans.tiers.manifest import Keyframe, Manifest, Pending

__all__ = ["Marks", "clear", "later_months", "without_keyframes"]


def without_keyframes(manifest: Manifest, gone: Callable[[Keyframe], bool]) -> Manifest:
    """`manifest` without some keyframes, which are to be removed after the grace period."""
    names = tuple(k.file for k in manifest.keyframes if gone(k))
    if not names:
        return manifest
    kept = evolve(manifest, keyframes=tuple(k for k in manifest.keyframes if k.file not in names))
    return listed(kept, Pending(None, names))


def later_months(store: ObjectStore, paths: Paths, month: Month) -> list[Month]:
    """Months after `month` that may have a manifest, ascending; the next one even if the store's
    list lags.
    """
    listed_ = (
        paths.parse_manifest_key(e.key)
        for e in store.list(paths.warm_prefix + "/", paths.after_warm_month(month))
    )
    return sorted({m for m in listed_ if m is not None} | {month.next()})


@frozen
class Marks:
    """What one adoption into `month` has set on later months."""

    month: Month
    token: str
    fence: int
    """The month's fence when they were set: the adoption is void if it is another one by then."""
    later: tuple[Month, ...]

    @classmethod
    def set(
        cls,
        store: ObjectStore,
        paths: Paths,
        provider: Provider,
        month: Month,
        fence: int,
        wait: Callable[[int], None] = pause,
    ) -> Marks:
        """Mark the months up to the first one with a full snapshot: nothing reaches past that."""
        token = f"{month}/{secrets.token_hex(8)}"

        def mark(head: Head) -> Manifest | None:
            if head.blob is None:
                return None
            now = stamped(head)
            return evolve(now, dirty=(*now.dirty, token), marks=now.marks + 1)

        marked = []
        for later in later_months(store, paths, month):
            manifest = commit(store, paths, provider, later, mark, wait=wait)
            if token in manifest.dirty:
                marked.append(later)
            if manifest.full:
                break
        return cls(month, token, fence, tuple(marked))

    def release(
        self,
        store: ObjectStore,
        paths: Paths,
        provider: Provider,
        wait: Callable[[int], None] = pause,
    ) -> None:
        """Drop the keyframes that the adoption has made wrong, and take the marks away."""
        for later in self.later:
            commit(
                store,
                paths,
                provider,
                later,
                lambda head: _released(head, (self.token,)),
                wait=wait,
            )


def clear(
    store: ObjectStore,
    paths: Paths,
    provider: Provider,
    manifest: Manifest,
    wait: Callable[[int], None] = pause,
) -> Manifest:
    """`manifest`'s month without the marks that are on it now; what set them begins again, if it is
    still alive.
    """
    for month in sorted({Month.parse(token.partition("/")[0]) for token in manifest.dirty}):
        commit(
            store,
            paths,
            provider,
            month,
            lambda head: evolve(stamped(head), fence=head.manifest.fence + 1),
            wait=wait,
        )
    return commit(
        store,
        paths,
        provider,
        manifest.month,
        lambda head: _released(head, manifest.dirty),
        wait=wait,
    )


def _released(head: Head, tokens: tuple[str, ...]) -> Manifest | None:
    if not any(token in tokens for token in head.manifest.dirty):
        return None
    clean = evolve(stamped(head), dirty=tuple(t for t in head.manifest.dirty if t not in tokens))
    return without_keyframes(clean, lambda k: k.dependent)
