"""A printed program is the network: run where this project cannot be imported, and held against its reference."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from printing import BACKENDS, KINDS, SIZE, Case, differences, nothing_by_chance, print_program, run_programs

import network_kinds
import resnet_core as rn
from random_specs import specs
from resnet_core.spec_files import to_toml
from resnet_core.tree import Conv, leaves

#: Every name of these is run at full size in the long profile.
FAMILIES = ("resnet", "caffe", "d2l", "slim")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


#: What Keras and Flax, whose graphs are slow to make, run in the ordinary profile: between them every definition and
#: leaf that a program can have.
FEW = (
    "resnet18", "resnext50_32x4d", "resnet18_d2l", "resnet20", "resnet_v2_50", "resnet_v2_50_dense",
    "resnet50_zeros", "resnetv2_50_bit", "resnet50_blur", "resnet18_plain", "resnet18_layer", "flax_resnet50",
)  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_is_the_network_in_float64(backend: str, long: bool, tmp_path: Path) -> None:
    """Tensors, logits, training output and running statistics of every kind; what it prints when it is run."""
    names = KINDS if long or backend in ("torch", "numpy") else FEW
    cases = {
        name: Case(
            KINDS[name], print_program(KINDS[name], backend), main=name in ("resnet18", "resnet_v2_50", "resnet20")
        )
        for name in names
    }
    found = run_programs(backend, cases, tmp_path)
    assert {name: wrong for name in cases if (wrong := differences(cases[name], backend, found[name]))} == {}


@pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=pytest.mark.long if name in ("keras", "flax") else ()) for name in BACKENDS],
)
def test_a_program_is_the_network_in_float32(backend: str, long: bool, tmp_path: Path) -> None:
    names = ("resnext50_32x4d", "resnet_v2_50", *(("resnet18", "resnet20") if long else ()))
    cases = {name: Case(KINDS[name], print_program(KINDS[name], backend), dtype="float32") for name in names}
    found = run_programs(backend, cases, tmp_path)
    assert {name: wrong for name in cases if (wrong := differences(cases[name], backend, found[name]))} == {}


def test_some_kind_drops_surely() -> None:
    """Where little could be dropped, nothing may be by chance, and is not asked."""
    assert nothing_by_chance(KINDS["resnet50_blur"], 2) < 1e-6


def drawn(count: int) -> dict[str, rn.ResNetSpec]:
    """Random specs, always the same; their images are small, and large enough for a norm to see several values."""
    found: list[rn.ResNetSpec] = []

    @settings(max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(spec=specs())
    def collect(spec: rn.ResNetSpec) -> None:
        assume(not standardizes_single_values(spec))
        found.append(resized(spec))

    collect()
    return {f"random{number}": spec for number, spec in enumerate(found)}


def standardizes_single_values(spec: rn.ResNetSpec) -> bool:
    """Whether a kernel is 0 whatever its weights are, so that a norm behind it enlarges nothing but rounding."""
    convs = [leaf for _, leaf in leaves(rn.layer_tree(spec)) if isinstance(leaf, Conv)]
    return any(conv.standardize and conv.in_channels * prod(conv.kernel) == conv.groups for conv in convs)


def resized(spec: rn.ResNetSpec) -> rn.ResNetSpec:
    return rn.ResNetSpec(**{field: getattr(spec, field) for field in spec.__struct_fields__} | {"input_size": SIZE})


#: Which of 50 random specs a framework has in the ordinary profile: (the first, one of how many).
SHARES = {"torch": (0, 2), "numpy": (0, 2), "keras": (0, 16), "flax": (8, 16)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_of_random_specs_are_their_networks(backend: str, long: bool, tmp_path: Path) -> None:
    """Half of 50 in PyTorch and NumPy, a few of them in Keras and others in Flax; 300 in all with `--long`."""
    first, step = (0, 1) if long else SHARES[backend]
    chosen = list(drawn(300 if long else 50).items())[first::step]
    cases = {name: Case(spec, print_program(spec, backend)) for name, spec in chosen}
    found = run_programs(backend, cases, tmp_path)
    wrong = {name: differences(cases[name], backend, found[name]) for name in cases}
    assert {to_toml(cases[name].spec): lines for name, lines in wrong.items() if lines} == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_whole_zoo_is_its_networks_at_full_size(backend: str, long: bool, tmp_path: Path) -> None:
    """Every width and depth; the images are small, 33 x 32 behind the stem, or as small as CIFAR's."""
    # Of each kind one, and all of the first families.
    names = dict.fromkeys((*network_kinds.KINDS, *(name for family in FAMILIES for name in rn.names(family))))
    if not long:
        pytest.skip(f"{len(names)} networks of full size: --long")
    wrong = {}
    for name in names:
        spec = rn.spec(name)
        small = rn.spec(name, input_size=(65, 64) if spec.input_size > (64, 64) else (33, 32))
        # The text is that of the name; its own `__main__` counts the parameters and runs an image of its own size.
        cases = {name: Case(small, print_program(spec, backend), main=True)}
        found = run_programs(backend, cases, tmp_path)
        wrong[name] = differences(cases[name], backend, found[name])
        for file in tmp_path.iterdir():
            file.unlink()
    assert {name: lines for name, lines in wrong.items() if lines} == {}


@pytest.mark.long
@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_a_keras_program_runs_on_every_engine(engine: str, tmp_path: Path) -> None:
    names = ("resnet20", "resnet_v2_50")
    cases = {name: Case(KINDS[name], print_program(KINDS[name], "keras"), dtype="float32") for name in names}
    found = run_programs("keras", cases, tmp_path, keras_engine=engine)
    assert {name: wrong for name in cases if (wrong := differences(cases[name], "keras", found[name]))} == {}


def test_compiled_is_eager_in_flax_where_a_stage_has_ten_blocks(tmp_path: Path) -> None:
    """Compiled, some containers sort their modules by name: block 10 before block 2."""
    spec = rn.spec("resnet20", depths=(11,), channels=(3,), classes=2, input_size=(9, 8))
    case = Case(spec, print_program(spec, "flax"), eager=True)
    found = run_programs("flax", {"deep": case}, tmp_path)["deep"]
    assert differences(case, "flax", found) == []
    assert "eager output" in found
