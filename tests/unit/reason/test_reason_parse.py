from __future__ import annotations

import json

import pytest
from reason_support import REPORT

from pipeline.errors import ReplyError
from pipeline.reason.parse import parse_report, repeats, report_schema


@pytest.mark.parametrize(
    "dress",
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}\n```",
        "  {}  \n",
        "<think>it may be a cat</think>{}",
        "<think>\n</think>\n```json\n{}\n```",
    ],
)
def test_fences_and_thoughts_are_taken_off(dress: str) -> None:
    said = parse_report(dress.replace("{}", json.dumps(REPORT)), "en")
    assert said.title == REPORT["title"]
    assert said.observations == tuple(REPORT["observations"])


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("no", "not JSON"),
        ("null", "report's 'reply'"),
        ("[]", "report's 'reply'"),
        ('{"observations": ["a"', "cut off"),
        ("I'm sorry, I cannot help with that.", "refused"),
        ("As an AI language model I see nothing.", "refused"),
        (json.dumps({**REPORT, "narrative": "As an AI, I see a person."}), "refused"),
        (json.dumps({**REPORT, "verdict": "yes"}), "verdict"),
        (json.dumps({**REPORT, "title": ""}), "title"),
        (json.dumps({**REPORT, "title": 3}), "title"),
        (json.dumps({**REPORT, "title": "x " * 200}), "title"),
        (json.dumps({**REPORT, "observations": []}), "observations"),
        (json.dumps({key: value for key, value in REPORT.items() if key != "reason"}), "reason"),
        (json.dumps({**REPORT, "narrative": "a man falls down. " * 5}), "repeats"),
        ("word " * 10_000, "50000 characters"),
        ("[" * 15_000, "not JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_the_raw_text(reply: str, problem: str) -> None:
    with pytest.raises(ReplyError) as caught:
        parse_report(reply, "en")
    assert problem in caught.value.message
    assert caught.value.raw == reply[:20_000]


def test_a_slightly_long_title_is_cut_at_a_word() -> None:
    long = "A person lies on the floor of the lobby beside the second lift and does not move at all"
    title = parse_report(json.dumps({**REPORT, "title": long}), "en").title
    assert len(title) <= 80
    assert title.endswith("…")
    assert long.startswith(title[:-1])


def test_line_breaks_and_control_characters_do_not_survive() -> None:
    said = parse_report(json.dumps({**REPORT, "summary": "one\n\ttwo\u0000 \u202ethree"}), "en")
    assert said.summary == "one two three"


def test_repetition_is_three_times_the_same_four_words() -> None:
    assert repeats("the man falls down the man falls down the man falls down")
    assert not repeats("the man falls, the woman falls, the child falls")


def test_the_schema_and_the_reader_agree() -> None:
    schema = report_schema()
    assert schema["required"] == list(REPORT)
    assert set(schema["properties"]) == set(REPORT)
