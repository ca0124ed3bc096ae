# Two commands do everything on a machine with Python 3.11, git and make:
#   make compare    builds the environment and runs the comparison
#   make test       builds the environment and runs the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
RUN := $(VENV)/bin

# The lock was made for this Python and system; elsewhere the versions of constraints.txt are installed.
LOCKED := $(shell $(PYTHON) -c 'import sys; print(sys.version_info[:2] == (3, 11) and sys.platform == "linux")')

.PHONY: compare test test-long test-versions docs lint types check environment lock clean

compare: environment
	$(RUN)/resnet compare $(SPEC) $(ARGS)

test: environment
	$(RUN)/pytest --numprocesses 2 $(ARGS)

test-long: environment
	$(RUN)/pytest tests/parity tests/source tests/conformance tests/documentation tests/training/test_runs.py \
		tests/training/test_one_process.py tests/training/test_several_processes.py tests/training/test_launchers.py \
		tests/training/test_out_of_memory.py tests/training/test_parallel_torch.py tests/training/test_parallel_flax.py tests/training/test_parallel_keras.py \
		tests/training/test_devices.py tests/training/test_many_pictures.py tests/training/test_convolution_dtype.py tests/isolation/test_hostile_backends.py \
		tests/unit/test_graphs.py tests/unit/test_mutants.py tests/unit/test_bad_commands.py \
		tests/unit/test_archives.py tests/unit/test_external_data.py tests/unit/test_lesson.py --long $(ARGS)

# The lowest versions that pyproject.toml allows, and the newest: docs/versions.md.
test-versions:
	$(PYTHON) tests/packaging/environments.py $(or $(ARGS),lowest newest)

# The site, in .cache/site/html: with a comparison, lessons and the notebooks' output; ARGS=--quick leaves those out.
docs: environment
	$(RUN)/python docs/site/build.py .cache/site $(ARGS)

lint: environment
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: environment
	$(RUN)/mypy

check: lint types test

environment: $(VENV)/ready

# torch comes first and by exact version, so that a CPU build of it that pip finds locally is taken. Where pip
# knows only PyPI, that version on Linux is a CUDA build of several gigabytes; it works as well. With a hash pip
# would always take that one, so torch has none; everything else has.
$(VENV)/ready: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt torch
ifeq ($(LOCKED),True)
	$(RUN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(RUN)/pip install --quiet --no-deps --editable .
else
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[all,test,browser,docs,dev]'
endif
	touch $@

# The exact versions of constraints.txt, and of all that they need, with the hashes of every file. It takes
# minutes, since the files are fetched. tensorflow is what tensorflow-cpu is called on macOS.
lock:
	$(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --quiet pip-tools==7.6.2
	.cache/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --constraint constraints.txt \
		$(addprefix --extra ,torch keras flax onnx train tensorboard data test browser docs dev) \
		--unsafe-package torch --unsafe-package tensorflow \
		--no-header --no-annotate --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file .cache/lock/all.txt pyproject.toml
	! grep --extended-regexp '^(nvidia|triton|torch|tensorflow)==|^nvidia' .cache/lock/all.txt
	(echo '# Made by `make lock` from pyproject.toml and constraints.txt: Python 3.11, Linux; torch is installed before it.'; \
		grep --invert-match '^#' .cache/lock/all.txt) >requirements.lock

clean:
	rm -rf $(VENV) build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
