"""What happens to an archive in generated cases, step by step, around the end of a month."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from oracle import at, changes, snapshot

from titans import Archive
from titans.errors import SnapshotExpiredError, TitansError

__all__ = [
    "KEYS",
    "SLOTS",
    "corrections",
    "done",
    "early_merges",
    "ingests",
    "sealing",
    "states",
    "uploads",
    "waiting",
]

SLOTS = range(-6, 20)  # the month changes at 12
KEYS = "abcde"

states = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(0, 2), st.just(0.5)), min_size=1
)
ingests = st.tuples(st.just("ingest"), st.sampled_from(SLOTS), states)
uploads = st.tuples(st.just("upload"), st.sampled_from(SLOTS), states)
waiting = st.tuples(st.just("wait"), st.sampled_from(SLOTS), states)
sealing = st.sampled_from([("compact",), ("seal", "2026-01"), ("compact",), ("seal", "2026-02")])
corrections = st.one_of(
    st.tuples(st.just("amend"), st.sampled_from(SLOTS), states),
    st.tuples(st.just("retract"), st.sampled_from(SLOTS)),
    st.tuples(st.just("erase"), st.sampled_from(KEYS)),
)


def done(archive: Archive, step: tuple[Any, ...]) -> None:
    """Do it, unless the archive refuses it."""
    kind, *given_to = step
    try:
        if kind == "ingest":
            archive.ingest(snapshot(given_to[1]), at(given_to[0], 3), max_ceased=1.0)
        elif kind in ("upload", "wait"):
            key = archive.upload(changes(given_to[1]), at(given_to[0], 4))
            if kind == "upload":
                archive.compact(key)
        elif kind == "amend":
            archive.amend(snapshot(given_to[1]), at(given_to[0], 3), reason="test")
        elif kind == "retract":
            archive.retract(at(given_to[0], 3), reason="test")
        elif kind == "erase":
            archive.erase([{"k": given_to[0]}], reason="test")
        elif kind == "seal":
            archive.seal(given_to[0])
        elif kind == "vacuum":
            archive.vacuum("0s")
        else:
            archive.compact()
    except TitansError as error:
        assert not isinstance(error, SnapshotExpiredError)


@contextmanager
def early_merges() -> Iterator[None]:
    """Merges and keyframes come early, and every range is a task."""
    with (
        patch("titans.read.plan._ROWS", 0),
        patch("titans.tiers.compact.plan.FANOUTS", (3, 3)),
        patch("titans.tiers.compact.plan.TOP", 2),
        patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True),
    ):
        yield
