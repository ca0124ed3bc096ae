"""What is long is run by somebody: `make test-long` names every file that has such tests."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
MAKEFILE = (TESTS.parent / "Makefile").read_text()


def has_long_tests(source: str) -> bool:
    return "pytest.mark.long" in source or 'getoption("--long")' in source


def test_make_test_long_names_every_file_with_long_tests() -> None:
    named = [TESTS.parent / word for word in MAKEFILE.partition("\ntest-long:")[2].split() if word.startswith("tests/")]
    files = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__) and has_long_tests(path.read_text())]
    assert len(files) >= 4
    assert [path for path in files if not {path, *path.parents} & set(named)] == []
    assert "--long" in MAKEFILE


def test_a_file_with_long_tests_is_known() -> None:
    assert has_long_tests("@pytest.mark.long\ndef test(): ...")
    assert not has_long_tests("def test_long(): ...")
