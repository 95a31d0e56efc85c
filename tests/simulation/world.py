"""A run: from a seed, a world of collectors, compactors, vacuums and readers over one store, and
what became of it."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from random import Random
from unittest.mock import patch

import polars as pl
from attrs import define, evolve, field, frozen
from oracle import PROVIDER, UPGRADED, at

from simulation.actors import (
    Amend,
    AmendChanges,
    Break,
    Compact,
    Erase,
    Ingest,
    Job,
    Look,
    Repair,
    Retain,
    Retract,
    Seal,
    Upload,
    Vacuum,
    attempt,
)
from simulation.book import Book, Structure, Violation
from simulation.scheduler import Process, Scheduler
from simulation.store import DAMAGES, FAULTS, Disk, SimulatedStore
from titans import Archive
from titans.slots import parse_duration
from titans.tiers.files import parquet
from titans.tiers.manifest.deletion import GRACE

__all__ = [
    "AGAIN",
    "BUSY",
    "CHANGES",
    "CORRECTED",
    "DAMAGED",
    "ERASED",
    "LATE",
    "LOST",
    "MENDED",
    "PROFILES",
    "READ",
    "RETAINED",
    "SETBACKS",
    "STRANGERS",
    "SWEPT",
    "UNCLEAR",
    "UPGRADE",
    "Outcome",
    "Profile",
    "simulate",
]

KEYS = "abc"
_LIVES = 6
"""How often a process that keeps dying at the same job takes it up again; some would for ever."""

VALUES = [(v, w) for v in range(3) for w in (0.5, 1.5)]


@frozen
class Profile:
    """What a kind of run consists of; the seed decides the rest."""

    faults: Sequence[str] = tuple(FAULTS)
    """Those that may be on. Each run takes some of them, and for each a rate."""
    share: float = 0.35
    """How many of them are on in a run."""
    rates: Sequence[float] = (0.01, 0.03, 0.08)
    """How often one that is on comes."""
    jumps: Sequence[float] = (0.0, 0.0, 0.01, 0.04)
    """How often hours pass between two steps."""
    slots: Sequence[int] = (3, 4, 5, 6, 7)
    fanout: Sequence[int] = (2, 2, 3, 4)
    uploads: float = 0.25
    """Of the slots, those that hold changes instead of a snapshot."""
    twice: float = 0.3
    """Of the slots, those that two collectors compete for."""
    late: float = 0.4
    """Of the slots, those that come out of order."""
    again: float = 0.3
    """Of the writers, those that do one of their jobs once more."""
    compactors: Sequence[int] = (1, 2)
    sealers: Sequence[int] = (0, 0, 1, 2)
    vacuums: Sequence[int] = (0, 1, 2)
    grace: Sequence[str] = ("1h", "1h", "20m", "0s")
    readers: Sequence[int] = (0, 1, 2)
    questions: Sequence[str] = (
        "state",
        "state",
        "changes",
        "changes",
        "range",
        "history",
        "verify",
        "agree",
    )
    at_once: Sequence[bool] = (False, True)
    """Whether readers ask at once, and see what is there in the wrong order."""
    damages: Sequence[str] = ()
    """What somebody does to the archive now and then; each run takes some of them."""
    corrections: Sequence[str] = ()
    """What somebody corrects; each run takes some of them."""
    upgrades: Sequence[int] = ()
    """Steps after which processes begin to work with the next schema version of the provider; none:
    never."""


BUSY = Profile(compactors=(2, 3), fanout=(2,), uploads=0.4)
UNCLEAR = evolve(
    BUSY,
    faults=("own conflict", "lost answer"),
    share=1.0,
    rates=(0.1, 0.2),
    compactors=(3,),
    slots=(7, 8),
)
LATE = Profile(late=0.9, uploads=0.4, readers=(0,))
SWEPT = Profile(
    faults=("slow",),
    share=1.0,
    rates=(0.1, 0.2),
    compactors=(3,),
    vacuums=(3,),
    grace=("0s",),
    fanout=(2,),
    uploads=0.5,
)
AGAIN = evolve(
    SWEPT,
    uploads=0.8,
    again=1.0,
    faults=("lost answer", "late landing", "slow", "crash after", "repeated"),
)
READ = evolve(SWEPT, readers=(4,), questions=("changes",), rates=(0.1, 0.2), jumps=(0.0,))
CHANGES = Profile(
    uploads=1.0,
    twice=0.0,
    late=0.6,
    sealers=(1, 2),
    slots=(6, 7, 8),
    readers=(2, 3),
    questions=("agree",),
)
"""No snapshot at all: a month builds on the one before."""
PROFILES = (Profile(), Profile(), Profile(), BUSY, UNCLEAR, LATE, SWEPT, AGAIN, READ, CHANGES)
UPGRADE = Profile(upgrades=(0, 50, 100, 200, 300), compactors=(2,), sealers=(1,), vacuums=(1,))
"""Both versions are at work for a while: the old one is refused where the new one has begun, and
nothing is lost."""


CORRECTED = Profile(
    corrections=("amend", "amend", "amend changes", "retract"),
    compactors=(1, 2),
    sealers=(0, 1, 1),
    readers=(1, 2),
    slots=(6, 7, 8),
)
"""Somebody corrects what others store, merge and read."""
ERASED = evolve(CORRECTED, corrections=("erase", "amend", "retract"))
RETAINED = evolve(CORRECTED, corrections=("retain", "amend"))
"""Earlier months are removed meanwhile."""


DAMAGED = Profile(
    damages=tuple(DAMAGES),
    twice=0.0,
    again=0.0,
    fanout=(2, 2, 3),
    slots=(6, 7, 8),
    compactors=(2, 3),
    vacuums=(1, 2),
    sealers=(0, 1),
    readers=(1,),
    grace=("0s", "20m"),
    jumps=(0.0, 0.02),
)
"""Manifests are lost, rolled back and damaged, and foreign objects put among the files; somebody
repairs, sometimes while others work, and always at the end."""
LOST = evolve(
    DAMAGED,
    faults=(),
    damages=("lost manifest",),
    jumps=(0.05,),
    grace=("0s",),
    vacuums=(3,),
)
MENDED = evolve(
    DAMAGED,
    faults=[fault for fault in FAULTS if fault != "lagging list"],
    damages=("lost manifest",),
    corrections=("amend", "amend changes", "retract"),
)
"""Manifests are lost of months that somebody has corrected."""
STRANGERS = evolve(DAMAGED, damages=("foreign object",))
SETBACKS = evolve(
    DAMAGED,
    damages=("rolled-back manifest", "lost manifest"),
    faults=("slow", "crash after"),
    jumps=(0.05,),
    grace=("0s",),
    vacuums=(3,),
)


@define
class Outcome:
    """What became of a run."""

    seed: int
    failure: str | None
    trace: list[str]
    fired: Counter[str]
    """Fault → how often."""
    done: Counter[str]
    """Job and result → how often."""
    steps: int

    def __str__(self) -> str:
        return "\n".join([*self.trace, f"seed {self.seed}: {self.failure or 'all promises kept'}"])


def simulate(seed: int, profile: Profile | None = None) -> Outcome:
    """The run of a seed, the same every time; of the profiles, each has its turn."""
    profile = profile or PROFILES[seed % len(PROFILES)]
    run = _Run.of(seed, profile)
    failure = None
    with _reproducible(seed, run.fanout, profile.at_once):
        try:
            run.live()
            run.settle()
        except Violation as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - whatever the archive raises here, it should not have
            where = "".join(traceback.format_exception(error)[-6:])
            failure = f"{type(error).__name__}: {error}\n{where}"
    return Outcome(
        seed, failure, run.scheduler.trace, run.disk.fired, run.done, run.scheduler.steps
    )


@define
class _Run:
    random: Random
    scheduler: Scheduler
    disk: Disk
    fanout: int
    work: dict[str, list[Job]]
    every: int
    """Look at everything after so many jobs."""
    upgrade: int | None = None
    """After so many steps, processes take to the next schema version, each in its own time."""
    book: Book = field(factory=Book)
    done: Counter[str] = field(factory=Counter)
    structure: Structure = field(init=False)
    plain: Archive = field(init=False)
    """Meets no faults, takes no steps."""

    def __attrs_post_init__(self) -> None:
        provider = PROVIDER if self.upgrade is None else UPGRADED
        self.plain = Archive(self.disk.objects, provider, wait=lambda attempt: None)
        graces = [
            parse_duration(job.grace)
            for jobs in self.work.values()
            for job in jobs
            if isinstance(job, Vacuum)
        ]
        self.structure = Structure(self.disk, self.book, self.plain.paths, min([GRACE, *graces]))

    @classmethod
    def of(cls, seed: int, profile: Profile) -> _Run:
        random = Random(seed)
        rates = {
            fault: random.choice([0.3, 0.6] if fault == "lagging list" else profile.rates)
            for fault in profile.faults
            if random.random() < profile.share
        }
        scheduler = Scheduler(random, jumps=random.choice(profile.jumps))
        work = _work(random, profile, lagging="lagging list" in rates)
        run = cls(
            random,
            scheduler,
            Disk(scheduler, random, rates),
            random.choice(profile.fanout),
            work,
            random.choice([3, 6]),
            random.choice(profile.upgrades) if profile.upgrades else None,
        )
        scheduler.say("", f"seed {seed}, merges of {run.fanout}, faults {rates}")
        return run

    # --- the busy part ----------------------------------------------------------------------------

    def live(self) -> None:
        """Everybody works, at once, until all jobs are done or given up."""
        for name, jobs in self.work.items():
            self._start(
                name,
                jobs,
                self.random.randrange(
                    0, 300 if name.startswith(("vacuum", "reader", "vandal", "mender")) else 120
                ),
            )
        self.scheduler.run(self._after_step, self._after_end)

    def _start(self, name: str, jobs: list[Job], after: int) -> None:
        self.scheduler.start(name, partial(self._life, jobs), after=after)

    def _life(self, jobs: list[Job], process: Process) -> None:
        store = SimulatedStore(self.disk, process)
        upgrade = None if self.upgrade is None else self.upgrade + self.random.randrange(150)
        archive = Archive(store, PROVIDER, wait=partial(self._pause, process))
        while jobs:
            self._pause(process)
            if (
                upgrade is not None
                and self.scheduler.steps > upgrade
                and archive.provider is PROVIDER
            ):
                archive = Archive(store, UPGRADED, wait=partial(self._pause, process))
                self.scheduler.say(process.name, "is upgraded")
            result = attempt(jobs[0], archive, self.book, partial(self.scheduler.say, process.name))
            job = jobs.pop(0)
            self.done[f"{type(job).__name__.lower()}: {result}"] += 1
            if sum(self.done.values()) % self.every == 0:
                self._look()

    def _pause(self, process: Process, attempt: int = 0) -> None:
        for _ in range(self.random.choice([0, 1, 2, 5, 20])):
            process.step()

    def _after_step(self) -> None:
        self.disk.land()
        self.structure.check()

    def _after_end(self, process: Process) -> None:
        name, jobs = process.name.partition("'")[0], self.work[process.name.rstrip("'")]
        if process.crashed:
            self.done["process: crashed"] += 1
            gives_up = self.random.random() < 0.3 or process.name.count("'") >= _LIVES
            if jobs and gives_up:
                jobs.pop(0)  # what it was at is never tried again
            self.scheduler.say(process.name, "is dead")
        if jobs:
            self._start(
                name + "'" * (process.name.count("'") + 1), jobs, self.random.choice([1, 10, 100])
            )

    # --- the end ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Calm again: everything is right, before and after all is adopted, merged, and what nobody
        needs is gone."""
        self.scheduler.say("(end)", "everybody has left")
        self.disk.land(all=True)
        if self.book.breaks:
            self._repair()
        self._look()
        if self.book.erased and any(self.disk.objects.list()):
            self._erase()
        self.plain.compact()
        if again := self.plain.compact().adopted:
            raise Violation(f"a second compaction adopted {again} slots that the first did not")
        self._look(thorough=True)
        for _ in range(2):
            self.scheduler.now += timedelta(hours=3)
            self.plain.vacuum("1h")
            self.structure.check(anyway=True)
        if not any(self.disk.objects.list()):
            return  # nobody got as far as writing
        found = self.plain.verify(deep=True)
        for check in found.checks:
            failures = [line for line in check.failures if "counts for nothing" not in line]
            if failures:
                raise Violation(f"verify: {check.name}: {failures[0]}")

    def _erase(self) -> None:
        """What was erased while it was still being collected is erased again, for good."""
        self.plain.erase([{"k": key} for key in self.book.erased], reason="x")
        points = self.plain.changes()
        if points["k"].is_in([*self.book.erased]).any():
            raise Violation(f"an erased key is in {points.rows()}")

    def _repair(self) -> None:
        """What verify finds no fault with is right, and what repair has been through too."""
        if self.plain.verify(deep=True).passed:
            self.book.broken = False
            self._look(thorough=True)
        self.plain.repair()
        self.book.broken = False
        if again := self.plain.repair():
            raise Violation(f"repaired, and repaired again: {again[0].reason}")

    def _look(self, *, thorough: bool = False) -> None:
        if self.book.broken:
            return
        self.structure.check(anyway=True)
        times = sorted(filter(self.book.counts, self.book.acknowledged))
        if thorough:
            between = [at(self.random.randrange(7, 20), 5) for _ in range(3)]
            self.book.check_everything(self.plain, [*times, *between])
        elif times and self.random.random() < 0.5:
            time = self.random.choice(times)
            self.book.check_state(time, self.plain.state(time))
        elif times or self.book.kept:
            self.book.check_changes(self.plain.changes())


