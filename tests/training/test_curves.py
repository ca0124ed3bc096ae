"""`resnet curves`: what is drawn of one run and of several, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_work import Work, done, refused, resnet

import resnet_core as rn
from resnet_core.errors import InputError
from resnet_core.training import curves
from resnet_core.training.curves import draw_curves, read_curves

SPEC = rn.spec("resnet20", depths=[1, 1], channels=[4, 8], in_channels=1)


@pytest.fixture
def runs(work: Work) -> list[Path]:
    """One run in NumPy, and one that PyTorch went on with after its first epoch."""
    plan = rn.recipe(work.folder / "recipe.toml", epochs=2)
    for name, backend in (("one", "numpy"), ("two", "numpy"), ("two", "torch")):
        out = work.folder / name
        more: dict[str, Any] = {"resume": True} if out.exists() else {"until": 1 if name == "two" else 2}
        rn.train(SPEC, work.folder / "data.npz", backend=backend, out=out, recipe=plan, device="cpu", **more)
    return [work.folder / "one", work.folder / "two"]


def epochs(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == "epoch"]


def test_several_runs_are_drawn_over_each_other_with_their_names(runs: list[Path], tmp_path: Path) -> None:
    process = done(resnet("curves", *runs, "-o", tmp_path / "both.svg"))
    assert process.stdout.strip() == str(tmp_path / "both.svg")
    text = (tmp_path / "both.svg").read_text()
    for word in ("one", "two", "two: torch", "test", "training", "change of framework", "epoch", "cross-entropy"):
        assert f">{word}</text>" in text, word
    done(resnet("curves", runs[0], "-o", tmp_path / "one.png"))
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 1000
    done(resnet("curves", runs[0]))
    alone = (runs[0] / "curves.svg").read_text()
    assert "change of framework" not in alone
    assert ">each batch</text>" in alone


def test_what_is_drawn_are_the_numbers_of_the_log(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(curves, "write_figure", lambda figure, file: figures.append(figure))
    draw_curves(read_curves(runs), [Path("both.svg")])
    for axes, value in zip(figures[0].axes, ("loss", "accuracy"), strict=True):
        for name in (value, f"test_{value}"):
            for run in runs:
                wanted = [[1, 2], [record[name] for record in epochs(run)]]
                assert any(np.array_equal(line.get_data(), wanted) for line in axes.lines), (name, run)
        (mark,) = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert list(mark.get_xdata()) == [1, 1]
    looks = {(line.get_color(), line.get_marker()) for line in figures[0].axes[0].lines if line.get_linestyle() == "-"}
    assert len(looks) == 2
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == 2


def test_the_table_has_every_epoch_and_every_change(runs: list[Path], tmp_path: Path) -> None:
    found = json.loads(done(resnet("curves", *runs, "--json")).stdout)
    assert [run["run"] for run in found] == ["one", "two"]
    for run, table in zip(runs, found, strict=True):
        assert [{"kind": "epoch", **record} for record in table["epochs"]] == epochs(run)
    assert [run["changes"] for run in found] == [[], [{"step": 10, "backend": "torch"}]]
    copy = shutil.copytree(runs[0], tmp_path / "elsewhere" / "one")
    assert [run.name for run in read_curves([runs[0], copy])] == [f"{runs[0].parent.name}/one", "elsewhere/one"]


def test_what_cannot_be_drawn_is_one_line(runs: list[Path], tmp_path: Path) -> None:
    refused(resnet("curves", *runs), "received 2 runs and no file; name a .png or .svg file with -o")
    refused(resnet("curves", runs[0], "-o", tmp_path / "one.pdf"), "expected a file that ends in .svg or .png")
    refused(resnet("curves", tmp_path / "nothing", "-o", tmp_path / "one.png"), "holds no run")
    log = runs[1] / "log.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[:3]))
    with pytest.raises(InputError, match="two: has no finished epoch to draw"):
        draw_curves(read_curves(runs), [tmp_path / "both.png"])
    draw_curves(read_curves(runs[1:]), [tmp_path / "begun.svg"])
    assert ">step</text>" in (tmp_path / "begun.svg").read_text()
