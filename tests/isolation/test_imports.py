"""Nothing is imported that was not asked for: the core needs no framework, and no backend knows another's."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hidden import hide
from resnet_core.backend import OPEN_TO_BACKENDS

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "optax", "tf_keras", "torchvision", "onnx", "onnxruntime")
BUILT_IN = ("torch", "keras", "flax", "numpy", "onnx")

# What each package may import besides the standard library and itself.
ALLOWED = {
    "resnet_core": {
        "numpy",
        "msgspec",
        "safetensors",
        "PIL",
        "typer",
        "rich",
        "tomli_w",
        "matplotlib",
        "pooch",
        "pyarrow",
        "tensorboard",
    },
    "backends/resnet_torch": {"resnet_core", "numpy", "torch"},
    "backends/resnet_keras": {"resnet_core", "numpy", "keras", "h5py"},
    "backends/resnet_flax": {"resnet_core", "numpy", "flax", "jax", "optax", "orbax"},
    "backends/resnet_numpy": {"resnet_core", "numpy"},
    "backends/resnet_onnx": {"resnet_core", "numpy", "onnx", "onnxruntime"},
}
# Keras runs on one of these, and has no gradient and no device of its own: inside functions they are asked.
KERAS_ENGINES = {"tensorflow", "jax", "torch"}
ASK_THE_ENGINE = (
    "runtime.py", "differentiation.py", "checkpoint.py", "convolution.py", "normalization.py", "pooling.py",
    "parallel.py", "layers.py",
)  # fmt: skip
# Referees of conversions, where they are installed.
OTHERS_PROGRAMS = {"torchvision", "timm", "transformers"}

#: Ends the process where a framework is imported, even by code that could do without it, and says at the end
#: that none is there.
GUARD = f"""
import importlib.abc, os, sys

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FRAMEWORKS}:
            print("imported", name, file=sys.stderr, flush=True)
            os._exit(9)

sys.meta_path.insert(0, Guard())
"""
CHECK = f"\nassert not set({FRAMEWORKS}) & sys.modules.keys()\n"


def run(program: str, folder: Path, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize(
    "program",
    [
        "import resnet_core",
        "import resnet_core, pkgutil, importlib\n"
        "names = [m.name for m in pkgutil.walk_packages(resnet_core.__path__, 'resnet_core.')]\n"
        "assert len(names) >= 40, names\n"
        "[importlib.import_module(name) for name in names if not name.endswith('__main__')]",
        "import resnet_core as rn; assert len(rn.names()) > 150; rn.backends()",
        "import resnet_core as rn; [rn.totals(rn.spec(name)) for name in rn.names()]",
        "import resnet_core as rn; s = rn.spec('resnet18'); rn.save_spec('s.toml', s); assert rn.spec('s.toml') == s",
        "import resnet_core as rn; s = rn.spec('resnet20'); assert 'block.conv1' in rn.lesson(s)\n"
        "assert rn.lesson(s) == rn.lesson('resnet20')",
        "import resnet_core as rn; s = rn.spec('resnet20'); w = rn.initialize(s)\n"
        "rn.save_weights('w', w, s); rn.load_weights('w')",
        "import resnet_core as rn, numpy as np; m = rn.build(rn.spec('resnet20'), 'numpy')\n"
        "rn.load_backend('numpy').predict(m, np.zeros((1, 8, 8, 3)))",
        "sys.argv = ['resnet', 'list']\nfrom resnet_core.cli.commands import main\ntry: main()\n"
        "except SystemExit: pass",
        "sys.argv = ['resnet', 'show', 'resnet18']\nfrom resnet_core.cli.commands import main\ntry: main()\n"
        "except SystemExit: pass",
    ],
    ids=[
        "import",
        "every module",
        "names",
        "counts",
        "spec files",
        "lesson",
        "weights",
        "numpy backend",
        "list",
        "show",
    ],
)
def test_the_core_works_without_importing_a_framework(program: str, tmp_path: Path) -> None:
    run(GUARD + program + CHECK, tmp_path)


def test_the_guard_would_notice(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="imported keras"):
        run(GUARD + "try: import keras\nexcept BaseException: pass", tmp_path)


def test_a_command_that_trains_nothing_loads_nothing_of_training() -> None:
    """What a command needs, it imports where it runs: otherwise every `resnet list` waits for it."""
    program = (
        "import sys, resnet_core.cli.commands; print(*(name for name in sys.modules if name.startswith('resnet')))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in process.stdout.split() if name.count(".") > 1}
    assert "cli" in rooms
    assert rooms <= {"cli", "conformance", "conversion", "presentation", "workers"}


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["--help"], ["recipes"]])
def test_a_command_that_only_says_something_needs_no_numpy(command: list[str], tmp_path: Path) -> None:
    """NumPy alone takes a third of the time that a list may take."""
    program = f"""
import sys
sys.modules["numpy"] = None
sys.argv = ["resnet", *{command}]
from resnet_core.cli.commands import main
main()
"""
    assert run(program, tmp_path)


def test_predicting_begins_its_process_before_anything_else(tmp_path: Path) -> None:
    """The framework is imported there while this process imports NumPy, and reads weights and pictures."""
    program = """
import sys, resnet_core as rn
from resnet_core.cli.commands import main
from resnet_core.workers import backend_worker
real = backend_worker.Worker
def early(*given, **named):
    assert "numpy" not in sys.modules
    print("begun")
    return real(*given, **named)
