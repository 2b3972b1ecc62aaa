"""Prompts are edited while a real worker judges: it follows without a restart, slips of the pen included."""

from __future__ import annotations

import shutil

import pytest
from support.queue_help import apart, candidate

from pipeline.services import Supervisor
from pipeline.types import Lane, VerdictState
from prompts.pack import SHIPPED

VERSION = "9.0.0"


@pytest.mark.timeout(300)
def test_a_worker_follows_edits_of_pack_and_overrides(make_settings):
    """Given a running worker, when pack and overrides are edited, then each verdict says with what text."""
    settings = make_settings(model="fake", prompt=f"incident@{VERSION}", task_time_limit_s=120.0)
    folder = settings.data_dir / "prompts"
    pack = folder / "incident" / VERSION / "pack.yaml"
    pack.parent.mkdir(parents=True)
    shutil.copy(SHIPPED / "incident" / "1.0.0" / "pack.yaml", pack)
    text = pack.read_text().replace("version: 1.0.0", f"version: {VERSION}")
    pack.write_text(text)
    with Supervisor(settings, worker_count=1) as services:

        def judged(number: int):
            one = candidate(f"c-{number}", settings=settings, **apart(number))
            job = services.queue.submit(one, lane=Lane.LIVE)
            (done,) = services.queue.wait([job.job_id], timeout=200)
            assert done.verdict is not None
            assert done.verdict.state is not VerdictState.FAILED, done.verdict.error
            return done.job.worker_id, done.verdict.provenance

        worker, first = judged(0)
        pack.write_text(text.replace("Yes or no?", "Is it real? Yes or no?"))
        same, edited = judged(1)
        # Unknown placeholder: the last good text stays in force, nothing fails
        pack.write_text(text.replace("{{ question }}", "{{ qestion }}"))
        _, kept = judged(2)
        (folder / "overrides.yaml").write_text('cameras: {"gate*": {site_context: Film set.}}\n')
        last, placed = judged(3)
    assert worker == same == last  # one process, never restarted
    assert edited.prompt == first.prompt == f"incident@{VERSION}"
    assert edited.prompt_sha256 != first.prompt_sha256
    assert kept.prompt_sha256 == edited.prompt_sha256
    assert placed.prompt_sha256 not in (first.prompt_sha256, edited.prompt_sha256)
    assert placed.params["overrides"] == ["cameras.gate*"]
    assert placed.params["site_context"] == "Film set."
