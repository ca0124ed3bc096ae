"""Shared code of the benchmarks: timing, intervals, facts about the machine, reports."""
