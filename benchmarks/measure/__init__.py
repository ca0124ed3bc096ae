"""What the benchmarks share: clocks, intervals, the machine, reports."""
