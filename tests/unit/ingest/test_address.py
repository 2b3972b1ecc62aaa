"""Names and addresses of sources, and what of them may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.ingest import camera_names, is_live, split_name, without_credentials
from pipeline.ingest.live import LiveParams, LiveSource


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        ("rtsp://h/1", True),
        ("HTTP://h/1", True),
        ("0", True),
        ("/dev/video12", True),
        ("clip.mp4", False),
        ("/dev/null", False),
        ("123", False),
    ],
)
def test_what_is_a_camera(uri: str, live: bool) -> None:
    """Given an argument, when it is an address or a video device, then it is a camera."""
    assert is_live(uri) is live


def test_a_file_called_like_a_number_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file named 0, when 0 is asked for, then it is the file."""
    monkeypatch.chdir(tmp_path)
    Path("0").touch()
    assert not is_live("0")


def test_webcam_that_is_not_there() -> None:
    """Given no such device, when the webcam is opened, then one line says which device and what there is."""
    with pytest.raises(SourceError, match="webcam 97: there is no /dev/video97") as caught:
        LiveSource("97", params=LiveParams(open_s=1))
    assert caught.value.hint and "this machine has" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://a:b@c@cam:554/x?y=1", "rtsp://cam:554/x?y=1"),
        (
            "http://cam/v.cgi?user=admin&password=geheim&channel=2",
            "http://cam/v.cgi?user=***&password=***&channel=2",
        ),
        ("rtsp://cam/x?token=abc", "rtsp://cam/x?token=***"),
        ("http://[broken/x", "an address that cannot be read"),
        ("folder/clip.mp4", "folder/clip.mp4"),
    ],
)
def test_secrets_of_an_address_are_never_shown(uri: str, shown: str) -> None:
    """Given an address with secrets, when it is shown, then they are not in it."""
    assert without_credentials(uri) == shown


def test_names_are_given_or_made_and_differ() -> None:
    """Given sources with and without names, when they are named, then no two are called the same."""
    sources = ["gate=rtsp://nvr/1", "rtsp://u:p@nvr/ch/2", "rtsp://u:p@nvr/ch/3", "rtsp://other/1", "0"]
    names = camera_names([split_name(source) for source in sources])
    assert names == ["gate", "nvr/ch/2", "nvr/ch/3", "other", "webcam-0"]


def test_equals_sign_in_an_address_is_no_name() -> None:
    """Given an address with a query, when it is split, then nothing of it becomes a name."""
    assert split_name("rtsp://cam/x?channel=1") == ("", "rtsp://cam/x?channel=1")
    assert split_name("dock=rtsp://cam/x?channel=1") == ("dock", "rtsp://cam/x?channel=1")
