"""The parts of `conversion.py` that run in new processes: weights in and out, each beside a narrow network's."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure.timing import alternate

import resnet_core as rn
from resnet_core.benchmark.timing import seconds
from resnet_core.conversion.certificate import certify
from resnet_core.conversion.convert import write_exported
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.read import import_weights
from resnet_core.workers.tasks import write_state_dict

Measured = tuple[dict[str, Any], None]

#: What PyTorch's names can say and keras.applications' program computes: the stride, pool and epsilon of Keras' ResNet.
FIELDS: dict[str, Any] = {"stride_on": "1x1", "stem_pool_padding": "zeros", "norm_epsilon": 1.001e-5}


def specs(name: str) -> dict[str, rn.ResNetSpec]:
    """The network, and one with as many tensors and next to no numbers in them."""
    wide = rn.spec(name, **FIELDS)
    return {"wide": wide, "narrow": rn.spec(wide, channels=[1, 2, 3, 4], stem_channels=2, classes=2)}


def prepare(session: Any, arrays: Any, *, spec: str, folder: str) -> Measured:
    """Write both networks as PyTorch's files and as neutral ones."""
    names = export_weights(rn.spec(spec), rn.probe_weights(rn.spec(spec)), "torchvision").names
    for size, network in specs(spec).items():
        weights = rn.probe_weights(network)
        rn.save_weights(Path(folder) / f"{size}.safetensors", weights, network)
        named = {names[name]: array for name, array in weights.items()}
        write_state_dict(session, named, backend="torch", path=f"{folder}/{size}.pth")
    return {}, None


def read(session: Any, arrays: Any, *, spec: str, folder: str, pairs: int) -> Measured:
    """From PyTorch's file to a neutral one."""

    def run(size: str) -> None:
        found = import_weights(Path(folder) / f"{size}.pth", networks[size])
        rn.save_weights(Path(folder) / "read.safetensors", found.weights, found.spec)

    networks = specs(spec)
    return _measured(run, Path(folder) / "wide.pth", pairs)


def write(session: Any, arrays: Any, *, spec: str, folder: str, pairs: int) -> Measured:
    """From a neutral file to one of Keras' weights."""

    def run(size: str) -> None:
        found = import_weights(Path(folder) / f"{size}.safetensors")
        exported = export_weights(found.spec, found.weights, "keras") if size == "wide" else tiny
        write_exported(Path(folder) / "written.weights.h5", exported, found)

    own = import_weights(Path(folder) / "wide.safetensors")
    exported = export_weights(own.spec, own.weights, "keras")  # its program has these widths and no others
    tiny = replace(
        exported, arrays={name: array[(slice(1),) * array.ndim].copy() for name, array in exported.arrays.items()}
    )
    del own, exported
    return _measured(run, Path(folder) / "wide.safetensors", pairs)


def prove(session: Any, arrays: Any, *, spec: str, folder: str) -> Measured:
    """The certificate of the two files, both read already."""
    network = specs(spec)["wide"]
    both = import_weights(Path(folder) / "wide.pth", network), import_weights(Path(folder) / "wide.safetensors")
    certificates: list[rn.Certificate] = []
    taken = seconds(lambda: certificates.append(certify(*both)))
    assert certificates[0].equal, certificates[0].sentence()
    return {"seconds": taken, "sentence": certificates[0].sentence()}, None


def _measured(run: Callable[[str], None], source: Path, pairs: int) -> Measured:
    """Seconds and memory of a conversion beyond those of the narrow network's, and seconds of copying its bytes."""
    run("narrow")
    narrow_peaks, peaks = _peaks(lambda: run("narrow")), _peaks(lambda: run("wide"))
    wide, narrow = alternate(lambda: run("wide"), lambda: run("narrow"), pairs)
    copies = [seconds(lambda: _copy(source)) for _ in range(pairs)]
    return {
        "bytes": source.stat().st_size,
        "seconds": [a - b for a, b in zip(wide, narrow, strict=True)],
        "narrow_seconds": narrow,
        "copy_seconds": copies,
        "memory_bytes": [wide - narrow for wide, narrow in zip(peaks, narrow_peaks, strict=True)],
    }, None


def _copy(source: Path) -> None:
    """As durable as what a conversion writes."""
    target = source.with_name("copy")
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _peaks(call: Callable[[], None]) -> tuple[int, int]:
    """Most bytes that were resident in this process, and in one that it started, while something ran."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            most[0] = max(most[0], *map(_peak, children), 0)

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    ended.set()
    watcher.join()
    return _peak("self"), most[0]


def _peak(process: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
