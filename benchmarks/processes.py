"""Two processes of one thread each against one process of two threads, on the same global batch."""

from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median, stdev
from typing import Any

from cost import Network, efficiency, sync_seconds, traffic, waiting_seconds
from measure.frameworks import TIME_LIMIT, add_framework_option, process_environment
from measure.report import Report, parse_with_output_options
from rich.console import Console

import resnet_core as rn
from resnet_core.backend import environment, load_backend
from resnet_core.benchmark.interval import median_interval
from resnet_core.errors import ResNetError
from resnet_core.workers.parent import Worker

#: Least share of one process's images per second, and how far the model of `cost.py` may be off.
TARGET, MODEL = 0.85, 0.15
#: Steps between two checkpoints, of which a share of the time is shown: an epoch of 60,000 pictures.
PER_EPOCH = 469


def main() -> int:
    options = _options()
    settings = {name: getattr(options, name) for name in ("spec", "batch", "size", "steps", "pairs")}
    report = Report(
        name="processes",
        title=f"Two processes against one: {options.spec}, batch {options.batch}, {options.size} x {options.size}",
        columns=(
            "framework",
            "two, images/s",
            "one, images/s",
            "ratio",
            "interval",
            "model",
            "exchanges",
            "checkpoints",
        ),
        settings=settings,
    )
    missed = False
    for framework, answer in report.succeeded(_measured(options)):
        images = options.batch * options.steps
        ratio = median_interval([one / two for one, two in zip(answer["one"], answer["two"], strict=True)])
        expected = _model(options, answer)
        waits = 1 - median(apart / two for apart, two in zip(answer["apart"], answer["two"], strict=True))
        saves = median(answer["checkpoint"]) / (median(answer["two"]) / options.steps * PER_EPOCH)
        missed |= ratio.high < TARGET or abs(expected / ratio.median - 1) > MODEL
        row = (
            framework,
            f"{images / median(answer['two']):,.0f}",
            f"{images / median(answer['one']):,.0f}",
            f"{ratio.median:.3f}",
            f"[{ratio.low:.3f}, {ratio.high:.3f}]",
            f"{expected:.3f}",
            f"{waits:.1%}",
            f"{saves:.2%}",
        )
        shares = {"exchange_share": waits, "checkpoint_share": saves, "model": expected}
        report.add(row, {"framework": framework, "target": TARGET, **shares, **answer})
    report.notes.append(
        f"Images per second are medians. Target: {TARGET}. Model: the ratio by benchmarks/cost.py, for steps of "
        "processes that exchange nothing (their time, and how much it varies from step to step) and messages of "
        f"processes that do nothing else; it may be off by {MODEL:.0%}. Exchanges: share of a step that is not there "
        "where the processes exchange nothing. Checkpoints: share of the time with one every "
        f"{PER_EPOCH} steps."
    )
    report.finish(options)
    return 1 if missed or report.failed else 0


def _model(options: Namespace, answer: dict[str, Any]) -> float:
    """The ratio on paper, from what was measured apart."""
    one, own = median(answer["one"]) / options.steps, median(answer["apart"]) / options.steps
    network = Network(answer["latency"], answer["bandwidth"])
    sent = traffic(rn.spec(options.spec, in_channels=1, classes=10))
    waits = waiting_seconds(sent, answer["deviation"], 2)
    return efficiency(one, own, sync_seconds(sent, network, 2) + waits, processes=2, share=0.5)


def _measured(options: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    console = Console(stderr=True)
    for framework in options.frameworks:
        if getattr(load_backend(framework), "ParallelTrainer", None) is None:
            print(f"{framework}: does not train in several processes", file=sys.stderr)
            continue
        try:
            with console.status(f"{framework}: measuring"):
                yield framework, _framework(framework, options)
        except ResNetError as error:
            print(f"{framework}: {error}", file=sys.stderr)
            yield framework, {"error": str(error)}


def _framework(framework: str, options: Namespace) -> dict[str, Any]:
    """Seconds of every segment, A B C C B A …, of one process, of two, and of two that exchange nothing."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    settings = {"framework": framework, **{name: getattr(options, name) for name in ("spec", "batch", "size", "steps")}}
    with ExitStack() as opened:

        def started(own: list[int], rank: int | None, processes: int, port: int) -> Worker:
            variables = {
                **process_environment(),
                "OMP_NUM_THREADS": str(len(own)),
                "TF_NUM_INTRAOP_THREADS": str(len(own)),
            }
            worker = opened.enter_context(Worker(environment=variables, defaults=environment(framework)))
            worker.submit("processes_worker:start", cores=own, rank=rank, processes=processes, port=port, **settings)
            return worker

        def answers(workers: list[Worker]) -> list[Any]:
            return [worker.result(TIME_LIMIT)[0] for worker in workers]

        port = _free_port()
        kinds = {
            "one": [started(cores, None, 1, 0)],
            "two": [started([core], rank, 2, port) for rank, core in enumerate(cores)],
            "apart": [started([core], 0, 1, _free_port()) for core in cores],
        }
        versions = answers([worker for workers in kinds.values() for worker in workers])[0]

        def segment(kind: str) -> list[list[float]]:
            """Seconds of each step, of each of those that take part; it is warm when it has been taken once."""
            for worker in kinds[kind]:
                worker.submit("processes_worker:segment")
            return answers(kinds[kind])

        found: dict[str, Any] = {kind: [] for kind in kinds}
        deviations: list[float] = []
        for kind in kinds:
            segment(kind)
        for pair in range(options.pairs):
            for kind in kinds if pair % 2 else reversed(kinds):
                steps = segment(kind)
                found[kind].append(max(map(sum, steps)))  # the slowest
                deviations += [stdev(own) for own in steps] if kind == "apart" and options.steps > 1 else []
        for worker in kinds["two"]:
            worker.submit("processes_worker:messages")
        messages = answers(kinds["two"])[0]
        checkpoint, _ = kinds["one"][0].call("processes_worker:checkpoints", time_limit=TIME_LIMIT)
        deviation = median(deviations or [0.0])
        return {**found, **messages, "deviation": deviation, "checkpoint": checkpoint, "versions": versions}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _options() -> Namespace:
    parser = ArgumentParser(description="Two processes of one thread against one process of two.")
    add_framework_option(parser)
    parser.add_argument("--spec", default="resnet20", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images of the global batch (%(default)s)")
    parser.add_argument("--size", type=int, default=28, help="height and width (%(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps of a segment (%(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="segments of each kind (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one step, two segments: does it run?")
    options = parse_with_output_options(parser)
    if options.quick:
        options.steps, options.pairs = 1, 2
    return options


if __name__ == "__main__":
    sys.exit(main())
