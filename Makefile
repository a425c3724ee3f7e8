# What a developer types. `make help` lists it.

PYTHON ?= python3
UV ?= uv
ARGS ?=
WORKERS ?= 4

BIN := .venv/bin
CREATED := .venv/.created
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed
BENCH := .venv/.bench-installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --group build

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo demo-migration tour test test-systemd lint snapshot fuzz-presence fuzz-fetchers soak-presence soak-processor soak-policy bench-fetchers bench-freshness bench-latency bench-presence bench-queue bench-throughput bench-watchers bench-web lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Options of the program behind a target go into ARGS: make test ARGS='-k settings'"

setup: $(DEV) ## Install everything into .venv: what the daemon, the demo, the tests and the checks need
	@echo "everything is installed in .venv"

demo: $(RUNTIME) ## Run the whole system on this machine: database, Realtime, upstream, viewers, daemon
	@exec $(BIN)/python -m devstack.demo $(ARGS)

demo-migration: $(RUNTIME) ## Move from an old system to refreshd on this machine, in fast motion (three minutes)
	@exec $(BIN)/python -m devstack.migration_demo $(ARGS)

tour: $(RUNTIME) ## Go through a running system as an operator does; writes docs/operations-tour.md (two minutes)
	@exec $(BIN)/python -m devstack.tour $(ARGS)

test: $(DEV) ## Run the tests, by several workers (WORKERS=0: in one process)
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; chmod 755 "$$scratch"; \
	TMPDIR=$$scratch $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

lint: $(DEV) ## Check format, style, types, import rules, spelling and SQL
	@failed=0; \
	check() { \
		name=$$1; shift; \
		if output=$$("$$@" 2>&1); then echo "ok      $$name"; \
		else failed=1; echo "FAILED  $$name"; echo "$$output"; fi; \
	}; \
	check "ruff format" $(BIN)/ruff format --check .; \
	check "ruff check" $(BIN)/ruff check .; \
	check "mypy" $(BIN)/mypy; \
	check "lint-imports" $(BIN)/lint-imports; \
	check "codespell" $(BIN)/codespell; \
	check "pglast" $(BIN)/python -m pytest --quiet tests/store/test_sql_files.py; \
	check "squawk" $(BIN)/squawk 'schema/**/*.sql'; \
	check "schema snapshot" $(BIN)/python -m devstack.snapshot --check; \
	exit $$failed

test-systemd: $(DEV) ## Boot a systemd in a container and try the unit in it (needs root, systemd-container, overlayfs)
	@REFRESHD_TEST_SYSTEMD=1 $(BIN)/python -m pytest tests/systemd $(ARGS)

snapshot: $(DEV) ## Write schema/snapshot.sql anew after a change of the schema
	@exec $(BIN)/python -m devstack.snapshot --write

fuzz-presence: $(DEV) ## Send the listener 100,000 hostile payloads (ARGS="--cases N --seed N --batch N")
	@exec $(BIN)/python -m tests.presence.fuzz $(ARGS)

fuzz-fetchers: $(DEV) ## Give the fetchers 100,000 hostile bodies (ARGS="--cases N --seed N --only N")
	@exec $(BIN)/python -m tests.fetchers.fuzz $(ARGS)

soak-presence: $(DEV) ## Let a daemon listen for ten minutes with a fault every few seconds (ARGS="--seconds N --seed N")
	@exec $(BIN)/python -m tests.presence.soak $(ARGS)

soak-processor: $(DEV) ## Let two to five daemons make 100,000 calls while they are killed and frozen (ARGS="--calls N --seed N")
	@exec $(BIN)/python -m tests.processor.soak $(ARGS)

soak-policy: $(DEV) ## Simulate 10,000 hours of the policy: who starves, what is spent (ARGS="--hours N --seed N")
	@exec $(BIN)/python -m tests.refresh.policy_hours $(ARGS)

bench-latency: $(DEV) ## Measure the time from a first view to a fresh row, step by step
	@exec $(BIN)/python -m bench.latency $(ARGS)

bench-queue: $(BENCH) ## Measure the queue beside pgqueuer and procrastinate (ARGS=--quick: a minute, nothing written)
	@exec $(BIN)/python -m bench.queue $(ARGS)

bench-freshness: $(DEV) ## Measure how fresh the policy keeps what is watched, beside others and the bound (ARGS=--quick: a minute)
	@exec $(BIN)/python -m bench.freshness $(ARGS)

bench-presence: $(DEV) ## Measure presence in bulk beside the stock client (ARGS=--quick: a minute, nothing written)
	@exec $(BIN)/python -m bench.presence $(ARGS)

bench-throughput: $(DEV) ## Measure the daemon at full speed, from 1,000 to 1,000,000 pending (ARGS=--quick: a minute)
	@exec $(BIN)/python -m bench.throughput $(ARGS)

bench-web: $(DEV) ## Measure track-subscription at 200 a second, and a click in a browser to the value (needs chromium; ARGS=--quick)
	@exec $(BIN)/python -m bench.web $(ARGS)

bench-watchers: $(DEV) ## Measure what a hundred watchers of the dashboard cost (ARGS=--quick: seconds, nothing written)
	@exec $(BIN)/python -m bench.watchers $(ARGS)

bench-fetchers: $(DEV) ## Measure the fetchers beside pydantic, and how rows are stored (ARGS=--quick: seconds, nothing written)
	@exec $(BIN)/python -m bench.fetchers $(ARGS)

lock: ## Write the lock files anew from pyproject.toml (needs uv; ARGS=--upgrade takes newer versions)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv, or say where it is: UV=..." >&2; exit 1; }
	$(COMPILE) --extra demo --output-file requirements.lock $(ARGS)
	$(COMPILE) --extra demo --extra speed --extra dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)
	$(COMPILE) --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock $(ARGS)

clean: ## Remove the virtual environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@command -v $(PYTHON) >/dev/null \
		|| { echo "$(PYTHON) is not installed: install Python 3.11 or newer, or say where it is: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$$($(PYTHON) --version) is too old: refreshd needs 3.11 or newer; say where it is: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv or ensurepip: install them (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

$(RUNTIME): requirements.lock pyproject.toml | $(CREATED)
	@echo "installing what the daemon and the demo need"
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "installing what tests and checks need"
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@touch $@

$(BENCH): requirements-bench.lock $(DEV)
	@echo "installing what the benchmark of the queue compares with"
	@$(PIP_INSTALL) --require-hashes --requirement requirements-bench.lock
	@touch $@
