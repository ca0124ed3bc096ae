"""Prints programs, has them run in a process without this project, and says where they are not the network."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import resnet_core as rn
import resnet_flax
from resnet_core.numerics import relative_error
from resnet_core.training.recipe import Recipe
from resnet_core.training.running_variance import unbiased_variances
from resnet_core.tree import Dropout, DropPath, leaves
from resnet_core.weights import Weights

BACKENDS = ("torch", "keras", "flax", "numpy")
CHILD = Path(__file__).with_name("run_programs.py")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

#: Height and width have different parity behind the stem too: 19 x 18, then 10 x 9.
SIZE = (37, 36)

Found = dict[str, np.ndarray]

NARROW: dict[str, object] = {"channels": (4, 6, 8, 10), "depths": (2, 1, 2, 1), "classes": 5, "input_size": SIZE}
CIFAR: dict[str, object] = {"channels": (4, 6, 9), "depths": (2, 2, 1), "classes": 5, "input_size": SIZE}
GROUPED: dict[str, object] = {
    **NARROW,
    "depths": (1, 1, 1, 1),
    "channels": (16, 16, 32, 32),
    "groups": 8,
    "width_per_group": 8,
}

SHORT: dict[str, object] = {"channels": (4, 6), "depths": (2, 2), "classes": 5, "input_size": SIZE}

#: Every kind of network that has a name, and what fields make of them, narrow and shallow.
KINDS: dict[str, rn.ResNetSpec] = {
    "resnet18": rn.spec("resnet18", **NARROW),
    "resnet50": rn.spec("resnet50", **NARROW),
    "wide_resnet50_2": rn.spec("wide_resnet50_2", **NARROW),
    "resnext50_32x4d": rn.spec("resnext50_32x4d", **GROUPED),
    "resnet50_v1": rn.spec("resnet50_v1", **NARROW),
    "resnet18_d2l": rn.spec("resnet18_d2l", **NARROW),
    "resnet20": rn.spec("resnet20", **CIFAR),
    "resnet_v2_50": rn.spec("resnet_v2_50", **NARROW),
    "resnet50_os8": rn.spec("resnet50", output_stride=8, **NARROW),
    "resnet18_os4": rn.spec("resnet18", output_stride=4, **NARROW),
    "resnet_v2_50_os16": rn.spec("resnet_v2_50", output_stride=16, **NARROW),
    "resnet_v2_50_dense": rn.spec("resnet_v2_50", output_stride=8, global_pool=False, **NARROW),
    "resnet_v2_50_features": rn.spec("resnet_v2_50", **{**NARROW, "classes": None}),
    "resnet50_without_stem": rn.spec("resnet50", stem=False, **NARROW),
    "resnet18_preactivation": rn.spec("resnet18", preactivation=True, **NARROW),
    "resnet18_projection_all": rn.spec("resnet18", shortcut="projection_all", **NARROW),
    "resnet50_zeros": rn.spec("resnet50", stem_pool_padding="zeros", zero_init_residual=True, **NARROW),
    "resnet20_preactivation": rn.spec("resnet20", preactivation=True, zero_init_residual=True, **CIFAR),
    "resnet18_one_width": rn.spec("resnet18", output_stride=4, **{**NARROW, "channels": (4, 4, 4, 4)}),
    "resnet18_even_stem": rn.spec("resnet18", stem_kernel=4, **NARROW),
    "resnet50d_se": rn.spec(
        "resnet50", stem_type="deep", shortcut_pool="average", attention="se", zero_init_residual=True, **SHORT
    ),
    "resnetv2_50_bit": rn.spec(
        "resnet_v2_50", norm="group", norm_groups=2, standardize_weights=True, activation="gelu_tanh",
        shortcut_pool="average", attention="se", attention_place="inner", head_bias=False, **SHORT,
    ),
    "resnet50_eca": rn.spec(
        "resnet50", attention="eca", attention_place="inner", activation="silu", stem_type="tiered", head_channels=12,
        head_bias=False, **{**SHORT, "channels": (8, 128)},
    ),
    "resnet50_deploy": rn.spec("resnet50d", attention="se", drop_path=0.2, deploy=True, **SHORT),
    "resnet50_blur": rn.spec(
        "resnet50", antialias="blur", activation="relu6", drop_path=0.3, dropout=0.4, head_pool="both", **SHORT
    ),
    "flax_resnet50": rn.spec("flax_resnet50", **NARROW),
    "resnet18_same": rn.spec(
        "resnet18", conv_padding="same", stem=False, standardize_weights=True, conv_bias=("last",), **NARROW
    ),
    "resnet18_plain": rn.spec("resnet18", shortcut="none", norm="frozen", activation="leaky_relu", **SHORT),
    "resnet18_layer": rn.spec(
        "resnet18", norm="layer", activation="gelu", stem_pool="conv", head_pool="max", **SHORT
    ),
    "resnet18_far": rn.spec(  # a pool whose dilation is more than its map
        "resnet18", output_stride=4, strides=(1, 4, 4, 2), antialias="average", shortcut_pool="average",
        **{**NARROW, "depths": (1, 1, 1, 1)},
    ),
    "resnet50_os4_pools": rn.spec(
        "resnet50", output_stride=4, antialias="average", shortcut_pool="blur", activation="hardswish", norm="none",
        **{**SHORT, "channels": (4, 6, 8), "depths": (1, 2, 1)},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A program and the network that it must be."""

    spec: rn.ResNetSpec
    text: str
    dtype: str = "float64"
    main: bool = False
    initial: bool = False
    eager: bool = False
    mutant: bool = False
    batches: Found | None = None  #: an epoch to train on, instead of running


