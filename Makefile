# Two commands do everything on a machine with Python 3.11, git and make:
#   make compare    builds the environment and runs the comparison
#   make test       builds the environment and runs the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: compare test test-long lint types check environment clean

compare: environment
	$(RUN)/resnet compare $(SPEC) $(ARGS)

test: environment
	$(RUN)/pytest --numprocesses 2 $(ARGS)

test-long: environment
	$(RUN)/pytest tests/parity tests/source tests/conformance tests/documentation tests/training/test_runs.py \
		tests/unit/test_external_data.py tests/unit/test_graphs.py tests/unit/test_mutants.py --long $(ARGS)

lint: environment
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: environment
	$(RUN)/mypy

check: lint types test

environment: $(VENV)/ready

# torch comes first and by exact version, so that a CPU build of it that pip finds locally is taken. Where pip
# knows only PyPI, that version on Linux is a CUDA build of several gigabytes; it works as well.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt torch
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[all,test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
