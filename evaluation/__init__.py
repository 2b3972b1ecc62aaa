"""Evaluation: metrics, reports and comparisons over labelled clips."""
