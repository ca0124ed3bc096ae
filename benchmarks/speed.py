"""As fast as the machine allows: our fastest form in each framework versus what its users would run instead.

Each contestant in a process of its own, as its users start it, in alternating pairs; above 1 ours is faster.
`README.md` describes the method.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

from measure.frameworks import TIME_LIMIT, process_environment
from measure.report import Report, milliseconds, parse_with_output_options
from peers import NEEDS

from resnet_core.backend import environment
from resnet_core.benchmark.interval import median_interval
from resnet_core.benchmark.timing import in_turn
from resnet_core.errors import ResNetError
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.workers.parent import Worker

#: The largest difference of logits, and of the loss of a first step, between two that do the same work. In bfloat16
#: both round as they like: the bound is the project's own for it, and another network is far beyond it.
SAME = {
    "logits": 1e-5,
    "loss": 1e-4,
    "bfloat16": TOLERANCES["half output"]["bfloat16"],
    "rounded logits": TOLERANCES["convolutions output"]["bfloat16"],
    "rounded loss": TOLERANCES["convolutions loss"]["bfloat16"],
}


#: What both processes of a pair have. On a CPU they see no GPU. On a GPU NVIDIA's libraries compute float32 without
#: TF32, which would be everybody's default, and the two share the card's memory.
DEVICE = {
    "cpu": {"CUDA_VISIBLE_DEVICES": ""},
    "gpu": {
        "NVIDIA_TF32_OVERRIDE": "0",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
}


@dataclass(frozen=True)
class Side:
    """A contestant (`speed_worker.CONTESTANTS`) in a framework; an `own` process is started as this project does it."""

    label: str
    framework: str
    contestant: str
    own: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The modules that it imports, besides the project's."""
        return NEEDS.get(self.contestant, ())

    def process(self, python: str, device: str) -> Worker:
        given = {**process_environment(), **DEVICE[device]}
        if self.own:
            return Worker(python, defaults=environment(self.framework), environment=given)
        # What a user's process has: nothing set.
        user = {"GLIBC_TUNABLES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
        return Worker(python, environment={**given, **user})


@dataclass(frozen=True)
class Pair:
    """Two who do the same work; `target` is the least ratio of their seconds that was aimed at."""

    ours: Side
    theirs: Side
    spec: str
    target: float
    kind: str = "logits"
    batch: int = 0  #: where it is not the option's
    size: int = 0


def _ours(framework: str) -> Side:
    return Side(f"{framework}, fast", framework, "ours")


def _training(framework: str) -> Side:
    return Side(f"{framework}, training step", framework, "our training")


def _rounding(framework: str) -> Side:
    return Side(f"{framework}, training step, bfloat16 convolutions", framework, "our training, bfloat16 convolutions")


ONNX = Side("onnx", "onnx", "ours")
ROUNDING = Side("torch, fast, bfloat16 convolutions", "torch", "ours, bfloat16 convolutions")
HALF = Side("torch, fast, bfloat16", "torch", "ours, bfloat16")
EAGER = Side("torchvision's network, as it is", "torch", "by hand", own=False)
COMPILED = Side("torchvision's network, compiled and frozen", "torch", "compiled by hand", own=False)
NNX = Side("plain NNX", "flax", "by hand", own=False)
APPLICATION = Side("keras.applications", "keras", "keras.applications", own=False)
TRAINED_EAGER = Side("torchvision's network", "torch", "training by hand", own=False)
TRAINED_APPLICATION = Side("keras.applications", "keras", "training keras.applications", own=False)
TRAINED_NNX = Side("plain NNX", "flax", "training by hand", own=False)
PRINTED_NNX = Side("plain NNX", "flax", "printed", own=False)


def _peer(name: str, framework: str = "torch") -> Side:
    return Side(name, framework, name, own=False)


PAIRS = (
    Pair(_ours("torch"), ONNX, "resnet50", 0.9),
    Pair(_ours("keras"), ONNX, "resnet50", 0.9),
    Pair(_ours("flax"), ONNX, "resnet50", 0.75),
    Pair(_ours("torch"), EAGER, "resnet50", 1.0),
    Pair(_ours("torch"), COMPILED, "resnet50", 1.05),
    Pair(_ours("keras"), APPLICATION, "keras_resnet50", 1.1),
    Pair(_ours("flax"), NNX, "resnet50", 1.5),
    Pair(_training("torch"), TRAINED_EAGER, "resnet50", 1.3, "loss"),
    Pair(_training("keras"), TRAINED_APPLICATION, "keras_resnet50", 1.1, "loss"),
    Pair(_training("flax"), TRAINED_NNX, "resnet50", 2.0, "loss"),
    Pair(_training("flax"), _training("torch"), "resnet50", 0.6, "loss"),
    Pair(_training("flax"), PRINTED_NNX, "resnext50_32x4d", 5.0, "loss", batch=4, size=224),  # theirs takes 20 s
    Pair(_training("flax"), PRINTED_NNX, "resnet20", 1.5, "loss", batch=128, size=32),
    Pair(_ours("torch"), _peer("torchvision"), "resnet50", 1.0),
    Pair(_ours("torch"), _peer("torchvision, compiled and frozen"), "resnet50", 1.05),
    Pair(_ours("torch"), _peer("timm"), "resnet50", 1.0),
    Pair(_ours("torch"), _peer("timm, compiled and frozen"), "resnet50", 1.05),
    Pair(_ours("torch"), _peer("transformers"), "resnet50", 1.0),
    Pair(_ours("keras"), _peer("KerasHub", "keras"), "resnet50", 1.1),
    Pair(_ours("flax"), _peer("jaxnn", "flax"), "resnet50", 1.5),
    Pair(ONNX, _peer("OpenVINO", "onnx"), "resnet50", 0.9),
    Pair(_ours("torch"), _peer("OpenVINO", "onnx"), "resnet50", 0.9),
    Pair(HALF, _peer("OpenVINO, bfloat16", "onnx"), "resnet50", 0.8, "bfloat16"),
    Pair(_rounding("torch"), _training("torch"), "resnet50", 1.3, "rounded loss"),
    Pair(_rounding("keras"), _training("keras"), "resnet50", 1.3, "rounded loss"),
    Pair(_rounding("flax"), _training("flax"), "resnet50", 1.0, "rounded loss"),
    Pair(ROUNDING, _ours("torch"), "resnet50", 1.0, "rounded logits"),
)


def main() -> int:
    options = _options()
    report = Report(
        name="speed",
        title=f"As fast as the machine allows: {options.device}, batch {options.batch}, "
        f"{options.size} x {options.size}, float32",
        columns=("ours", "theirs", "network", "ours takes", "theirs", "ratio", "95 % interval", "aimed at"),
        settings={"batch": options.batch, "size": options.size, "pairs": options.pairs, "device": options.device},
    )
    for pair in PAIRS:
        name = f"{pair.ours.label} / {pair.theirs.label}, {pair.spec}"
        if options.only and not any(word in name for word in options.only):
            continue
        print(name, file=sys.stderr, flush=True)
        python = next((one for one in [sys.executable, *options.python] if _has(one, pair)), None)
        if python is None:
            print(f"  left out: no Python given has {' and '.join(pair.theirs.needs)}", file=sys.stderr)
            continue
        pair = replace(pair, batch=pair.batch or options.batch, size=pair.size or options.size)
        try:
            _measure(pair, python, options, report)
        except ResNetError as error:
            report.failed = True
            print(f"  {error}", file=sys.stderr)
            row = (pair.ours.label, pair.theirs.label, pair.spec, "", "", "", "", "failed")
            report.add(row, {"ours": pair.ours.label, "theirs": pair.theirs.label, "error": str(error)})
    report.notes[:0] = [
        "Ratio: median over alternating pairs of their seconds / ours; above 1 ours is faster.",
        "Interval: binomial order statistics of the median; it needs six pairs, fewer give the extremes.",
        f"The same work, checked first: logits within {SAME['logits']:g}, the loss of a step within {SAME['loss']:g}; "
        f"with bfloat16 convolutions {SAME['rounded logits']:g} and {SAME['rounded loss']:g}, and each of them alone.",
        "torchvision's network and plain NNX are written by hand as their users do (`handwritten/`); of ResNeXt plain "
        "NNX is what `resnet source` prints. Their processes are started without this project's settings.",
    ]
    report.finish(options)
    return 1 if report.failed else 0


def _has(python: str, pair: Pair) -> bool:
    """Whether this interpreter can import what the pair needs."""
    if not pair.theirs.needs:
        return python == sys.executable
    code = f"import importlib; [importlib.import_module(name) for name in {pair.theirs.needs!r}]"
    return subprocess.run([python, "-P", "-c", code], capture_output=True, check=False).returncode == 0


def _measure(pair: Pair, python: str, options: Namespace, report: Report) -> None:
    device = options.device
    settings: dict[str, Any] = {"spec": pair.spec, "batch": pair.batch, "size": pair.size, "device": device}
    with pair.ours.process(python, device) as first, pair.theirs.process(python, device) as second:
        outputs, starts = [], []
        versions: dict[str, str] = {}
        for side, worker in ((pair.ours, first), (pair.theirs, second)):
            about, found = worker.call(
                "speed_worker:prepare",
                contestant=side.contestant,
                framework=side.framework,
                time_limit=TIME_LIMIT,
                **settings,
            )
            if about["device"] != device:
                raise ResNetError(f"{side.label} computes on the {about['device']}, not on the {device}")
            versions |= about["versions"]
            outputs.append(found["output"])
            starts.append(about["first_seconds"])
        error = relative_error(*outputs)
        if not error <= SAME[pair.kind]:
            raise ResNetError(f"not the same work: {pair.kind} differ by {error:.1e}; nothing was timed")
        ours, theirs = _alternate(first, second, options.pairs)
    ratio = median_interval([b / a for a, b in zip(ours, theirs, strict=True)])
    row = (
        pair.ours.label,
        pair.theirs.label,
        pair.spec
        + (f", {pair.batch} x {pair.size}²" if (pair.batch, pair.size) != (options.batch, options.size) else ""),
        milliseconds(median(ours)),
        milliseconds(median(theirs)),
        f"{ratio.median:.2f}",
        f"{ratio.low:.2f} – {ratio.high:.2f}",
        f"{pair.target:g}",
    )
    result: dict[str, Any] = {
        "ours": pair.ours.label,
        "theirs": pair.theirs.label,
        **settings,
        "error": error,
        "ratio": ratio.median,
        "interval": [ratio.low, ratio.high],
        "interval_coverage": ratio.coverage,
        "target": pair.target,
        "first_seconds": starts,
        "ours_seconds": ours,
        "theirs_seconds": theirs,
        "versions": versions,
    }
    if pair.theirs.needs:  # perhaps in another Python
        listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        report.notes.append(f"{pair.theirs.label}: {listed}.")
    else:
        report.versions.update(versions)
    report.add(row, result)
    print(f"  {row[5]} ({row[6]})", file=sys.stderr, flush=True)


def _alternate(first: Worker, second: Worker, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of both, in the order A B B A A B …, after a call each; one waits while the other computes."""
    timed = [partial(_timed, worker) for worker in (first, second)]
    in_turn(timed, 1)
    ours, theirs = in_turn(timed, pairs)
    return ours, theirs


def _timed(worker: Worker) -> float:
    return float(worker.call("speed_worker:timed", time_limit=TIME_LIMIT)[0])


def _options() -> Namespace:
    parser = ArgumentParser(description="Our fastest forms versus what people run instead.")
    parser.add_argument("--batch", type=int, help="images per batch (16)")
    parser.add_argument("--size", type=int, help="height and width (224)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where both compute (cpu)")
    parser.add_argument("--pairs", type=int, help="pairs (8)")
    parser.add_argument("--only", action="append", metavar="WORD", help="only pairs with this word in them; repeatable")
    parser.add_argument(
        "--python", action="append", default=[], metavar="F", help="another Python, for libraries that this one lacks"
    )
    parser.add_argument("--quick", action="store_true", help="batch 2, size 64, 2 pairs: does it run?")
    options = parse_with_output_options(parser)
    usual = {"batch": 2, "size": 64, "pairs": 2} if options.quick else {"batch": 16, "size": 224, "pairs": 8}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    sys.exit(main())
