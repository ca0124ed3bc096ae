"""Runs printed programs where this project cannot be imported. A process of its own: `run_programs.py BACKEND FOLDER`.

Reads FOLDER/jobs.json, [{program, weights, images, main}], and writes beside each program what it computed. Every
program is one that stands alone: here is nothing but what its reader would type to use it.
"""

from __future__ import annotations

import importlib.abc
import json
import runpy
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np

Found = dict[str, np.ndarray]


class Guard(importlib.abc.MetaPathFinder):
    """This project does not exist here."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0].startswith("resnet_"):
            raise ModuleNotFoundError(f"{name} is hidden")


def read_program(path: Path) -> types.SimpleNamespace:
    """The definitions of a program."""
    return types.SimpleNamespace(**runpy.run_path(str(path), run_name="program"))


def file_names(job: dict[str, Any]) -> dict[str, str]:
    """{neutral name with `_` for `.`: neutral name}, for frameworks whose own names have no dots."""
    data = Path(job["weights"]).read_bytes()
    names = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name.replace(".", "_"): name for name in names}


def stilled(layers: list[tuple[Any, str]]) -> list[float]:
    """The rates of layers that draw, which are 0 from now on: [(layer, its attribute)]."""
    rates = [getattr(layer, attribute) for layer, attribute in layers]
    for layer, attribute in layers:
        setattr(layer, attribute, 0.0)
    return rates


def restored(layers: list[tuple[Any, str]], rates: list[float]) -> None:
    for (layer, attribute), rate in zip(layers, rates, strict=True):
        setattr(layer, attribute, rate)


def run_torch(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import torch
    from safetensors.torch import load_file

    model = program.ResNet().to(getattr(torch, dtype))
    model.load_state_dict(load_file(job["weights"]), strict=True)
    images = torch.from_numpy(np.load(job["images"]).astype(dtype).transpose(0, 3, 1, 2).copy())
    found = {f"tensor {k}": v.numpy().copy() for k, v in model.state_dict().items() if "num_batches" not in k}
    with torch.no_grad():
        found["output"] = channels_last(model.eval()(images).numpy())
        random = [(m, name) for m in model.modules() for name in ("p", "rate") if hasattr(m, name)]
        found["rates"] = np.array(rates := stilled(random))
        found["train output"] = channels_last(model.train()(images).numpy())
        found |= {f"after {k}": v.numpy().copy() for k, v in model.state_dict().items() if ".running_" in k}
        restored(random, rates)
        found["drawn output"] = channels_last(model(images).numpy())
    return found


def initial_torch(program: Any, job: dict[str, Any]) -> Found:
    import torch

    torch.manual_seed(0)
    return {f"initial {k}": v.detach().numpy() for k, v in program.ResNet().named_parameters()}


def run_keras(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import keras

    keras.config.set_floatx(dtype)
    images = np.load(job["images"]).astype(dtype)
    model = program.resnet()
    program.load(model, job["weights"])
    found = {f"tensor {name}": value for name, value in keras_tensors(model, job).items()}
    found["output"] = keras.ops.convert_to_numpy(model(images, training=False))
    random = [(layer, "rate") for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    found["rates"] = np.array(rates := stilled(random))
    found["train output"] = keras.ops.convert_to_numpy(model(images, training=True))
    found |= {f"after {name}": value for name, value in keras_tensors(model, job).items() if ".running_" in name}
    if rates:
        restored(random, rates)
        found["drawn output"] = keras.ops.convert_to_numpy(model(images, training=True))
    keras.backend.clear_session()
    return found


def initial_keras(program: Any, job: dict[str, Any]) -> Found:
    import keras

    keras.config.set_floatx("float32")
    keras.utils.set_random_seed(0)
    return {f"initial {name}": value for name, value in keras_tensors(program.resnet(), job).items()}


def keras_tensors(model: Any, job: dict[str, Any]) -> Found:
    import keras

    suffixes = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    suffixes |= {"kernel": "weight", "bias": "bias"}
    names = file_names(job)
    return {
        names.get(own := f"{layer.name}_{suffixes[variable.name]}", own): neutral(
            keras.ops.convert_to_numpy(variable).copy()
        )
        for layer in model.layers
        for variable in layer.weights
    }


def run_flax(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import jax
    from flax import nnx

    with jax.enable_x64(dtype == "float64"):
        images = np.load(job["images"]).astype(dtype)
        model = program.ResNet(rngs=nnx.Rngs(0))
        program.load(model, job["weights"])
        found = {f"tensor {name}": value for name, value in flax_tensors(model, job).items()}
        run = nnx.jit(lambda model, x: model(x))  # operation by operation takes ten times as long
        model.eval()
        found["output"] = np.asarray(run(model, images))
        if job.get("eager"):
            found["eager output"] = np.asarray(model(images))
        model.train()
        random = [(module, "rate") for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout)]
        found["rates"] = np.array(rates := stilled(random))
        found["train output"] = np.asarray(run(model, images))
        found |= {f"after {name}": value for name, value in flax_tensors(model, job).items() if ".running_" in name}
        if rates:
            restored(random, rates)
            found["drawn output"] = np.asarray(run(model, images))
    return found


def initial_flax(program: Any, job: dict[str, Any]) -> Found:
    from flax import nnx

    return {f"initial {name}": value for name, value in flax_tensors(program.ResNet(rngs=nnx.Rngs(0)), job).items()}


def flax_tensors(model: Any, job: dict[str, Any]) -> Found:
    from flax import nnx

    suffixes = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    found, names = {}, file_names(job)
    for keys, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            *place, kind = [f"block{key + 1}" if isinstance(key, int) else key for key in keys if key != "layers"]
            own = "_".join([*place, suffixes[kind]])
            found[names.get(own, own)] = neutral(np.array(variable[...]))
    return found


def batches_of(job: dict[str, Any], dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch of batches: images (batch, height, width, channels) and class numbers (batch,)."""
    arrays = np.load(job["batches"])
    return list(zip(arrays["images"].astype(dtype), arrays["labels"], strict=True))


