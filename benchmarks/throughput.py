"""What the run loop costs: images per second with pipeline, log and checkpoints, versus the bare step."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from measure.frameworks import add_framework_option, in_each_framework
from measure.report import Report, parse_with_output_options

from resnet_core.benchmark.interval import median_interval

#: Least share of the bare step's throughput, by the length of a step.
LONG_STEP, LONG_TARGET, SHORT_TARGET = 0.3, 0.97, 0.9
CHECKPOINT_TARGET = 0.01


def main() -> int:
    options = _options()
    settings = {name: getattr(options, name) for name in ("spec", "batch", "steps", "pairs")}
    report = Report(
        name="throughput",
        title=f"Training throughput: {options.spec}, batch {options.batch}, 28 x 28",
        columns=("framework", "loop, images/s", "bare, images/s", "ratio", "interval", "checkpoints"),
        settings=settings,
    )
    slow = False
    for framework, answer in report.succeeded(in_each_framework(options, "throughput_worker:measure", **settings)):
        images = options.batch * options.steps
        ratios = [bare / loop for loop, bare in zip(answer["loop"], answer["bare"], strict=True)]
        ratio = median_interval(ratios)
        share = sum(answer["checkpoint"]) / sum(answer["loop"]) / options.per_epoch * options.steps
        target = LONG_TARGET if sorted(answer["bare"])[len(ratios) // 2] / options.steps >= LONG_STEP else SHORT_TARGET
        slow |= ratio.high < target or share > CHECKPOINT_TARGET
        row = (
            framework,
            f"{images / min(answer['loop']):,.0f}",
            f"{images / min(answer['bare']):,.0f}",
            f"{ratio.median:.3f}",
            f"[{ratio.low:.3f}, {ratio.high:.3f}]",
            f"{share:.2%}",
        )
        report.add(row, {"framework": framework, "target": target, "checkpoint_share": share, **answer})
    report.notes.append(
        f"Images per second are for the fastest segment. Target: {LONG_TARGET} if a step takes {LONG_STEP} s or more, "
        f"otherwise {SHORT_TARGET}. Checkpoints: share of the time with one every {options.per_epoch} steps, an epoch."
    )
    report.finish(options)
    return 1 if slow or report.failed else 0


def _options() -> Namespace:
    parser = ArgumentParser(description="The run loop versus the bare step.")
    add_framework_option(parser)
    parser.add_argument("--spec", default="resnet20", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images per batch (%(default)s)")
    parser.add_argument("--steps", type=int, default=15, help="steps of a segment (%(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="segments of each kind (%(default)s)")
    parser.add_argument("--per-epoch", type=int, default=469, help="steps between checkpoints (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two steps, six pairs: does it run?")
    options = parse_with_output_options(parser)
    if options.quick:
        options.steps, options.pairs = 2, 6
    return options


if __name__ == "__main__":
    sys.exit(main())
