"""A backfill: what each month begins with is found out in parallel, and then all are ingested."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from attrs import define, evolve, field, frozen

from titans.archive import Archive
from titans.archive import open as open_archive
from titans.backfilling.effects import Beginning, Effect, FollowTask, follow
from titans.backfilling.engines import Engine, EngineName, engine_of
from titans.backfilling.report import Backfill, MonthReport
from titans.backfilling.source import File, MonthInput, Survey, by_names, survey
from titans.backfilling.tasks import FillTask, SealTask, fill, seal
from titans.errors import FormatError, InputError
from titans.expectations import checked_share
from titans.loading.names import NamePattern
from titans.loading.sources import find
from titans.read.reader import Reader
from titans.refusals import Refusals
from titans.results import Outcome
from titans.schema import TIME
from titans.slots import Month, Slot
from titans.tiers.manifest.commit import list_months

if TYPE_CHECKING:
    from titans.provider import Provider
    from titans.store import ObjectStore

__all__ = ["backfill"]

log = logging.getLogger("titans.backfill")

Stage = Literal["looking", "following", "ingesting", "sealing"]
Progress = Callable[[Stage, int, int], None]
"""Told of the stage, how many steps of it are done, and how many it has."""


def _silent(stage: Stage, done: int, total: int) -> None:
    """Nobody looks."""


def backfill(
    files: str | Path | Iterable[str | Path],
    *,
    provider: str | Provider,
    store: ObjectStore | str | Path | None = None,
    time_column: str | None = None,
    time_from_name: str | None = None,
    format: str | None = None,
    records: str | None = None,
    max_ceased: float | None = None,
    engine: EngineName | Engine = "local",
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Backfill:
    """Ingest years of full snapshots, every month a task of its own. The archive is the one that
    ingesting them one after the other makes.

    Stopped anywhere, it goes on when it is called again: what is in the archive is recognised. It
    may run several times at once.

    Args:
        files: as for `titans.ingest_files`; the workers see the same files, by the same paths.
        provider, store: as for `titans.open`; a store that the workers reach.
        time_column: says in a table when a row was collected, `Time` by default; all files are then
            parts of one table.
        time_from_name: each file is a snapshot, and its name says when, as for `ingest_files`.
        format, records, max_ceased: as for `ingest_files`.
        engine: `"local"` processes, `"dask"` (`titans-core[dask]`), `"spark"`, or any `Engine`.
        scheduler: the address of Dask's scheduler, or Spark's master. Without it, one is started
            here, or Spark's active session is used.
        workers: how many to start here; one a core by default.
        progress: called with the stage, the steps done, and all its steps.

    Returns:
        What became of each month, and of each of its snapshots.

    Raises:
        InputError: no such file, engine, or column; nothing was written.
        RetryableError: workers died again and again, or the scheduler is lost; what was ingested
            stays.
        StoreError, FormatError: as `Archive.ingest`.
    """
    if max_ceased is not None:
        checked_share(max_ceased)
    if time_column is not None and time_from_name is not None:
        raise InputError("either a column or the names of the files say the time, not both")
    archive = open_archive(store, provider=provider)
    asked = [files] if isinstance(files, (str, Path)) else list(files)
    found: dict[str, File] = {}
    for each in asked:
        for source in find([each], format):
            found.setdefault(source.name, File.of(source, str(each), format, records))

    chosen = (
        _given(engine) if not isinstance(engine, str) else engine_of(engine, scheduler, workers)
    )
    with chosen as running:
        stages = _Stages(archive, running, max_ceased, progress or _silent)
        if time_from_name is not None:
            months, refused = by_names(list(found.values()), NamePattern(time_from_name))
        else:
            months, refused = stages.look(list(found.values()), time_column or TIME), []
        return stages.run(months, refused)


@define
class _given:  # noqa: N801 - used like a function
    engine: Engine

    def __enter__(self) -> Engine:
        return self.engine

    def __exit__(self, *_: object) -> None:
        """It goes on."""


@frozen(eq=False)
class _Plan:
    """What is known before anything is ingested."""

    before: dict[Month, bytes]
    """The states that months begin with."""
    effects: dict[Month, Effect]
    last: Refusals | None
    """Those in a row at the end."""


@define(eq=False)
class _Stages:
    """The stages of a backfill."""

    archive: Archive
    engine: Engine
    max_ceased: float | None
    progress: Progress
    _reports: list[MonthReport] = field(factory=list, init=False)

    def look(self, files: list[File], column: str) -> list[MonthInput]:
        """The months that tables have, and the files of each."""
        tasks = [Survey(file, column, self.archive.provider) for file in files]
        found: dict[Month, list[int]] = {}
        for done, (position, months) in enumerate(self.engine.map(survey, tasks), 1):
            self.progress("looking", done, len(tasks))
            for month in months:
                found.setdefault(month, []).append(position)
        inputs = []
        for month in sorted(found):
            parts = tuple((files[position], None) for position in sorted(found[month]))
            inputs.append(MonthInput(month, parts, column))
        return inputs

    def run(self, months: list[MonthInput], refused: list[Outcome]) -> Backfill:
        reports = [MonthReport("", tuple(refused))] if refused else []
        if not months:
            return Backfill(tuple(reports))
        self.archive.compact()  # adopts what waits: it counts, and is looked at only once
        begun = list(list_months(self.archive._dataset))

        months = self._with_others(months, begun)
        effects = self._follow([FollowTask(self.archive, each, self.max_ceased) for each in months])
        late = [each.month for each in months if effects[each.month].is_in_order]
        first = [each for each in months if late and each.month <= late[-1]]
        total = len(months)
        for each in first:
            for _, report in self.engine.map(fill, [FillTask(self.archive, each, self.max_ceased)]):
                self._note(report, total)

        rest = months[len(first) :]
        plan = self._plan(rest, effects)
        tasks = []
        for each in rest:
            refusals = plan.effects[each.month].refused
            before = plan.before[each.month]
            tasks.append(FillTask(self.archive, each, self.max_ceased, before, refusals))
        for _, report in self.engine.map(fill, tasks):
            self._note(report, total)
        self._keep_refusals(plan)
        self._seal()

        named = [report for report in self._reports if report.outcomes]
        reports += sorted(named, key=lambda report: report.month)
        return Backfill(tuple(reports), tuple(str(each.month) for each in first))

    def _note(self, report: MonthReport, total: int) -> None:
        self._reports.append(report)
        self.progress("ingesting", len(self._reports), total)

    def _seal(self) -> None:
        """Bring the months that got something, and are over for the archive, to their final form;
        and look after the last one.
        """
        changed = []
        for report in self._reports:
            if report.change_points or "unchanged" in report.statuses:
                changed.append(report.month)
        newest = max(list_months(self.archive._dataset), default=None)
        tasks = []
        for month in sorted(changed):
            if newest is not None and Month.parse(month) < newest:
                tasks.append(SealTask(self.archive, month))
        for done, _ in enumerate(self.engine.map(seal, tasks), 1):
            self.progress("sealing", done, len(tasks))
        self.archive.compact()

    def _with_others(self, months: list[MonthInput], begun: list[Month]) -> list[MonthInput]:
        """With the months between them of which only the archive has something."""
        ours = {each.month: each for each in months}
        for month in begun:
            if months[0].month < month < months[-1].month and month not in ours:
                ours[month] = MonthInput(month, ())
        return [ours[month] for month in sorted(ours)]

    def _follow(self, tasks: list[FollowTask]) -> dict[Month, Effect]:
        found: dict[Month, Effect] = {}
        for _, effect in self.engine.map(follow, tasks):
            found[effect.month] = effect
            self.progress("following", len(found), len(tasks))
        return found

    def _plan(self, months: list[MonthInput], effects: dict[Month, Effect]) -> _Plan:
        """What each of these months begins with, the archive being complete before them."""
        provider = self.archive.provider
        share = provider.expectations.share(self.max_ceased)
        before: dict[Month, bytes] = {}
        row: Refusals | None = None
        state: pl.DataFrame | None = None
        for each in months:
            if state is None:
                state = self._known_before(each.month)
                row = self._refused_before(each.month)
            effect = effects[each.month]
            beginning = Beginning.of(state, row or Refusals(state.clear()), provider)
            before[each.month] = beginning.state
            after = effect.after(state, provider, share)
            if after is None or (row and row.slots and effect.refused):
                task = FollowTask(self.archive, each, self.max_ceased, beginning)
                ((_, effect),) = self.engine.map(follow, [task])
                effects[each.month] = effect
                after = effect.after(state, provider, share)
            if after is None:
                after = state
            if effect.refusals is not None:
                row = effect.refusals.row(provider)
            state = after
        return _Plan(before, effects, row)

    def _known_before(self, month: Month) -> pl.DataFrame:
        reader = Reader(self.archive._dataset)
        provider = self.archive.provider
        try:
            state = reader.state_before(month.start)
        except FormatError as error:
            log.error("%s: the time before %s cannot be read: %s", provider.name, month, error)
            state = reader.empty_state()
        return state.select(*provider.key, *provider.schema.columns)

    def _refused_before(self, month: Month) -> Refusals | None:
        dataset = self.archive._dataset
        if dataset.provider.expectations.accept_after is None:
            return None
        row = Refusals.read(dataset)
        first = Slot.of(month.start, dataset.paths.minutes)
        before = tuple(slot for slot in row.slots if slot < month.start)
        if not before or not row.are_in_a_row(dataset, first):
            return None
        return evolve(row, slots=before)

    def _keep_refusals(self, plan: _Plan) -> None:
        """So that the next snapshots are counted with the last of these."""
        dataset = self.archive._dataset
        if plan.last is None or not plan.last.slots:
            return
        if dataset.provider.expectations.accept_after is None:
            return
        known = Refusals.read(dataset)
        evolve(known, keys=plan.last.keys, slots=plan.last.slots).write(dataset)
