"""What the pages say and what they write."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from pipeline.desk.app import create_app
from pipeline.store.engine import read, write
from pipeline.store.schema import audit, candidates, feedback, incidents, metadata
from pipeline.types import Action, EventType, Priority
from tests.unit.desk.desk_rows import TOKEN, Seeded, verdict


def lines(page: str) -> list[str]:
    """Titles of the list, in order."""
    return re.findall(r'<strong class="title">(.*?)</strong>', page)


def links(page: str) -> list[str]:
    return re.findall(r'<a href="(/incidents/[^"]+)">', page)


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found is not None
    return found[1]


def test_list_is_by_priority_and_says_what_happened(client: TestClient) -> None:
    page = client.get("/").text
    titles = lines(page)
    assert titles[0] == "Open fire on a small wooden house in a garden"
    assert titles[1] == "A person has fallen and stays on the floor"
    assert len(titles) == 4
    # Escalated before review within one priority; both reviews are "high".
    assert page.index("office-2") < page.index("lobby")
    assert "Critical" in page
    assert "office-2" in page
    assert "2 alarms" in page, "two overlapping alarms are one incident"
    assert re.search(r"Dismissed <b>2</b>", page)


def test_dismissed_ones_are_under_their_own_tab(client: TestClient) -> None:
    page = client.get("/", params={"tab": "dismissed"}).text
    assert "People walk across a lawn, nobody falls" in lines(page)
    assert "Smoke: Looks false" in lines(page)
    assert "campus-north" in page
    assert "campus-north" not in client.get("/").text


def test_incident_page_shows_everything(client: TestClient) -> None:
    page = client.get(links(client.get("/").text)[1]).text
    for words in (
        "A person has fallen and stays on the floor",
        "Send help to the room now",
        "The person lies on the floor.",
        "The body goes from upright to lying",
        "The score 0.93 is at or above 0.62",
        "check from 18 % · act from 62 %",
        "box turned from upright to lying",
        "torso angle",
        "78.3 °",
        "person 91 %",
        "incident@1.0.0",
        "ab" * 32,
        "embedded:sitrep-vlm@0.1.0",
        "318 ms",
        "east room",
        "0:04.0",
    ):
        assert words in page, words
    assert page.count('class="stage full"') == 3
    assert page.count('class="stage region"') == 3
    assert page.count('class="stage motion"') == 1
    order = re.findall(r"<figcaption><b>([\d:.]+)</b> · (\w+)", page)
    assert [moment for _, moment in order] == ["before"] * 2 + ["moment"] * 3 + ["after"] * 2
    assert page.index('id="p3" checked') > 0, "the whole view of the moment comes first"


def test_failed_verdict_shows_why_and_the_raw_reply_harmlessly(client: TestClient) -> None:
    page = next(
        text for text in (client.get(link).text for link in links(client.get("/").text)) if "lobby" in text
    )
    assert "No verdict" in page
    assert "the reply is not JSON" in page
    assert "Three &lt;b&gt;people&lt;/b&gt; stand" in page
    assert "no score" in page


def test_ungrounded_report_warns_and_foreign_text_has_its_language(client: TestClient) -> None:
    pages = [client.get(link).text for link in links(client.get("/").text)]
    page = next(text for text in pages if "매장 3" in text)
    assert "Trust the pictures" in page
    assert 'lang="ko"' in page


def test_untrusted_names_are_data(desk: Seeded, client: TestClient) -> None:
    evil = '<script>alert("x")</script>'
    candidate = desk.candidate(
        "worker-in-hall.mp4",
        EventType.FIRE,
        (2.0,),
        (0.1, 0.1, 0.9, 0.9),
        camera=evil,
        zone=evil,
        note=evil,
        label=evil,
    )
    said = verdict(candidate, 0.9, Action.ESCALATE, Priority.CRITICAL, evil)
    desk.judged(candidate, said)
    listed = client.get("/").text
    pages = [listed, *(client.get(link).text for link in links(listed))]
    assert any("&lt;script&gt;" in page for page in pages)
    assert not any("<script>alert" in page for page in pages)


def test_looking_is_recorded_with_the_name(desk: Seeded, client: TestClient) -> None:
    link = links(client.get("/").text)[0]
    client.get(link)
    with read(desk.engine) as connection:
        rows = connection.execute(select(audit.c.who, audit.c.what, audit.c.subject)).all()
    assert ("Kim", "incident.viewed", link.rsplit("/", 1)[1]) in rows
    assert ("Kim", "desk.signed_in", "desk") in rows


def test_answer_is_stored_with_who_and_when(desk: Seeded, client: TestClient) -> None:
    link = links(client.get("/").text)[0]
    token = csrf_of(client.get(link).text)
    part = client.post(
        f"{link}/feedback",
        data={"answer": "false_alarm", "note": "  a\nfilm crew ", "csrf": token},
        headers={"hx-request": "true"},
    )
    assert part.status_code == 200
    assert "Saved: False alarm" in part.text
    assert "a film crew" in part.text
    assert "<html" not in part.text
    incident_id = link.rsplit("/", 1)[1]
    with read(desk.engine) as connection:
        row = connection.execute(select(feedback)).one()
        deeds = connection.execute(
            select(audit.c.who, audit.c.detail).where(audit.c.what == "feedback.given")
        ).all()
    assert (row.incident_id, row.operator, row.answer, row.note) == (
        incident_id,
        "Kim",
        "false_alarm",
        "a film crew",
    )
    assert [(who, detail["answer"]) for who, detail in deeds] == [("Kim", "false_alarm")]
    assert len(lines(client.get("/").text)) == 3
    answered = client.get("/", params={"tab": "answered"}).text
    assert "False alarm" in answered
    # A second answer replaces the first and keeps it on record.
    page = client.post(f"{link}/feedback", data={"answer": "confirmed", "csrf": token}).text
    assert "Saved: Confirmed" in page
    assert "Answers so far (2)" in page


def test_dismissed_candidate_can_be_answered(desk: Seeded, client: TestClient) -> None:
    link = next(
        link for link in links(client.get("/", params={"tab": "dismissed"}).text) if "campus-walkers" in link
    )
    token = csrf_of(client.get(link).text)
    page = client.post(f"{link}/feedback", data={"answer": "confirmed", "csrf": token})
    assert page.status_code == 200
    assert "Saved: Confirmed" in page.text
    opened = str(page.url).rsplit("/", 1)[1]
    assert opened != link.rsplit("/", 1)[1]
    with read(desk.engine) as connection:
        row = connection.execute(select(incidents).where(incidents.c.incident_id == opened)).one()
        member = connection.execute(
            select(candidates.c.incident_id).where(candidates.c.candidate_id == link.rsplit("/", 1)[1])
        ).scalar_one()
    assert (row.state, row.action, member) == ("confirmed", "dismiss", opened)
    # The old address leads to the incident now.
    assert str(client.get(link).url).endswith(opened)
    assert re.search(r"Dismissed <b>1</b>", client.get("/").text)


def test_merged_incident_leads_to_the_one_it_joined(desk: Seeded, client: TestClient) -> None:
    first, second = (link.rsplit("/", 1)[1] for link in links(client.get("/").text)[:2])
    with write(desk.engine) as connection:
        connection.execute(
            incidents.update().where(incidents.c.incident_id == second).values(merged_into=first)
        )
    assert str(client.get(f"/incidents/{second}").url).endswith(first)
    assert len(lines(client.get("/").text)) == 3


def test_next_and_previous_follow_the_list(client: TestClient) -> None:
    order = links(client.get("/").text)
    page = client.get(order[1]).text
    assert f'data-previous="{order[0]}" data-next="{order[2]}"' in page
    assert 'data-previous="" ' in client.get(order[0]).text


def test_strip_tells_what_is_wrong(desk: Seeded) -> None:
    app = create_app(desk.settings, engine=desk.engine, ping_broker=lambda: False)
    with TestClient(app) as client:
        page = client.get("/", params={"token": TOKEN}).text
    assert "Trouble" in page
    assert "Broker is down" in page
    assert "No worker is running" in page
    assert "<b>1</b> waiting" in page


def test_empty_desk_says_so(empty_desk: Seeded) -> None:
    app = create_app(empty_desk.settings, engine=empty_desk.engine, ping_broker=lambda: True)
    with TestClient(app) as client:
        assert "Nothing to look at." in client.get("/", params={"token": TOKEN}).text
        assert "No false alarm was dismissed yet." in client.get("/", params={"tab": "dismissed"}).text


def test_unknown_addresses_and_bad_values_are_told_plainly(client: TestClient) -> None:
    assert client.get("/incidents/none").status_code == 404
    assert "no such incident" in client.get("/incidents/none").text
    bad = client.get("/", params={"tab": "sideways"})
    assert bad.status_code == 422
    assert "Traceback" not in bad.text
    token = csrf_of(client.get("/").text)
    assert (
        client.post("/incidents/none/feedback", data={"answer": "unsure", "csrf": token}).status_code == 404
    )
    link = links(client.get("/").text)[0]
    assert client.post(f"{link}/feedback", data={"answer": "maybe", "csrf": token}).status_code == 422
    assert (
        client.post(
            f"{link}/feedback", data={"answer": "unsure", "note": "x" * 501, "csrf": token}
        ).status_code
        == 422
    )


def test_database_that_is_gone_is_told_plainly(desk: Seeded) -> None:
    app = create_app(desk.settings, engine=desk.engine, ping_broker=lambda: True)
    with TestClient(app) as client:
        client.get("/", params={"token": TOKEN})
        metadata.drop_all(desk.engine)
        page = client.get("/")
        assert page.status_code == 503
        assert "The database cannot be reached." in page.text
        assert client.get("/api/v1/health").status_code == 503


def test_picture_that_is_gone_does_not_break_the_page(desk: Seeded, client: TestClient) -> None:
    for sha256 in list(desk.frames.stored()):  # type: ignore[attr-defined]
        desk.frames.remove(sha256)  # type: ignore[attr-defined]
    link = links(client.get("/").text)[0]
    assert client.get(link).status_code == 200
    report = client.get(f"{link}/report.html")
    assert report.status_code == 200


def test_paging(desk: Seeded, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.desk.pages.PAGE", 3)
    first = client.get("/").text
    assert len(lines(first)) == 3
    assert 'rel="next" href="/?tab=open&amp;page=1"' in first
    second = client.get("/", params={"page": 1}).text
    assert len(lines(second)) == 1
    assert 'rel="prev"' in second
    assert not set(links(first)) & set(links(second))
