"""What `rn.bench` has timed, for a report."""

from __future__ import annotations

import sys

from measure.report import Report
from resnet_core.benchmark.result import Benchmark, BenchmarkRow


def timed(result: Benchmark, report: Report) -> list[BenchmarkRow]:
    """The rows that have times, with versions recorded; the others are told, and the report has failed."""
    report.versions.update(result.versions)
    for row in result.rows:
        if row.problem is not None:
            report.failed = True
            print(f"  {row.label}: {row.problem}", file=sys.stderr)
    return result.timed
