"""Classes that compare by value hold nothing that cannot be compared: `==` of two frames is a
frame, which is neither true nor false."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator

import attrs
import polars as pl
import pytest

import titans

FRAMES = {"DataFrame", "LazyFrame", "Series", "Expr"}


def classes() -> Iterator[type]:
    """Every attrs class of the core."""
    for found in pkgutil.walk_packages(titans.__path__, "titans."):
        if ".templates" in found.name:
            continue
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            is_own = isinstance(value, type) and value.__module__ == found.name
            if is_own and attrs.has(value):
                yield value


def mentioned(each: type) -> Iterator[str | type]:
    """What the fields of a class that count in `==` are said to hold."""
    module = vars(sys.modules[each.__module__])
    for field in attrs.fields(each):
        if field.eq:
            for word in re.findall(r"\w+", str(field.type)):
                found = module.get(word, word)
                yield found if isinstance(found, type) else word


def holders(candidates: list[type]) -> set[type]:
    """Those that may hold a frame, themselves or in one of their fields."""
    holding: set[type] = set()
    while True:
        names = FRAMES | {each.__name__ for each in holding}
        found = {
            each
            for each in candidates
            if any(what in holding or what in names for what in mentioned(each))
        }
        if found == holding:
            return found
        holding = found


def compares_by_value(each: type) -> bool:
    return each.__eq__ is not object.__eq__


def test_no_class_that_may_hold_a_frame_compares_by_value():
    candidates = list(classes())
    holding = holders(candidates)
    names = {each.__name__ for each in holding}
    assert {"Selection", "Part", "MonthView", "HotFile", "Delta"} <= names, "the search finds them"
    wrong = [f"{c.__module__}.{c.__name__}" for c in holding if compares_by_value(c)]
    assert sorted(wrong) == []


@pytest.mark.parametrize("hold", [pl.DataFrame, lambda: pl.lit(1)])
def test_the_search_is_for_something_that_breaks(hold):
    @attrs.frozen
    class Holder:
        frame: pl.DataFrame

    @attrs.frozen
    class Outer:
        inner: Holder | None

    assert holders([Holder, Outer]) == {Holder, Outer}
    with pytest.raises(TypeError):
        bool(Outer(Holder(hold())) in [Outer(Holder(hold()))])