def print_program(spec: rn.ResNetSpec, backend: str, recipe: Recipe | None = None) -> str:
    return importlib.import_module(f"resnet_{backend}.source").source(spec, recipe)


def case_images(spec: rn.ResNetSpec) -> np.ndarray:
    """Two images of the spec's size."""
    return np.random.default_rng(0).standard_normal((2, *spec.input_size, spec.in_channels))


def run_programs(
    backend: str, cases: dict[str, Case], folder: Path, keras_engine: str = "tensorflow"
) -> dict[str, Found]:
    """What each program computed: all of them in one process, in which this project cannot be imported."""
    jobs = []
    for name, case in cases.items():
        (folder / f"{name}.py").write_text(case.text)
        weights, images = folder / f"{name}.safetensors", folder / f"{name}_images.npy"
        save_file(rn.probe_weights(case.spec, dtype=case.dtype), weights)
        np.save(images, case_images(case.spec))
        if case.batches is not None:
            np.savez(folder / f"{name}_batches.npz", **case.batches)
        flags: dict[str, object] = {
            flag: getattr(case, flag) for flag in ("dtype", "main", "initial", "eager", "mutant")
        }
        flags["batches"] = None if case.batches is None else str(folder / f"{name}_batches.npz")
        jobs.append({"program": name, "weights": str(weights), "images": str(images), **flags})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": keras_engine, "JAX_PLATFORMS": "cpu"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    # XLA's last passes take most of the compile time and change no operation, as in tests/parity/laboratory.py.
    environment |= resnet_flax.QUICK_ENVIRONMENT
    command = [sys.executable, "-I", str(CHILD), backend, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: dict(np.load(folder / f"{name}.npz")) for name in cases}


def nothing_by_chance(spec: rn.ResNetSpec, images: int) -> float:
    """The probability that nothing is dropped; 1 without random layers."""
    random = [layer for layer in rn.layers(spec) if isinstance(layer.leaf, Dropout | DropPath)]
    counts = [1 if isinstance(layer.leaf, DropPath) else prod(layer.input_shape) for layer in random]
    return prod((1 - layer.leaf.rate) ** (images * count) for layer, count in zip(random, counts, strict=True))


def differences(case: Case, backend: str, found: Found) -> list[str]:
    """What of a program's results is not the network's, by the NumPy reference and the spec; [] where it is."""
    if "error" in found:
        return [str(found["error"])]
    weights = rn.probe_weights(case.spec, dtype="float64")
    images, numpy = case_images(case.spec), rn.load_backend("numpy")
    model = rn.build(case.spec, "numpy", weights=weights, dtype="float64")
    wrong = tensor_differences(case, backend, found)
    truth = numpy.predict(model, images)
    tolerance = max(TOLERANCE[case.dtype], 4 * _rounding(case.spec, weights, images, truth))
    wrong += _unequal("output", found["output"], truth, tolerance)
    if case.eager and backend == "flax":
        wrong += _unequal("eager output", found["eager output"], truth, tolerance)
    if backend != "numpy":
        rates = [leaf.rate for _, leaf in leaves(model.tree) if isinstance(leaf, Dropout | DropPath)]
        if sorted(rates) != sorted(rate for rate in found["rates"] if rate > 0):
            wrong.append(f"rates: {found['rates']}")
        if nothing_by_chance(case.spec, len(images)) < 1e-6 and np.allclose(
            found["drawn output"], found["train output"]
        ):
            wrong.append("drawn output: nothing is dropped")
        truth = numpy.train_forward(model, images)
        wrong += _unequal("train output", found["train output"], truth, tolerance * 10)
        expected = {name: value for name, value in numpy.get_weights(model).items() if ".running_" in name}
        after = {name.removeprefix("after "): value for name, value in found.items() if name.startswith("after ")}
        if after.keys() != expected.keys():
            return [*wrong, "statistics: other names"]
        if backend != "torch":  # the other frameworks' own rule is the biased one
            after |= unbiased_variances(case.spec, images.shape, weights, after)
        for name, value in expected.items():
            wrong += _unequal(f"statistics {name}", after[name], value, tolerance * 10)
    return wrong


def _rounding(spec: rn.ResNetSpec, weights: Weights, images: np.ndarray, truth: np.ndarray) -> float:
    """What the last bit of weights and images makes of the output: much where kernels of two are standardized."""
    rng, numpy = np.random.default_rng(0), rn.load_backend("numpy")

    def shaken(array: np.ndarray) -> np.ndarray:
        return array * (1 + np.finfo(np.float64).eps * rng.choice([-1, 1], array.shape))

    others = []
    for _ in range(3):
        own = {name: shaken(array) for name, array in weights.items()}
        others.append(numpy.predict(rn.build(spec, "numpy", weights=own, dtype="float64"), shaken(images)))
    return max(relative_error(other, truth) for other in others)


def tensor_differences(case: Case, backend: str, found: Found) -> list[str]:
    """Names, shapes and values of the tensors that the program has after it has loaded the neutral file."""
    weights = rn.probe_weights(case.spec, dtype=case.dtype)
    own = {name.removeprefix("tensor "): value for name, value in found.items() if name.startswith("tensor ")}
    if own.keys() != weights.keys():
        return [f"tensors: {sorted(own.keys() ^ weights.keys())}"]
    if backend == "torch" and list(own) != list(weights):
        return ["tensors: another order"]
    return [f"tensor {name}" for name in weights if not np.array_equal(own[name], weights[name])]


def _unequal(what: str, found: np.ndarray, truth: np.ndarray, tolerance: float) -> list[str]:
    if found.shape != truth.shape:
        return [f"{what}: shape {found.shape} for {truth.shape}"]
    error = relative_error(found, truth)
    return [] if error <= tolerance else [f"{what}: {error:.1e}"]
