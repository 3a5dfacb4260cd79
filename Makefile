# GNU make and Python 3.11 or 3.12 are all that is needed; the rest goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
STATE := $(shell cat requirements*.txt | cksum | tr ' ' '-')
SERVER := $(VENV)/.installed-$(STATE)
DEV := $(VENV)/.installed-dev-$(STATE)
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
SUPPORTED := import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(firstword $(foreach name,python3 python3.12 python3.11,\
    $(shell $(name) -c '$(SUPPORTED)' 2>/dev/null && echo $(name))))

.DEFAULT_GOAL := help
.PHONY: help demo up test faults lint bench client clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-14s %s\n' "$$name" "$$text"; done

demo: $(SERVER) ## the whole platform, three devices and one training job (ONCE=1 exits when the job is done)
	@$(BIN)/python manage.py demo $(if $(ONCE),--once)

up: $(SERVER) ## the platform on this machine until Ctrl-C (VERBOSE=1 shows what every process writes)
	@$(BIN)/python manage.py up $(if $(VERBOSE),--verbose)

test: lint ## checks, then tests (ARGS="-k name" passes arguments to pytest)
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadgroup $(ARGS)

faults: $(DEV) ## what the platform survives, tried with real processes: 10 to 20 minutes (ARGS="-m kill" for six of them)
	@$(BIN)/python -m pytest -m faults tests/faults $(ARGS)

lint: $(DEV) ## style, types, settings and migrations
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'ruff format would change the files that'; \
		echo '`$(BIN)/ruff format --check .` lists.'; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python manage.py check --fail-level WARNING
	@$(BIN)/python manage.py makemigrations --check --dry-run

bench: $(SERVER) ## measurements (ARGS="--quick" for small sizes)
	@$(BIN)/python -m bench.aggregation $(ARGS)
	@$(BIN)/python -m bench.round_overhead $(ARGS)
	@$(BIN)/python -m bench.fleet $(ARGS)
	@$(BIN)/python -m bench.scheduling $(ARGS)

client: $(SERVER) ## the employees' package as a wheel in dist/
	@rm -rf build/client && mkdir -p build/client/docs dist
	@cp -R packaging/client/pyproject.toml requirements-client.txt LICENSE fl_client build/client
	@cp docs/employee.md build/client/docs
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist ./build/client
	@rm -rf build/client && ls dist/constellation_client-*.whl

clean: ## remove .venv and caches; run-time data in var/ stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis staticfiles build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Constellation needs Python 3.11 or 3.12; none is on PATH. Set PYTHON=... to one.'; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { echo 'Constellation needs Python 3.11 or 3.12; $(PYTHON) is another.'; exit 1; }
	@$(PYTHON) -m venv $(VENV) > /dev/null && $(BIN)/python -m pip --version > /dev/null || { rm -rf $(VENV); \
		echo '$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu the package python3-venv is missing.'; \
		exit 1; }

$(SERVER): | $(BIN)/python
	@echo 'Installing the packages of requirements.txt into $(VENV); the first time this takes some minutes.'
	@$(PIP) install -r requirements.txt
	@rm -f $(VENV)/.installed-* && touch $@

$(DEV): $(SERVER)
	@echo 'Installing the packages of requirements-dev.txt for the checks and tests.'
	@$(PIP) install -r requirements-dev.txt
	@rm -f $(VENV)/.installed-dev-* && touch $@
