# Every target does its own set-up: a machine with Python 3.11+ and make is enough.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test drills live-feed lint format typecheck compatibility clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup:  ## Install what running needs into .venv, by hash
	@"$(PYTHON)" ops/bootstrap.py run

setup-test:  ## Install what testing needs into .venv, by hash
	@"$(PYTHON)" ops/bootstrap.py test

run: setup  ## Start everything, replay two real quizzes, serve until Ctrl-C (ONCE=1: end after the reconciliation)
	@exec $(BIN)/quizstream run $(if $(ONCE),--once) $(ARGS)

test: setup-test  ## Run the tests on real Kafka, PostgreSQL and Valkey (ARGS="-k name" for some)
	@exec $(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

drills: setup-test  ## Rewind, rebuild, restore and stop a running pipeline: the ledger must hold (about 10 minutes)
	@exec $(BIN)/pytest -m "full or not full" tests/drills $(ARGS)

live-feed: setup-test  ## Move partitions under a live feed for 4 minutes: no commit may pass unprocessed records
	@exec $(BIN)/python -m tests.faults.live_feed $(ARGS)

lint: setup-test  ## Check the style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: setup-test  ## Put the style right
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

typecheck: setup-test  ## Check the types
	@$(BIN)/mypy

compatibility: setup-test  ## Check that every schema reads what was landed before
	@$(BIN)/python -m schemas.compatibility $(ARGS)

clean:  ## Remove .venv, the default home and every cache of this checkout
	@"$(PYTHON)" ops/clean.py
