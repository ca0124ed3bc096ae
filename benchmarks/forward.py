"""Forward pass of one network in every framework: mean and standard deviation per batch.

By default ResNet v2-152 on batches of 32 images of 224 x 224, ten batches after a burn-in of two.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from statistics import mean, pstdev

from measure.frameworks import add_framework_option, in_each_framework
from measure.report import Report, milliseconds, parse_with_output_options


def main() -> int:
    options = _options()
    settings = {name: getattr(options, name) for name in ("spec", "batch", "size", "batches", "burn_in")}
    report = Report(
        name="forward",
        title=f"Forward pass: {options.spec}, batch {options.batch}, {options.size} x {options.size}",
        columns=("framework", "seconds per batch", "images per second", "first batch"),
        settings=settings,
    )
    for framework, answer in report.succeeded(in_each_framework(options, "forward_worker:measure", **settings)):
        average, deviation = mean(answer["seconds"]), pstdev(answer["seconds"])
        first = milliseconds(answer["burn_in_seconds"][0]) if options.burn_in else ""
        row = (framework, f"{average:.3f} ± {deviation:.3f}", f"{options.batch / average:.1f}", first)
        report.add(row, {"framework": framework, "mean": average, "standard_deviation": deviation, **answer})
    report.notes.append(
        "Mean ± standard deviation over the batches after the burn-in. The first batch of the burn-in stands "
        "apart, because it includes what the framework compiles."
    )
    report.finish(options)
    return 1 if report.failed else 0


def _options() -> Namespace:
    parser = ArgumentParser(description="Timed forward pass in every framework.")
    add_framework_option(parser)
    parser.add_argument("--spec", default="resnet_v2_152", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--batch", type=int, help="images per batch (32)")
    parser.add_argument("--size", type=int, help="height and width (224)")
    parser.add_argument("--batches", type=int, help="batches that are timed (10)")
    parser.add_argument("--burn-in", type=int, default=2, help="batches before those (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="batch 2, size 64, 2 batches: does it run?")
    options = parse_with_output_options(parser)
    usual = {"batch": 32, "size": 224, "batches": 10}
    if options.quick:
        usual = {"batch": 2, "size": 64, "batches": 2}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    sys.exit(main())
