# `make run` and `make test` are all a newcomer needs: each sets up what it uses, on a machine that has a Python and make.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PYTHONS := >=3.11,<3.14
# uv from the machine where there is one, else a pinned one inside .venv.
UV = $$(command -v uv || echo $(VENV)/uv/bin/uv)
COMPILE := pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --quiet
export UV_LINK_MODE ?= copy
# Docker where one runs, else Podman, which keeps a health check only in Docker's format.
CONTAINER_ENGINE ?= $$(docker info >/dev/null 2>&1 && echo docker || command -v podman || echo docker)

.PHONY: help run test drills check bench openapi client lock embedded sidecar image clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run  ## start the sidecar with ./config on 127.0.0.1:8765
	@SIDECAR_CONFIG_DIR="$${SIDECAR_CONFIG_DIR:-config}" $(BIN)/llm-sidecar serve

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

drills: $(VENV)/.dev  ## break it on purpose, the long form (an hour or two); docs/reliability.md keeps the figures
	@DRILL_KILLS=$${DRILL_KILLS:-200} DRILL_LOCK_SECONDS=$${DRILL_LOCK_SECONDS:-60} \
		DRILL_RUNS=$${DRILL_RUNS:-100} FUZZ_CASES=$${FUZZ_CASES:-3000} \
		$(BIN)/python -m pytest -s tests/drills tests/api/test_fuzz_upstreams.py $(ARGS)

check: $(VENV)/.dev  ## formatter, linter, types, layers, openapi.json
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/llm-sidecar openapi | diff -u openapi.json - || { echo "openapi.json is out of date: make client (without Node: make openapi)"; exit 1; }

bench: $(VENV)/.dev  ## measure, and print tables (docs/benchmarks.md keeps the ones we quote)
	@for f in bench/[a-z]*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

openapi: $(VENV)/.dev  ## write openapi.json from the code
	@$(BIN)/llm-sidecar openapi > openapi.json.new && mv openapi.json.new openapi.json

client: openapi  ## write the TypeScript client's types from openapi.json
	@cd clients/typescript && npm ci --ignore-scripts --silent && npm run --silent generate

embedded: $(VENV)/.run  ## add llama.cpp, so that GGUF files answer in-process
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps --only-binary :all: -r requirements-embedded.lock

sidecar: $(VENV)/.dev  ## freeze the program into dist/, for a desktop app to ship
	@$(BIN)/python freeze/build.py $(ARGS)

image:  ## build the container image llm-sidecar (docs/guide/docker.md)
	@engine="$(CONTAINER_ENGINE)"; case "$$engine" in *podman*) format="--format docker";; esac; \
		version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py); \
		"$$engine" build $$format --build-arg VERSION="$$version" \
		--build-arg REVISION="$$(git rev-parse --short HEAD 2>/dev/null)" -t llm-sidecar -t "llm-sidecar:$$version" $(ARGS) .

lock:  ## renew the lock files from pyproject.toml
	@$(UV) $(COMPILE) -o requirements.lock
	@$(UV) $(COMPILE) --extra embedded --extra otel --group dev -c requirements.lock -o requirements-dev.lock
	@echo 'xllamacpp==2026.10.11549' | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --no-annotate -o requirements-embedded.lock

clean:  ## remove what the targets made
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@command -v uv >/dev/null 2>&1 || [ -x $(VENV)/uv/bin/uv ] || { echo "setting up: uv"; \
		python3 -m venv $(VENV)/uv && $(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); }
	@$(UV) venv --quiet --allow-existing --python '$(PYTHONS)' $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@[ -e $(VENV)/.dev ] || { echo "setting up: packages (once; some minutes, 1.1 GB)"; \
		$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock; }
	@[ -e $(VENV)/.dev ] || $(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q app
	@$(BIN)/python -m app.memory.model_files
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "setting up: packages for development"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q app
	@$(BIN)/python -m app.memory.model_files
	@touch $@ $(VENV)/.run
