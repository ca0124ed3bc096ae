"""The backends are mirror images: who has read one has read them all. Checked on their source, without importing."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from resnet_core.backend import EXTRAS, OPTIONAL, PARALLEL_HOMES, REQUIRED
from resnet_core.backend import HOMES as USUAL_HOMES

HOMES = {**USUAL_HOMES, **PARALLEL_HOMES}
ROOT = Path(__file__).parents[2] / "backends"
FRAMEWORKS = ("torch", "keras", "flax")
BACKENDS = (*FRAMEWORKS, "numpy")
#: Those that are for inference have the first half of the files.
EVERY_BACKEND = (*BACKENDS, "onnx")

#: What a package weighs at most, in lines of code without docstrings, by its halves. (With twelve kinds of nodes a
#: model had 360; there are twice as many.)
BUDGETS = {
    "model": (("__init__", "lowering", "model", "weights", "inference", "runtime"), 460),
    "layers that a framework lacks": (("layers",), 160),
    "speed": (("speed",), 30),
    "what a framework computes slowly": ((), 120),
    "what a compiler takes long for": ((), 50),
    "training": (("differentiation", "optimizer", "trainer"), 245),
    "several processes": (("parallel",), 155),
    "printing": ((), 60),
    "files": ((), 150),
    "checkpoints": ((), 50),
    "weights beside a graph": ((), 120),
    "referees": ((), 70),
    "programs": (("source", "layer_source"), 540),
    "programs that train": (("training_source",), 110),
}
FILES = {f"{name}.py" for names, _ in BUDGETS.values() for name in names}
#: Parts and verbs that a package is without. The reference has time, and no way to meet other processes: those that
#: share its steps are threads.
WITHOUT = {
    "numpy": ("speed", "fast", "resident", "join"),
}
#: What is left out by a backend for inference: the parts of the budgets, and the verbs.
TRAINING = ("layers that a framework lacks", "training", "several processes", "programs", "programs that train")
VERBS = (*REQUIRED, *OPTIONAL, *EXTRAS)
SLOW = dict.fromkeys(("convolution.py", "normalization.py", "pooling.py"), "what a framework computes slowly")
#: timm's names are for PyTorch's users. A .pth file is PyTorch's own, an .h5 file Keras', and a checkpoint
#: TensorFlow's; slow convolutions, sums and pools are XLA's, some of which Keras uses too, and a thousand lines
#: for a printed ResNet-20 are NNX'; only Keras walks a graph by recursion. An ONNX graph is written node by node, which
#: the others' frameworks do themselves, and ends at 2 GiB.
EXTRA_FILES: dict[str, dict[str, str]] = {
    "torch": {"habits.py": "model", "own_programs.py": "referees", "state_dict.py": "files"},
    "keras": {
        "checkpoint.py": "checkpoints",
        "depth.py": "model",
        **SLOW,
        "own_programs.py": "referees",
        "state_dict.py": "files",
    },
    "flax": {
        **SLOW,
        "repetition.py": "what a compiler takes long for",
        "representation.py": "printing",
        "state_dict.py": "files",
    },
    "onnx": {"external_data.py": "weights beside a graph", "graph.py": "model", "state_dict.py": "files"},
}
#: Their own files, and the global dtype policy.
FILE_VERBS = {"read_state_dict", "write_state_dict"}
NETWORK_VERBS = {"is_network_of", "network_files", "read_network", "run_network", "write_network"}
EXTRA_NAMES = {
    "torch": {"run_program", *FILE_VERBS},
    "keras": {"default_dtype", "run_program", *FILE_VERBS},
    "flax": FILE_VERBS,
    "onnx": NETWORK_VERBS,
}


def files(backend: str) -> set[str]:
    left_out = (*WITHOUT.get(backend, ()), *(TRAINING if backend == "onnx" else ()))
    parts = [part for part in BUDGETS if part not in left_out]
    return {f"{name}.py" for part in parts for name in BUDGETS[part][0]} | set(EXTRA_FILES.get(backend, {}))


def verbs(backend: str) -> set[str]:
    offered = {*REQUIRED, *EXTRAS} - {*PARALLEL_HOMES} if backend == "onnx" else {*VERBS, "Trainer", "ParallelTrainer"}
    return offered - set(WITHOUT.get(backend, ()))


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


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_the_packages_have_the_same_files(backend: str) -> None:
    found = {path.name for path in (ROOT / f"resnet_{backend}").glob("*.py")}
    assert found == files(backend)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_the_packages_export_the_same_names(backend: str) -> None:
    declared = {"INTERFACE", "FRAMEWORK", "ENVIRONMENT"}
    assert set(exported(backend)) == verbs(backend) | declared | EXTRA_NAMES.get(backend, set())
    assert exported(backend) == sorted(exported(backend))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_nothing_is_declared_twice(backend: str) -> None:
    """The second of two declarations would take the first one's place, without a word."""
    body = parsed(backend, "__init__.py").body
    names = [ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)]
    names += [ast.unparse(target) for node in body if isinstance(node, ast.Assign) for target in node.targets]
    assert sorted(names) == sorted(set(names))
    assert {"INTERFACE", "FRAMEWORK", "ENVIRONMENT"} <= set(names)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_what_editors_see_is_what_is_exported(backend: str) -> None:
    """The names under TYPE_CHECKING, from the files where `lazy_exports` finds them."""
    seen = {
        alias.name: str(node.module).partition(".")[2]
        for node in ast.walk(parsed(backend, "__init__.py"))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"resnet_{backend}.")
        for alias in node.names
    }
    extra = {name: seen.get(name) for name in EXTRA_NAMES.get(backend, set())}
    homes = {verb: home for verb, home in HOMES.items() if verb in verbs(backend)}
    assert seen == {**homes, **extra}
    assert {f"{home}.py" for home in HOMES.values()} <= FILES


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_the_contracts_parameters_and_one_home_everywhere(verb: str) -> None:
    expected = [name for name in {**REQUIRED, **OPTIONAL, **EXTRAS}[verb].parameters if name != "self"]
    offering = [backend for backend in EVERY_BACKEND if verb in verbs(backend)]
    for backend in offering:
        file, function = functions(backend)[verb]
        assert file == f"{HOMES[verb]}.py"
        arguments = function.args
        assert [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)] == expected
    assert len({tuple(parameters(functions(backend)[verb][1])) for backend in offering}) == 1


