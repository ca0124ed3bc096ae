"""A backend with one defect, which the environment names: those that a third party made and no comparison found."""

import dataclasses
import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

import resnet_numpy as right
from resnet_core.initialization import initialize
from resnet_numpy import *  # noqa: F403

DEFECT = os.environ.get("TOY_BROKEN", "")


def get_weights(model):
    weights = right.get_weights(model)
    return {name: 2 * array for name, array in weights.items()} if DEFECT == "get_weights_doubled" else weights


def set_weights(model, weights):
    if DEFECT != "set_weights_nothing":
        right.set_weights(model, weights)


def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
    if DEFECT == "incomplete_weights" and weights is not None:
        weights = {**initialize(spec, 0, dtype or "float32"), **weights}
    seed = 0 if DEFECT == "seed_ignored" else seed
    return right.build(spec, weights=weights, seed=seed, taps=taps, dtype=dtype)


def predict(model, images):
    if DEFECT == "predict_mode":
        model.evaluating = True  # as an nn.Module after eval()
    return right.predict(model, images)


def modes(model):
    return {"": not getattr(model, "evaluating", False)}


def train_forward(model, images, spec=None):
    output = right.train_forward(model, images, spec)
    if DEFECT == "train_forward_variances":
        model.learn({name: 1.01 * value for name, value in model.weights.items() if name.endswith("running_var")})
    return None if DEFECT == "train_forward_none" else output


def gradients(model, images, cotangent):
    if DEFECT == "hangs_once":
        with suppress(FileExistsError):  # two processes ask at the same time, and one of them has to be the first
            Path(os.environ["TOY_BROKEN_FILE"]).touch(exist_ok=False)
            time.sleep(100)
    if DEFECT == "shared_ties":
        # The mean over who wins: with later pixels a little larger the last of a tie does.
        ramp = (
            np.arange(images[0, ..., 0].size, dtype=np.float32).reshape(images.shape[1:3], order="C")[..., None] * 2e-7
        )
        one, other = (right.gradients(model, given, cotangent) for given in (images - ramp, images + ramp))
        return {name: (one[name] + other[name]) / 2 for name in one}
    found = right.gradients(model, images, cotangent)
    if DEFECT == "gradients_overwrite":
        right.train_forward(model, images)
    factor = {"zero_gradients": 0, "negated_gradients": -1}.get(DEFECT, 1)
    return {name: factor * value for name, value in found.items()}


class Trainer(right.Trainer):
    def __init__(self, spec, recipe, state, *, dtype=None):
        if DEFECT == "adam_epsilon":
            recipe = msgspec.structs.replace(recipe, epsilon=2 * recipe.epsilon)
        if DEFECT == "slots_forgotten":
            state = dataclasses.replace(state, slots={})
        super().__init__(spec, recipe, state, dtype=dtype)

    def step(self, inputs):
        result = super().step(inputs)
        return dataclasses.replace(result, correct=0) if DEFECT == "correct_zero" else result

    def predict(self, images):
        output = super().predict(images)
        return np.zeros_like(output) if DEFECT == "trainer_predicts_zeros" else output

    def state(self):
        found = super().state()
        return dataclasses.replace(found, slots={}) if DEFECT == "state_without_slots" else found
