"""An A/B test of two prompt versions, judged by the real reasoner, read back from the store."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select
from support.queue_help import apart, candidate
from typer.testing import CliRunner

from evaluation.arms import read_arms
from evaluation.compare import NO_EVIDENCE
from evaluation.dataset import DatasetError
from pipeline.cli.main import app
from pipeline.queue import work
from pipeline.queue.api import Queue
from pipeline.reason import build_reasoner
from pipeline.store import feedback
from pipeline.store.engine import read
from pipeline.store.frames import open_frame_store
from pipeline.store.schema import Answer, incidents, verdicts
from pipeline.types import Lane
from prompts.loader import PromptLibrary
from prompts.pack import SHIPPED
from prompts.release import lock, new_version, promote

NUMBER = 96


def judge(queue: Queue, settings, numbers) -> None:
    """Submit candidates as live and judge them here, as a worker would."""
    reasoner = build_reasoner(settings, open_frame_store(settings))
    for number in numbers:
        one = candidate(f"c-{number:03}", settings=settings, camera=f"cam-{number % 12}", **apart(number))
        job = queue.submit(one, lane=Lane.LIVE)
        claimed = work.claim(queue.engine, settings, job.job_id, "here/1")
        assert claimed is not None
        (said,) = reasoner.judge([one])
        assert work.finish(queue.engine, *claimed, said)


@pytest.fixture
def trial(store_settings):
    """Ninety-six live verdicts under a 50:50 split, and eight from before it."""
    settings = store_settings.model_copy(update={"model": "fake:score=0.97", "prompt": "incident"})
    root = settings.data_dir / "prompts"
    with Queue(settings) as queue:
        judge(queue, settings, range(900, 908))
        library = PromptLibrary(root, SHIPPED)
        new_version(library, root, "incident", None, "minor")
        lock(root)
        promote(library, root, "incident", "1.1.0", 0.5)
        judge(queue, settings, range(NUMBER))
        yield queue, settings


def test_every_verdict_keeps_the_split_and_arms_are_compared(trial, monkeypatch):
    """Given two versions that share the traffic, when operators answer, then each arm has its figures."""
    queue, settings = trial
    with read(queue.engine) as connection:
        said = connection.execute(select(verdicts.c.prompt, verdicts.c.provenance)).all()
    splits = [row.provenance["params"]["prompt_split"] for row in said]
    assert splits.count({"1.0.0": 0.5, "1.1.0": 0.5}) == NUMBER
    found = read_arms(queue.engine, "incident")
    old, new = found.arms
    assert [arm.prompt for arm in found.arms] == ["incident@1.0.0", "incident@1.1.0"]
    assert old.judged + new.judged == NUMBER  # those from before the split are left out
    assert min(old.judged, new.judged) > NUMBER // 4
    assert (old.shares, new.shares) == ((0.5,), (0.5,))
    # The same decisions in both arms, and nobody has answered: nothing to tell them apart by.
    assert found.verdict == NO_EVIDENCE
    assert old.figures["false_alarms"].value is None
    # When operators find nearly all alarms of the new version false and those of the old one real
    arm_of = {}
    with read(queue.engine) as connection:
        query = select(incidents.c.incident_id, verdicts.c.prompt).join(
            verdicts, verdicts.c.verdict_id == incidents.c.verdict_id
        )
        arm_of = {row.incident_id: row.prompt for row in connection.execute(query)}
    for place, (incident_id, prompt) in enumerate(sorted(arm_of.items())):
        answer = Answer.CONFIRMED if prompt == "incident@1.0.0" or place % 8 == 0 else Answer.FALSE_ALARM
        feedback.give(queue.engine, incident_id, Answer.UNSURE, operator="kim")
        feedback.give(queue.engine, incident_id, answer, operator="kim")
    # Then the newest answers count, and the difference is named with its interval
    found = read_arms(queue.engine, "incident")
    assert [arm.answers["unsure"] for arm in found.arms] == [0, 0]
    assert found.arms[0].figures["false_alarms"].value == 0
    assert found.arms[1].figures["false_alarms"].value > 0.7
    named = [one for one in found.contrasts if one.evidence]
    assert [(one.figure, one.prompt) for one in named] == [("false_alarms", "incident@1.1.0")]
    assert 0.5 < named[0].low < named[0].delta <= named[0].high
    assert "false_alarms +0." in found.verdict
    if settings.database_url is None:
        monkeypatch.setenv("SITREP_DATA_DIR", str(settings.data_dir))
        result = CliRunner().invoke(app, ["prompts", "arms", "incident", "--json"])
        assert json.loads(result.output)["arms"][1]["judged"] == found.arms[1].judged
        assert "incident@1.1.0" in CliRunner().invoke(app, ["prompts", "arms"], env={"COLUMNS": "200"}).output


def test_without_a_split_there_is_nothing_to_compare(sqlite_store):
    """Given no shared traffic, when arms are asked for, then one line says how to share it."""
    with pytest.raises(DatasetError, match="shared the traffic") as error:
        read_arms(sqlite_store, "incident")
    assert "promote incident@VERSION --share" in error.value.hint
