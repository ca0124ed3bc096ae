# %% [markdown]
# # Build and compare

# %% [markdown]
# A network is a spec: a few fields, here those of a small ResNet for pictures of 32 x 32. Its shapes and counts need
# no framework.

# %%
import resnet_core as rn

spec = rn.spec("resnet20", depths=[1, 1, 1], channels=[8, 16, 32], classes=10, name="small")
for layer in list(rn.layers(spec))[:4]:
    print(f"{layer.path:24} {layer.output_shape}")
print(f"{rn.totals(spec).parameters:,} parameters")

# %% [markdown]
# `rn.build` makes a native model of it, here a `torch.nn.Module`. The same seed gives the same weights in every
# framework.

# %%
import torch

model = rn.build(spec, "torch", seed=0).eval()
with torch.no_grad():
    logits = model(torch.zeros(1, 3, 32, 32))
logits.shape

# %% [markdown]
# The reference is NumPy in float64. With the same seed it is the same network, within what float32 rounds away:

# %%
import numpy as np

pictures = np.random.default_rng(0).standard_normal((4, 32, 32, 3))
reference = rn.build(spec, "numpy", seed=0)(pictures)
with torch.no_grad():
    found = model(torch.tensor(pictures, dtype=torch.float32).permute(0, 3, 1, 2)).numpy()
error = np.abs(found - reference).max() / np.abs(reference).max()
assert error < 1e-5
print("equal within 1e-5")

# %% [markdown]
# `rn.compare` does that for every backend, each in a process of its own, with weights that let no mistake pass, and
# for the output of every stage.

# %%
BACKENDS = ["torch", "keras", "flax"]
comparison = rn.compare(spec, BACKENDS)
print(comparison.sentence())
assert comparison.equal

# %% [markdown]
# What was found is in the result: errors by tap, the gate of each, times, memory, versions. `resnet compare --plot`
# draws it, and `resnet compare --report` writes it as a page.

# %%
for name, result in comparison.backends.items():
    worst = max(result.max_error, key=result.max_error.get)
    print(f"{name:6} worst at {worst}, within {result.tolerances[worst]:.0e}: {result.equal}")

# %% [markdown]
# The check can fail. With one bias changed in the weights of one side, it says where:

# %%
weights = rn.probe_weights(spec)
changed = {**weights, "head.linear.bias": weights["head.linear.bias"] + 0.01}
right, wrong = (rn.build(spec, "numpy", weights=each)(pictures) for each in (weights, changed))
error = np.abs(wrong - right).max() / np.abs(right).max()
assert error > 1e-5
print("a bias that is off by 0.01 is beyond the gate")