def _work(random: Random, profile: Profile, *, lagging: bool) -> dict[str, list[Job]]:
    """Process → what it is to do, in this order."""
    count = random.choice(profile.slots)
    first = random.randrange(12 - count, 13)  # slot 12 begins a new month
    work: dict[str, list[Job]] = {"collector-1": [], "collector-2": [], "uploader": []}
    state: dict[str, tuple] = {}
    for slot in range(first, first + count):
        state = _next(random, state)
        if random.random() < profile.uploads:
            there = [state.get(key) for key in KEYS]  # what a snapshot would show, or anything else
            rows = {
                key: random.choice([value, random.choice([None, *VALUES])])
                for key, value in zip(KEYS, there, strict=True)
                if random.random() < 0.6
            } or {"a": VALUES[0]}
            work["uploader"].append(Upload(at(slot), rows, repeat=random.choice([None, *rows])))
            if random.random() > profile.twice:
                continue
        job = Ingest(at(slot, random.choice([0, 0, 3.5])), state)
        work[random.choice(["collector-1", "collector-2"])].append(job)
        if random.random() < profile.twice:
            other = random.choice(
                [job, job, evolve(job, state=_next(random, state)), Ingest(at(slot, 7), state)]
            )
            work[random.choice(["collector-1", "collector-2"])].append(other)
    for jobs in work.values():
        if jobs and random.random() < profile.again:
            jobs.append(random.choice(jobs))
        for job in [job for job in jobs if random.random() < profile.late]:
            jobs.remove(job)
            jobs.insert(random.randrange(len(jobs) + 1), job)
    for n in range(random.choice(profile.compactors)):
        somewhere = [None, None, at(random.randrange(first, first + count))]
        work[f"compactor-{n + 1}"] = [
            Compact(random.choice(somewhere)) for _ in range(random.randrange(2, 5))
        ]
    for n in range(random.choice(profile.sealers)):
        work[f"sealer-{n + 1}"] = [
            Seal(random.choice(["2026-01", "2026-02"])) for _ in range(random.randrange(1, 4))
        ]
    for n in range(random.choice(profile.vacuums)):
        work[f"vacuum-{n + 1}"] = [
            Vacuum(random.choice(profile.grace)) for _ in range(random.randrange(1, 4))
        ]
    for n in range(random.choice(profile.readers)):
        questions = [random.choice(profile.questions) for _ in range(random.randrange(2, 5))]
        work[f"reader-{n + 1}"] = [Look(question, lagging, random) for question in questions]
    if profile.corrections:
        work["corrector"] = _corrections(random, profile.corrections, (first, count))
    chosen = [damage for damage in profile.damages if random.random() < 0.5] or profile.damages[:1]
    for n, damage in enumerate(chosen):
        work[f"vandal-{n + 1}"] = [Break(damage, random) for _ in range(random.choice([1, 1, 2]))]
    if profile.damages and random.random() < 0.6:
        work["mender"] = [Repair() for _ in range(random.choice([1, 3]))]
    return {name: jobs for name, jobs in work.items() if jobs}


