"""Shared code of the benchmarks: pairs, processes, reports."""
