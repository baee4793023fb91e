# Everything that one does with this repository. `make` alone says what there is.
# A fresh machine needs Python 3.11 or newer, git and make; the rest is fetched on first use and stays inside this folder.

.DEFAULT_GOAL := help
SHELL := /bin/sh
ARGS ?=

# uv, the one from the PATH if there is one. pip's --target leaves the system's and the user's Python alone, so it also works where
# those are managed by the system (PEP 668), and without sudo.
OWN_UV := .truckroll/uv/bin/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(OWN_UV))
RUN := $(UV) run --frozen --no-sync
SYNCED := .venv/.synced

.PHONY: help demo test check bench serve docs

help: ## Say what there is
	@echo "Truckroll. Pass options as ARGS=\"...\", for example: make demo ARGS=\"--once --json demo.json\""
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)$$/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: $(SYNCED) ## Play a day of a field service company on bad lines, and check it (ARGS="--help" shows options)
	@$(RUN) python -m demo $(ARGS)

test: $(SYNCED) ## Run the tests, against a real PostgreSQL that comes with the packages
	$(RUN) pytest -n 2 $(ARGS)

check: $(SYNCED) ## Lint, types, migrations against declarations, generated docs against code
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) pytest -q -n 0 tests/acceptance/test_migrations.py
	@mkdir -p .truckroll
	@$(RUN) truckroll conflicts --write .truckroll/conflicts.md
	@cmp -s .truckroll/conflicts.md docs/conflicts.md || { echo "docs/conflicts.md is out of date: run 'make docs'"; exit 1; }

bench: $(SYNCED) ## Compare the sync server with its peers, in short (ARGS="sync --suite growth" or "dispatch --help" for others)
	@if [ -f "benchmarks/$(firstword $(ARGS)).py" ]; then $(RUN) python -m benchmarks.$(ARGS); \
	else $(RUN) truckroll bench $(or $(ARGS),sync --short); fi

serve: $(SYNCED) ## Run the server; without DATABASE_URL it starts its own PostgreSQL
	@$(RUN) truckroll serve $(ARGS)

docs: $(SYNCED) ## Write the generated pages of docs/ anew
	$(RUN) truckroll conflicts --write docs/conflicts.md
	$(RUN) truckroll kpi --write docs/kpis.md

$(SYNCED): pyproject.toml uv.lock $(if $(filter $(OWN_UV),$(UV)),$(OWN_UV))
	@echo "setting up .venv (once)"
	@$(UV) sync --frozen --quiet
	@touch $@

$(OWN_UV):
	@echo "uv is not installed: putting it into .truckroll/uv"
	@python3 -m pip --version >/dev/null 2>&1 || python3 -m ensurepip --user >/dev/null 2>&1 || \
		{ echo "python3 has no pip: install uv yourself, see https://docs.astral.sh/uv"; exit 1; }
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .truckroll/uv uv
