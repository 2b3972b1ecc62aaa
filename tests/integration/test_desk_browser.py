"""The incident page as an operator uses it, in headless Chromium against a server process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from pipeline.store import feedback as store_feedback
from pipeline.store import workers
from pipeline.store.engine import read
from pipeline.store.schema import Answer, audit, feedback
from pipeline.types import Action, EventType, Priority
from tests.integration.chromium import Page, browser, program
from tests.unit.desk.desk_rows import FIRE_TEXT, TOKEN, Seeded, fill, open_desk, verdict

SERVE = """
import sys
from pathlib import Path
from pipeline.desk.server import run_desk
from pipeline.settings import Settings
flag = Path(sys.argv[3])
run_desk(
    Settings(data_dir=Path(sys.argv[1]), port=int(sys.argv[2]), token=sys.argv[4]),
    ping_broker=lambda: not flag.exists(),
)
"""
READY = "document.body?.dataset.ready"
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """The incident page in a process of its own, which can be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.broker_down = data_dir / "broker-is-down"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-c",
            SERVE,
            str(self.data_dir),
            str(self.port),
            str(self.broker_down),
            TOKEN,
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        end = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, "the page did not start"
            assert time.monotonic() < end, "the page does not answer"
            try:
                httpx.get(f"{self.address}/login", trust_env=False)
                return
            except httpx.TransportError:
                time.sleep(0.1)

    def stop(self) -> int:
        """Stop it as a process manager would; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    program()
    made = fill(open_desk(tmp_path_factory.mktemp("desk")))
    workers.seen(made.engine, "here/1", model="embedded", pid=1)
    yield made
    made.queue.close()
    made.engine.dispose()


@pytest.fixture(scope="module")
def server(desk: Seeded) -> Iterator[Server]:
    running = Server(desk.settings.data_dir)
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def tab(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        page.open(f"{server.address}/?token={TOKEN}&operator=Kim")
        yield page


@pytest.fixture
def page(tab: Page, server: Server) -> Iterator[Page]:
    """The list, freshly loaded; afterwards nothing may have been logged as an error."""
    tab.size(1280, 800)
    tab.open(f"{server.address}/", READY)
    tab.problems.clear()
    yield tab
    assert tab.problems == []


def titles(page: Page) -> list[str]:
    found = page.js("[...document.querySelectorAll('.row .title')].map(e => e.innerText)")
    return list(found)


def pictures_are_there(page: Page) -> bool:
    return bool(page.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)"))


def no_sideways_scrolling(page: Page) -> bool:
    return bool(page.js("document.documentElement.scrollWidth <= innerWidth"))


def test_token_leaves_the_address_bar(page: Page, server: Server) -> None:
    assert page.js("location.href") == f"{server.address}/"
    assert "Kim" in page.text("header")


def test_list_shows_pictures_and_priorities(page: Page) -> None:
    assert titles(page)[0] == FIRE_TEXT.title
    page.until("[...document.images].every(i => i.complete)")
    assert pictures_are_there(page)
    assert "Critical" in page.text(".row.critical")
    assert page.js("document.title").startswith("(4)")
    assert no_sideways_scrolling(page)


def test_keys_lead_from_the_list_to_an_answer(page: Page, desk: Seeded) -> None:
    page.press("j")
    page.press("j")
    page.press("k")
    focused = page.js("document.activeElement.closest('.row').id")
    assert focused == page.js("document.querySelector('.row').id")
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid", "focus is visible"
    page.press("Enter")
    page.until("document.querySelector('#incident') && document.body.dataset.ready")
    page.until("[...document.images].every(i => i.complete)")
    assert pictures_are_there(page)
    assert page.js("document.querySelector('.stage.full svg.boxes rect') !== null")
    assert "Call the fire service." in page.text(".do")
    # Enter in the note chooses nothing; the key afterwards answers and takes the note along.
    page.press("n")
    page.type("cfu: it is real")
    page.press("Enter")
    assert page.js("document.querySelector('.given')") is None
    page.press("c")
    page.until("document.querySelector('.given.confirmed')")
    assert "cfu: it is real" in page.text("#answer")
    incident_id = page.js("document.querySelector('#incident').dataset.id")
    with read(desk.engine) as connection:
        row = connection.execute(select(feedback).where(feedback.c.incident_id == incident_id)).one()
        seen = connection.execute(
            select(audit.c.who).where(audit.c.what == "incident.viewed", audit.c.subject == incident_id)
        ).first()
    assert (row.answer, row.operator, row.note) == ("confirmed", "Kim", "cfu: it is real")
    assert seen is not None
    assert seen.who == "Kim"
    # f and u replace it, by key and by mouse.
    page.press("f")
    page.until("document.querySelector('.given.false_alarm')")
    page.js("document.querySelector('#answer button.unsure').click()")
    page.until("document.querySelector('.given.unsure')")
    page.press("j")
    page.until(f"document.querySelector('#incident')?.dataset.id !== {incident_id!r} && {READY}")
    page.press("Escape")
    page.until("document.querySelector('#list')")


def test_a_quick_second_answer_does_not_load_the_page_again(page: Page) -> None:
    # Keys that follow would fall into the moment in which the page is not there yet.
    page.js("document.querySelector('.row a').click()")
    page.until("document.querySelector('#incident') && document.body.dataset.ready")
    page.js(
        "window.here = true; new MutationObserver((_, watch) => { watch.disconnect();"
        " document.querySelector('#answer button.unsure').click(); })"
        ".observe(document.querySelector('#answer').parentElement, {childList: true})"
    )
    page.press("f")
    page.until("document.querySelector('.given.unsure')")
    assert page.js("window.here") is True


def test_pictures_can_be_chosen_and_motion_is_hidden_at_first(page: Page) -> None:
    page.js("document.querySelector('.row a').click()")
    page.until("document.querySelector('#incident') && document.body.dataset.ready")
    shown = "[...document.querySelectorAll('.stage')].filter(e => e.offsetHeight).map(e => e.className)"
    assert page.js(shown) == ["stage full"]
    assert page.js("document.querySelector('.film .motion').offsetHeight") == 0
    page.js("document.querySelector('#show-motion').click()")
    assert page.js("document.querySelector('.film .motion').offsetHeight") > 0
    page.js("document.querySelector('.film .motion').click()")
    assert page.js(shown) == ["stage motion"]
    assert page.js("getComputedStyle(document.querySelector('.boxes')).display") != "none"
    page.js("document.querySelector('#show-boxes').click()")
    assert page.js("getComputedStyle(document.querySelector('.boxes')).display") == "none"


def test_overlay_lies_on_the_picture(page: Page) -> None:
    page.js("document.querySelectorAll('.row a')[0].click()")
    page.until("document.querySelector('#incident')")
    page.until("[...document.images].every(i => i.complete)")
    # Box of the drawn rectangle and of the picture inside its letterbox, in pixels of the screen.
    found = page.js(
        """(() => {
        const stage = [...document.querySelectorAll('.stage')].find(e => e.offsetHeight);
        const img = stage.querySelector('img'), rect = stage.querySelector('rect.object');
        const a = img.getBoundingClientRect(), b = rect.getBoundingClientRect();
        const scale = Math.min(a.width / img.naturalWidth, a.height / img.naturalHeight);
        const left = a.left + (a.width - img.naturalWidth * scale) / 2;
        const top = a.top + (a.height - img.naturalHeight * scale) / 2;
        return [(b.left - left) / scale / img.naturalWidth, (b.top - top) / scale / img.naturalHeight,
                (b.right - left) / scale / img.naturalWidth, (b.bottom - top) / scale / img.naturalHeight];
        })()"""
    )
    expected = {(0.3, 0.3, 0.8, 0.98), (0.25, 0.2, 0.75, 0.8), (0.2, 0.1, 0.8, 0.95), (0.1, 0.1, 0.9, 0.9)}
    assert any(
        all(abs(one - other) < 0.02 for one, other in zip(found, box, strict=True)) for box in expected
    ), found


def test_new_incident_appears_by_itself(page: Page, desk: Seeded) -> None:
    before = len(titles(page))
    page.press("j")
    held = page.js("document.activeElement.closest('.row').id")
    candidate = desk.candidate(
        "doll-house-fire.mp4", EventType.SMOKE, (26.0,), (0.2, 0.1, 0.8, 0.5), camera="garden-2"
    )
    desk.judged(candidate, verdict(candidate, 0.97, Action.ESCALATE, Priority.CRITICAL, "high", FIRE_TEXT))
    page.until("document.querySelector('#list').innerText.includes('garden-2')", 8)
    assert len(titles(page)) == before + 1
    assert page.js("document.title").startswith(f"({before + 1})")
    assert page.js("document.activeElement.closest('.row').id") == held, "the place in the list is kept"


def test_answer_of_a_colleague_appears_by_itself(page: Page, desk: Seeded) -> None:
    page.js("document.querySelector('.row a').click()")
    page.until("document.querySelector('#incident') && document.body.dataset.ready")
    incident_id = page.js("document.querySelector('#incident').dataset.id")
    store_feedback.give(desk.engine, incident_id, Answer.FALSE_ALARM, operator="Lee", note="seen it")
    page.until("document.querySelector('.given.false_alarm')?.innerText.includes('Lee')", 8)


def test_broker_that_is_down_is_told_within_seconds(page: Page, server: Server) -> None:
    assert "Trouble" not in page.text("#strip")
    server.broker_down.touch()
    try:
        page.until("document.querySelector('#strip').innerText.includes('Broker is down')", 15)
        assert "Trouble" in page.text("#strip")
    finally:
        server.broker_down.unlink()
    page.until("!document.querySelector('#strip').innerText.includes('Broker is down')", 15)


def test_narrow_window_has_everything(page: Page) -> None:
    page.size(420, 800)
    assert no_sideways_scrolling(page)
    page.js("document.querySelector('.row a').click()")
    page.until("document.querySelector('#incident')")
    assert no_sideways_scrolling(page)
    assert page.js("document.querySelector('#answer button.confirmed').offsetHeight") >= 40


def test_dismissed_candidate_can_be_called_back(page: Page, server: Server) -> None:
    page.open(f"{server.address}/?tab=dismissed", READY)
    page.js("[...document.querySelectorAll('.row a')].find(a => a.innerText.includes('campus')).click()")
    page.until("document.querySelector('#incident') && document.body.dataset.ready")
    page.press("c")
    page.until("document.querySelector('.given.confirmed')")
    page.open(f"{server.address}/?tab=answered")
    assert "campus-north" in page.text("#list")


def test_restart_of_the_page_is_survived(tab: Page, server: Server, desk: Seeded) -> None:
    tab.open(f"{server.address}/", READY)
    assert server.stop() == 0, "SIGTERM ends it cleanly although this page is open"
    tab.until("!document.querySelector('#offline').hidden", 10)
    candidate = desk.candidate(
        "bottles-on-table.mp4", EventType.ABANDONED_OBJECT, (3.0,), (0.2, 0.2, 0.8, 0.8), camera="table-9"
    )
    desk.judged(candidate, verdict(candidate, 0.5, Action.REVIEW, Priority.MEDIUM, "between"))
    server.start()
    # Signed in still, told again, and what happened meanwhile is there.
    tab.until("document.querySelector('#offline').hidden", 20)
    tab.until("document.querySelector('#list').innerText.includes('table-9')", 10)


def test_wrong_token_and_signing_in_by_hand(server: Server, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.open(f"{server.address}/?token=wrong")
        assert "This token is not right." in page.text()
        page.js("document.querySelector('[name=operator]').value = '김 상황'")
        page.js("document.querySelector('[name=language]').value = 'ko'")
        page.js(f"document.querySelector('[name=token]').value = {TOKEN!r}")
        page.js("document.querySelector('button.go').click()")
        page.until("document.querySelector('#list')")
        assert "확인 필요" in page.text(".tabs")
        assert "김 상황" in page.text("header")


def test_saved_report_opens_alone_with_faces_hidden(
    page: Page, server: Server, desk: Seeded, tmp_path: Path
) -> None:
    page.open(f"{server.address}/?tab=answered")
    link = page.js("document.querySelector('.row a').href")
    answer = httpx.get(
        f"{link}/report.html", headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
    )
    assert "attachment" in answer.headers["content-disposition"]
    file = tmp_path / "report.html"
    file.write_text(answer.text, encoding="utf-8")
    page.open(file.as_uri())
    assert "Faces are hidden in this file." in page.text()
    assert page.js("document.images.length") >= 1
    assert pictures_are_there(page)
