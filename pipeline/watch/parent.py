"""``sitrep watch``: services, groups of cameras as processes, and each verdict as it comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import SitrepError, SourceError
from pipeline.ingest import camera_names, find_clips, is_live, source_identity, split_name
from pipeline.interfaces import SourceInfo
from pipeline.queue.api import Queue
from pipeline.rows import scan_row
from pipeline.scan.session import new_run_id, shared_cores
from pipeline.services import Supervisor
from pipeline.settings import Settings
from pipeline.store import cameras, candidates
from pipeline.store.engine import read
from pipeline.store.schema import RunKind
from pipeline.types import Candidate
from pipeline.watch.children import Child, Told, start
from pipeline.watch.follow import FollowedFolder
from pipeline.watch.group import shown

LOOK_S = 0.5
CAMERAS_A_GROUP = 8
"""Cameras one process takes on before there is a second one."""


class Watch:
    """Watches sources until they end or somebody stops it.

    Args:
        settings: What to run with.
        sources: Camera addresses, webcams, clips (played as if they were cameras) or folders of them, each
            as ``NAME=SOURCE`` if it is to be called something.
        on_row: Gets each judged row.
        on_fault: Gets what is wrong with a source.
        on_state: Gets a camera's name, its new state and the reason.
        follow: Folders are watched for new clips, for ever.

    Raises:
        SourceError: A file or folder does not exist, or a folder is empty and not followed.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[str],
        *,
        on_row: Callable[[dict[str, Any]], None],
        on_fault: Callable[[SitrepError], None],
        on_state: Callable[[str, str, str], None] = lambda camera, state, reason: None,
        follow: bool = False,
    ) -> None:
        self.settings = shared_cores(settings)
        self._on_row, self._on_fault, self._on_state = on_row, on_fault, on_state
        self.faults = 0
        named = [split_name(source) for source in sources]
        self._folders = [
            (name, FollowedFolder(Path(uri)))
            for name, uri in named
            if follow and not is_live(uri) and Path(uri).is_dir()
        ]
        plain = [pair for pair in named if not any(Path(pair[1]) == one.path for _, one in self._folders)]
        opened = [(name, one) for name, uri in plain for one in ([uri] if is_live(uri) else find_clips(uri))]
        names = camera_names(opened)
        self._sources = {
            str(number): (name, uri)
            for number, (name, (_, uri)) in enumerate(zip(names, opened, strict=True))
        }
        self._supervisor = Supervisor(self.settings)
        self._run_id = new_run_id()
        self._stop = threading.Event()
        self._waiting: dict[str, Candidate] = {}
        self._children: list[Child] = []
        self._good = False

    def stop(self) -> None:
        """Ask it to end: sources are let go, what was submitted stays in the queue."""
        self._stop.set()

    def run(self) -> None:
        """Watch until every source has ended and its candidates are judged, or :meth:`stop`.

        Raises:
            BrokerError: The services cannot be kept running.
            StoreError: The database cannot be reached.
            SourceError: A group of cameras keeps dying.
        """
        with self._supervisor as services:
            listed = [shown(uri) for _, uri in self._sources.values()]
            listed += [str(folder.path) for _, folder in self._folders]
            services.queue.start_run(self._run_id, RunKind.WATCH, sources=listed)
            self._start()
            try:
                while self._busy():
                    if self._stop.wait(LOOK_S):
                        break
                    services.check()
                    self._follow(services.queue)
                    for child in self._children:
                        for told in child.heard():
                            self._hear(child, told, services.queue)
                        child.look_after()
                    self._collect(services.queue)
                    if self._hopeless():
                        break
            finally:
                for child in self._children:
                    child.let_go()
                for child in self._children:
                    child.wait()
            services.queue.finish_run(self._run_id)

    def group_pids(self) -> list[int]:
        """Process ids of the groups that run."""
        return [child.pid for child in self._children if child.pid]

    def _start(self) -> None:
        count = self.settings.camera_groups or -(-len(self._sources) // CAMERAS_A_GROUP)
        count = max(1, min(count, len(self._sources) or 1, os.cpu_count() or 1))
        self._children = [
            start(self._supervisor.settings, self._run_id, number) for number in range(1, count + 1)
        ]
        for place, (key, (name, uri)) in enumerate(self._sources.items()):
            self._children[place % count].add(key, name, uri)
        if not self._folders:
            for child in self._children:
                child.no_more()

    def _busy(self) -> bool:
        return bool(self._folders or self._waiting or any(child.busy for child in self._children))

    def _hopeless(self) -> bool:
        """Nothing but cameras, and none of them could be opened at first: the addresses are wrong."""
        if self._good or self._folders or not all(is_live(uri) for _, uri in self._sources.values()):
            return False
        return self.faults >= len(self._sources)

    def _follow(self, queue: Queue) -> None:
        for name, folder in self._folders:
            try:
                found = folder.look()
            except SourceError as error:
                self._fault(error)
                self._stop.set()
                return
            for clip in found:
                info = SourceInfo(clip.name, str(clip), 0, 0, 0.0, 0)
                if cameras.clip_known(queue.engine, source_identity(info)):
                    continue
                child = min(self._children, key=lambda one: len(one.sources))
                child.add(f"clip:{clip}", name or folder.camera(clip), str(clip))

    def _hear(self, child: Child, told: Told, queue: Queue) -> None:
        if "job" in told:
            with read(queue.engine) as connection:
                candidate = candidates.get(connection, told["candidate"])
            if candidate is not None:
                self._waiting[told["job"]] = candidate
        elif "fault" in told:
            self._fault(SourceError(told["fault"], hint=told["hint"]))
        elif "ended" in told:
            key = str(told["ended"])
            _, uri = child.sources.get(key, ("", ""))
            if told["good"]:
                self._good = True
                if key.startswith("clip:"):
                    identity = source_identity(SourceInfo(uri, uri, 0, 0, 0.0, 0))
                    cameras.clip_done(queue.engine, identity, uri, self._run_id)
            child.sources.pop(key, None)
        elif "state" in told:
            self._good |= told["state"] == "up"
            self._on_state(told["camera"], told["state"], told["reason"])

    def _fault(self, error: SitrepError) -> None:
        self.faults += 1
        self._on_fault(error)

    def _collect(self, queue: Queue) -> None:
        for job_id, candidate in list(self._waiting.items()):
            job = queue.job(job_id)
            if job is None or not job.finished:
                continue
            del self._waiting[job_id]
            self._on_row(scan_row(candidate, queue.verdict(job_id)))
