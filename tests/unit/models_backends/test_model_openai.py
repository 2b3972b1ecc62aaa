from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.base import Inquiry, Score
from models.openai.circuit import Circuit
from pipeline.errors import (
    ConfigError,
    ModelError,
    ModelMissing,
    ModelTimeout,
    ModelUnavailable,
    ReplyError,
)
from pipeline.reason import build_reasoner
from pipeline.reason.builtin import builtin_image, builtin_inquiry
from pipeline.reason.parse import parse_report
from pipeline.settings import Settings
from pipeline.types import Action, KeyFrame, Moment, Verdict, VerdictState, View
from prompts.example import example_candidate

STUB = Path(__file__).with_name("stub_server.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port_file = tmp_path_factory.mktemp("stub") / "port"
    process = subprocess.Popen([sys.executable, str(STUB), str(port_file)])
    try:
        for _ in range(200):
            if port_file.is_file() and port_file.read_text():
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text()}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model_timeout_s=1.0)


@pytest.fixture
def inquiry(settings: Settings) -> Inquiry:
    return builtin_inquiry(settings)


def model(server: str, kind: str, settings: Settings) -> Any:
    return registry.create(f"openai:{server}#{kind}", settings)


def last_call(server: str) -> dict[str, Any]:
    with urllib.request.urlopen(server) as answer:
        calls: list[dict[str, Any]] = json.load(answer)["calls"]
    return calls[-1]


def test_score_sums_the_spellings_of_both_answers(server: str, settings: Settings, inquiry: Inquiry) -> None:
    score = model(server, "good", settings).score([inquiry])[0]
    assert score.log_odds == pytest.approx(math.log(0.7 / 0.15))


def test_images_arrive_as_data_urls_and_no_foreign_key_is_sent(
    server: str, settings: Settings, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-another-service")
    model(server, "good", settings).score([inquiry])
    call = last_call(server)
    content = call["body"]["messages"][-1]["content"]
    images = [part for part in content if part["type"] == "image_url"]
    assert images[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert content[-1]["text"].endswith("Yes or no?")
    assert "secret" not in str(call["key"])


def test_the_given_key_is_sent(server: str, tmp_path: Path, inquiry: Inquiry) -> None:
    settings = Settings(data_dir=tmp_path, model_api_key="my-key")
    model(server, "good", settings).score([inquiry])
    assert last_call(server)["key"] == "Bearer my-key"


def test_narrative_asks_for_the_schema_and_can_be_read(
    server: str, settings: Settings, inquiry: Inquiry
) -> None:
    reply = model(server, "good", settings).narrate(inquiry, Score(2.0))
    assert parse_report(reply, "en").title == "Person on the floor"
    body = last_call(server)["body"]
    assert body["max_tokens"] == 700
    assert body["response_format"]["json_schema"]["schema"]["required"][0] == "observations"


def test_a_server_without_schemas_is_asked_in_words(
    server: str, settings: Settings, inquiry: Inquiry
) -> None:
    chat = model(server, "no-schema", settings)
    assert parse_report(chat.narrate(inquiry, Score(2.0)), "en").observations
    assert "response_format" not in last_call(server)["body"]
    chat.narrate(inquiry, Score(2.0))
    assert "response_format" not in last_call(server)["body"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("status-500", ModelUnavailable),
        ("status-503", ModelUnavailable),
        ("status-429", ModelUnavailable),
        ("drop", ModelUnavailable),
        ("hang", ModelTimeout),
        ("status-401", ModelError),
        ("status-404", ModelMissing),
        ("status-400", ModelError),
        ("garbage", ReplyError),
        ("wrong-shape", ReplyError),
        ("neither", ReplyError),
        ("no-logprobs", ModelError),
    ],
)
def test_failures_become_our_errors(
    server: str, settings: Settings, inquiry: Inquiry, kind: str, error: type[Exception]
) -> None:
    started = time.monotonic()
    with pytest.raises(error) as caught:
        model(server, kind, settings).score([inquiry])
    assert type(caught.value) is error
    assert time.monotonic() - started < 5
    retryable = error in {ModelUnavailable, ModelTimeout}
    assert caught.value.retryable is retryable  # type: ignore[attr-defined]


def test_closed_port_is_retryable(settings: Settings, inquiry: Inquiry) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        model(f"http://127.0.0.1:{port}/v1", "any", settings).score([inquiry])


def test_missing_answer_is_never_overconfident(server: str, settings: Settings, inquiry: Inquiry) -> None:
    score = model(server, "only-yes", settings).score([inquiry])[0]
    assert score.log_odds == pytest.approx(math.log(0.9 / 0.05))


@pytest.mark.parametrize("kind", ["empty", "truncated", "refusal"])
def test_unreadable_reports_are_reply_errors(
    server: str, settings: Settings, inquiry: Inquiry, kind: str
) -> None:
    with pytest.raises(ReplyError) as caught:
        parse_report(model(server, kind, settings).narrate(inquiry, Score(0.0)), "en")
    assert (caught.value.raw == "") == (kind == "empty")


def test_circuit_opens_and_recovers() -> None:
    now = [0.0]
    circuit = Circuit(limit=2, pause_s=10, clock=lambda: now[0])
    for _ in range(2):
        circuit.enter("s")
        circuit.failed()
    with pytest.raises(ModelUnavailable, match="2 times in a row"):
        circuit.enter("s")
    now[0] = 11.0
    circuit.enter("s")
    with pytest.raises(ModelUnavailable):
        circuit.enter("s")
    circuit.succeeded()
    circuit.enter("s")


def test_an_open_circuit_answers_at_once(server: str, settings: Settings, inquiry: Inquiry) -> None:
    chat = model(server, "status-500", settings)
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="answered 500"):
            chat.score([inquiry])
    with pytest.raises(ModelUnavailable, match="in a row"):
        chat.score([inquiry])


