"""Who gets in, and what a post must carry."""

from __future__ import annotations

import base64
import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.desk import auth
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from tests.unit.desk.desk_rows import TOKEN, Seeded

PATHS = [
    "/",
    "/fragments/list",
    "/fragments/strip",
    "/incidents/x",
    "/incidents/x/answer",
    "/incidents/x/report.html",
    "/events",
    "/metrics",
    "/api/v1/incidents",
    "/api/v1/incidents/x",
    "/api/v1/health",
    "/api/v1/frames/" + "0" * 64,
]


def test_token_is_made_once_and_kept_for_this_user_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: auth.page_token(settings), range(16)))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 32
    mode = stat.S_IMODE(auth.token_file(settings).stat().st_mode)
    assert mode == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["token"]


def test_unusable_token_file_is_one_clear_line(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    auth.token_file(settings).write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        auth.page_token(settings)
    auth.token_file(settings).unlink()
    auth.token_file(settings).mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        auth.page_token(settings)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_to_a_stranger(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert "office-2" not in answer.text


def test_a_browser_is_sent_to_the_sign_in_page(stranger: TestClient) -> None:
    answer = stranger.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = stranger.get("/login")
    assert page.status_code == 200
    assert 'name="token"' in page.text


def test_link_with_token_signs_in_and_drops_the_token(stranger: TestClient) -> None:
    answer = stranger.get("/", params={"token": TOKEN, "tab": "dismissed", "operator": " K\nim "})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?tab=dismissed"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    page = stranger.get("/")
    assert page.status_code == 200
    assert ">K im</a>" in page.text


def test_link_cannot_lead_away(stranger: TestClient) -> None:
    answer = stranger.get("//evil.example/", params={"token": TOKEN})
    assert not answer.headers.get("location", "").startswith("//")


def test_wrong_tokens(stranger: TestClient) -> None:
    assert stranger.get("/", params={"token": "nope"}).status_code == 401
    assert stranger.post("/login", data={"token": "nope"}).status_code == 401
    headers = {"authorization": "Bearer nope"}
    assert stranger.get("/api/v1/incidents", headers=headers).status_code == 401
    assert "set-cookie" not in stranger.post("/login", data={"token": ""}).headers


def test_too_many_wrong_tokens_are_refused(stranger: TestClient) -> None:
    codes = [stranger.post("/login", data={"token": f"try {n}"}).status_code for n in range(22)]
    assert codes[0] == 401
    assert codes[-1] == 429
    # Even the right one has to wait, or a guesser would learn nothing from being told to wait.
    assert stranger.post("/login", data={"token": TOKEN}).status_code == 429


def test_bearer_token_works_for_scripts(stranger: TestClient) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert stranger.get("/api/v1/health", headers=headers).status_code == 200


def test_forged_and_old_cookies_are_refused(
    desk: Seeded, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sitrep_session_{desk.settings.port}"
    payload, mac = client.cookies[name].split(".")
    body = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(body | {"o": "Boss"}).encode()).decode().rstrip("=")
    for value in (f"{forged}.{mac}", f"{payload}.", "x", "", f"{payload}.{mac}0"):
        client.cookies.set(name, value, domain="testserver.local", path="/")
        assert client.get("/api/v1/health", headers={"cookie": f"{name}={value}"}).status_code == 401
    monkeypatch.setattr(auth.time, "time", lambda: body["t"] + auth.SESSION_S + 1)
    old = {"cookie": f"{name}={payload}.{mac}"}
    assert client.get("/api/v1/health", headers=old).status_code == 401


def test_post_without_csrf_token_changes_nothing(desk: Seeded, client: TestClient) -> None:
    incident = client.get("/api/v1/incidents").json()["incidents"][0]["incident_id"]
    page = client.get(f"/incidents/{incident}").text
    csrf = re.search(r'name="csrf" value="(\w+)"', page)
    assert csrf is not None
    target = f"/incidents/{incident}/feedback"
    assert client.post(target, data={"answer": "confirmed"}).status_code == 403
    assert client.post(target, data={"answer": "confirmed", "csrf": "0" * 64}).status_code == 403
    cross = {"sec-fetch-site": "cross-site"}
    data = {"answer": "confirmed", "csrf": csrf[1]}
    assert client.post(target, data=data, headers=cross).status_code == 403
    api = f"/api/v1{target}"
    assert client.post(api, json={"answer": "confirmed"}).status_code == 403
    assert client.get(f"/api/v1/incidents/{incident}").json()["answers"] == []
    assert client.post(target, data=data).status_code == 200
    assert len(client.get(f"/api/v1/incidents/{incident}").json()["answers"]) == 1


def test_sign_out_and_change_of_name(client: TestClient) -> None:
    page = client.get("/login").text
    csrf = re.search(r'name="csrf" value="(\w+)"', page)
    assert csrf is not None
    assert 'name="token"' not in page
    client.post("/login", data={"operator": "Lee", "language": "ko", "csrf": csrf[1]})
    page = client.get("/").text
    assert ">Lee</a>" in page
    assert "확인 필요" in page
    csrf = re.search(r'name="csrf" value="(\w+)"', page)
    assert csrf is not None
    client.post("/logout", data={"csrf": csrf[1]})
    assert client.get("/api/v1/health").status_code == 401


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for path in (
        "/",
        "/login",
        "/static/desk.css",
        "/api/v1/health",
        "/metrics",
        "/nothing",
        "/incidents/no",
    ):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_pages_need_nothing_the_policy_forbids(client: TestClient) -> None:
    incident = client.get("/api/v1/incidents").json()["incidents"][0]["incident_id"]
    for path in ("/", "/login", f"/incidents/{incident}", "/incidents/no"):
        page = client.get(path).text
        assert not re.search(r"\sstyle=", page), path
        assert not re.search(r"\son\w+=", page), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), path
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page), path
