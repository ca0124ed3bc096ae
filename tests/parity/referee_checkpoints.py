"""Checkpoints as other people save them, good and bad. Imported in the PyTorch worker only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from resnet_core.workers.child import Arrays


class Bomb:
    """What unpickles to a new folder, as a stand-in for anything worse."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.target,)


def save(session: Any, arrays: Arrays, *, folder: str, exploded: str) -> tuple[None, None]:
    """Write the state_dict in `arrays` as torchvision's users do, and as nobody should."""
    to = Path(folder)
    state: dict[str, Any] = {}
    for name, value in arrays.items():
        state[name] = torch.from_numpy(value)
        if name.endswith(".running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    torch.save(state, to / "torchvision.pth")
    save_file(state, to / "torchvision.safetensors")
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(half, to / "half.pth")
    save_file(half, to / "half.safetensors")
    bfloat = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(bfloat, to / "bfloat16.pth")
    torch.save({**state, "fc.weight": state["fc.weight"][:10], "fc.bias": state["fc.bias"][:10]}, to / "ten.pth")
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 3, "arch": "resnet18", "state_dict": state, "optimizer": optimizer}, to / "example.pth")
    torch.save({"model": state, "epoch": 3, "args": {"lr": 0.1}}, to / "references.pth")
    lightning = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "pytorch-lightning_version": "2.5", "state_dict": lightning}, to / "lightning.ckpt")
    torch.save({f"module._orig_mod.{name}": tensor for name, tensor in state.items()}, to / "compiled.pth")
    torch.save({name: tensor for name, tensor in state.items() if "fc." not in name}, to / "backbone.pth")
    save_file(bfloat, to / "bfloat16.safetensors")
    torch.save({"epoch": 3, "optimizer": optimizer}, to / "nested.pth")
    torch.save({"conv1.weight": state["conv1.weight"].to_sparse()}, to / "sparse.pth")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, to / "wrapped.pth")
    torch.save({"conv1.weight": Bomb(exploded)}, to / "bomb.pth")
    torch.save(state, to / "legacy.pth", _use_new_zipfile_serialization=False)
    return None, None


def load_unprotected(session: Any, arrays: Arrays, *, path: str) -> tuple[None, None]:
    """What must never happen to a file from elsewhere: proves that the bomb is one."""
    torch.load(path, weights_only=False)
    return None, None
