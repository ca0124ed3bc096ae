"""Networks of each kind in every framework: one picture at a time, as many as repay, and a training step.

Every row is one of `rn.bench`, with its proof that all do the same work. `README.md` describes the method.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from measure.report import Report, milliseconds, parse_with_output_options
from measure.rows import timed

import resnet_core as rn
from resnet_core.benchmark.result import BenchmarkRow

#: {network: pictures in a batch, besides one}.
NETWORKS = {
    "resnet18": 16,
    "resnet50": 16,
    "resnet152": 8,
    "resnet_v2_50": 16,
    "resnext50_32x4d": 8,
    "resnet20": 128,
}

COLUMNS = (
    *("network", "batch", "framework", "form", "a call", "p99", "images/s", "× first", "95 % interval"),
    *("first call", "import", "memory"),
)


def main() -> int:
    options = _options()
    report = Report(
        name="networks",
        title="Networks of each kind in every framework, float32",
        columns=COLUMNS,
        settings={"rounds": options.rounds, "backends": options.backends},
    )
    chosen = options.only or list(NETWORKS)
    for name in chosen:
        print(name, file=sys.stderr, flush=True)
        batches, size = ((1, 2), (32, 32)) if options.quick else ((1, NETWORKS[name]), None)
        result = rn.bench(
            name,
            options.backends.split(","),
            batch=batches,
            training=True,
            input_size=size,
            rounds=options.rounds,
        )
        for row in timed(result, report):
            if row.form != "training step" or row.batch > 1:
                fields = row.to_json()
                del fields["rounds"]  # of each call, which is more than all the rest
                report.add(_cells(name, row), {"network": name, **fields})
    report.notes += [
        "× first: how many times as fast as the first row of its network, batch and kind, by the rounds.",
        "p99: 99% of the calls took no longer; of 100 calls and more.",
    ]
    report.finish(options)
    return 1 if report.failed else 0


def _cells(name: str, row: BenchmarkRow) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        name,
        str(row.batch),
        row.backend,
        row.form,
        milliseconds(row.seconds.median),
        "" if row.p99 is None else milliseconds(row.p99),
        f"{row.images_per_second:,.1f}",
        "1" if ratio is None else f"{ratio.median:.2f}",
        "" if ratio is None else f"{ratio.low:.2f} – {ratio.high:.2f}",
        milliseconds(row.first_seconds),
        milliseconds(row.import_seconds),
        f"{row.peak_memory_bytes / 2**20:,.0f} MiB",
    )


def _options() -> Namespace:
    parser = ArgumentParser(description="Networks of each kind in every framework.")
    parser.add_argument("--backends", default="torch,keras,flax,onnx", metavar="A,B")
    parser.add_argument("--only", action="append", choices=sorted(NETWORKS), help="only this network; repeatable")
    parser.add_argument("--rounds", type=int, help="rounds in which all take turns (12)")
    parser.add_argument("--quick", action="store_true", help="32 x 32, 1 round: does it run?")
    options = parse_with_output_options(parser)
    options.rounds = options.rounds or (1 if options.quick else 12)
    return options


if __name__ == "__main__":
    sys.exit(main())
