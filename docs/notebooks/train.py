# %% [markdown]
# # Train, and go on in another framework

# %% [markdown]
# The data set of this notebook is drawn by hand: stripes that lie, stripes that stand, and a chessboard, in noise. An
# `.npz` file with these four arrays is one of the forms that training takes; a folder of pictures is another.

# %%
import numpy as np

import resnet_core as rn

PICTURES = 96
random = np.random.default_rng(0)
lying = np.tile((np.arange(16) % 4 < 2)[:, None], (1, 16))
patterns = np.stack([lying, lying.T, lying ^ lying.T])


def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = random.integers(0, 3, count)
    noise = random.normal(0, 40, (count, 16, 16))
    return np.clip(patterns[labels] * 120 + 60 + noise, 0, 255).astype(np.uint8), labels


x_train, y_train = draw(PICTURES)
x_test, y_test = draw(48)
np.savez("patterns.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

# %% [markdown]
# A run is a folder: the spec, the recipe, a log, checkpoints. This one begins in PyTorch and stops after its first
# epoch.

# %%
FIRST, SECOND = "torch", "flax"
spec = rn.spec("resnet20", depths=[1, 1], channels=[8, 16], classes=3, in_channels=1, input_size=16, name="patterns")
recipe = rn.recipe("fashion-adam", epochs=4, batch_size=8)
result = rn.train(spec, "patterns.npz", backend=FIRST, out="run", recipe=recipe, until=1)
print(result.ended, "after step", result.step)

# %% [markdown]
# The rest is trained in another framework. Weights, moments of the optimizer, order of the pictures and learning
# rates go on where they were: the checkpoint is neutral.

# %%
result = rn.train(out="run", resume=True, backend=SECOND)
print(result.ended, "after step", result.step)
assert result.ended == "finished"

# %% [markdown]
# Every epoch is in the result, whoever computed it, and any framework can evaluate the run.

# %%
for epoch in result.epochs:
    print(f"epoch {epoch.epoch}: test accuracy {epoch.test_accuracy:.0%}")
evaluation = rn.evaluate("run", backend="numpy")
assert evaluation.accuracy == result.best.test_accuracy
print(f"NumPy says the same of the best epoch: {evaluation.accuracy:.0%}")

# %% [markdown]
# The run's model, in whatever you use:

# %%
model = rn.build("run", FIRST)
type(model).__name__