def _corrections(random: Random, kinds: Sequence[str], slots: tuple[int, int]) -> list[Job]:
    """What one process corrects, one after the other."""
    first, count = slots
    jobs: list[Job] = []
    for _ in range(random.randrange(1, 5)):
        time = at(first + random.randrange(count), random.choice([0, 3.5, 7]))
        kind = random.choice(kinds)
        if kind == "amend":
            jobs.append(Amend(time, _next(random, {})))
        elif kind == "amend changes":
            rows = {key: random.choice([None, *VALUES]) for key in KEYS if random.random() < 0.6}
            jobs.append(AmendChanges(time, rows or {"a": VALUES[0]}))
        elif kind == "retract":
            jobs.append(Retract(time))
        elif kind == "erase":
            jobs.append(Erase(random.choice(KEYS)))
        else:
            jobs.append(Retain("2026-02"))
    return jobs


def _next(random: Random, state: dict[str, tuple]) -> dict[str, tuple]:
    """A market ten minutes later."""
    return {
        key: state[key] if key in state and random.random() < 0.5 else random.choice(VALUES)
        for key in KEYS
        if random.random() < 0.8
    }


@contextmanager
def _reproducible(seed: int, fanout: int, at_once: Sequence[bool]) -> Iterator[None]:
    """Names from the seed, few files to a merge, no log; and the same bytes are parsed only once,
    which saves most of the time."""
    names = Random(~seed)
    parsed: dict[tuple, pl.DataFrame] = {}
    described: dict[bytes, object] = {}
    decode, describe = parquet.decode, parquet.metadata_of

    def decode_once(source, provider, key, where=None, slot=None):
        known = (source, slot, provider.schema.version)
        if known not in parsed:
            parsed[known] = decode(source, provider, key, None, slot)
        return parsed[known] if where is None else parsed[known].filter(where)

    def describe_once(source, key):
        if source not in described:
            described[source] = describe(source, key)
        return described[source]

    logger = logging.getLogger("titans")
    level = logger.level
    with ExitStack() as stack:
        enter: Callable = stack.enter_context
        enter(patch("secrets.token_hex", lambda n=32: f"{names.getrandbits(8 * n):0{2 * n}x}"))
        enter(patch("titans.tiers.compact.plan.FANOUTS", (fanout, fanout)))
        enter(patch("titans.tiers.compact.plan.TOP", 2))
        enter(patch("titans.tiers.compact.plan.is_worth_a_keyframe", lambda rows, keys: True))
        enter(patch("titans.tiers.compact.plan.FINAL_ROWS", Random(f"rows {seed}").choice([0, 9])))
        small = Random(f"small {seed}").choice([-1, 1_000])
        enter(patch("titans.tiers.compact.plan.SMALL_ROWS", small))
        is_at_once = Random(f"at once {seed}").choice(at_once)
        enter(patch("titans.read.ahead.Seen.is_worth_it", lambda seen, dataset: is_at_once))
        memory = Random(f"memory {seed}")
        fit = memory.choice(
            [10**6, memory.randint(1, 40)]
        )  # half of the worlds merge range by range
        enter(patch("titans.tiers.compact.ranges.rows_within", lambda memory, provider: fit))
        for module in ("files.parquet", "files.selections", "files.fetch", "compact.output"):
            enter(patch(f"titans.tiers.{module}.decode", decode_once))
        for module in ("files.parquet", "files.selections"):
            enter(patch(f"titans.tiers.{module}.metadata_of", describe_once))
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
