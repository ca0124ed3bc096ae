"""The graph that `resnet convert` writes versus PyTorch's export of a hand-written network, both in onnxruntime.

ResNet-50 with the same weights, in alternating pairs; a ratio above 1 means that ours is faster.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from statistics import median

from measure.frameworks import process_environment
from measure.report import Report, milliseconds, parse_with_output_options

from resnet_core.benchmark.interval import median_interval
from resnet_core.workers.parent import Worker

PASS_RATIO = 1.0
BATCHES = (1, 8)


def main() -> int:
    options = _options()
    settings = {"spec": "resnet50", "size": options.size, "pairs": options.pairs}
    report = Report(
        name="onnx-graph",
        title=f"Our ONNX graph in onnxruntime: ResNet-50, {options.size} x {options.size}, float32",
        columns=("what", "ours", "PyTorch's", "ratio", "95 % interval", "as fast"),
        settings=settings,
    )
    met = []
    environment = process_environment()
    with tempfile.TemporaryDirectory() as folder:
        with Worker(environment=environment) as exporter:  # onnxruntime runs beside no framework's threads
            made, _ = exporter.call("onnx_graph_worker:export", folder=folder, size=options.size)
        report.versions.update(made["versions"])
        for batch in BATCHES:
            with Worker(environment=environment) as engine:
                arguments = {"folder": folder, "size": options.size, "batch": batch, "pairs": options.pairs}
                found, _ = engine.call("onnx_graph_worker:measure", time_limit=3600, **arguments)
            report.versions.update(found.pop("versions"))
            for what, measured in found.items():
                ours, theirs = measured["ours_seconds"], measured["exported_seconds"]
                ratio = median_interval([b / a for a, b in zip(ours, theirs, strict=True)])
                met.append(ratio.high >= PASS_RATIO)
                row = (
                    f"{what}, batch {batch}",
                    milliseconds(median(ours)),
                    milliseconds(median(theirs)),
                    f"{ratio.median:.3f}",
                    f"{ratio.low:.3f} – {ratio.high:.3f}",
                    "yes" if met[-1] else "no",
                )
                interval = [ratio.low, ratio.high]
                result = {"what": what, "batch": batch, "ratio": ratio.median, "interval": interval, **measured}
                report.add(row, result)
    report.notes += [
        "Ratio: median over alternating pairs of the export's seconds / ours; above 1 ours is faster.",
        "Open: both take images of any size. Fixed: an export of one size, and our graph with its free dimensions set.",
        "Logits agree within 1e-5, checked before anything is timed. Deployed: norms folded before, by this project.",
        f"As fast: the upper end of the interval is at least {PASS_RATIO:g}.",
    ]
    report.finish(options)
    return 0 if all(met) else 1


def _options() -> Namespace:
    parser = ArgumentParser(description="Our ONNX graph versus PyTorch's export.")
    parser.add_argument("--size", type=int, help="height and width (224)")
    parser.add_argument("--pairs", type=int, help="pairs for each batch (24)")
    parser.add_argument("--quick", action="store_true", help="size 64, 2 pairs: does it run?")
    options = parse_with_output_options(parser)
    options.size = options.size or (64 if options.quick else 224)
    options.pairs = options.pairs or (2 if options.quick else 24)
    return options


if __name__ == "__main__":
    sys.exit(main())
