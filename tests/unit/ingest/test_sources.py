from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.ingest import find_clips, open_source, source_identity
from tests.media import cut, ffmpeg, moving_square, needs_ffmpeg, write_video


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".webm"])
def test_every_container_yields_its_frames_in_stream_time(tmp_path: Path, suffix: str) -> None:
    source = open_source(write_video(tmp_path / f"clip{suffix}", frames=30, fps=15.0))
    frames = list(source.frames())
    assert len(frames) == 30
    assert [frame.index for frame in frames] == list(range(30))
    assert frames[0].t_s == 0.0
    # Matroska keeps whole milliseconds.
    np.testing.assert_allclose(np.diff([frame.t_s for frame in frames]), 1 / 15, atol=1.1e-3)
    assert frames[0].image.shape == (120, 160, 3)
    assert not source.info.is_still and source.info.width == 160


@needs_ffmpeg
def test_gif_animation_is_a_video_and_gif_picture_a_still(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=20, fps=10)
    ffmpeg("-i", video, tmp_path / "moving.gif")
    ffmpeg("-i", video, "-frames:v", "1", tmp_path / "single.gif")
    moving = open_source(tmp_path / "moving.gif")
    assert len(list(moving.frames())) == 20
    assert open_source(tmp_path / "single.gif").info.is_still


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".bmp", ".webp"])
def test_pictures_are_one_frame(tmp_path: Path, suffix: str) -> None:
    picture = moving_square()(3)
    cv2.imwrite(str(tmp_path / f"still{suffix}"), picture)
    source = open_source(tmp_path / f"still{suffix}", fps=5)
    (frame,) = source.frames()
    assert source.info.is_still and frame.t_s == 0.0
    assert np.abs(frame.image.astype(int) - picture).mean() < 12


def test_sampling_takes_a_regular_choice(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "clip.mp4", frames=90, fps=30), fps=5)
    times = [frame.t_s for frame in source.frames()]
    assert len(times) == 15
    np.testing.assert_allclose(np.diff(times), 0.2, atol=0.002)
    assert [frame.t_s for frame in source.frames()] == times, "frames() starts over"


@needs_ffmpeg
def test_variable_frame_rate_keeps_container_times(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=60, fps=20)
    ffmpeg("-i", video, "-vf", "select='lt(n,20)+gte(n,50)'", "-fps_mode", "vfr", tmp_path / "gap.mkv")
    times = np.array([frame.t_s for frame in open_source(tmp_path / "gap.mkv").frames()])
    assert len(times) == 30
    assert np.diff(times).max() == pytest.approx(31 / 20, abs=0.01)


def test_folder_gives_its_clips_sorted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write_video(tmp_path / "b" / "two.MP4", frames=3)
    write_video(tmp_path / "a.avi", frames=3)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._a.avi").write_bytes(b"\0")
    assert find_clips(tmp_path) == [str(tmp_path / "a.avi"), str(tmp_path / "b" / "two.MP4")]
    assert find_clips(tmp_path / "a.avi") == [str(tmp_path / "a.avi")]
    assert find_clips("rtsp://camera/1") == ["rtsp://camera/1"]


def test_identity_follows_content_not_name(tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.mp4")
    two = tmp_path / "two.mp4"
    two.write_bytes(one.read_bytes())
    other = write_video(tmp_path / "other.mp4", frames=12)
    identities = [source_identity(open_source(path).info) for path in (one, two, other)]
    assert identities[0] == identities[1] != identities[2]


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        list(open_source(path).frames())
    line = caught.value.one_line()
    assert "\n" not in line and caught.value.hint
    assert str(path) in line
    return line


def test_missing_path(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.mp4")
    with pytest.raises(SourceError, match="does not exist"):
        find_clips(tmp_path / "nowhere.mp4")


def test_folder_without_clips(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no clips"):
        find_clips(tmp_path)


def test_folder_where_a_clip_is_wanted(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "is empty (0 bytes)" in refusal(path)


@pytest.mark.parametrize("content", [b"just words\n" * 20, os.urandom(512), b"\xff\xd8\xff\xe0" + b"0" * 99])
def test_content_that_is_not_what_the_name_says(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert "is not what its name says" in refusal(path)


def test_video_under_another_containers_name(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(write_video(tmp_path / "clip.mp4").read_bytes())
    line = refusal(path)
    assert "MP4/MOV video" in line and "rename it to .mov or .mp4" in line
    picture = tmp_path / "clip.jpg"
    picture.write_bytes((tmp_path / "clip.mp4").read_bytes())
    assert "MP4/MOV video" in refusal(picture)


def test_unknown_extension(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("words")
    assert "by its extension" in refusal(path)


def test_single_frame_video(tmp_path: Path) -> None:
    assert "single frame" in refusal(write_video(tmp_path / "one.mp4", frames=1))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_audio_only(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound{suffix}"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    assert "audio only" in refusal(path)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_container_without_a_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zero{suffix}"
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", "-frames:v", "0", path)
    assert any(said in refusal(path) for said in ("holds no frame", "holds no video"))


def test_truncated_before_its_index(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "clip.mp4", frames=60)
    assert "truncated" in refusal(cut(whole, 0.6, tmp_path / "cut.mp4"))


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "extra"), [(".mp4", ["-movflags", "+faststart"]), (".mkv", []), (".avi", []), (".webm", [])]
)
def test_truncated_in_the_middle_yields_what_there_is(tmp_path: Path, suffix: str, extra: list[str]) -> None:
    source = write_video(tmp_path / "source.mp4", frames=120, fps=20)
    whole = tmp_path / f"whole{suffix}"
    ffmpeg("-i", source, *extra, whole)
    assert len(list(open_source(whole).frames())) == 120, "a whole file is not called truncated"
    path = cut(whole, 0.6, tmp_path / f"cut{suffix}")
    seen = []
    with pytest.raises(SourceError, match="truncated") as caught:
        for frame in open_source(path).frames():
            seen.append(frame.t_s)
    assert 2 < len(seen) < 110
    assert str(path) in caught.value.one_line()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_picture(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    cv2.imwrite(str(whole), moving_square()(0))
    assert "cut short" in refusal(cut(whole, 0.5, tmp_path / f"cut{suffix}"))


def test_special_file_is_refused_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    assert "neither a file nor a folder" in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    path.chmod(0)
    assert "cannot be read" in refusal(path)


def test_decoder_noise_stays_off_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write_video(tmp_path / "clip.avi", frames=40)
    data = bytearray(whole.read_bytes())
    data[3000:9000:7] = b"\xa5" * len(data[3000:9000:7])
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data)
    with contextlib.suppress(SourceError):
        list(open_source(damaged).frames())
    refusal(cut(write_video(tmp_path / "b.mp4"), 0.5, tmp_path / "cut.mp4"))
    said = capfd.readouterr()
    assert said.err == "" and said.out == ""
