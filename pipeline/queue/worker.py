"""One worker group: ``python -m pipeline.queue.worker`` runs a Celery worker with one child process.

Settings come from the environment, where the supervisor put them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
PARENT_CHECK_S = 0.5
ORPHAN_GRACE_S = 5.0


def new_group(name: str = "") -> str:
    """A name for a worker group, unique: two groups never share one, not even after a reboot."""
    return f"{socket.gethostname()}:{name or os.getpid()}:{uuid.uuid4().hex[:8]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; 0 after a clean end, 2 for a setting that is wrong."""
    parser = argparse.ArgumentParser(description="One Sitrep worker.")
    parser.add_argument("--group", default="", help="Name of the group; unset: a new one.")
    parser.add_argument("--reasoner", default="", help="MODULE:FUNCTION that makes the reasoner.")
    parser.add_argument("--parent", type=int, default=0, help="Stop when this process is gone.")
    parser.add_argument("--stamp", action="store_true", help="For benchmarks: note when tasks end.")
    options = parser.parse_args(arguments)

    from pipeline.errors import SitrepError
    from pipeline.settings import load

    try:
        settings = load()
        # Thread pools read these when their library is first imported.
        if settings.model_threads:
            for variable in THREAD_VARIABLES:
                os.environ[variable] = str(settings.model_threads)
        from pipeline.queue.app import create_app, queue_name
        from pipeline.queue.logs import configure
        from pipeline.queue.pulse import add_pulse
        from pipeline.queue.runner import REASONER
        from pipeline.queue.tasks import register
        from pipeline.types import Lane

        configure(settings.log_level)
        group = options.group or new_group()
        app = create_app(settings)
        register(app, settings, group=group, reasoner=options.reasoner or REASONER)
        if options.stamp:
            _stamp_ends(app)
    except SitrepError as error:
        print(f"sitrep worker: {error.one_line()}", file=sys.stderr)
        return 2
    if options.parent:
        threading.Thread(target=_watch_parent, args=(options.parent, settings.data_dir), daemon=True).start()
    add_pulse(app, settings, group)
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            "--concurrency=1",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--hostname={group.replace('/', '-')}",
            f"--queues={','.join(queue_name(lane) for lane in Lane)}",
            f"--loglevel={settings.log_level}",
        ]
    )
    return 0


def _watch_parent(parent: int, data_dir: Path) -> None:
    from pipeline.queue.broker import stop_if_unused

    # A supervisor that was killed can stop neither its workers nor its broker, so the workers look for it.
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    with contextlib.suppress(OSError):
        stop_if_unused(data_dir)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    # Still judging: break off, the lease runs out. The group is ours alone if the supervisor started us.
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _stamp_ends(app: Any) -> None:
    """For the benchmark: a bare task, and the moment every task was through, kept on the broker."""
    from celery.signals import task_postrun

    from pipeline.queue.app import BARE

    # Only here is there a result back end: Sitrep's own results are in the database.
    app.conf.result_backend = app.conf.broker_url

    @app.task(name=BARE, ignore_result=False)  # type: ignore[untyped-decorator,unused-ignore]
    def bare(key: str) -> str:
        return key

    @task_postrun.connect(weak=False)  # type: ignore[untyped-decorator,unused-ignore]
    def note(sender: object = None, args: Sequence[str] = (), task: Any = None, **_: object) -> None:
        ended = time.time()
        with task.app.pool.acquire(block=True) as connection:
            connection.default_channel.client.set(f"sitrep:ended:{args[0]}", repr(ended), ex=120)


if __name__ == "__main__":
    sys.exit(main())
