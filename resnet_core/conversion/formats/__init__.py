"""Formats of other libraries' weights, one file each: names in a table, layout, and what a file cannot show."""

from __future__ import annotations

from resnet_core.conversion.formats import flax, keras_applications, nnx, slim, timm, torchvision, transformers
from resnet_core.conversion.naming import Format

#: One that is recognized by fewer names stands before one that has them all and more.
_MODULES = (torchvision, timm, transformers, keras_applications, slim, flax, nnx)

#: {name: format}.
FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in _MODULES}
