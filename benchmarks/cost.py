"""What several processes cost on paper: the messages of a step from the network's tree, and the time that they take.

`python benchmarks/cost.py` prints the table of docs/processes.md. Nothing is measured here; `processes.py` measures,
and holds its own figures to this model.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from math import ceil, log2, prod
from statistics import NormalDist

from rich.console import Console
from rich.table import Table

import resnet_core as rn
from resnet_core.analysis import totals
from resnet_core.architecture import layer_tree
from resnet_core.specification import ResNetSpec
from resnet_core.tree import BatchNorm, leaves

#: Numbers of each channel that a batch norm gathers from every process (count, mean, squared deviations), and those
#: that it adds up in the backward pass; numbers that go with the gradients (loss, correct images).
GATHERED, SUMMED, SCORES = 3, 2, 2  # with groups: mean and variance are what is summed


@dataclass(frozen=True)
class Traffic:
    """The messages of a step: a gathering and a sum for each batch norm and part, and one sum of all gradients.

    `channels` has those of each batch norm; other norms see one image, or constants, and send nothing. With groups of
    a batch by themselves (`statistics_batch`), what the norms learn is one sum for each part, and nothing is gathered.
    """

    parameters: int
    channels: tuple[int, ...]
    parts: int = 1
    itemsize: int = 4
    groups: bool = False

    @property
    def exchanges(self) -> int:
        """How often all wait for each other, with the question whether anybody was interrupted."""
        return (bool(self.channels) if self.groups else 2 * len(self.channels)) * self.parts + 2

    @property
    def summed_bytes(self) -> int:
        """Of the sums, as one process gives them."""
        return self.itemsize * (self.parameters + SCORES + self.parts * SUMMED * sum(self.channels))

    @property
    def gathered_bytes(self) -> int:
        """Of what is gathered, as one process gives it; each gets as much from every other."""
        return 0 if self.groups else self.itemsize * self.parts * GATHERED * sum(self.channels)


def traffic(spec: ResNetSpec, *, parts: int = 1, itemsize: int = 4, groups: bool = False) -> Traffic:
    """That of a network whose parts are all trained."""
    norms = tuple(leaf.channels for _, leaf in leaves(layer_tree(spec)) if isinstance(leaf, BatchNorm))
    return Traffic(sum(map(prod, rn.parameters(spec).values())), norms, parts, itemsize, groups)


@dataclass(frozen=True)
class Network:
    """What connects processes. Seconds that a message takes at least, and bytes a second that one process sends.

    Up to `near` processes are in one machine; all more go over the network, whose latency counts once for each doubling
    of machines.
    """

    latency: float
    bandwidth: float
    near: int = 1
    far_latency: float = 0.0
    far_bandwidth: float = float("inf")

    def waits(self, processes: int) -> float:
        """Seconds of the latency of one exchange."""
        if processes == 1:
            return 0.0
        machines = ceil(processes / self.near)
        return self.latency + self.far_latency * ceil(log2(machines))

    def speed(self, processes: int) -> float:
        """Bytes a second, the slowest on the way."""
        return min(self.bandwidth, self.far_bandwidth) if processes > self.near > 1 else self.bandwidth


def sync_seconds(sent: Traffic, network: Network, processes: int) -> float:
    """Of all exchanges of a step: sums in a ring, where each sends 2 (N - 1) / N of the bytes, and gatherings, where
    each sends what it has to N - 1 others.
    """
    ring = 2 * (processes - 1) / processes * sent.summed_bytes
    gathered = (processes - 1) * sent.gathered_bytes
    return sent.exchanges * network.waits(processes) + (ring + gathered) / network.speed(processes)


def waiting_seconds(sent: Traffic, deviation: float, processes: int) -> float:
    """Of a step in which nobody goes on from an exchange before the slowest is there.

    `deviation` is that of a step's seconds, of processes that exchange nothing. If what disturbs a process comes at any
    moment, the parts of a step between two exchanges vary independently, each by 1 / sqrt(parts) of that, and the
    largest of N such times is later than the mean by their deviation times that of the largest of N normal numbers.
    """
    return sent.exchanges**0.5 * deviation * largest_of(processes)


def largest_of(count: int) -> float:
    """The expectation of the largest of `count` standard normal numbers: 0.564 of two, 3.2 of 1,024."""
    # E max = the integral of x d(F^n) over the real line, as a sum over a fine grid.
    grid = [step / 1000 - 10 for step in range(20_001)]
    powers = [NormalDist().cdf(x) ** count for x in grid]
    return sum((b - a) * (x + 0.0005) for x, a, b in zip(grid, powers, powers[1:], strict=False))


def efficiency(one: float, own: float, sync: float, processes: int, share: float) -> float:
    """Images per second of N processes, of N times those of one.

    `one` are the seconds of one process for `share` of the batch, `own` those of each of N for its rows, while it
    exchanges nothing, and `sync` those of the exchanges and of waiting, none of which is hidden behind computation.
    """
    return one / (processes * share) / (own + sync)


#: What the table assumes: an A100 of 80 GB in float32 without TF32 (as this project computes), 45% of 19.5 TFLOP/s; the
#: same with tensor cores (TF32), 40% of 156; NVLink within 8, of which an all-reduce gets 200 GB/s and NCCL takes 25 us
#: for a small message; a network card of 200 Gb/s for each GPU, of which it gets 20 GB/s, and 8 us for each doubling.
RATES = {"float32": 0.45 * 19.5e12, "TF32": 0.40 * 156e12}
CLUSTER = Network(25e-6, 200e9, near=8, far_latency=8e-6, far_bandwidth=20e9)


def paper(spec: ResNetSpec, images: int, rate: float, processes: int, network: Network) -> dict[str, float]:
    """Milliseconds and efficiency of a step with `images` for each process: 3 times the forward pass, 2 FLOP a MAC."""
    own = 6 * totals(spec).macs * images / rate
    sync = sync_seconds(traffic(spec), network, processes)
    return {"own": 1e3 * own, "sync": 1e3 * sync, "efficiency": efficiency(own, own, sync, processes, 1 / processes)}


def main() -> int:
    parser = ArgumentParser(description="What several processes cost on paper.")
    parser.add_argument("--spec", default="resnet50", help="a name from `resnet list` (%(default)s)")
    parser.add_argument("--images", type=int, default=32, help="for each process (%(default)s)")
    options = parser.parse_args()
    spec = rn.spec(options.spec)
    sent = traffic(spec)
    table = Table("GPUs", "batch", "computing with", "own, ms", "exchanges, ms", "efficiency")
    for processes in (1, 8, 64, 1024):
        for name, rate in RATES.items():
            found = paper(spec, options.images, rate, processes, CLUSTER)
            times = f"{found['own']:,.1f}", f"{found['sync']:,.2f}", f"{found['efficiency']:.3f}"
            table.add_row(f"{processes:,}", f"{processes * options.images:,}", name, *times)
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print(
        f"{spec.name}: {sent.exchanges} exchanges; from each process {sent.summed_bytes:,} bytes are summed and "
        f"{sent.gathered_bytes:,} gathered",
        markup=False, highlight=False,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
