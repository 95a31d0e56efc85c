"""The rules of writing as a program of a hundred lines: collectors, uploaders and correctors over two
keys and a few slots, in every order, with crashes, late slots and lists that lag.

The promise: the state at every acknowledged snapshot is the latest content that was acknowledged
for its slot. Each part of the rules can be taken away, to show that it is needed.

    python tests/model/model.py 1500
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from random import Random

from attrs import define, evolve, field, frozen

KEYS, VALUES = "ab", (1, 2)

State = dict[str, int]
Change = dict[str, int | None]
"""Key → value; `None`: it is gone."""


@frozen
class Rules:
    """Parts of the rules that can be missing."""

    explicit_base: bool = True
    """A snapshot is compared with an adopted one, which its file names."""
    restores: bool = True
    """What is not as the base of a file says is put right when it is adopted."""
    corrects: bool = True
    """What comes late leaves the next snapshot what it was."""
    amends_next: bool = True
    """And so does other content of a slot."""
    outdated: bool = True
    """A file whose base was rewritten is never adopted."""
    rechecks: bool = True
    """A rewrite is committed only if nothing was adopted or rewritten since it was made."""
    closes: bool = True
    """A retracted slot stays taken."""


@frozen(eq=False)
class File:
    """A hot file."""

    rows: Change
    snapshot: State | None = None
    """`None`: an upload."""
    base: int | None = None
    seen: int = 0
    """How many rewrites there were when the base was read."""


@define(eq=False)
class World:
    """An archive of one month."""

    rules: Rules
    hot: dict[int, File] = field(factory=dict)
    rows: dict[tuple[int, str], int | None] = field(factory=dict)
    adopted: dict[int, State | None] = field(factory=dict)
    """Slot → its snapshot; `None` where it is none."""
    rewrites: list[int] = field(factory=list)
    """The slots, in order."""
    acknowledged: dict[int, State | None] = field(factory=dict)
    """Slot → its latest content; `None`: it was retracted."""

    def snapshots(self) -> list[int]:
        return sorted(slot for slot, state in self.adopted.items() if state is not None)

    def state(self, slot: int, *, before: bool = False) -> State:
        found: State = {}
        for (time, key), value in sorted(self.rows.items()):
            if time < slot or (time == slot and not before):
                found.pop(key, None)
                if value is not None:
                    found[key] = value
        return found

    # --- adopting ---------------------------------------------------------------------------------

    def is_outdated(self, file: File) -> bool:
        since = self.rewrites[file.seen :]
        return self.rules.outdated and file.base is not None and file.base in since

    def adopt(self, hidden: frozenset[int] = frozenset()) -> None:
        for slot in sorted(self.hot):
            file = self.hot[slot]
            if slot not in self.adopted and slot not in hidden and not self.is_outdated(file):
                self._adopt(slot, file)

    def _adopt(self, slot: int, file: File) -> None:
        rows = dict(file.rows)
        if self.rules.restores and file.snapshot is not None:
            base = {} if file.base is None else self.state(file.base)
            seen, without = applied(base, rows), applied(self.state(slot, before=True), rows)
            rows |= difference(without, seen)
        following = min((s for s in self.snapshots() if s > slot), default=None)
        if self.rules.corrects and following is not None:
            self._hold(slot, following, list(rows))
        for key, value in rows.items():
            self.rows[slot, key] = value
        self.adopted[slot] = file.snapshot

    def _hold(self, slot: int, following: int, keys: list[str]) -> None:
        held = self.state(following)
        for key in keys:
            if not any(k == key and slot < time <= following for time, k in self.rows):
                self.rows[following, key] = held.get(key)

    def seen_by_a_reader(self) -> World:
        """Readers adopt as compaction does, in memory."""
        seen = evolve(self, rows=dict(self.rows), adopted=dict(self.adopted))
        seen.adopt()
        return seen

    # --- actors: at each yield others go on, or the process dies ----------------------------------

    def ingest(self, slot: int, snapshot: State, hidden: frozenset[int]) -> Iterator[str]:
        for _ in range(3):
            if slot in self.adopted:
                break
            base = max((s for s in self.snapshots() if s < slot), default=None)
            old = {} if base is None else self.state(base)
            if not self.rules.explicit_base:
                base, old = None, self.seen_by_a_reader().state(slot)
            seen = len(self.rewrites)
            yield "read"
            file = File(difference(old, snapshot), snapshot, base, seen)
            there = self.hot.get(slot)
            if there is None or (slot not in self.adopted and self.is_outdated(there)):
                self.hot[slot] = file
            yield "hot"
            self.adopt(hidden - {slot})
        if self.adopted.get(slot) == snapshot:
            self.acknowledged[slot] = snapshot

    def upload(self, slot: int, rows: Change, hidden: frozenset[int]) -> Iterator[str]:
        if slot not in self.hot and slot not in self.adopted:
            self.hot[slot] = File(rows)
            yield "hot"
        self.adopt(hidden)

    def amend(self, slot: int, snapshot: State | None, hidden: frozenset[int]) -> Iterator[str]:
        """Another snapshot, or `None`: the slot is retracted."""
        for _ in range(5):
            self.adopt(hidden)
            if slot not in self.adopted:
                return
            known = dict(self.adopted), len(self.rewrites)
            rows = self._rewritten(slot, snapshot)
            yield "written"
            if self.rules.rechecks and known != (self.adopted, len(self.rewrites)):
                continue
            self.rows = rows if self.rules.rechecks else self._over(rows, slot)
            self.adopted[slot] = snapshot
            self.rewrites.append(slot)
            self.acknowledged[slot] = snapshot
            if snapshot is None and not self.rules.closes:
                del self.adopted[slot]
            return

    def _rewritten(self, slot: int, snapshot: State | None) -> dict[tuple[int, str], int | None]:
        before, old = self.state(slot, before=True), self.state(slot)
        new = before if snapshot is None else snapshot
        rows = {place: value for place, value in self.rows.items() if place[0] != slot}
        rows |= {(slot, key): value for key, value in difference(before, new).items()}
        following = min((s for s in self.snapshots() if s > slot), default=None)
        if following is None or not self.rules.amends_next:
            return rows

        held = self.state(following)
        for key in difference(old, new):
            rows.pop((following, key), None)
            without = evolve(self, rows=rows).state(following).get(key)
            if without != held.get(key):
                rows[following, key] = held.get(key)
        return rows

    def _over(
        self, rows: dict[tuple[int, str], int | None], slot: int
    ) -> dict[tuple[int, str], int | None]:
        """What was adopted meanwhile, and the rewrite as it was made."""
        newer = {place: v for place, v in self.rows.items() if place not in rows}
        return rows | {place: v for place, v in newer.items() if place[0] != slot}


def difference(old: State, new: State) -> Change:
    return {key: new.get(key) for key in KEYS if old.get(key) != new.get(key)}


def applied(state: State, rows: Change) -> State:
    found = dict(state)
    for key, value in rows.items():
        found.pop(key, None)
        if value is not None:
            found[key] = value
    return found


# --- runs -----------------------------------------------------------------------------------------


@frozen
class Scenario:
    """Who is at work, and what goes wrong."""

    width: int = 1
    """So many at once."""
    crashes: float = 0.0
    uploads: float = 0.0
    lag: float = 0.0
    corrections: float = 0.0
    slots: int = 5


SCENARIOS = {
    "one after the other": Scenario(uploads=0.3),
    "at once": Scenario(width=3, crashes=0.2, uploads=0.3, lag=0.4),
    "corrected, one after the other": Scenario(uploads=0.3, corrections=0.4),
    "corrected, at once": Scenario(width=3, corrections=0.4),
    "corrected, everything": Scenario(4, crashes=0.2, uploads=0.3, lag=0.4, corrections=0.4),
}


def run(seed: int, rules: Rules, scenario: Scenario) -> tuple[str, list[str]] | None:
    """What broke the promise, and what led there; `None` if nothing did."""
    random, world, trace = Random(seed), World(rules), list[str]()
    jobs = list(_jobs(random, scenario))
    random.shuffle(jobs)
    live: list[tuple[str, Generator[str]]] = []
    while jobs or live:
        if jobs and len(live) < scenario.width and (not live or random.random() < 0.5):
            name, slot, content = jobs.pop()
            hidden = frozenset(s for s in world.hot if random.random() < scenario.lag)
            act: Callable = getattr(world, name)
            live.append((f"{name}({slot}, {content})", act(slot, content, hidden)))
        at = random.randrange(len(live))
        what, actor = live[at]
        step = next(actor, None)
        trace.append(f"{what} {step or 'done'}")
        if step is None:
            live.pop(at)
        elif random.random() < scenario.crashes:
            trace.append(f"{what} dies")
            live.pop(at)
        broken = _broken(world)
        if broken:
            return broken, trace
    return None


def _jobs(random: Random, scenario: Scenario) -> Iterator[tuple[str, int, object]]:
    for slot in range(scenario.slots):
        for _ in range(random.choice((1, 1, 2))):
            snapshot = {key: random.choice(VALUES) for key in KEYS if random.random() < 0.8}
            if random.random() < scenario.uploads:
                rows = {k: random.choice((*VALUES, None)) for k in KEYS if random.random() < 0.6}
                yield "upload", slot, rows or {"a": 1}
            else:
                yield "ingest", slot, snapshot
        if random.random() < scenario.corrections:
            other = {key: random.choice(VALUES) for key in KEYS if random.random() < 0.8}
            yield "amend", slot, random.choice((other, other, None))


def _broken(world: World) -> str:
    seen = world.seen_by_a_reader()
    for slot, snapshot in world.acknowledged.items():
        if snapshot is None and seen.adopted.get(slot) is not None:
            return f"{slot} was retracted, and says {seen.adopted[slot]}"
        if snapshot is not None and seen.state(slot) != snapshot:
            return f"the state at {slot} is {seen.state(slot)}, acknowledged was {snapshot}"
    return ""


VARIANTS = {
    "explicit_base": Rules(explicit_base=False),
    "restores": Rules(restores=False),
    "corrects": Rules(corrects=False),
    "amends_next": Rules(amends_next=False),
    "outdated": Rules(outdated=False),
    "rechecks": Rules(rechecks=False),
    "closes": Rules(closes=False),
}
"""The rules without one part."""


def main(runs: int) -> None:
    for name, rules in {"all rules": Rules(), **VARIANTS}.items():
        print(name if rules == Rules() else f"without {name}")
        for scenario, details in SCENARIOS.items():
            broken = sum(run(seed, rules, details) is not None for seed in range(runs))
            print(f"  {scenario:34} {broken:6} of {runs} runs break the promise")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1500)
