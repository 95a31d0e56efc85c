"""Where tasks run: a mapping from tasks to results, in any order, on processes of this machine, on
Dask or on Spark.

Every task is idempotent: one whose worker died is simply done again, by anybody. A task that raises
ends the whole.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from attrs import define, field, frozen

from titans.errors import InputError, RetryableError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

__all__ = ["ENGINES", "Engine", "EngineName", "engine_of"]

EngineName = Literal["local", "dask", "spark"]
ENGINES: tuple[EngineName, ...] = ("local", "dask", "spark")

_DEATHS = 3
"""Workers that may die one after the other, and nothing gets done in between."""
_AGAIN = "what was done is in the archive; run it again, and it goes on from there"

_THREADS = "POLARS_MAX_THREADS"

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Runs tasks somewhere."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """The position of each task and its result, as they are done.

        Args:
            function: of a module that the workers have.
            tasks: can be pickled.

        Raises:
            RetryableError: the engine is lost.
        """
        ...


def engine_of(
    name: str, scheduler: str | None = None, workers: int | None = None
) -> AbstractContextManager[Engine]:
    """The engine of this name, for the time of a `with`.

    Args:
        scheduler: the address of Dask's scheduler, or Spark's master; by default one of its own on
            this machine.
        workers: how many, where they are started here; by default one a core.

    Raises:
        InputError: no such engine, it is not installed, or takes no scheduler.
    """
    if name not in ENGINES:
        raise InputError(f"the engine is one of {', '.join(ENGINES)}, not {name!r}")
    if workers is not None and workers < 1:
        raise InputError(f"there is at least one worker, got {workers}")
    count = workers or os.cpu_count() or 1
    if name == "local":
        if scheduler is not None:
            raise InputError(f"local processes have no scheduler, got {scheduler!r}")
        return nullcontext(_Here()) if count == 1 else _processes(count)
    if name == "dask":
        _require("distributed", "dask", "pip install 'titans-core[dask]'")
        return _dask(scheduler, count, started=scheduler is None)
    _require("pyspark", "spark", "pip install pyspark pyarrow")
    return _spark(scheduler, count)


def _require(module: str, engine: str, install: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(f"the engine {engine} needs {module}: {install}")


# --- this machine ---------------------------------------------------------------------------------


@frozen
class _Here:
    """This process."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        for position, task in enumerate(tasks):
            yield position, function(task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """New processes have polars with one thread: there are as many of them as cores.

    They inherit it, for polars reads it when it is imported.
    """
    known = os.environ.get(_THREADS)
    os.environ.setdefault(_THREADS, "1")
    try:
        yield
    finally:
        if known is None:
            os.environ.pop(_THREADS, None)


@define(eq=False)
class _Processes:
    """Processes of this machine, started anew: a fork of a process with polars in it may hang."""

    workers: int
    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        from concurrent.futures.process import BrokenProcessPool

        left = dict(enumerate(tasks))
        deaths = 0
        while left:
            try:
                for position, result in self._round(function, left):
                    del left[position]
                    deaths = 0
                    yield position, result
            except BrokenProcessPool as error:
                self.close()
                deaths += 1
                if deaths == _DEATHS:
                    raise RetryableError(
                        f"workers died {deaths} times, one after the other; is there memory for "
                        f"{self.workers} of them? {_AGAIN}"
                    ) from error

    def _round(self, function: Callable[[T], R], left: dict[int, T]) -> Iterator[tuple[int, R]]:
        """Until all is done, or a worker dies."""
        from concurrent.futures import as_completed

        pool = self._started()
        with _one_thread_each():  # processes are started as tasks come
            futures = {pool.submit(function, task): each for each, task in left.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context)
        return self._pool

    def close(self) -> None:
        """End them; what is being done is done to its end."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def _processes(workers: int) -> Iterator[Engine]:
    engine = _Processes(workers)
    try:
        yield engine
    finally:
        engine.close()


# --- Dask -----------------------------------------------------------------------------------------


@frozen(eq=False)
class _Dask:
    client: Any

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        as_completed = importlib.import_module("distributed").as_completed

        try:
            futures = {}
            for position, task in enumerate(tasks):
                future = self.client.submit(function, task, pure=False, retries=_DEATHS)
                futures[future.key] = (position, future)
            # They are released as they are done: the results of years need not lie there together.
            for future in as_completed([future for _, future in futures.values()]):
                position, _ = futures.pop(future.key)
                yield position, future.result()
        except (FutureCancelledError, KilledWorker, OSError) as error:
            raise RetryableError(f"Dask lost the work ({error}); {_AGAIN}") from error


@contextmanager
def _dask(scheduler: str | None, workers: int, *, started: bool) -> Iterator[Engine]:
    distributed = importlib.import_module("distributed")  # it says nothing of its types
    if not started:
        try:
            client = distributed.Client(scheduler, timeout="30s")
        except (OSError, ValueError) as error:
            raise InputError(f"there is no Dask scheduler at {scheduler}: {error}") from error
        with client:
            yield _Dask(client)
        return
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            env={_THREADS: "1"},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield _Dask(client)


# --- Spark ----------------------------------------------------------------------------------------


@frozen(eq=False)
class _Spark:
    session: Any

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        if not tasks:
            return
        from pyspark.errors import PySparkException

        sent = [(position, pickle.dumps((function, task))) for position, task in enumerate(tasks)]
        frame = self.session.createDataFrame(sent, "position int, task binary")
        spread = frame.repartitionByRange(len(sent), "position")
        try:
            done = spread.mapInArrow(_in_batches, "position int, done binary")
            for row in done.collect():  # an iterator would run one task after the other
                yield row.position, pickle.loads(row.done)  # noqa: S301 - our own workers sent it
        except PySparkException as error:
            raise RetryableError(f"Spark lost the work ({error}); {_AGAIN}") from error


def _in_batches(batches: Iterator[Any]) -> Iterator[Any]:
    """Do the tasks in Arrow batches, in a worker of Spark."""
    os.environ.setdefault(_THREADS, "1")
    import pyarrow as pa

    for batch in batches:
        for position, sent in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            function, task = pickle.loads(sent)  # noqa: S301 - our own driver sent it
            result = pickle.dumps(function(task))
            columns = [pa.array([position], pa.int32()), pa.array([result], pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, names=["position", "done"])


@contextmanager
def _spark(master: str | None, workers: int) -> Iterator[Engine]:
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None and master is None:
        yield _Spark(active)
        return
    builder = SparkSession.builder.appName("titans backfill")
    if master is not None and master.startswith("sc://"):
        builder = builder.remote(master)
    else:
        builder = builder.master(master or f"local[{workers}]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    try:
        yield _Spark(session)
    finally:
        session.stop()
