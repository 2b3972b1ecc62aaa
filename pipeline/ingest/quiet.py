"""Keeps FFmpeg's and OpenCV's own chatter off the user's terminal: Sitrep says what is wrong itself."""

from __future__ import annotations

import os

# Read by OpenCV when its FFmpeg back end is first used; -8 is AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

import cv2

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["cv2"]
