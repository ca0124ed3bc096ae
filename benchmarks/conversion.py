"""Conversion: seconds and memory from PyTorch's file to the neutral one, and from there to Keras', against copying.

The certificate's time is a figure of its own. `README.md` describes the method.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from measure.frameworks import process_environment
from measure.report import Report, milliseconds, parse_with_output_options

from resnet_core.benchmark.interval import median_interval
from resnet_core.workers.parent import Worker

#: Least share of the speed of copying, and most memory as a multiple of the file.
SPEED, MEMORY = 1 / 3, 2.5
LEGS = {"read": ".pth to .safetensors", "write": ".safetensors to .weights.h5"}


def main() -> int:
    options = _options()
    settings = {"spec": options.spec, "pairs": options.pairs}
    report = Report(
        name="conversion",
        title=f"Conversion: {options.spec}, float32",
        columns=("what", "seconds", "copying", "speed of copying", "95 % interval", "memory / file", "met"),
        settings=settings,
    )
    met = []
    with tempfile.TemporaryDirectory() as folder:
        given = {"spec": options.spec, "folder": folder}
        _run("prepare", **given)
        for leg, what in LEGS.items():
            row, result = _judged(what, _run(leg, pairs=options.pairs, **given))
            met.append(result["met"])
            report.add(row, result)
        proof = _run("prove", **given)
    report.add(("certificate", milliseconds(proof["seconds"]), "", "", "", "", ""), {"what": "certificate", **proof})
    report.notes += [
        "Seconds: beyond those of a network with as many tensors and few numbers, which cancels starts and imports; "
        "without the certificate, which has its own row (both files read already).",
        "Copying: the source's bytes, written as durably (fsync). Memory: peaks of both processes beyond the narrow "
        "network's, together, as a multiple of the source.",
        f"Target: at least {SPEED:.2f} of the speed of copying (the interval's upper end), memory below {MEMORY}.",
    ]
    report.finish(options)
    return 0 if all(met) else 1


def _run(function: str, **arguments: Any) -> dict[str, Any]:
    """In a new process, so that each is measured from its start."""
    with Worker(environment=process_environment()) as engine:
        result, _ = engine.call(f"conversion_worker:{function}", time_limit=3600, **arguments)
    return dict(result)


def _judged(what: str, measured: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    own, copies = measured["seconds"], measured["copy_seconds"]
    speed = median_interval([copy / taken for copy, taken in zip(copies, own, strict=True)])
    memory = sum(measured["memory_bytes"]) / measured["bytes"]
    met = speed.high >= SPEED and memory < MEMORY
    row = (
        what,
        milliseconds(median(own)),
        milliseconds(median(copies)),
        f"{speed.median:.2f}",
        f"{speed.low:.2f} – {speed.high:.2f}",
        f"{memory:.2f}",
        "yes" if met else "no",
    )
    interval = [speed.low, speed.high]
    return row, {"what": what, "met": met, "speed": speed.median, "interval": interval, "memory": memory, **measured}


def _options() -> Namespace:
    parser = ArgumentParser(description="Conversion of weights against copying their bytes.")
    parser.add_argument("--spec", help="a ResNet of torchvision's (resnet152)")
    parser.add_argument("--pairs", type=int, help="of the network and its narrow twin (8)")
    parser.add_argument("--quick", action="store_true", help="resnet50, 2 pairs: does it run?")
    options = parse_with_output_options(parser)
    options.spec = options.spec or ("resnet50" if options.quick else "resnet152")
    options.pairs = options.pairs or (2 if options.quick else 8)
    return options


if __name__ == "__main__":
    sys.exit(main())
