"""What is tried in a rehearsal happens in it as in a store, and does not reach the store below."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from titans.errors import StoreError
from titans.store import ObjectStore
from titans.store._overlay import Overlay
from titans.store.memory import MemoryStore

KEYS = st.sampled_from(["a", "a/b", "b", "b/c"])
DATA = st.binary(max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), KEYS, DATA),
        st.tuples(st.just("replace"), KEYS, DATA, st.booleans()),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("get_range"), KEYS, st.just(0), st.just(1)),
        st.tuples(st.just("head"), KEYS),
        st.tuples(st.just("list"), st.sampled_from(["", "a", "b/"]), st.sampled_from(["", "a"])),
    ),
    max_size=12,
)


def outcome(store, step):
    """What a step answers, without what two stores have of their own."""
    method, *arguments = step
    if method == "replace":
        key, data, fresh = arguments
        etag = "stale"
        if fresh:
            with suppress(StoreError):
                etag = store.head(key).etag
        arguments = [key, data, etag]
    try:
        answer = getattr(store, method)(*arguments)
    except StoreError as error:
        return type(error)
    if method == "list":
        return [(entry.key, entry.size) for entry in answer]
    if method == "head":
        return answer.key, answer.size
    return answer.data if method == "get" else answer


@settings(deadline=None)
@given(st.dictionaries(KEYS, DATA), STEPS)
def test_it_answers_as_a_store_does_and_the_store_below_stays(content, steps):
    below, plain = MemoryStore(), MemoryStore()
    for key, data in content.items():
        below.create(key, data)
        plain.create(key, data)
    tried = Overlay(below)
    assert isinstance(tried, ObjectStore)
    for step in steps:
        assert outcome(tried, step) == outcome(plain, step), step
    assert {entry.key: below.get(entry.key).data for entry in below.list()} == content
