"""The framework's own names of the tensors, for a package that offers them."""

from __future__ import annotations

from resnet_core.analysis import state
from resnet_core.conformance.check import Context, check, expect, expect_names
from resnet_core.conformance.networks import NETWORKS

GROUP = "names"


@check(GROUP, cases=NETWORKS, dtypes=("float32",), needs="native_tensors")
def native_tensors_have_names_of_their_own(context: Context, case: str) -> None:
    """One for every tensor of the tree, in its order; none twice; the shape is the neutral one, or a permutation."""
    subject = NETWORKS[case]
    found = context.backend.native_tensors(subject.build(context.backend, context.dtype))
    shapes = state(subject.tree)
    expect_names("native_tensors", found, shapes)
    owners: dict[str, str] = {}
    for name, (own, shape) in found.items():
        other = owners.setdefault(own, name)
        expect(other == name, f"native_tensors: {name} and {other} are both called {own!r}; expected a name each")
        same = sorted(shape) == sorted(shapes[name])
        expect(same, f"native_tensors: {name} has the shape {tuple(shape)}; expected a permutation of {shapes[name]}")
