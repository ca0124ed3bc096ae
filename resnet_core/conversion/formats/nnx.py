"""The state of this project's own NNX models, nested as `nnx.to_pure_dict` gives it: msgpack, or a folder of Orbax."""

from __future__ import annotations

from resnet_core.conversion.formats.flax import NOT_CARRIED, TENSORS
from resnet_core.conversion.naming import Format, Style

FORMAT = Format(
    "nnx",
    "a state of NNX",
    (Style("a model of this project", {}, own=True),),
    tensors=TENSORS,
    separator="/",
    aliases={r"/value$": ""},
    layout="hwio",
    writes=(".msgpack", ""),
    not_carried=NOT_CARRIED,
)