def methods(backend: str, file: str, name: str) -> dict[str, list[str]]:
    """{method: its parameters} of a class, in their order; private ones left out."""
    (found,) = (n for n in parsed(backend, file).body if isinstance(n, ast.ClassDef) and n.name == name)
    functions = [node for node in found.body if isinstance(node, ast.FunctionDef)]
    return {f.name: parameters(f) for f in functions if not f.name.startswith("_") or f.name == "__init__"}


def test_the_trainers_have_the_same_methods_in_the_same_order() -> None:
    found = {backend: list(methods(backend, "trainer.py", "Trainer").items()) for backend in BACKENDS}
    assert all(own == found["torch"] for own in found.values())


def test_the_trainers_of_several_processes_have_the_same_shape() -> None:
    own = {
        backend: parsed(backend, "parallel.py")
        for backend in BACKENDS
        if "several processes" not in WITHOUT.get(backend, ())
    }
    assert len(own) >= 2
    found = [methods(backend, "parallel.py", "ParallelTrainer") for backend in own]
    assert all(each == found[0] for each in found)
    for backend, module in own.items():
        (trainer,) = [n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "ParallelTrainer"]
        assert [ast.unparse(base) for base in trainer.bases] == ["Trainer"], backend


def test_build_has_the_promised_parameters() -> None:
    promised = ["spec", "*", "weights=None", "seed=0", "taps=()", "dtype=None"]
    assert parameters(functions("torch")["build"][1]) == promised


def cases(backend: str) -> list[str]:
    """The nodes that lowering.py matches, in its order."""
    (match,) = [node for node in ast.walk(parsed(backend, "lowering.py")) if isinstance(node, ast.Match)]
    return [ast.unparse(case.pattern).removeprefix("tree.").removesuffix("()") for case in match.cases]


def test_every_lowering_has_a_case_for_every_node_in_the_same_order() -> None:
    source = ast.parse((ROOT.parent / "resnet_core" / "tree.py").read_text())
    classes = {node.name: node for node in source.body if isinstance(node, ast.ClassDef)}
    nodes = [name for name, node in classes.items() if {"Leaf", "Combinator"} & set(map(ast.unparse, node.bases))]
    assert len(nodes) >= 12
    for backend in EVERY_BACKEND:
        assert sorted(cases(backend)) == sorted(nodes), backend
        assert cases(backend) == cases("torch"), backend


def test_every_source_has_a_case_for_every_leaf() -> None:
    """A leaf without one has no program in that framework."""
    leaves = {name for name in cases("torch") if name not in ("Chain", "Residual")}
    for backend in BACKENDS:
        matches = [node for node in ast.walk(parsed(backend, "source.py")) if isinstance(node, ast.Match)]
        text = " ".join(ast.unparse(case.pattern) for match in matches for case in match.cases)
        missing = {leaf for leaf in leaves if f"tree.{leaf}" not in text.replace("|", " ").split()}
        assert missing == set(), backend


def test_the_sources_print_the_same_definitions_in_the_same_order() -> None:
    network = ["source", "_imports", "_gate", "_block", "_shortcut", "_stage", "_network", "_main"]
    for file, shared in (("source.py", network), ("layer_source.py", ["conv", "norm", "own_layers"])):
        for backend in BACKENDS:
            names = [n.name for n in parsed(backend, file).body if isinstance(n, ast.FunctionDef)]
            assert [name for name in names if name in shared] == shared, backend


def code_lines(path: Path) -> int:
    """Lines of code: no blanks, comments or docstrings."""
    source = path.read_text()
    kinds = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in kinds
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, int(node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_lines_of_code_are_counted_without_docstrings(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        '"""Doc\nstring."""\n\n# why\ndef f():\n    """What."""\n    return "a" + (\n        "b"\n    )\n'
    )
    assert code_lines(tmp_path / "some.py") == 4


@pytest.mark.parametrize("half", BUDGETS)
@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_a_backend_keeps_its_budget(backend: str, half: str) -> None:
    names, most = BUDGETS[half]
    extra = {file for file, part in EXTRA_FILES.get(backend, {}).items() if part == half}
    found = sum(
        code_lines(ROOT / f"resnet_{backend}" / file) for file in ({f"{n}.py" for n in names} | extra) & files(backend)
    )
    assert found <= most, f"{found} lines"


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_everything_public_is_explained(backend: str) -> None:
    for path in (ROOT / f"resnet_{backend}").glob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


@pytest.mark.parametrize("backend", ["keras", "flax", "numpy", "onnx"])
def test_a_helper_of_one_name_stands_in_the_same_file(backend: str) -> None:
    """Private helpers too: `_pad` is where `_pad` is elsewhere."""
    torch, other = functions("torch"), functions(backend)
    for name in torch.keys() & other.keys():
        assert torch[name][0] == other[name][0], name
