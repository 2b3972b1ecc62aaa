"""Detectors and pose estimators on OpenVINO. The core reaches them by name only, never by import."""
