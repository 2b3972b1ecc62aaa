"""Turns other people's annotations, and operators' answers, into dataset files."""

from evaluation.importers.feedback import import_feedback
from evaluation.importers.folders import import_folders
from evaluation.importers.kisa import import_kisa
from evaluation.importers.ucf_crime import import_ucf_crime

__all__ = ["import_feedback", "import_folders", "import_kisa", "import_ucf_crime"]
