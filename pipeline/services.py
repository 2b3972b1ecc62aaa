"""Runs the services of one installation as child processes and stops them with itself.

Broker (unless ``redis_url`` is set), worker groups, and the reconciler. A worker that dies is noticed at
once: its jobs are released and sent again, and it is started anew, unless it keeps dying. So is one that
lives but takes no job although jobs wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import SecretStr

from pipeline.errors import BrokerError, SitrepError, StoreError
from pipeline.interfaces import Notifier
from pipeline.notify import build_notifiers
from pipeline.queue import hearing, work
from pipeline.queue.api import Queue
from pipeline.queue.broker import Broker
from pipeline.queue.events import Event
from pipeline.queue.reconciler import Reconciler, send_all
from pipeline.queue.worker import new_group
from pipeline.settings import Settings, environment
from pipeline.store import jobs, workers
from pipeline.store.engine import open_store, read

WATCH_S = 0.05
BROKER_WATCH_S = 1.0
MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
GRACE_S = 15.0
"""How long a worker that is told to stop may finish its judgement; then it is broken off and released."""
SETTLE_S = 0.2
JOIN_S = 10.0
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Worker:
    """A place for one worker group, and the group that fills it now."""

    number: int
    group: str = ""
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)
    deaf: bool = False


class Supervisor:
    """The services of one installation; a context manager.

    Args:
        settings: What to run with.
        worker_count: How many worker groups; ``None``: as the settings say.
        reconcile: Whether to run the reconciler.
        notifiers: Where alerts go; those of the settings when empty.
        reasoner: ``MODULE:FUNCTION`` that makes the workers' reasoner; "": Sitrep's own.
        worker_options: Further arguments of ``python -m pipeline.queue.worker``.

    Attributes:
        settings: The settings with ``redis_url`` of the broker that is used: give these to a ``Queue``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker_count: int | None = None,
        reconcile: bool = True,
        notifiers: Sequence[Notifier] = (),
        reasoner: str = "",
        worker_options: Sequence[str] = (),
    ) -> None:
        self.settings = settings
        self._count = settings.workers if worker_count is None else worker_count
        self._reconcile = reconcile
        self._notifiers = notifiers or build_notifiers(settings)
        self._arguments = [*(("--reasoner", reasoner) if reasoner else ()), *worker_options]
        self._broker: Broker | None = None
        self._queue: Queue | None = None
        self._reconciler: Reconciler | None = None
        self._workers: list[_Worker] = []
        self._watcher: threading.Thread | None = None
        self._listener: threading.Thread | None = None
        self._stop = threading.Event()
        self._failure: SitrepError | None = None

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def queue(self) -> Queue:
        """The queue of these services; closed with them."""
        if self._queue is None:
            raise BrokerError("the services are not running")
        return self._queue

    @property
    def owns_broker(self) -> bool:
        """Whether the embedded broker is used."""
        return self._broker is not None

    @property
    def log_dir(self) -> Path:
        """Where the workers' logs are."""
        return self.settings.data_dir / "logs"

    def start(self) -> None:
        """Start everything; returns before the workers are ready, which jobs do not need.

        Raises:
            BrokerError: The embedded broker does not start.
            StoreError: The database cannot be opened.
        """
        try:
            engine = open_store(self.settings)
            if self.settings.redis_url is None:
                self._broker = Broker(self.settings.data_dir)
                url = SecretStr(self._broker.start())
                self.settings = self.settings.model_copy(update={"redis_url": url})
            self._queue = Queue(self.settings, engine)
            self._workers = [_Worker(number) for number in range(1, self._count + 1)]
            for worker in self._workers:
                self._launch(worker)
            if self._reconcile:
                self._reconciler = Reconciler(
                    engine, self.settings, self._queue.sender, notifiers=self._notifiers
                )
                self._reconciler.start()
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()
            self._listener = threading.Thread(target=self._listen, name="hearing", daemon=True)
            self._listener.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop workers (softly, then hard), reconciler and broker; safe to call twice."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
        if self._listener is not None:
            # It may be waiting for a broker that does not answer, and can do no harm any more.
            self._listener.join(JOIN_S)
            self._listener = None
        if self._reconciler is not None:
            self._reconciler.stop()
            self._reconciler = None
        self._stop_workers()
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        if self._queue is not None:
            self._queue.close()
            self._queue.engine.dispose()
            self._queue = None

    def check(self) -> None:
        """Raise what ended the services, if something did.

        Raises:
            BrokerError: A worker keeps dying, or the broker does not come back.
        """
        if self._failure is not None:
            raise self._failure

    def worker_pids(self) -> list[int]:
        """Process ids of the worker groups that run."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    def _launch(self, worker: _Worker) -> None:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        worker.group = new_group(f"w{worker.number}")
        command = [sys.executable, "-m", "pipeline.queue.worker", "--group", worker.group]
        command += ["--parent", str(os.getpid()), *self._arguments]
        with self.log_path(worker.number).open("ab") as output:
            # A session of its own: the group can be killed as one, and Ctrl-C reaches only the supervisor.
            worker.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )
        log.info(Event.WORKER_STARTED, worker=worker.number, pid=worker.process.pid)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **environment(self.settings)}

    def log_path(self, number: int) -> Path:
        """The log of a worker."""
        return self.log_dir / f"worker-{number}.log"

    def _watch(self) -> None:
        next_broker_look = 0.0
        while not self._stop.wait(WATCH_S):
            for worker in self._workers:
                if worker.process is not None and worker.process.poll() is not None:
                    self._died(worker)
            if self._broker is not None and time.monotonic() >= next_broker_look:
                next_broker_look = time.monotonic() + BROKER_WATCH_S
                try:
                    if self._broker.ensure():
                        log.warning(Event.BROKER_RESTARTED)
                except BrokerError as error:
                    self._failure = error

    def _listen(self) -> None:
        """Break deaf workers off; in a thread of its own, since a bad broker may keep it waiting."""
        watched = hearing.Hearing(self.queue.engine, self.queue.sender)
        while not self._stop.wait(hearing.LOOK_S):
            # Told apart by group: while this looks, a worker may die and be replaced by another.
            groups = [worker.group for worker in self._workers if worker.process is not None]
            try:
                deaf = watched.deaf(groups)
            except StoreError:
                continue
            for worker in self._workers:
                process = worker.process
                if worker.group not in deaf or process is None or self._stop.is_set():
                    continue
                log.warning(Event.WORKER_DEAF, worker=worker.number, pid=process.pid)
                worker.deaf = True
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _died(self, worker: _Worker) -> None:
        assert worker.process is not None
        code = worker.process.returncode
        log.warning(Event.WORKER_DIED, worker=worker.number, pid=worker.process.pid, code=code)
        self._bury_group(worker, f"the worker died (exit code {code})")
        worker.process = None
        now = time.monotonic()
        if worker.deaf:
            # Broken off: no sign of a fault that would come back at once.
            worker.deaf = False
        else:
            worker.deaths.append(now)
        while worker.deaths and now - worker.deaths[0] > RESTART_WINDOW_S:
            worker.deaths.popleft()
        if len(worker.deaths) > MAX_RESTARTS:
            self._failure = BrokerError(
                f"worker {worker.number} died {len(worker.deaths)} times within {RESTART_WINDOW_S:g} s"
                f" (exit code {code})",
                hint=f"see {self.log_path(worker.number)}",
            )
            return
        self._launch(worker)

    def _bury_group(self, worker: _Worker, error: str) -> None:
        """Kill what is left of a group, then free its jobs at once instead of waiting for their leases."""
        assert worker.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        queue = self.queue
        try:
            freed = work.release(queue.engine, self.settings, jobs.of_group(worker.group), error=error)
            send_all(queue.engine, queue.sender, freed)
            workers.stopped(queue.engine, worker.group)
        except StoreError as failure:
            # Their leases run out in time, and the reconciler does the same.
            log.error(Event.RECONCILE_FAILED, error=failure.message)

    def _stop_workers(self) -> None:
        running = [worker for worker in self._workers if worker.process is not None]
        for worker in running:
            assert worker.process is not None
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        while running:
            waited = time.monotonic() - begun
            for worker in list(running):
                assert worker.process is not None
                exited = worker.process.poll() is not None
                # Told to stop, a worker takes no new job. Once it holds none, the rest of its leave-taking
                # can be cut short: everything that counts is in the database.
                if exited or waited > GRACE_S or (waited > SETTLE_S and not self._holds_job(worker)):
                    self._bury_group(worker, "the worker was stopped")
                    worker.process.wait()
                    log.info(Event.WORKER_STOPPED, worker=worker.number, pid=worker.process.pid)
                    worker.process = None
                    running.remove(worker)
            if running:
                time.sleep(WATCH_S)

    def _holds_job(self, worker: _Worker) -> bool:
        try:
            with read(self.queue.engine) as connection:
                return jobs.any_running(connection, jobs.of_group(worker.group))
        except StoreError:
            return True
