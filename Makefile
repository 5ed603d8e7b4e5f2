# Each target sets itself up: it needs Python 3.11 or newer (with venv), git and make.
#   make demo   make lint   make bench   make bench-all   make constraints   make man   make sbom   make wheel-open
#   make clean
#   make test           the tests of every change, minutes
#   make test-slow      those that `make test` leaves out, and properties with more random examples
#   make test-all       both, with more random examples
#   make test-networks  relevance of every network in the table, the better part of an hour
#   make test-trust     kills at any moment, 100,000 damaged files, hostile folders; half an hour
# ISNET_VENV=DIR keeps the virtual environment elsewhere; PYTHON=python3.12 chooses the interpreter.

VENV := $(or $(ISNET_VENV),.venv)
PYTHON ?= python3
BIN := $(VENV)/bin
KEY := $(VENV)/.isnet-key
SHELL := /bin/sh

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_WAIT_POLICY := PASSIVE
# Tests run in two processes: a thread each, or they wait for each other.
test test-slow test-all test-networks test-trust: export OMP_NUM_THREADS := 1
# How many random examples a property is tried on: tests/conftest.py has the profiles.
test-slow test-all: export ISNET_TEST_PROFILE := thorough
# An environment in a cache folder may have been made from another checkout: this one goes first.
export PYTHONPATH := $(CURDIR):$(CURDIR)/models

.PHONY: demo test test-slow test-all test-networks test-trust lint man constraints sbom wheel-open bench bench-all clean venv

demo: venv
	$(BIN)/isnet demo

test: venv
	$(BIN)/python -m pytest -m "not slow and not exhaustive and not trust"

test-slow: venv
	$(BIN)/python -m pytest -m "(slow or hypothesis) and not exhaustive and not trust"

test-all: test test-slow

test-networks: venv
	$(BIN)/python -m pytest -m exhaustive

# The trials start two processes of their own. Their figures are printed at the end.
test-trust: venv
	$(BIN)/python -m pytest -n 0 -m "trust or slow" tests/trust tests/e2e/test_mutated_runs.py

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Versions and licences of all packages, from this environment; after its tests have passed.
# The manual page, from the commands themselves.
man: venv
	$(BIN)/python packaging/man.py

constraints: venv
	$(BIN)/python -m tests.trust.supply.closure

# A bill of materials (CycloneDX) of this environment, in sbom.json.
sbom: venv
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o sbom.json $(BIN)/python

# The wheel without the lung U-Net whose weights may not be used commercially, in dist/ (models/README.md).
wheel-open: venv
	$(BIN)/python packaging/open_wheel.py

# ARGS="--json --nets resnet18" and the like go to the engine's benchmark.
bench: venv
	$(BIN)/python benchmarks/engine.py $(ARGS)

bench-all: venv
	@for file in benchmarks/*.py; do \
	  echo "== $$file"; $(BIN)/python "$$file" || exit 1; \
	done

# Made once, and again whenever pyproject.toml or constraints.txt has changed. An environment that was not made here
# (no key file in it) is installed into, never cleared.
venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than Python 3.11; try  make PYTHON=python3.12" >&2; exit 1; }
	@key=$$($(PYTHON) -c 'import hashlib; print(hashlib.sha256(b"".join(open(n, "rb").read() for n in ("pyproject.toml", "constraints.txt"))).hexdigest())'); \
	if [ "$$(cat $(KEY) 2>/dev/null)" = "$$key" ]; then exit 0; fi; \
	echo "setting up $(VENV)"; \
	if [ -e $(KEY) ]; then clear=--clear; else clear=; fi; \
	if [ -n "$$clear" ] || [ ! -x $(BIN)/python ]; then \
	  mkdir -p $(VENV) && touch $(KEY) && $(PYTHON) -m venv $$clear $(VENV) || { \
	    echo "error: no virtual environment; Debian and Ubuntu need  apt install python3-venv" >&2; exit 1; }; \
	  echo unfinished > $(KEY); \
	fi; \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' && echo "$$key" > $(KEY)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
