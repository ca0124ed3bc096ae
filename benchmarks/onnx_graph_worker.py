"""The parts of `onnx_graph.py` that run in new processes: PyTorch's export and our graphs, then onnxruntime alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure.timing import alternate

import resnet_core as rn
from resnet_core.numerics import relative_error

Measured = tuple[dict[str, Any], None]
TOLERANCE = 1e-5


def export(session: Any, arrays: Any, *, folder: str, size: int) -> Measured:
    """Write PyTorch's exports of the hand-written network, for any size and for one, and ours, of the same weights."""
    import torch
    from handwritten import torch_weights
    from handwritten.torch_resnet50 import ResNet50

    spec = rn.spec("resnet50")
    weights = rn.probe_weights(spec)
    theirs = ResNet50()
    torch_weights.set_weights(theirs, weights)
    images = torch.zeros(1, 3, size, size)
    axes = {"open": {0: "batch", 2: "height", 3: "width"}, "fixed": {0: "batch"}}
    for sizes, open_axes in axes.items():
        names: dict[str, Any] = {"input_names": ["images"], "dynamic_axes": {"images": open_axes}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is a newer exporter, which needs another package
            torch.onnx.export(theirs.eval(), (images,), f"{folder}/exported-{sizes}.onnx", dynamo=False, **names)
    for name, network in (("graph", spec), ("deployed", rn.spec(spec, deploy=True))):
        given = rn.deploy(weights, spec)[0] if network.deploy else weights
        rn.build(network, backend="onnx", weights=given).save(Path(folder) / f"{name}.onnx")
    return {"versions": {"torch": torch.__version__}}, None


def measure(session: Any, arrays: Any, *, folder: str, size: int, batch: int, pairs: int) -> Measured:
    """Seconds of every call of each of our graphs and of the export's."""
    import onnxruntime

    images = np.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=np.float32)

    def call(name: str, sizes: dict[str, int] | None = None) -> Callable[[], np.ndarray]:
        options = onnxruntime.SessionOptions()
        for dimension, value in (sizes or {}).items():
            options.add_free_dimension_override_by_name(dimension, value)
        own = onnxruntime.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
        return lambda: np.asarray(own.run(None, {own.get_inputs()[0].name: images})[0])

    found: dict[str, Any] = {"versions": {"onnxruntime": onnxruntime.__version__}}
    for sizes, fixed in (("open", None), ("fixed", {"height": size, "width": size})):
        theirs = call(f"exported-{sizes}")
        for name in ("graph", "deployed"):
            ours = call(name, fixed)
            error = relative_error(ours(), theirs())
            assert error <= TOLERANCE, f"not the same network: the logits differ by {error:.1e}"
            pair = alternate(ours, theirs, pairs)
            found[f"{name}, {sizes} size"] = {
                "logits_error": error,
                "ours_seconds": pair[0],
                "exported_seconds": pair[1],
            }
    return found, None
