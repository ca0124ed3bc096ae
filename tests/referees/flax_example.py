"""Flax' ImageNet example, out of Flax' source distribution, whose only place on a registry it is.

Nothing of it is kept here: its licence, Apache-2.0, would allow it, and this project keeps nobody else's code.
`RESNET_REFEREES_FLAX` names the archive:

    pip download --no-deps --no-binary :all: --no-build-isolation flax==0.12.8
"""

import hashlib
import importlib
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

VERSION = "0.12.8"
ARCHIVE_SHA256 = "1bb438775b967a3f1f42b9c3d4ddf1d2883cd6406589f9cecdc244634036bdc4"

#: {file of the example that is taken: its SHA-256}; `train.py` imports the others.
FILES = {
    "models.py": "cd354ca3990ae35c3529e680b7d6e91f273508aa3cc087f03fdf41699063fb50",
    "train.py": "aa4a8b3cf87f4467a5a3d3b785532274acf33766008a478cfe931240065f2593",
    "input_pipeline.py": "566659dd4973f2879a3856b379dd21bfeba4bd7411f06a765484de185ee64df4",
}

#: {network of models.py: (kind of its blocks, depths)}.
NETWORKS = {
    "ResNet18": ("basic", (2, 2, 2, 2)),
    "ResNet34": ("basic", (3, 4, 6, 3)),
    "ResNet50": ("bottleneck", (3, 4, 6, 3)),
    "ResNet101": ("bottleneck", (3, 4, 23, 3)),
    "ResNet152": ("bottleneck", (3, 8, 36, 3)),
    "ResNet200": ("bottleneck", (3, 24, 36, 3)),
}


def unpack(archive: Path, folder: Path) -> None:
    """Write the example's files into a folder. Raises ValueError where they are not those of this version."""
    _require(archive.name, archive.read_bytes(), ARCHIVE_SHA256)
    with tarfile.open(archive) as members:
        for name, digest in FILES.items():
            member = members.extractfile(f"flax-{VERSION}/examples/imagenet/{name}")
            assert member is not None
            data = member.read()
            _require(name, data, digest)
            (folder / name).write_bytes(data)


def _require(name: str, data: bytes, digest: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ValueError(f"{name}: received SHA-256 {found}; expected {digest}, that of Flax {VERSION}")


def program(name: str, folder: Path) -> Any:
    """The example's module `models` or `train`, of the archive that is named, unpacked into a folder."""
    unpack(Path(os.environ["RESNET_REFEREES_FLAX"]), folder)
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)
