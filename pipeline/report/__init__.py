"""The HTML report of a demo or scan: one file that a person can read, keep and pass on."""

from pipeline.report.html import render_report, write_report
from pipeline.report.rows import ClipNote, ReportRow

__all__ = ["ClipNote", "ReportRow", "render_report", "write_report"]
