"""Reading manifests before it is known which hot files wait, to save round trips.

What a look sees is consistent where the hot files are listed first, and months and manifests are
read after that: what is removed by then has been adopted. Where round trips are long, all of that
is asked for at once, and once more, while the data is on its way, whether it is still so. Where it
is not, the question is asked again in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

from attrs import define, field, frozen

from titans.dataset import Dataset
from titans.errors import TitansError
from titans.slots import Month
from titans.tiers.files.fetch import fetch_all
from titans.tiers.manifest.commit import Head, list_months, read_head
from titans.tiers.write.hot import list_hot_since

__all__ = ["Beginning", "Confirmation", "Seen"]


_FEW = 12


@define(eq=False)
class Seen:
    """The months that the last look at an archive found: a guess, for the next one to begin with.

    Threads may share it: at worst a guess is an older one.
    """

    months: tuple[Month, ...] = ()
    newest: Month | None = None

    @property
    def few_months(self) -> tuple[Month, ...]:
        """All of them, unless there are so many that most questions will not need them."""
        return self.months if len(self.months) <= _FEW else ()

    def is_worth_it(self, dataset: Dataset) -> bool:
        """Whether asking at once is faster than asking in order."""
        return dataset.store.parallel


@frozen(eq=False)
class Beginning:
    """What was asked for at once."""

    dataset: Dataset
    hot: Mapping[Month, dict[int, str]]
    """Keys of hot files, by month and slot."""
    heads: Mapping[Month, Head]
    list_after: str | None
    listed: tuple[Month, ...]
    """Months that have a manifest, of those whose keys are greater than `list_after`."""

    @classmethod
    def read(
        cls, dataset: Dataset, months: Sequence[Month], list_after: str | None = None
    ) -> Beginning:
        """With the manifests of `months`; without `list_after` no months are listed."""
        # The hot files last: a store that answers one by one is asked in the wrong order.
        asks: list[Callable[[], Any]] = [lambda: _listed(dataset, list_after)]
        asks += [_reading(dataset, month) for month in months]
        asks.append(lambda: list_hot_since(dataset).months)
        listed, *heads, hot = fetch_all(dataset.store, lambda ask: ask(), asks)
        return cls(dataset, hot, dict(zip(months, heads, strict=True)), list_after, listed)

    def is_still_so(self) -> bool:
        """Whether reading in order would have seen the same."""
        asks = [_reading(self.dataset, month) for month in self.heads]
        asks.append(lambda: _listed(self.dataset, self.list_after))
        *heads, listed = fetch_all(self.dataset.store, lambda ask: ask(), asks)
        same = [
            _etag(now) == _etag(then) for now, then in zip(heads, self.heads.values(), strict=True)
        ]
        return listed == self.listed and all(same)


def _reading(dataset: Dataset, month: Month) -> Callable[[], Any]:
    return lambda: read_head(dataset, month)


def _listed(dataset: Dataset, list_after: str | None) -> tuple[Month, ...]:
    return () if list_after is None else tuple(list_months(dataset, list_after))


def _etag(head: Head) -> str | None:
    return None if head.blob is None else head.blob.etag


@define(eq=False)
class Confirmation:
    """Asks whether a beginning is still so, while something else is done."""

    beginning: Beginning
    _answer: bool | None = field(default=None, init=False)
    _thread: Thread | None = field(default=None, init=False)

    @classmethod
    def of(cls, beginning: Beginning) -> Confirmation:
        confirmation = cls(beginning)
        if beginning.dataset.store.parallel:
            confirmation._thread = Thread(target=confirmation._ask, daemon=True)
            confirmation._thread.start()
        return confirmation

    def _ask(self) -> None:
        try:
            self._answer = self.beginning.is_still_so()
        except TitansError:
            self._answer = False  # asking in order will say what is wrong

    def holds(self) -> bool:
        """Waits for the answer."""
        if self._thread is not None:
            self._thread.join()
        elif self._answer is None:
            self._ask()
        return bool(self._answer)
