# Everything runs in .venv, which the first target that needs it creates; only git, make and Python ≥ 3.12 are needed.
.DEFAULT_GOAL := help
.PHONY: help install run test test-faults test-cluster soak bench fuzz format check audit type lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?= $(shell command -v python3.12 || command -v python3 || echo python3)
UV := $(shell command -v uv || echo $(VENV)-uv/bin/uv)
ARGS ?=
OURS := engram.py actors common deploy evaluator learner
LOCK ?= requirements.lock
# Asks for a release that is known to have holes: mirrors often answer without them, and all would seem to be well.
HOLES := import json, urllib.request as u; \
	assert json.load(u.urlopen('https://pypi.org/pypi/jinja2/2.4.1/json', timeout=10))['vulnerabilities']

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)-uv/bin/uv:
	$(PYTHON) -m venv $(VENV)-uv
	$(VENV)-uv/bin/python -m pip install --quiet uv

$(STAMP): requirements.lock pyproject.toml | $(filter $(VENV)-uv/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing --python "$$(cat .python-version)" $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

install: $(STAMP)  ## Create the environment (about 6 GB, most of it torch)

run: $(STAMP)  ## Ten minutes of the demo, live (ARGS="--duration 2m" changes it)
	@$(BIN)/engram run --preset demo $(ARGS)

test: $(STAMP)  ## Unit and integration tests: real embedded server, real local Ray (about an hour)
	@$(BIN)/pytest $(ARGS)

test-faults: $(STAMP)  ## Real processes killed during real runs
	@$(BIN)/pytest -m faults $(ARGS)

test-cluster: $(STAMP)  ## ray up on three hosts made of namespaces, and what befalls them (root; half an hour)
	@$(BIN)/pytest -m cluster $(ARGS)

soak: $(STAMP)  ## A long run, watched for leaks and lost frames
	@$(BIN)/pytest -m soak $(ARGS)

bench: $(STAMP)  ## Benchmarks, each beside its limit in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(STAMP)  ## Five minutes of coverage-guided fuzz of the decoder (ARGS=60 for one)
	@$(BIN)/python -m tests.fuzz.wire $(ARGS)

format: $(STAMP)  ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: $(STAMP)  ## Format, lint and bandit, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/bandit --quiet -c pyproject.toml -r $(OURS)

audit: $(STAMP)  ## Dependencies with known holes, by pip-audit, where pypi.org can be reached
	@$(BIN)/bandit --quiet -c pyproject.toml -r $(OURS)
	@if $(BIN)/python -c "$(HOLES)" 2>/dev/null; \
	then $(UV) tool run --quiet pip-audit --disable-pip --require-hashes -r $(LOCK); \
	else echo "audit: bandit found nothing; no dependency was looked up, for pypi.org does not tell of holes from here"; fi

type: $(STAMP)  ## pyright, strict
	@$(BIN)/pyright

lock: $(STAMP)  ## Pin the newest versions that fit pyproject.toml, with hashes and without URLs
	@$(UV) pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --upgrade \
		--group dev --extra cluster --extra screen --extra vrchat pyproject.toml -o requirements.lock
	@$(UV) pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
		--constraint requirements.lock --group edge -o requirements-edge.lock

clean:  ## Remove the environment and caches, not the runs
	rm -rf $(VENV) $(VENV)-uv .pytest_cache .ruff_cache *.egg-info
