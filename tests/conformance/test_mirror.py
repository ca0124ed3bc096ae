"""The backends are mirror images: who has read one has read them all. Checked on their source, without importing."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from resnet_core.backend import VERBS

ROOT = Path(__file__).parents[2] / "backends"
FRAMEWORKS = ("torch", "keras", "flax")
BACKENDS = (*FRAMEWORKS, "numpy")

FILES = {
    f"{name}.py"
    for name in (
        "__init__", "differentiation", "lowering", "model", "optimizer", "predict", "runtime", "trainer", "weights",
    )
}  # fmt: skip
#: A .pth file is PyTorch's own; the slow convolution of maps smaller than the kernel is XLA's.
EXTRA_FILES = {"torch": {"state_dict.py"}, "flax": {"convolution.py"}}
EXTRA_NAMES = {"torch": {"read_state_dict"}}

LONGEST = 300  # lines of lowering, weights and predict together; see test below


def parsed(backend: str, file: str) -> ast.Module:
    return ast.parse((ROOT / f"resnet_{backend}" / file).read_text())


def functions(backend: str) -> dict[str, tuple[str, ast.FunctionDef]]:
    """Every function at the top level of a package: (file, definition) by name, if it stands in one file only."""
    return {
        node.name: (path.name, node)
        for path in sorted((ROOT / f"resnet_{backend}").glob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }


def exported(backend: str) -> list[str]:
    for node in parsed(backend, "__init__.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"resnet_{backend} has no __all__")


def parameters(function: ast.FunctionDef) -> list[str]:
    """Names, order, kind and defaults of the parameters, without annotations."""
    arguments = ast.parse(ast.unparse(function)).body[0].args  # type: ignore[attr-defined]
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        argument.annotation = None
    return ast.unparse(arguments).split(", ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packages_have_the_same_files(backend: str) -> None:
    found = {path.name for path in (ROOT / f"resnet_{backend}").glob("*.py")}
    assert found == FILES | EXTRA_FILES.get(backend, set())


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packages_export_the_same_names(backend: str) -> None:
    assert set(exported(backend)) == {*VERBS, "gradients", "Trainer"} | EXTRA_NAMES.get(backend, set())
    assert exported(backend) == sorted(exported(backend))


@pytest.mark.parametrize("verb", [*VERBS, "gradients"])
def test_a_verb_has_the_same_parameters_defaults_and_home_everywhere(verb: str) -> None:
    found = {backend: functions(backend)[verb] for backend in BACKENDS}
    assert len({tuple(parameters(function)) for _, function in found.values()}) == 1
    assert len({file for file, _ in found.values()}) == 1


def methods(backend: str, file: str, name: str) -> dict[str, list[str]]:
    """{method: its parameters} of a class, in their order; private ones left out."""
    (found,) = (n for n in parsed(backend, file).body if isinstance(n, ast.ClassDef) and n.name == name)
    functions = [node for node in found.body if isinstance(node, ast.FunctionDef)]
    return {f.name: parameters(f) for f in functions if not f.name.startswith("_") or f.name == "__init__"}


def test_the_trainers_have_the_same_methods_in_the_same_order() -> None:
    found = {backend: list(methods(backend, "trainer.py", "Trainer").items()) for backend in BACKENDS}
    assert all(own == found["torch"] for own in found.values())


def test_build_has_the_promised_parameters() -> None:
    _, build = functions("torch")["build"]
    assert parameters(build) == ["spec", "*", "weights=None", "seed=0", "taps=()", "dtype='float32'"]


def cases(backend: str) -> list[str]:
    """The nodes that lowering.py matches, in its order."""
    (match,) = [node for node in ast.walk(parsed(backend, "lowering.py")) if isinstance(node, ast.Match)]
    return [ast.unparse(case.pattern).removeprefix("tree.").removesuffix("()") for case in match.cases]


def test_every_lowering_has_a_case_for_every_node_in_the_same_order() -> None:
    source = ast.parse((ROOT.parent / "resnet_core" / "tree.py").read_text())
    classes = {node.name: node for node in source.body if isinstance(node, ast.ClassDef)}
    nodes = [name for name, node in classes.items() if {"Leaf", "Combinator"} & set(map(ast.unparse, node.bases))]
    assert len(nodes) >= 12
    for backend in BACKENDS:
        assert sorted(cases(backend)) == sorted(nodes), backend
        assert cases(backend) == cases("torch"), backend


def code_lines(path: Path) -> int:
    """Lines that hold more than a comment; docstrings count, they are part of the reading."""
    kinds = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    return len(
        {
            line
            for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
            if token.type not in kinds
            for line in range(token.start[0], token.end[0] + 1)
        }
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_is_short(backend: str) -> None:
    files = ("lowering.py", "weights.py", "predict.py")
    assert sum(code_lines(ROOT / f"resnet_{backend}" / file) for file in files) < LONGEST


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_public_is_explained(backend: str) -> None:
    for path in (ROOT / f"resnet_{backend}").glob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


@pytest.mark.parametrize("backend", ["keras", "flax", "numpy"])
def test_a_helper_of_one_name_stands_in_the_same_file(backend: str) -> None:
    """Private helpers too: `_pad` is where `_pad` is elsewhere."""
    torch, other = functions("torch"), functions(backend)
    for name in torch.keys() & other.keys():
        assert torch[name][0] == other[name][0], name
