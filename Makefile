# Every target does its own set-up: a machine with Python 3.11+ and make is enough.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test test-full chaos crash-points brokers mutations drills live-feed overload lint format typecheck compatibility schema client clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup:  ## Install the packages for running into .venv, by hash
	@"$(PYTHON)" ops/setup/bootstrap.py run

setup-test:  ## Install the packages for testing into .venv, by hash
	@"$(PYTHON)" ops/setup/bootstrap.py test

run: setup  ## Start everything, replay two real quizzes, serve until Ctrl-C (ONCE=1: end after the reconciliation)
	@exec $(BIN)/quizstream run $(if $(ONCE),--once) $(ARGS)

test: setup-test  ## Run the tests on real Kafka, PostgreSQL and Valkey (ARGS="-k name" for some)
	@exec $(BIN)/pytest -n 3 --dist loadgroup $(ARGS)

test-full: setup-test  ## Run all tests, including crash points, mutations, outages and drills (about an hour)
	@exec $(BIN)/pytest -m "full or not full" $(ARGS)

chaos: setup-test  ## Inject faults from a seed under load, and audit the ledger (SEED=1 MINUTES=10)
	@exec $(BIN)/quizstream chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),10) $(ARGS)

crash-points: setup-test  ## Kill each process at each named point under load: the ledger must hold (about 4 minutes)
	@exec $(BIN)/pytest -m full tests/faults/test_crash_points.py $(ARGS)

brokers: setup-test  ## Kill brokers of a running pipeline: one, the controller, two of three (about 4 minutes)
	@exec $(BIN)/pytest -s -m "full or not full" tests/faults/test_brokers_gone.py $(ARGS)

mutations: setup-test  ## Break each guarantee deliberately: its tests must fail (about 3 minutes)
	@exec $(BIN)/pytest -m "full or not full" tests/faults/test_mutations.py $(ARGS)

drills: setup-test  ## Rewind, rebuild, restore and stop a running pipeline: the ledger must hold (about 10 minutes)
	@exec $(BIN)/pytest -m "full or not full" tests/faults/drills $(ARGS)

live-feed: setup-test  ## Move partitions under load for 4 minutes: no commit may pass unprocessed records
	@exec $(BIN)/python -m tests.faults.live_feed $(ARGS)

overload: setup-test  ## Offer 1, 2 and 4 times what a small machine drains, 5 minutes each (about 25 minutes)
	@$(BIN)/quizstream bench shapes overload $(ARGS)

lint: setup-test  ## Check the style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: setup-test  ## Fix the style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

typecheck: setup-test  ## Check the types
	@$(BIN)/mypy

compatibility: setup-test  ## Check that every schema reads all landed versions
	@$(BIN)/python -m schemas.compatibility $(ARGS)

schema: setup-test  ## Write sinks/postgres/schema/schema.sql from the migrations
	@QUIZSTREAM_WRITE_SCHEMA=1 $(BIN)/pytest -q -k schema_file tests/sinks/postgres/schema

client:  ## Build the browser client from its source (needs npm)
	@cd ingest_api/quiz_pages/browser && npm ci && npm run types && npm run build

clean:  ## Remove .venv, the default home and all caches of this checkout
	@"$(PYTHON)" ops/setup/clean.py
