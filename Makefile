# What CI runs is what you run: `make test` and `make check`. Everything uses the environment's own
# Python; nothing starts Ray through a launcher that would rebuild an environment for its workers.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SOURCES := embedlib jobs tests cluster docker docs

.PHONY: setup demo test test-all check docs audit format bench lock clean

setup: $(STAMP)
	@echo "ready: source $(VENV)/bin/activate"

$(STAMP): requirements.lock pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(STAMP)

demo: setup
	$(VENV)/bin/embedlib demo --out demo

test: setup
	$(PY) -m pytest -q

test-all: setup
	$(PY) -m pytest -q -m "not gpu and not network"

check: setup
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy
	$(PY) -m numpydoc.hooks.validate_docstrings $$(git ls-files 'embedlib/*.py')
	$(VENV)/bin/shellcheck .ci/run cluster/*.sh cluster/*.sbatch
	$(VENV)/bin/hadolint docker/Dockerfile
	$(PY) -m mkdocs build --quiet --strict

# The documents as a site, into build/docs; a warning fails it.
docs: setup
	$(PY) -m mkdocs build --quiet --strict

# Known vulnerabilities (needs the network), licences, secrets.
audit: setup
	$(PY) jobs/audit.py

format: setup
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

# All of it in ten minutes, and a page: bench/index.html. BENCH= for the whole measurement.
BENCH ?= --short

bench: setup
	$(PY) jobs/bench.py all $(BENCH) --out bench

# A new lock from the ranges of pyproject.toml, in an environment of its own.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --upgrade ".[dev]"
	build/lock/bin/pip freeze --all --exclude embedlib --exclude pip --exclude wheel \
	  | sed "/^essentia-tensorflow/s/$$/; sys_platform == 'linux' and platform_machine == 'x86_64'/" \
	  > requirements.lock

clean:
	rm -rf build demo bench
