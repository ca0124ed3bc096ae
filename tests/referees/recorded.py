"""What every recorder of files shares: drawn tensors, and the list `files/files.json` of what was recorded."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from draw import Shape, draw, image

FOLDER = Path(__file__).with_name("files")
LIST = FOLDER / "files.json"

#: Both parities of height and width.
INPUT: Shape = (1, 66, 53, 3)

#: {the last part of a tensor's name, in any of the programs: what it is}; else it is a kernel, or a scale.
_KINDS = {
    **dict.fromkeys(("running_mean", "moving_mean", "mean"), "mean"),
    **dict.fromkeys(("running_var", "moving_variance", "var"), "variance"),
    **dict.fromkeys(("bias", "biases", "beta"), "bias"),
}


def drawn(name: str, shape: Shape, seed: int, layout: str) -> np.ndarray:
    """The values of a tensor: no scale is 1, no mean 0 and no variance 1, so that nothing that is lost goes unseen."""
    last = name.replace("/", ".").rpartition(".")[2]
    kind = _KINDS.get(last, "kernel" if len(shape) > 1 else "gamma")
    return draw(name, shape, kind, seed, layout=layout)


def picture(seed: int, channels: int = 3) -> np.ndarray:
    """What a network is shown."""
    return image((*INPUT[:3], channels), seed)


def fresh(name: str) -> Path:
    """The place of a recorded file or folder, with nothing there."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return path


def digests(name: str) -> dict[str, str]:
    """{path below the folder: SHA-256} of a file, of all in a folder, or of the parts of a checkpoint."""
    path = FOLDER / name
    beside = sorted(FOLDER.glob(f"{name.removesuffix('.index')}.data-*")) if name.endswith(".index") else []
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path, *beside]
    return {str(file.relative_to(FOLDER)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def record(
    name: str, logits: np.ndarray, seed: int, versions: Mapping[str, str], precision: str = "float64", **about: Any
) -> None:
    """Add a file to the list, with what its program computes from the drawn picture."""
    known = json.loads(LIST.read_text(encoding="utf-8")) if LIST.exists() else {}
    known[name] = {
        **about,
        "versions": dict(versions),
        "seed": seed,
        "input_shape": [*INPUT[:3], about.get("in_channels", INPUT[3])],
        "precision": precision,
        "logits": np.asarray(logits, np.float64).ravel().tolist(),
        "sha256": digests(name),
    }
    LIST.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")
    total = sum((FOLDER / file).stat().st_size for file in known[name]["sha256"])
    print(f"{name}: {total} bytes, logits up to {np.abs(logits).max():.3g}")
