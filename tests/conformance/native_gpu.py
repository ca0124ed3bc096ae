"""What a backend tells its framework for a GPU, with one that is not there: nothing is computed on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

import resnet_core as rn
from resnet_core.benchmark.timing import device_seconds
from resnet_core.errors import InputError

Answer = tuple[Any, dict[str, np.ndarray] | None]

SMALL = rn.spec("resnet20", depths=(1,), channels=(4,), classes=5, input_size=12)


@contextmanager
def pretended(*patches: Any) -> Iterator[None]:
    """As if a GPU were there."""
    with ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


def _torch_gpu() -> tuple[Any, ...]:
    import torch

    return patch.object(torch.cuda, "is_available", lambda: True), patch.object(torch, "set_default_device")


def _jax_gpu() -> tuple[Any, ...]:
    import jax

    return (patch.object(jax, "default_backend", lambda: "gpu"),)


def _tensorflow_gpu() -> tuple[Any, ...]:
    import tensorflow as tf

    def listed(kind: str) -> list[str]:
        return ["a card"] if kind == "GPU" else []

    return (
        patch.object(tf.config, "list_physical_devices", listed),
        patch.object(tf.config.experimental, "set_memory_growth"),
    )


def _onnx_gpu() -> tuple[Any, ...]:
    import onnxruntime

    from resnet_onnx import runtime

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return (
        patch.object(onnxruntime, "get_available_providers", lambda: names),
        patch.object(runtime, "_starts", lambda name: True),
    )


def onnx_without_its_libraries(session: Any, arrays: Any) -> Answer:
    """What is said of a GPU that onnxruntime was built for, and that does not start."""
    from resnet_onnx import runtime

    listed, _ = _onnx_gpu()
    with listed:
        used = runtime.configure("auto"), runtime._starts("CPUExecutionProvider")
        try:
            return [*used, runtime.configure("gpu")], None
        except rn.InputError as error:
            return [*used, str(error)], None


def _torch_switches() -> Any:
    import torch

    backends = torch.backends
    newer = {place.fp32_precision for place in (backends.cudnn.conv, backends.cuda.matmul)}
    return sorted({*newer, str(backends.cudnn.allow_tf32), str(backends.cuda.matmul.allow_tf32)})


def _jax_switches() -> Any:
    import jax
    from jax import numpy as jnp

    image, kernel = jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 1))
    dimensions = ("NHWC", "HWIO", "NHWC")

    def convolved(image: Any) -> Any:
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=dimensions)

    (equation,) = jax.make_jaxpr(convolved)(image).eqns
    return [jax.config.jax_default_matmul_precision, [each.name for each in equation.params["precision"]]]


def _tensorflow_switches() -> Any:
    import tensorflow as tf

    return tf.config.experimental.tensor_float_32_execution_enabled()


def _onnx_switches() -> Any:
    from resnet_onnx import runtime

    return [list(each) for each in runtime.providers]


#: {engine: (what makes it see a GPU, what its switches say)}.
ENGINES = {
    "torch": (_torch_gpu, _torch_switches),
    "flax": (_jax_gpu, _jax_switches),
    "keras": (_tensorflow_gpu, _tensorflow_switches),
    "keras_jax": (_jax_gpu, _jax_switches),
    "keras_torch": (_torch_gpu, _torch_switches),
    "onnx": (_onnx_gpu, _onnx_switches),
}


def switches(session: Any, arrays: Any, *, engine: str) -> Answer:
    """What a GPU is told in float32, in TF32, and in float32 again; and what a CPU says of TF32."""
    backend, (gpu, told) = rn.load_backend(engine.partition("_")[0]), ENGINES[engine]
    found = []
    with pretended(*gpu()):
        for dtype in ("float32", "tf32", "float32"):
            found.append([backend.configure("gpu", dtype), told()])
    try:
        backend.configure("cpu", "tf32")
    except InputError as error:
        refused = str(error)
    backend.configure("cpu")
    return {"told": found, "refused": refused}, None


def floatx(session: Any, arrays: Any) -> Answer:
    """The dtype of Keras' models in TF32."""
    import keras

    backend = rn.load_backend("keras")
    with pretended(*_tensorflow_gpu()):
        backend.configure("gpu", "tf32")
        found = [keras.config.floatx(), keras.config.dtype_policy().name]
    backend.configure("cpu")
    return found, None


def compiled(session: Any, arrays: Any) -> Answer:
    """What `fast` asks PyTorch for, of a model on a GPU and on the CPU."""
    import torch

    import resnet_torch

    model, quick = resnet_torch.build(SMALL), resnet_torch.build(SMALL)
    asked: dict[str, Any] = {}

    def to(module: Any, device: Any, *, memory_format: Any) -> Any:
        asked[device.type] = {"format": str(memory_format)}
        return module

    class OnGpu(type(model)):  # type: ignore[misc]
        def parameters(self, recurse: bool = True) -> Iterator[Any]:
            yield SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)

    def compile_(module: Any, *, options: Any) -> None:
        list(asked.values())[-1].update(options=options, training=module.training)

    with (
        patch.object(torch.nn.Module, "to", to),
        patch.object(torch.nn.Module, "compile", compile_),
        patch("resnet_torch.speed.build_tree", lambda *given, **named: quick),
        patch("shutil.which", lambda name: None if "cuda" in asked else "c++"),
    ):
        resnet_torch.fast(model)
        model.__class__ = OnGpu
        resnet_torch.fast(model)  # for which no C++ compiler is needed
    return asked, None


def clocked(session: Any, arrays: Any) -> Answer:
    """What is told to a GPU's stream, in order, and in which modes the model computes there."""
    import torch

    import resnet_torch
    from resnet_torch import speed

    told: list[Any] = []

    class OnGpu(torch.Tensor):
        is_cuda = property(lambda self: True)  # type: ignore[assignment]

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            self.timing = enable_timing

        def record(self) -> None:
            told.append("record")

        def synchronize(self) -> None:
            told.append("synchronize")

        def elapsed_time(self, end: Any) -> float:
            return 2000.0 if self.timing and end.timing and self is not end else -1.0

    model = resnet_torch.build(SMALL)
    model.register_forward_hook(
        lambda *given: told.append([model.training, torch.is_inference_mode_enabled(), torch.is_grad_enabled()])
    )
    images = np.random.default_rng(1).standard_normal((2, 12, 12, 3), np.float32)
    native = speed.to_native(model, images)
    modes = resnet_torch.modes(model)
    with (
        patch.object(speed, "to_native", lambda *given: native.as_subclass(OnGpu)),
        patch.object(torch.cuda, "Event", Event),
        resnet_torch.resident(model, images) as run,
    ):
        taken, output = device_seconds(run)
    same = bool(np.array_equal(output, resnet_torch.predict(model, images)))
    found = {"told": told[:-1], "on a CPU": told[-1], "seconds": taken.computed, "same": same}
    return {**found, "modes": resnet_torch.modes(model) == modes}, None
