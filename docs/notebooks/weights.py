# %% [markdown]
# # Weights in and out

# %% [markdown]
# There is one neutral file for all frameworks: PyTorch's layout, names that are paths of the tree, and the spec
# beside them. Here they come out of a PyTorch model.

# %%
import numpy as np

import resnet_core as rn

spec = rn.spec("resnet18", channels=[4, 8, 16, 32], classes=5, input_size=64, name="narrow18")
model = rn.build(spec, "torch", seed=0)
weights = rn.load_backend("torch").get_weights(model)
rn.save_weights("narrow.safetensors", weights, spec)
weights["stem.conv.weight"].shape

# %% [markdown]
# They go into any other, and come back bit for bit.

# %%
OTHER = "flax"
other = rn.build(spec, OTHER, weights="narrow.safetensors")
back = rn.load_backend(OTHER).get_weights(other)
assert all(np.array_equal(back[name], array) for name, array in weights.items())
print(len(back), "tensors, bit for bit")

# %% [markdown]
# Out, for others: a folder as transformers reads it. `rn.convert` writes the file, reads it again, runs both networks
# on the same pictures, and leaves a certificate of what it measured. Where the other library has no such network, it
# says so and writes nothing: torchvision's ResNets are wider than this one.

# %%
conversion = rn.convert("narrow.safetensors", "narrow_folder", destination_format="hf")
print(conversion.certificate.sentence())
assert conversion.certificate.equal
try:
    rn.convert("narrow.safetensors", "narrow.pth", destination_format="torchvision")
except rn.WeightsError as error:
    print(error)

# %% [markdown]
# In, from others: a file is recognized by its names, and the network inferred from its shapes and its configuration.

# %%
imported = rn.import_weights("narrow_folder")
assert imported.spec.depths == spec.depths
assert imported.spec.channels == spec.channels
np.array_equal(imported.weights["stem.conv.weight"], weights["stem.conv.weight"])

# %% [markdown]
# For inference elsewhere: norms folded into convolutions, with a certificate again.

# %%
deployed = rn.convert("narrow.safetensors", "deployed.safetensors", deploy=True)
assert deployed.certificate.equal
print(len(weights), "tensors before,", len(rn.load_weights("deployed.safetensors")[0]), "after")

# %% [markdown]
# A damaged file is refused before any framework sees it, in one line.

# %%
from pathlib import Path

data = bytearray(Path("narrow.safetensors").read_bytes())
data[-1] ^= 1
Path("damaged.safetensors").write_bytes(data)
try:
    rn.load_weights("damaged.safetensors")
except rn.WeightsError as error:
    print(error)
