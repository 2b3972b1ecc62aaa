"""Benchmarks: each gives ratios against a baseline measured in the same run."""
