# `make` lists the targets. `make train` and `make test` do all of their set-up themselves.

PYTHON ?= python3.11
PARAMS ?= params/quickstart.yaml
ARGS ?=
CLIP ?=
MODEL ?=
RUNS ?=
DAYS ?= 30
YES ?=
WORKSPACE ?= workspace
MLFLOW_PORT ?= 5000
PREFECT_PORT ?= 4200
DOCS_PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
# Python compiles what is imported when it is imported: compiling all of torch and transformers takes a minute.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

# Nothing is sent to anybody.
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export AUDIOCLS_HOME := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help train evaluate compare ingest balance sync explain stores test test-variants test-clusters lint format \
	docs docs-serve phrases letters \
	mlflow deploy worker stop schema clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  PARAMS=params/x.yaml and ARGS="training.epochs=3 seed=4" go with train, evaluate, ingest and balance.'

# One stamp for what training needs and one for what developing needs on top; each is made anew when the project's
# own files name other packages.
$(VENV)/.train: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[pipeline,sample,label-errors]'
	@touch $@

# Both at once, as what developing needs holds what training needs: pip looks at every package only once.
$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[pipeline,sample,label-errors,formats,s3,dev]'
	@touch $(VENV)/.train $@

train: $(VENV)/.train ## Train on PARAMS (params/quickstart.yaml), with overrides in ARGS
	@$(BIN)/audiocls train $(PARAMS) $(ARGS)
	@echo 'To see the runs: make mlflow, then http://127.0.0.1:$(MLFLOW_PORT)' >&2

evaluate: $(VENV)/.train ## Evaluate MODEL, a folder or a run, on the labelled corpus of PARAMS
	@$(BIN)/audiocls evaluate "$(MODEL)" $(PARAMS) $(ARGS)

compare: $(VENV)/.train ## Compare RUNS="ID ID ..." of WORKSPACE on the test clips that they have in common
	@$(BIN)/audiocls compare $(RUNS) --workspace $(WORKSPACE)

ingest: $(VENV)/.train ## Read the recordings of PARAMS, and write a page on what is wrong with them
	@$(BIN)/audiocls ingest $(PARAMS) $(ARGS)

balance: $(VENV)/.train ## Compare balance methods on the corpus of PARAMS, and say which to take
	@$(BIN)/audiocls balance $(PARAMS) $(ARGS)
	@echo 'To see the runs: make mlflow, then http://127.0.0.1:$(MLFLOW_PORT)' >&2

PYTEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev ## Run the tests
	@$(PYTEST) -m 'not variant' $(ARGS)

test-variants: $(VENV)/.dev ## Run the tests that `test` leaves out: more cases of the same kinds
	@$(PYTEST) -m variant $(ARGS)

# Apart from `make test`, as Ray is large and either cluster takes a minute to start and stop on a busy machine.
$(VENV)/.clusters: $(VENV)/.dev
	@$(PIP_INSTALL) --editable '.[pipeline,dask,ray]'
	@touch $@

test-clusters: $(VENV)/.clusters ## Install Dask and Ray, and run the tests of every runner
	@TEST_CLUSTERS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/flows/test_runners.py \
		tests/flows/test_predict.py $(ARGS)

lint: $(VENV)/.dev ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## Mend what style can be mended by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

sync: $(VENV)/.train ## Send to MLflow what the runs of PARAMS kept while its server was away
	@$(BIN)/audiocls sync $(PARAMS) $(ARGS)

explain: $(VENV)/.train ## Say of one CLIP of PARAMS, an id or a path, why it was decoded or not
	@$(BIN)/audiocls explain $(PARAMS) "$(CLIP)" $(ARGS)

stores: $(VENV)/.train ## List the stores of audio and features; remove those out of use for DAYS=30 with YES=--yes
	@$(BIN)/audiocls stores $(PARAMS) --remove-unused-days $(DAYS) $(YES) $(ARGS)

# Material's build prints an advertisement of its successor otherwise.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1

docs: $(VENV)/.dev ## Build the documentation into site/
	@$(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.dev ## Show the documentation at http://127.0.0.1:8000 (DOCS_PORT)
	@$(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:$(DOCS_PORT)

phrases: data/phrases/manifest.csv ## Fetch telephone prompts in 5 languages (Debian and Ubuntu; no root)
letters: data/letters/manifest.csv ## Fetch spoken letters in 20 languages (Debian and Ubuntu; no root)

data/%/manifest.csv:
	@$(PYTHON) benchmarks/corpora.py data $*

mlflow: $(VENV)/.train ## Show the runs at http://127.0.0.1:5000 (MLFLOW_PORT)
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1 \
		--backend-store-uri sqlite:///$(CURDIR)/$(WORKSPACE)/mlflow.db

deploy worker stop: export PREFECT_API_URL ?= http://127.0.0.1:$(PREFECT_PORT)/api

deploy: $(VENV)/.train ## Deploy the flows, with a Prefect server on this machine unless PREFECT_API_URL names one
	@$(BIN)/python -m flows.deploy

worker: $(VENV)/.train ## Run what the deployments and their schedules ask for, until interrupted
	@$(BIN)/prefect worker start --pool audiocls --type process

stop: ## Stop the Prefect server that `make deploy` started
	@$(BIN)/prefect server stop

schema: $(VENV)/.train ## Print the JSON schema of a params file, for editors
	@$(BIN)/audiocls schema

clean: ## Remove the environment and the built documentation; workspace/ and data/ stay
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
