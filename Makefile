# PYTHON chooses the interpreter that environments are made with: make PYTHON=python3.12 test
# VENV chooses the folder of the environment, ARGS are passed on: make test ARGS="-k frames -x"
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
export PYTHON VENV
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: demo test test-all check check-fast format bench bench-serving fuzz docs clean help

demo: ## set up and run the main job on real models: about four minutes after set-up
	@scripts/setup.sh demo
	@$(BIN)/sizewise demo $(ARGS)

test: ## set up and run every test that needs no heavy framework
	@scripts/setup.sh dev
	@$(BIN)/pytest $(ARGS)

test-all: ## add PyTorch and KServe's client, and run the tests that `make test` leaves out
	@scripts/setup.sh heavy
	@VENV= scripts/setup.sh kserve
	@$(BIN)/pytest -m heavy $(ARGS)

check: ## format, lint, strict types, layers and repository tests: under a minute when warm
	@scripts/setup.sh dev
	@$(MAKE) check-fast
	@echo "check: types" && $(BIN)/mypy src tests benchmarks $(wildcard examples/*.py)
	@echo "check: repository tests" && $(BIN)/pytest -q tests/repo

check-fast: # the half that pre-commit runs
	@echo "check: format" && $(BIN)/ruff format --check --quiet
	@echo "check: lint" && $(BIN)/ruff check --quiet
	@echo "check: layers" && $(BIN)/lint-imports --cache-dir .cache/import_linter

format: # rewrite the tree as the format and the safe lint fixes want it
	@scripts/setup.sh dev
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format

bench: ## run the benchmarks and hold them against benchmarks/budgets.toml
	@scripts/setup.sh dev
	@for name in codec decide serve binary connections overload start idle; do echo "bench: $$name" && $(BIN)/python -m benchmarks.$$name || exit 1; done

bench-serving: ## measure Sizewise beside eight other model servers: 20 minutes; at first also 3 GB of packages
	@scripts/setup.sh dev
	@$(BIN)/python -m benchmarks.serving $(ARGS)

fuzz: ## throw random bytes at everything that reads them for ten minutes, and keep what is new
	@scripts/setup.sh dev
	@$(BIN)/python -m tests.fuzz --seconds 600 $(ARGS)

docs: ## check that every relative link in the documents leads somewhere
	@scripts/setup.sh dev
	@$(BIN)/pytest -q tests/repo/test_docs.py

clean: ## remove environments, caches and builds; never the models or state of a running system
	rm -rf .venv .venv-kserve .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
