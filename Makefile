# Everything a person types here. `make run` and `make test` are all one needs to know.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=
SEEDS ?= 100

.PHONY: help setup run test lint bench simulate long format lock clean

help:  ## what there is to type
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "forestay needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## a .venv with forestay and its tools, from the lock file

run: $(STAMP)  ## the daemon on the demo market; the journal as it grows
	@exec $(BIN)/forestay run $(ARGS)

test: $(STAMP)  ## the whole test suite
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

simulate: $(STAMP)  ## simulated worlds with faults of all kinds; SEEDS=N says how many
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

long: $(STAMP)  ## an hour of it: 2,000 worlds and the planted bugs (told in docs/long-run.md), hundreds of real kills
	@$(BIN)/python -m tests.simulation.long
	@FORESTAY_LONG=1 $(BIN)/python -m pytest tests/resilience

bench: $(STAMP)  ## the figures of docs/benchmarks.md, measured here and now
	@$(BIN)/python -m tests.benchmarks $(ARGS)

format: $(STAMP)  ## let ruff format the tree
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock:  ## resolve requirements.lock again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --upgrade --group dev pyproject.toml -o requirements.lock

clean:  ## remove what make made
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
