"""Check shapes, counts and names of every named spec without a framework; print the seconds it took."""

from __future__ import annotations

import sys
import time
from math import prod

import resnet_core as rn

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax")


def check(name: str) -> None:
    spec = rn.spec(name)
    found, sums = rn.layers(spec), rn.totals(spec)
    state, parameters = rn.state(spec), rn.parameters(spec)
    paths = [layer.path for layer in found]
    names = {f"{layer.path}.{suffix}" for layer in found for suffix in layer.leaf.tensors()}
    assert len(paths) == len(set(paths)), f"{name}: a path occurs twice"
    assert names == state.keys(), f"{name}: layers and state disagree on names"
    assert parameters.keys() <= state.keys(), f"{name}: a parameter is not in the state"
    assert sum(map(prod, state.values())) == sums.state, f"{name}: counts of the state disagree"
    assert sum(map(prod, parameters.values())) == sums.parameters, f"{name}: counts of parameters disagree"
    assert sums.macs == sum(layer.macs for layer in found), f"{name}: MACs disagree"
    assert sums.output_shape == (spec.classes,), f"{name}: output shape {sums.output_shape}"


if __name__ == "__main__":
    start = time.perf_counter()
    for name in rn.names():
        check(name)
    took = time.perf_counter() - start
    assert not set(FRAMEWORKS) & set(sys.modules), "a framework was imported"
    print(took)
