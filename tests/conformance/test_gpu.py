"""What backends tell their frameworks for a GPU, without one. What the GPU makes of it, only a GPU can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.conftest import Workers

#: {engine: (what is told in float32, and in TF32)}.
TOLD: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(("torch", "keras_torch"), (["False", "ieee"], ["True", "tf32"])),
    **dict.fromkeys(("flax", "keras_jax"), (["highest", ["HIGHEST"] * 2], ["tensorfloat32", ["HIGH"] * 2])),
    "keras": (False, True),
    "onnx": tuple([["CUDAExecutionProvider", {"use_tf32": on}], ["CPUExecutionProvider", {}]] for on in "01"),
}


@pytest.mark.parametrize("engine", TOLD)
def test_tf32_is_on_where_it_is_asked_for_and_off_again(engine: str, workers: Workers) -> None:
    found, _ = workers.call(engine, "native_gpu:switches", engine=engine)
    off, on = TOLD[engine]
    assert found["told"] == [["gpu", off], ["gpu", on], ["gpu", off]]
    assert found["refused"] == "dtype: received 'tf32', which only a GPU has; choose float32, or the device gpu"


def test_a_gpu_whose_libraries_do_not_start_is_none(workers: Workers) -> None:
    """onnxruntime would compute on the CPU in its place; the build here has no CUDA."""
    auto, cpu, said = workers.call("onnx", "native_gpu:onnx_without_its_libraries")[0]
    assert (auto, cpu) == ("cpu", True)
    assert said.startswith("no GPU is visible to onnxruntime ")
    assert said.endswith("; choose the device cpu, or see why CUDAExecutionProvider does not start")


def test_keras_models_in_tf32_are_float32(workers: Workers) -> None:
    assert workers.call("keras", "native_gpu:floatx")[0] == ["float32", "float32"]


def test_on_a_gpu_pytorch_is_compiled_to_a_cuda_graph_and_needs_no_c_compiler(workers: Workers) -> None:
    asked, _ = workers.call("torch", "native_gpu:compiled")
    for device in ("cpu", "cuda"):
        assert asked[device] == {
            "format": "torch.channels_last",
            "options": {"freezing": True, "triton.cudagraphs": device == "cuda"},
            "training": False,
        }


def test_on_a_gpu_pytorch_is_timed_between_two_events_and_not_in_inference_mode(workers: Workers) -> None:
    """A CUDA graph that is captured in inference mode cannot be captured anew outside (pytorch#135892)."""
    found, _ = workers.call("torch", "native_gpu:clocked")
    evaluation, inference, gradients = found["told"][1]
    assert [evaluation, inference, gradients] == [False, False, False]
    assert found["told"] == ["record", found["told"][1], "record", "synchronize"]
    assert found["on a CPU"] == [False, True, False]
    assert (found["seconds"], found["same"], found["modes"]) == (2.0, True, True)