def losses_of(namespace: Any, name: str) -> list[Any]:
    """What the named step returns from now on, in a list that fills: the loop calls it as it is printed."""
    losses, step = [], namespace[name] if isinstance(namespace, dict) else getattr(namespace, name)

    def recorded(*arguments: Any) -> Any:
        losses.append(step(*arguments))
        return losses[-1]

    if isinstance(namespace, dict):
        namespace[name] = recorded
    else:
        setattr(namespace, name, recorded)
    return losses


def train_torch(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import torch
    from safetensors.torch import load_file

    model = program.ResNet().to(getattr(torch, dtype))
    model.load_state_dict(load_file(job["weights"]), strict=True)
    data = [(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y)) for x, y in batches_of(job, dtype)]
    losses = losses_of(program.train.__globals__, "train_step")
    program.train(model, data)
    found = {f"trained {k}": v.numpy() for k, v in model.state_dict().items() if "num_batches" not in k}
    return found | {"loss": np.array([loss.item() for loss in losses])}


def train_keras(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import keras

    keras.config.set_floatx(dtype)
    model = program.resnet()
    program.load(model, job["weights"])
    losses = losses_of(model, "train_on_batch")
    program.train(model, batches_of(job, dtype))
    found = {f"trained {name}": value for name, value in keras_tensors(model, job).items()}
    keras.backend.clear_session()
    return found | {"loss": np.array(losses)}


def train_flax(program: Any, job: dict[str, Any], dtype: str) -> Found:
    import jax
    from flax import nnx

    with jax.enable_x64(dtype == "float64"):
        model = program.ResNet(rngs=nnx.Rngs(0))
        program.load(model, job["weights"])
        losses = losses_of(program.train.__globals__, "train_step")
        program.train(model, batches_of(job, dtype))
        found = {f"trained {name}": value for name, value in flax_tensors(model, job).items()}
        return found | {"loss": np.array([float(loss) for loss in losses])}


def run_numpy(program: Any, job: dict[str, Any], dtype: str) -> Found:
    weights = program.read(job["weights"])
    found = {f"tensor {name}": value for name, value in weights.items()}
    return found | {"output": program.resnet(np.load(job["images"]).astype(dtype), weights)}


def neutral(value: np.ndarray) -> np.ndarray:
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def channels_last(value: np.ndarray) -> np.ndarray:
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def main() -> None:
    backend, folder = sys.argv[1], Path(sys.argv[2])
    sys.meta_path.insert(0, Guard())
    warnings.simplefilter("ignore")
    for job in json.loads((folder / "jobs.json").read_text()):
        path = folder / f"{job['program']}.py"
        try:
            program = read_program(path)
            kind = "train" if job.get("batches") else "run"
            found = globals()[f"{kind}_{backend}"](program, job, job["dtype"])
            if job.get("initial"):
                found |= globals()[f"initial_{backend}"](program, job)
            if job.get("main"):
                sys.argv = [str(path), job["weights"]]
                runpy.run_path(str(path), run_name="__main__")
        except Exception as error:
            if not job.get("mutant"):
                raise
            found = {"error": np.array(f"{type(error).__name__}: {error}"[:200])}
        np.savez(folder / f"{job['program']}.npz", **found)
    assert not [name for name in sys.modules if name.startswith("resnet_")]


if __name__ == "__main__":
    main()
