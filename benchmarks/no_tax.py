"""No tax: the model that `rn.build` returns versus a hand-written one, each used as by the framework's users.

ResNet-50, in alternating pairs; a ratio above 1 means that ours is faster. `README.md` describes the method.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from measure.frameworks import add_framework_option, in_each_framework
from measure.report import Report, milliseconds, parse_with_output_options

from resnet_core.benchmark.interval import median_interval

#: The interval must reach this ratio; the gap to 1 allows for noise.
PASS_RATIO = 0.97
PAIRS = {"forward": 12, "train step": 8}
RULE = f"Pass: the upper end of the interval of the median ratio is at least {PASS_RATIO}."


def main() -> int:
    options = _options()
    pairs = PAIRS if options.pairs is None else dict.fromkeys(PAIRS, options.pairs)
    settings = {"spec": "resnet50", "batch": options.batch, "size": options.size}
    report = Report(
        name="no-tax",
        title=f"No tax: ResNet-50, batch {options.batch}, {options.size} x {options.size}, float32",
        columns=("what", "ours", "by hand", "ratio", "95 % interval", "no tax"),
        settings={**settings, "pairs": "/".join(str(count) for count in pairs.values())},
    )
    verdicts = []
    arguments = {**settings, "pairs": pairs, "warm_up": options.warm_up}
    del arguments["spec"]
    for framework, answer in report.succeeded(in_each_framework(options, "no_tax_worker:measure", **arguments)):
        for what, measured in answer["results"].items():
            row, result = _judged(framework, what, measured)
            verdicts.append(result["verdict"])
            report.add(row, result)
    report.notes += [
        "Ratio: median over alternating pairs of hand-written seconds / our seconds; above 1 ours is faster.",
        "Interval: binomial order statistics of the median; below six pairs it can't cover 95 %: too few.",
        RULE,
    ]
    report.finish(options)
    return 1 if report.failed or "no" in verdicts else 0


def _judged(framework: str, what: str, measured: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    ours, theirs = measured["ours_seconds"], measured["handwritten_seconds"]
    ratio = median_interval([b / a for a, b in zip(ours, theirs, strict=True)])
    verdict = "too few" if not ratio.holds else "yes" if ratio.high >= PASS_RATIO else "no"
    row = (
        f"{framework} {what}",
        milliseconds(median(ours)),
        milliseconds(median(theirs)),
        f"{ratio.median:.3f}",
        f"{ratio.low:.3f} – {ratio.high:.3f}",
        verdict,
    )
    result = {
        "framework": framework,
        "what": what,
        "verdict": verdict,
        "ratio": ratio.median,
        "interval": [ratio.low, ratio.high],
        "interval_coverage": ratio.coverage,
        "ours_median_seconds": median(ours),
        "handwritten_median_seconds": median(theirs),
        **measured,
    }
    return row, result


def _options() -> Namespace:
    parser = ArgumentParser(description="The built model against a hand-written one.", epilog=RULE)
    add_framework_option(parser)
    parser.add_argument("--batch", type=int, help="images per batch (16)")
    parser.add_argument("--size", type=int, help="height and width (224)")
    parser.add_argument("--pairs", type=int, help="pairs of each kind (12 forward, 8 train step)")
    parser.add_argument("--quick", action="store_true", help="batch 2, size 64, 2 pairs: does it run?")
    options = parse_with_output_options(parser)
    usual = {"batch": 16, "size": 224, "pairs": None}
    if options.quick:
        usual = {"batch": 2, "size": 64, "pairs": 2}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.warm_up = 1 if options.quick else 2
    return options


if __name__ == "__main__":
    sys.exit(main())
