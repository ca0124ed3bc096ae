"""Every reader of other people's files: a damaged one is read or refused in a line, and what is accepted was checked.

Mutants of files that the real programs wrote, 50 of each here, 10,000 with `--long` (of Orbax' folder 1,000), read in a
process as commands do, which a library that crashes or never ends takes along.
"""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from resnet_core.analysis import state
from resnet_core.backend import environment
from resnet_core.conversion.read import import_weights, neutral_weights
from resnet_core.conversion.recognition import recognize
from resnet_core.errors import InputError, WeightsError, WorkerError
from resnet_core.safetensors_file import read_safetensors
from resnet_core.weights import Weights, check_weights
from resnet_core.workers.parent import Worker

FOLDER = Path(__file__).parents[1] / "referees" / "files"
#: {file: the backend that reads it; none for a safetensors file}.
FILES = {
    "timm_plain/model.safetensors": "",
    "torchvision_basic.pth": "torch",
    "timm_squeezed/pytorch_model.bin": "torch",
    "keras_v1.h5": "keras",
    "keras_v1.weights.h5": "keras",
    "keras_3_0_v1.weights.h5": "keras",
    "keras_v1.keras": "keras",
    "slim_v1.ckpt.index": "keras",
    "flax_basic.msgpack": "flax",
}
#: Zip archives, in which every byte of a tensor is covered by a CRC: what is accepted is what was written.
CHECKED = ("torchvision_basic.pth", "timm_squeezed/pytorch_model.bin")
#: One of each reader; the others take the same way, and TensorFlow, which reads checkpoints, takes seconds to start.
QUICK = ("timm_plain/model.safetensors", "timm_squeezed/pytorch_model.bin", "keras_v1.weights.h5", "flax_basic.msgpack")
#: Mutants of a folder of Orbax, which takes far longer to read than a file.
FOLDERS = 1_000
PARAMETERS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in FILES]
#: What reading a small file may take: of a worker all it has, a framework and what `bounded_memory` leaves it; of this
#: process, which has had other tests in it, what is allocated here.
MOST_BYTES, MOST_BYTES_HERE = 2 * 2**30, 64 * 2**20


class Reader:
    """What reads a file: this process a safetensors file, a worker any other, and a new one where a file ended it."""

    def __init__(self, backend: str, intact: Path) -> None:
        self._backend, self._intact = backend, intact
        self._worker: Worker | None = None
        if not backend:
            tracemalloc.start()

    def read(self, path: Path) -> Weights:
        if not self._backend:
            return read_safetensors(path, widen=True)[0]
        if self._worker is None:
            self._worker = Worker(defaults=environment(self._backend))
            self._call(self._worker, self._intact, 120)  # what it has to import
        try:
            return self._call(self._worker, path, 10)
        except WorkerError as error:
            self.close()
            raise WeightsError(f"{path}: {error}") from error

    def check_memory(self) -> None:
        if not self._backend:
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES_HERE
        elif self._worker is not None:
            lines = Path(f"/proc/{self._worker._process.pid}/status").read_text().splitlines()
            peak = int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
            assert peak < MOST_BYTES

    def close(self) -> None:
        tracemalloc.stop()
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def _call(self, worker: Worker, path: Path, limit: float) -> Weights:
        return worker.call("read_state_dict", backend=self._backend, path=str(path), time_limit=limit)[1]


def same(arrays: Weights, others: Weights) -> bool:
    return arrays.keys() == others.keys() and all(np.array_equal(arrays[key], others[key]) for key in arrays)


def mutant(data: bytes, rng: np.random.Generator, place: Callable[[], int]) -> bytes:
    """The data with a few other bytes, sometimes cut off."""
    changed = bytearray(data[: rng.integers(len(data))] if rng.random() < 0.1 else data)
    for _ in range(rng.integers(1, 4)):
        where = place() % max(1, len(changed))
        if changed:
            changed[where] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("name", PARAMETERS)
def test_mutants_are_read_or_refused_in_a_line(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source = FOLDER / name
    configured = source.parent if (source.parent / "config.json").exists() else source
    format = "keras" if name.startswith("keras_") else None
    spec, path = import_weights(configured, format=format).spec, tmp_path / source.name
    for beside in source.parent.glob(f"{source.stem}.data-*"):
        shutil.copy(beside, tmp_path)
    data, rng = source.read_bytes(), np.random.default_rng(0)
    structure = partial(rng.integers, min(len(data), 20_000))  # headers and trees stand at the beginning, or at the end
    lines = []
    with closing(Reader(FILES[name], source)) as reader:
        whole = reader.read(source)
        for _ in range(10_000 if request.config.getoption("--long") else 50):
            path.write_bytes(mutant(data, rng, lambda: structure() if rng.random() < 0.7 else -1 - structure()))
            try:
                arrays = reader.read(path)
                assert name not in CHECKED or same(arrays, whole)
                found = recognize({key: array.shape for key, array in arrays.items()}, spec=spec)
                check_weights(neutral_weights(found.format, found.style, found.names, arrays), state(found.spec))
            except InputError as error:
                lines.append(str(error))
        reader.check_memory()
    assert not [line for line in lines if "\n" in line]
    assert lines


@pytest.mark.long
def test_mutants_of_a_folder_of_orbax_are_read_or_refused_in_a_line(tmp_path: Path) -> None:
    """One of its files is changed each time."""
    source, folder, rng = FOLDER / "flax_bottleneck", tmp_path / "folder", np.random.default_rng(0)
    spec, lines = import_weights(source).spec, []
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    shutil.copytree(source, folder)
    with closing(Reader("flax", source)) as reader:
        for _ in range(FOLDERS):
            file = files[rng.integers(len(files))]
            data = (source / file).read_bytes()
            (folder / file).write_bytes(mutant(data, rng, partial(rng.integers, len(data))))
            try:
                arrays = reader.read(folder)
                found = recognize({key: array.shape for key, array in arrays.items()}, spec=spec)
                check_weights(neutral_weights(found.format, found.style, found.names, arrays), state(found.spec))
            except InputError as error:
                lines.append(str(error))
            (folder / file).write_bytes(data)
        reader.check_memory()
    assert not [line for line in lines if "\n" in line]
    assert lines


def test_a_tensor_that_is_marked_as_a_folder_is_refused(tmp_path: Path) -> None:
    """PyTorch leaves memory as it was in its place, and no CRC covers the mark."""
    source, path = FOLDER / "torchvision_basic.pth", tmp_path / "marked.pth"
    data = bytearray(source.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"/data/39"))
    data[entry + 38] |= 0x10
    path.write_bytes(data)
    with closing(Reader("torch", source)) as reader:
        assert reader.read(source)
        with pytest.raises(WeightsError, match=r"/data/39 in it is marked as a folder; get a fresh copy$"):
            reader.read(path)