backend_worker.Worker = early
sys.argv = ["resnet", "predict", *sys.argv[1:], "a.png", "--backend", "numpy"]
main()
"""

    def predicted(*network: str) -> tuple[int, str]:
        command = [sys.executable, "-c", program, *network]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert process.stderr.count("\n") == 1, process.stderr
        return process.returncode, process.stdout

    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    assert predicted("damaged.safetensors") == (2, "begun\n")
    # What is not there at all is said without any process.
    for network in (
        ["missing.safetensors"],
        ["resnet20"],
        ["resnet20", "--weights", "missing.safetensors"],
        ["resnet21"],
    ):
        assert predicted(*network) == (2, "")


def test_predicting_with_numpy_needs_no_framework_anywhere(tmp_path: Path) -> None:
    """Neither here nor in the worker: none can be found."""
    path = hide(tmp_path, *FRAMEWORKS)
    program = """
import sys, resnet_core as rn
from PIL import Image
from resnet_core.cli.commands import main
try: import torch
except ModuleNotFoundError: pass
else: raise AssertionError("torch is still found")
spec = rn.spec("resnet20", depths=[1], channels=[2])
rn.save_weights("w.safetensors", rn.initialize(spec), spec)
Image.new("RGB", (9, 9)).save("a.png")
rn.save_spec("narrow.toml", spec)
sys.argv = "resnet predict narrow.toml a.png --backend numpy --weights w.safetensors".split()
main()
"""
    assert "a.png" in run(program, tmp_path, PYTHONPATH=path)


@pytest.mark.parametrize("backend", BUILT_IN)
def test_importing_a_package_imports_no_framework(backend: str, tmp_path: Path) -> None:
    program = f"import resnet_{backend}, resnet_core.backend as b; assert b.environment({backend!r}) is not None\n"
    run(GUARD + program + CHECK, tmp_path)


def test_a_framework_that_is_not_installed_is_said_with_a_line_for_pip(tmp_path: Path) -> None:
    path = hide(tmp_path, *FRAMEWORKS)
    program = """
import resnet_core as rn
for name in ("torch", "keras", "flax"):
    try: rn.load_backend(name)
    except rn.MissingBackendError as error: print(error)
"""
    lines = run(program, tmp_path, PYTHONPATH=path, KERAS_BACKEND="").splitlines()
    assert lines == [
        f'backend {name} needs {name}, which is not installed: pip install "resnet-core[{name}]"'
        for name in ("torch", "keras", "flax")
    ]


def test_keras_without_its_engine_is_not_installed(tmp_path: Path) -> None:
    program = "import resnet_core as rn\ntry: rn.load_backend('keras')\nexcept rn.MissingBackendError as e: print(e)"
    environment = {"PYTHONPATH": hide(tmp_path, "tensorflow"), "KERAS_BACKEND": "", "KERAS_HOME": str(tmp_path)}
    assert "backend keras needs tensorflow, which is not" in run(program, tmp_path, **environment)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(top-level package, whether inside a function) of every import statement of a file."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [str(node.module)]
        else:
            continue
        for name in names:
            yield name.partition(".")[0], id(node) in inner


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = sorted((ROOT / package).glob("**/*.py"))
    assert files
    allowed = ALLOWED[package] | {Path(package).name} | set(sys.stdlib_module_names)
    for path in files:
        for name, in_function in imports(path):
            if path.name == "pytest_plugin.py" and name == "pytest":
                continue  # who loads the plug-in has it
            if package == "backends/resnet_keras" and in_function and path.name in ASK_THE_ENGINE:
                assert name in allowed | KERAS_ENGINES, f"{path.name} imports {name}"
            elif path.name == "own_programs.py" and in_function:
                assert name in allowed | OTHERS_PROGRAMS, f"{path.name} imports {name}"
            else:
                assert name in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("package", [package for package in ALLOWED if package.startswith("backends")])
def test_a_backend_imports_of_the_core_only_what_is_open_to_backends(package: str) -> None:
    """A third party may rely on the same modules, and on no others."""
    opened = {f"resnet_core.{name}" for name in OPEN_TO_BACKENDS}
    for path in sorted((ROOT / package).glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "resnet_core":
                found = {f"resnet_core.{a.name}" for a in node.names} if node.module == "resnet_core" else {node.module}
                assert found <= opened, f"{path.name} imports {found - opened}"
                assert not [a.name for a in node.names if a.name.startswith("_")], path.name


def test_everything_open_to_backends_exists() -> None:
    for name in OPEN_TO_BACKENDS:
        assert (ROOT / "resnet_core" / f"{name.replace('.', '/')}.py").exists(), name


def test_the_list_of_packages_is_complete() -> None:
    found = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("backends/*/__init__.py")}
    assert found | {"resnet_core"} == set(ALLOWED)


@pytest.mark.parametrize("backend", BUILT_IN)
def test_a_backend_leaves_the_other_frameworks_alone(backend: str, tmp_path: Path) -> None:
    """What is in the process after loading it."""
    packages = (*FRAMEWORKS, *(f"resnet_{other}" for other in BUILT_IN))
    program = (
        f"import sys, resnet_core as rn; rn.load_backend({backend!r}); print(*set({packages}) & sys.modules.keys())"
    )
    brings = {  # TensorFlow looks for JAX by itself
        "torch": {"torch"},
        "keras": {"keras", "tensorflow", "jax"},
        "flax": {"flax", "jax", "optax"},
        "numpy": set(),
        "onnx": {"onnx", "onnxruntime"},
    }
    found = set(run(program, tmp_path, KERAS_BACKEND="tensorflow").split())
    assert found <= brings[backend] | {f"resnet_{backend}"}
    assert found >= {f"resnet_{backend}"}
