# Flotilla. `make` alone lists the targets.
.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/bash

PYTHON ?= python3
COMPOSE ?= docker compose
PY := .venv/bin/python
# The fleet's list is in pyproject.toml; a service's folder is <name>-service, or its name alone.
SERVICES := $(shell sed -n 's/^\[tool\.flotilla\.services\.\([a-z]*\)\]$$/\1/p' pyproject.toml)
PACKAGES := shared $(foreach s,$(SERVICES),$(or $(wildcard $(s)-service),$(s)))
# make exports its command-line variables to every process, but LIMITS is a section of the services' settings.
unexport LIMITS

.PHONY: help
help: ## List all targets.
	@awk -F ':.*## ' '/^[a-z][a-zA-Z0-9%_-]*:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

# --- the environment -------------------------------------------------------------------------------------------------

.venv/.installed: requirements.lock $(foreach p,$(PACKAGES),$(p)/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Flotilla needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv --without-pip .venv
	@echo "Installing the locked packages into .venv …"
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip sync -q --compile-bytecode --python $(PY) requirements.lock && \
	  uv pip install -q --python $(PY) --no-build-isolation --no-deps $(foreach p,$(PACKAGES),-e ./$(p)); \
	else \
	  $(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "pip is missing: install python3-pip or uv."; exit 1; }; \
	  $(PYTHON) -m pip -q --python $(PY) install --require-hashes -r requirements.lock && \
	  python=$$(command -v $(PYTHON)) && PATH="$(CURDIR)/.venv/bin:$$PATH" \
	    $$python -m pip -q --python $(PY) install --no-build-isolation --no-deps $(foreach p,$(PACKAGES),-e ./$(p)); \
	fi
	@$(PY) -m compileall -q $(foreach p,$(PACKAGES),$(p)/src) # once, instead of in each of eight processes
	@touch $@

.PHONY: install
install: .venv/.installed ## Create .venv and install the locked packages (all other targets do this when needed).

.PHONY: lock
lock: .venv/.installed ## Resolve requirements.in into the two lock files.
	@for name in requirements requirements-runtime; do \
	  $(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --no-header $(if $(UPGRADE),--upgrade) $$name.in -o $$name.lock \
	    $$([ $$name = requirements-runtime ] && echo "-c requirements.lock"); done

# --- running ---------------------------------------------------------------------------------------------------------

.PHONY: up
up: .venv/.installed ## Start the whole fleet; the first time, run the main job. Options: WITHOUT=chat RELOAD=1 LIMITS=real REPLICAS=chat=2 PORT=chat=9003.
	@$(PY) -m shared.dev up $(foreach s,$(WITHOUT),--without $(s)) $(if $(RELOAD),--reload) \
	  $(if $(LIMITS),--limits $(LIMITS)) $(foreach r,$(REPLICAS),--replicas $(r)) $(foreach p,$(PORT),--port $(p))

.PHONY: demo
demo: .venv/.installed ## Run the main job through the running fleet again, with a new user.
	@$(PY) -m shared.dev demo

.PHONY: $(addprefix run-,$(SERVICES))
run-%: .venv/.installed ## Run one service alone with the servers that it needs: make run-chat. Option: PORT=chat=9003.
	@$(PY) -m shared.dev run $* $(foreach p,$(PORT),--port $(p))
$(addprefix run-,$(SERVICES)): run-%: .venv/.installed
	@$(PY) -m shared.dev run $* $(foreach p,$(PORT),--port $(p))

SERVICE_COMMANDS := $(addprefix command-,$(SERVICES))
.PHONY: $(SERVICE_COMMANDS)
command-%: .venv/.installed ## Run a command of a service in the running fleet: make command-chat RUN="events list".
$(SERVICE_COMMANDS): command-%: .venv/.installed
	@$(PY) -m shared.dev command $* $(RUN)

.PHONY: token
token: .venv/.installed ## Print a token from the development issuer, for a service that runs alone: make token USER=ann.
	@$(PY) -m shared.dev token $(USER)

.PHONY: logs
logs: .venv/.installed ## Print the log lines of one request, from all services: make logs R=<request id>.
	@$(PY) -m shared.dev logs $(R)

.PHONY: doctor
doctor: .venv/.installed ## List what this machine lacks, and the commands that install it.
	@$(PY) -m shared.dev doctor

.PHONY: reset
reset: .venv/.installed ## Remove the development data (databases, files, keys, logs).
	@$(PY) -m shared.dev reset

# --- checking --------------------------------------------------------------------------------------------------------

run_suites = $(PY) -m shared.dev.checks.suites

.PHONY: test
test: .venv/.installed ## Run every test, two suites at a time, then the journeys through the whole fleet.
	@$(run_suites)

.PHONY: test-long
test-long: .venv/.installed ## Run the tests marked `long`: storms, repeated kills, large files, a generated service.
	@$(run_suites) --long

.PHONY: test-e2e
test-e2e: .venv/.installed ## Run the journeys through the whole fleet.
	@$(run_suites) tests-e2e

.PHONY: test-shared
test-shared: .venv/.installed ## Run the tests of the mechanisms that all services share.
	@$(run_suites) $(filter-out %__pycache__/,$(wildcard shared/tests/*/))

SERVICE_TESTS := $(addprefix test-,$(SERVICES))
.PHONY: $(SERVICE_TESTS)
test-%: .venv/.installed ## Run one service's tests: make test-chat.
$(SERVICE_TESTS): test-%: .venv/.installed
	@$(run_suites) $(or $(wildcard $*-service),$*)/tests

.PHONY: check
check: .venv/.installed ## Check lint, types, import rules, contracts, migrations, docs and manifests: all that CI checks besides tests.
	@$(PY) -m shared.dev.checks.check

.PHONY: format
format: .venv/.installed ## Format the code and sort the imports.
	@$(PY) -m ruff format -q . && $(PY) -m ruff check -q --fix .

.PHONY: generate
generate: .venv/.installed ## Write the blocks of build and deploy files that repeat the fleet's list in pyproject.toml.
	@$(PY) -m shared.dev.generate

.PHONY: contracts
contracts: .venv/.installed ## Regenerate the contracts (OpenAPI, AsyncAPI, event examples) and docs/problems.md.
	@$(PY) -m shared.dev.checks.contracts

.PHONY: vendor
vendor: .venv/.installed ## Download the pinned packages of the API pages (Swagger UI, ReDoc), verified by their digests.
	@$(PY) -m shared.dev.vendor

.PHONY: bench
bench: .venv/.installed ## Measure the gateway, a direct call and nginx side by side.
	@$(PY) gateway/bench/proxy.py

.PHONY: bench-service
bench-service: .venv/.installed ## Measure a request at a service against a bare FastAPI route with the same SELECT.
	@$(PY) shared/bench/service.py

.PHONY: bench-storm
bench-storm: .venv/.installed ## Measure what 100 parallel sign-ins do to everything else at auth-service.
	@$(PY) auth-service/bench/sign_in_storm.py

.PHONY: bench-enumeration
bench-enumeration: .venv/.installed ## Compare the times of requests about known and unknown accounts.
	@$(PY) auth-service/bench/enumeration.py

.PHONY: bench-auth
bench-auth: .venv/.installed ## Measure refresh, client credentials and introspection beside npm oidc-provider (NODE_MODULES=…).
	@$(PY) auth-service/bench/auth.py

.PHONY: bench-idle
bench-idle: .venv/.installed ## Measure the idle fleet: time to ready, CPU, memory, imports.
	@$(PY) shared/bench/idle.py

.PHONY: images
images: .venv/.installed ## Build every service image and verify it: non-root, read-only, ready against servers on this host.
	@$(PY) -m shared.dev.images.build

.PHONY: manifests
manifests: .venv/.installed ## Check Dockerfiles, compose.yaml, k8s/ and .env.example (a part of make check).
	@$(PY) -m shared.dev.checks.manifests

.PHONY: compose
compose: .venv/.installed ## Start the fleet in containers with docker compose, on http://127.0.0.1:8000.
	@$(PY) -m shared.dev.images.secret_files compose
	$(COMPOSE) up --build

.PHONY: cluster-secrets
cluster-secrets: .venv/.installed ## Apply the secrets of k8s/overlays/dev to the current cluster, generating those that do not exist.
	@kubectl apply --filename k8s/overlays/dev/namespace.yaml
	@$(PY) -m shared.dev.images.secret_files cluster | kubectl apply --namespace flotilla --filename -

.PHONY: clean
clean: ## Remove .venv and every cache (not the development data).
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
