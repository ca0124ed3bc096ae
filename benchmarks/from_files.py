"""What reading costs: images per second of training from JPEG files, versus the same training from memory."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from measure.frameworks import add_framework_option, in_each_framework
from measure.report import Report, parse_with_output_options

from resnet_core.benchmark.interval import median_interval

#: Least share of the images per second from memory.
TARGET = 0.9


def main() -> int:
    options = _options()
    settings = {name: getattr(options, name) for name in ("spec", "batch", "size", "steps", "pairs", "pictures")}
    what = f"{options.spec}, batch {options.batch}, {options.size} x {options.size}"
    report = Report(
        name="from-files",
        title=f"Training from JPEG files of 500 x 375: {what}",
        columns=("framework", "files, images/s", "memory, images/s", "ratio", "interval", "pictures alone, images/s"),
        settings=settings,
    )
    slow = False
    for framework, answer in report.succeeded(in_each_framework(options, "from_files_worker:measure", **settings)):
        images = options.batch * options.steps
        ratio = median_interval([one / other for one, other in zip(answer["memory"], answer["files"], strict=True)])
        slow |= ratio.high < TARGET
        row = (
            framework,
            f"{images / min(answer['files']):,.1f}",
            f"{images / min(answer['memory']):,.1f}",
            f"{ratio.median:.3f}",
            f"[{ratio.low:.3f}, {ratio.high:.3f}]",
            f"{images / min(answer['alone']):,.0f}",
        )
        report.add(row, {"framework": framework, "target": TARGET, **answer})
    report.notes.append(
        "Images per second are for the fastest segment. Files: random crops and flips of pictures, each of which is "
        f"decoded; memory: flips of uint8 arrays at the network's size. A segment begins with nothing ahead. Target: "
        f"{TARGET}. Pictures alone: the files' batches, prepared as fast as they can be with nobody who computes."
    )
    report.finish(options)
    return 1 if slow or report.failed else 0


def _options() -> Namespace:
    parser = ArgumentParser(description="Training from files versus from memory.")
    add_framework_option(parser)
    parser.add_argument("--spec", default="resnet18", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="images per batch (%(default)s)")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images (%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="steps of a segment (%(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="segments of each kind (%(default)s)")
    parser.add_argument("--pictures", type=int, default=512, help="different files (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two small steps, six pairs: does it run?")
    options = parse_with_output_options(parser)
    if options.quick:
        options.batch, options.size, options.steps, options.pairs, options.pictures = 4, 32, 2, 6, 16
    return options


if __name__ == "__main__":
    sys.exit(main())
