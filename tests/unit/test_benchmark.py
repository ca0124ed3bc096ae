"""What `resnet bench` computes of its times and says of its contestants; nothing here is timed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import resnet_core as rn
from resnet_core.benchmark.bench import with_ratios
from resnet_core.benchmark.interval import median_interval
from resnet_core.benchmark.picture import draw_benchmark
from resnet_core.benchmark.proof import OutputProof, StepProof
from resnet_core.benchmark.result import Benchmark, BenchmarkRow
from resnet_core.benchmark.timing import in_turn
from resnet_core.cli import tables
from resnet_core.cli.bench import benchmark_table

ROOT = Path(__file__).parents[2]


def row(backend: str, *seconds: float, form: str = "as built", batch: int = 16, calls: int = 1) -> BenchmarkRow:
    rounds = tuple((each,) * calls for each in seconds)
    return BenchmarkRow(
        backend=backend, form=form, batch=batch, device="cpu", rounds=rounds, error=1e-7, tolerance=1e-5,
        import_seconds=3.2, build_seconds=0.4, first_seconds=31.0, peak_memory_bytes=2**30, versions={"x": "1"},
    )  # fmt: skip


def benchmark(*rows: BenchmarkRow, **changes: object) -> Benchmark:
    made = Benchmark(
        spec=rn.spec("resnet50"), input_size=(224, 224), macs=4_000_000_000, date="2026-11-29", rows=rows,
        machine={"cpu": "a processor", "cores": 2, "load_before": 0.1}, versions={"python": "3.11"},
        operations_per_second=1e11, copied_bytes_per_second=2**33, named=True,
    )  # fmt: skip
    return replace(made, **changes)


def test_all_take_turns_and_the_order_turns_too() -> None:
    seen: list[str] = []
    answers = in_turn([partial(lambda name: seen.append(name) or len(seen), name) for name in "ABC"], 3)
    assert "".join(seen) == "ABCCBAABC"
    assert answers == [[1, 6, 7], [2, 5, 8], [3, 4, 9]]


def test_an_interval_covers_what_it_says() -> None:
    """Of twelve the third and the tenth, as tables of the binomial test have it."""
    found = median_interval([*range(12)])
    assert (found.low, found.median, found.high) == (2, 5.5, 9)
    assert found.coverage == pytest.approx(0.9614, abs=1e-4)
    assert not median_interval([*range(5)]).holds
    assert median_interval([*range(6)]).holds


def test_one_slow_call_is_in_the_99th_percentile_and_moves_no_median() -> None:
    quick = row("a", *[0.01] * 10, calls=10)
    slow = replace(quick, rounds=(*quick.rounds[:-1], (*[0.01] * 8, 5.0, 5.0)))
    assert (slow.seconds.median, slow.p99) == (0.01, 5.0)
    assert quick.p99 == 0.01
    assert replace(quick, rounds=quick.rounds[:-1]).p99 is None


def test_ratios_are_of_rounds_and_above_1_is_faster_than_the_first() -> None:
    drifting = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    wrong = replace(row("wrong"), problem="other work")
    rows = with_ratios([wrong, row("first", *drifting), None, row("twice", *(each / 2 for each in drifting))])
    assert [None if each is None or each.ratio is None else each.ratio.median for each in rows] == [None, None, None, 2]
    twice = rows[-1]
    assert twice is not None
    assert twice.ratio is not None
    assert (twice.ratio.low, twice.ratio.high) == (2, 2)  # however much the machine drifts


def test_the_share_of_the_limit_counts_two_operations_a_product_and_three_passes_a_step() -> None:
    predicted, trained = row("a", 1.0, batch=10), row("a", 1.0, batch=10, form="training step")
    result = benchmark(predicted, trained)
    assert result.share(predicted) == pytest.approx(0.8)
    assert result.share(trained) == pytest.approx(2.4)
    assert replace(result, operations_per_second=None).share(predicted) is None


def test_outputs_are_held_against_the_first_and_the_last_picture() -> None:
    images, expected = np.zeros((3, 4, 4, 3)), np.array([[1.0, 2.0], [3.0, 4.0]])
    proof = OutputProof(images, expected)
    right = np.array([[1, 2], [9, 9], [3, 4]])
    assert proof.judge("a", right).problem is None
    for wrong, words in [
        (right[::-1], "the output differs by"),
        (right * 1.0001, "differs by 1e-4 from the numpy float64 reference; allowed is 1e-5"),
        (right[:2], "received outputs of shape [2, 2]; expected [3, 2]"),
        (right + np.nan, "the output differs by inf"),
    ]:
        assert words in str(proof.judge("a", wrong).problem)


def test_a_step_is_held_against_the_first_that_trains() -> None:
    proof = StepProof(np.zeros((2, 4, 4, 3)))
    assert "changes nothing" in str(proof.judge("idle", np.array([2.0, 2.0])).problem)
    assert "expected two finite numbers" in str(proof.judge("wild", np.array([2.0, np.inf])).problem)
    assert proof.judge("first", np.array([2.0, 1.5])).problem is None
    assert proof.judge("second", np.array([2.00001, 1.52])).problem is None
    assert "the loss differs by 1e-3 from that of first" in str(proof.judge("wrong", np.array([2.002, 1.5])).problem)
    told = str(proof.judge("slow", np.array([2.0, 1.75])).problem)
    assert told == "a training step changes the loss by -0.25, one of first by -0.5"
    assert "NaN" in str(proof.still("later", np.array(np.nan)).problem)


def test_the_verdict_says_what_was_not_timed() -> None:
    good, bad = row("a", *[1.0] * 6), replace(row("b"), problem="the output differs", rounds=())
    assert benchmark(good).sentence() == (
        "Equal work: resnet50: outputs within 1e-5 of the numpy float64 reference, in float32."
    )
    result = benchmark(good, bad)
    assert (result.equal, result.refused) == (False, False)
    assert "1 of 2 rows were not timed" in result.sentence()
    assert [*result.problems()] == ["b, as built, batch 16: the output differs"]
    gone = replace(bad, missing=True)
    assert benchmark(good, gone).refused
    assert benchmark(good, gone, named=False).equal


def test_a_busy_machine_and_too_few_rounds_are_said() -> None:
    result = benchmark(row("a", *[1.0] * 5), machine={"cpu": "a processor", "load_before": 3.0})
    told = " ".join(result.notes())
    assert "Others were using this machine" in told
    assert "Fewer than six rounds" in told
    assert "100 GFLOP/s" in told
    quiet = " ".join(benchmark(row("a", *[1.0] * 6)).notes())
    assert "Others" not in quiet
    assert "Fewer" not in quiet


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_in_a_narrow_terminal_no_number_is_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "terminal_width", lambda: width)
    console = Console(width=width, file=io.StringIO(), markup=False)
    console.print(benchmark_table(benchmark(row("torch", *[1.0] * 6), replace(row("keras"), problem="other work"))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert "1 s – 1 s" in text
    assert ("too narrow for" in text) == (width < 200)


def test_what_was_timed_is_drawn_and_what_was_not_is_not(tmp_path: Path) -> None:
    rows = (
        row("torch", *[1.0] * 6),
        row("flax", *[2.0] * 6, form="training step"),
        replace(row("keras"), problem="no"),
    )
    draw_benchmark(benchmark(*rows), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "torch, as built" in text
    assert "training step, batch 16" in text
    assert "keras" not in text


PAGE = (ROOT / "docs" / "bench.md").read_text()


def test_every_mistake_on_the_page_has_its_test() -> None:
    named = re.findall(r"`(test_\w+)` \|$", PAGE, re.M)
    there = re.findall(r"^def (test_\w+)", (ROOT / "tests" / "isolation" / "test_bench.py").read_text(), re.M)
    assert len(named) >= 12
    assert set(named) <= set(there)


def test_the_page_has_every_key_of_the_json_and_every_column() -> None:
    timed = replace(row("a", *[1.0] * 6), ratio=median_interval([1.0] * 6))
    result = benchmark(timed, replace(timed, problem="other work"))
    found = result.to_json()
    keys = {*found, *(key for entry in found["rows"] for key in entry), *found["rows"][0]["seconds"]}
    assert [key for key in sorted(keys) if f'"{key}"' not in PAGE] == []
    columns = {column.header for column in benchmark_table(result).columns} - {"batch", "backend", "form"}
    assert [column for column in columns if f"`{column}`" not in PAGE] == []