@pytest.mark.parametrize("name", ["", "localhost:8000#m", "ftp://x/v1#m", "http://127.0.0.1:1/v1"])
def test_bad_addresses_are_named(name: str, settings: Settings) -> None:
    with pytest.raises(ConfigError):
        registry.create(f"openai:{name}", settings)


def test_credentials_in_the_address_do_not_reach_the_model_id(settings: Settings) -> None:
    chat = registry.create("openai:http://user:pass@127.0.0.1:9/v1#m", settings)
    assert "pass" not in chat.model_id


class OneFrame:
    def put(self, encoded: bytes) -> str:
        return ""

    def get(self, sha256: str) -> bytes:
        return builtin_image()


def judge(server: str, kind: str, tmp_path: Path) -> Verdict:
    candidate = replace(example_candidate("fall"), key_frames=(KEY_FRAME,))
    settings = Settings(data_dir=tmp_path, model=f"openai:{server}#{kind}", model_timeout_s=1.0)
    return build_reasoner(settings, OneFrame()).judge([candidate])[0]


KEY_FRAME = KeyFrame("a" * 64, View.FULL, Moment.PEAK, 4.0, 320, 240)


def test_a_verdict_through_a_server(server: str, tmp_path: Path) -> None:
    verdict = judge(server, "good", tmp_path)
    assert verdict.action is Action.ESCALATE
    assert verdict.score == pytest.approx(0.7 / 0.85)
    assert verdict.provenance.model == f"openai:{server}#good"


@pytest.mark.parametrize("kind", ["garbage", "wrong-shape", "neither", "empty", "truncated", "refusal"])
def test_an_unreadable_server_sends_the_candidate_to_a_person(server: str, tmp_path: Path, kind: str) -> None:
    verdict = judge(server, kind, tmp_path)
    assert (verdict.state, verdict.action) == (VerdictState.FAILED, Action.REVIEW)
    assert verdict.score is None
    assert verdict.error_source == "reply"


@pytest.mark.parametrize("kind", ["status-500", "status-429", "hang", "drop"])
def test_a_server_that_is_away_leaves_the_candidate_to_the_queue(
    server: str, tmp_path: Path, kind: str
) -> None:
    with pytest.raises((ModelUnavailable, ModelTimeout)) as caught:
        judge(server, kind, tmp_path)
    assert caught.value.retryable
