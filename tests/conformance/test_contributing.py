"""CONTRIBUTING says what holds: its template is installed as printed, and its table is the contract's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_core.backend import EXTRAS, OPEN_TO_BACKENDS, OPTIONAL, REQUIRED
from resnet_core.conformance.check import CHECKS
from resnet_core.conformance.kit import GROUPS

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().partition("## Adding a backend")[2]
PAGE = PAGE.partition("\n## ")[0]
MIRROR, PREDICT, MODEL = re.findall(r"```python\n(.*?)```", PAGE, re.S)
ROWS = {
    re.match(r"`(\w+)", cells[0]).group(1): cells  # type: ignore[union-attr]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def conform(folder: Path, package: str, *groups: str) -> dict[str, set[str]]:
    """{group: statuses} of `resnet conformance mirror`, with the package installed as its pyproject says."""
    (folder / "resnet_mirror").mkdir()
    (folder / "resnet_mirror" / "__init__.py").write_text(package)
    metadata = folder / "resnet_mirror-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: resnet-mirror\nVersion: 0.1.0\n")
    (entry,) = re.findall(r'^(\[project.entry-points."resnet_core.backends"\]\n.*\n)', PAGE, re.M)
    (metadata / "entry_points.txt").write_text(
        entry.replace('project.entry-points."resnet_core.backends"', "resnet_core.backends").replace('"', "")
    )
    command = [sys.executable, "-m", "resnet_core", "conformance", "mirror", "--json", "-"]
    command += [argument for group in groups for argument in ("--group", group)]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, set[str]] = {}
    for result in json.loads(process.stdout)["results"]:
        found.setdefault(result["group"], set()).add(result["status"])
    return found


def test_the_two_files_keep_the_contract_as_they_are(tmp_path: Path) -> None:
    assert conform(tmp_path, MIRROR, "declaration", "weights") == {"declaration": {"passed"}, "weights": {"passed"}}


def test_predict_can_be_replaced_alone(tmp_path: Path) -> None:
    groups = ("declaration", "inference", "training mode")
    assert conform(tmp_path, MIRROR + PREDICT, *groups) == {key: {"passed"} for key in groups}


def test_then_the_model_can_be_and_training_is_left_out(tmp_path: Path) -> None:
    groups = ("declaration", "weights", "inference", "trainer")
    found = conform(tmp_path, MIRROR + PREDICT + MODEL, *groups)
    assert found == {**{key: {"passed"} for key in groups}, "trainer": {"not offered"}}


def test_the_table_has_every_verb_with_its_parameters() -> None:
    assert list(ROWS) == [*REQUIRED, *OPTIONAL, "Trainer", *EXTRAS]
    for verb, signature in {**REQUIRED, **OPTIONAL, **EXTRAS}.items():
        parameters = list(signature.parameters.values())[1:]
        plain = signature.replace(
            parameters=[parameter.replace(annotation=parameter.empty) for parameter in parameters],
            return_annotation=signature.empty,
        )
        assert ROWS[verb][0] == f"`{verb}{plain}`"


def test_the_table_names_every_check_and_no_other() -> None:
    named = [name for cells in ROWS.values() for name in cells[3].split("; ")]
    assert set(named) == set(CHECKS)


def test_what_a_backend_may_import_is_said() -> None:
    sentence = re.search(
        r"A backend may import of `resnet_core`, and nothing else, (.*?)\. They", " ".join(PAGE.split())
    )
    assert sentence is not None
    assert tuple(re.findall(r"`([\w.]+)`", sentence.group(1))) == OPEN_TO_BACKENDS


@pytest.mark.parametrize("group", re.findall(r"--group (\w+)", PAGE))
def test_the_groups_on_the_page_exist(group: str) -> None:
    assert group in GROUPS
