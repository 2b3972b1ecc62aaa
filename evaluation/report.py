"""``report.html``: one self-contained page with the figures, the plots and every miss and false alarm."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluation import plots
from evaluation.metrics import METRICS, Evaluation, model_seconds
from evaluation.outcomes import NIGHT_BELOW, Clip, Judged
from evaluation.runs import Row, Run
from pipeline.types import Action

REPORT = "report.html"
MAX_CARDS = 200
"""Cards a section shows at most, so that the page of a large run still opens."""


def environment() -> Environment:
    """The templates, everything escaped: narratives and clip names are untrusted."""
    loader = PackageLoader("evaluation", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source, _, _ = loader.get_source(made, "style.css.j2")
    made.globals["style"] = Markup(source)  # our own file
    return made


def write_report(run: Run, evaluation: Evaluation) -> Path:
    """Write the page into the run's folder and return its path."""
    clips = run.clips
    figures = [
        plots.plot_operating(clips),
        plots.plot_sweep(clips),
        plots.plot_precision_recall(clips),
        plots.plot_calibration(clips),
        plots.plot_types(evaluation),
    ]
    cameras = sorted(
        evaluation.by_camera.items(), key=lambda item: -(item[1]["false_alarms_before"].value or 0)
    )
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            name=run.name,
            manifest=run.manifest,
            total=evaluation.total,
            by_type=evaluation.by_type,
            by_light=evaluation.by_light,
            cameras=cameras,
            night_below=NIGHT_BELOW,
            descriptions=METRICS,
            plots=[Markup(plots.as_svg(figure)) for figure in figures if figure is not None],
            counts=_counts(clips, evaluation),
            cost=_cost(run, clips),
            sections=_sections(run, clips),
            facts=_facts(run),
        )
    )
    path = run.path / REPORT
    path.write_text(page, encoding="utf-8")
    return path


def data_url(picture: bytes | None) -> str:
    """A JPEG as something an ``<img>`` can hold; "" without a picture."""
    return "" if picture is None else "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def card(run: Run, row: Row) -> dict[str, Any]:
    """What a card shows of a row."""
    truth = row["truth"]
    return {
        "image": data_url(run.thumb(row)),
        "clip": truth["clip"],
        "label": truth["label"],
        "note": truth.get("note"),
        **{key: row.get(key) for key in ("event_type", "start_s", "decision", "score", "grounded")},
        **{key: row.get(key) or "" for key in ("title", "narrative", "reason")},
    }


def _sections(run: Run, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    def cards(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [card(run, dict(row)) for row in list(rows)[:MAX_CARDS]]

    lost = [clip for clip in clips if clip.truth.escalate and clip.flagged and not clip.reached]
    alarms = [clip for clip in clips if not clip.truth.escalate and clip.reached]
    unflagged = {clip.truth.clip for clip in clips if clip.truth.escalate and not clip.flagged}
    elsewhere = [
        clip
        for clip in clips
        if clip.truth.escalate and clip.reached and not any(one.reached for one in clip.matching())
    ]
    quiet = [
        {**row, "reason": row.get("clip_error")} for row in run.rows if row["truth"]["clip"] in unflagged
    ]
    return [
        {
            "title": "Incidents the judgement dismissed",
            "about": "The detectors flagged these; nobody would have seen them. The most serious errors.",
            "cards": cards(_strongest(clip.candidates).row for clip in lost),
        },
        {
            "title": "Incidents the detectors did not flag",
            "about": "No candidate at all: nothing the model could have judged.",
            "cards": cards(quiet),
        },
        {
            "title": "Incidents seen only through an alarm of another type",
            "about": "Somebody looks and may see it, but no alarm that fits reached a person. They count as "
            "kept, and as lost in the matched figure.",
            "cards": cards(_strongest(clip.candidates).row for clip in elsewhere),
        },
        {
            "title": "False alarms that reach a person",
            "about": "Benign clips; the candidate with the strongest decision of each.",
            "cards": cards(_strongest(clip.candidates).row for clip in alarms),
        },
    ]


def _strongest(candidates: Sequence[Judged]) -> Judged:
    rank = {Action.ESCALATE: 2, Action.REVIEW: 1, Action.DISMISS: 0}
    return max(
        candidates,
        key=lambda one: (rank[Action(one.decision)] if one.decision else 1, one.score or 0.0),
    )


def _counts(clips: Sequence[Clip], evaluation: Evaluation) -> dict[str, int]:
    incidents = sum(clip.truth.escalate for clip in clips)
    return {
        "clips": len(clips),
        "incidents": incidents,
        "benign": len(clips) - incidents,
        "groups": evaluation.groups,
        "candidates": sum(len(clip.candidates) for clip in clips),
    }


def _cost(run: Run, clips: Sequence[Clip]) -> dict[str, str]:
    first = {row["truth"]["clip"]: row for row in run.rows}.values()
    wall = sum(row.get("clip_seconds") or 0.0 for row in first)
    stream = sum(row.get("clip_duration_s") or 0.0 for row in first)
    spent = [
        seconds for clip in clips for one in clip.candidates if (seconds := model_seconds(one)) is not None
    ]
    found = sum(len(clip.candidates) for clip in clips)
    return {
        "stage1": f"{wall:.1f} s for {stream:.1f} s of video"
        + (f" ({stream / wall:.1f} times real time)" if wall else ""),
        "model": f"{sum(spent):.1f} s for {len(spent)} verdicts"
        + (f", {sum(spent) / len(spent):.2f} s a candidate" if spent else ""),
        "candidates": f"{found}" + (f", {found / stream * 60:.1f} a minute of video" if stream else ""),
    }


def _facts(run: Run) -> dict[str, Any]:
    made, data = run.manifest, run.manifest["dataset"]
    code, seeds = made["code"], made["seeds"]
    commit = f"{code['git_commit'] or 'unknown commit'}{' with changes' if code['changed'] else ''}"
    return {
        "model": ", ".join(made["model_ids"]) or made["model"],
        "prompt": ", ".join(f"{one['id']} ({(one['sha256'] or '')[:12]})" for one in made["prompts"])
        or made["prompt"],
        "dataset": f"{Path(data['path']).name}, {data['rows']} clips, sha256 {data['sha256'][:16]}",
        "split": data["split"] or "not marked",
        "code": f"{code['version']}, {commit}",
        "versions": ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        "intervals": f"95 %, {seeds['resamples']} resamples of scenes, seed {seeds['bootstrap']}",
        "time": f"{made['started_at']} to {made['finished_at']}, {made['seconds']} s of work",
        "settings": ", ".join(f"{key} = {value}" for key, value in made["settings"].items()),
    }
