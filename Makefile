# `make help` lists what there is. Everything runs in .venv, from requirements.lock, without a network after it.
.DEFAULT_GOAL := help
.PHONY: help repro test lab app figures readme verify zappos chapter add speed weights lint lock clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Quiet start-up, and the same arithmetic in Jupyter as in the pipeline.
export TF_CPP_MIN_LOG_LEVEL := 3
export TF_ENABLE_ONEDNN_OPTS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export DVC_NO_ANALYTICS := 1

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/' | expand -t 18

repro: $(READY) ## photos to figures for the profiles in params.yaml, or PROFILE; goes on where a killed run stopped
	@$(BIN)/python -m solesearch.repro $(PROFILE)

test: $(READY) ## the tests, a process a core; the pipeline runs in a temporary clone
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# In a container one is often root, which Jupyter refuses unless told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab --log-level=WARN --notebook-dir=. $(AS_ROOT) notebooks/01_prepare_data.ipynb

app: $(READY) ## the web page of a profile (PROFILE=sample) at 127.0.0.1:7860 (PORT, HOST)
	@$(BIN)/python -m solesearch.web_page $(or $(PROFILE),sample) --host $(or $(HOST),127.0.0.1) --port $(or $(PORT),7860)

figures: $(READY) ## redraw the charts from the committed results; needs no photos and no training
	@$(BIN)/python -m solesearch.charts $(PROFILE)

readme: $(READY) ## write the README's generated blocks again from the results
	@$(BIN)/python -m solesearch.report

verify: $(READY) ## compare a profile with its committed results (PROFILE=sample); FULL=1 runs it again
	@$(BIN)/python -m solesearch.verify $(or $(PROFILE),sample) $(if $(FULL),--full)

zappos: $(READY) ## make zappos DATA=folder: real photographs in class folders, linked and run
	@test -n "$(DATA)" || { echo "say where the photographs are: make zappos DATA=/path/to/folder (see data/README.md)"; exit 2; }
	@$(BIN)/python -m solesearch.slot zappos "$(DATA)"
	@$(BIN)/python -m solesearch.repro zappos

chapter: $(READY) ## make chapter DATA=folder: real shoes and bags named by a labels.csv, linked and run
	@test -n "$(DATA)" || { echo "say where labels.csv and its photographs are: make chapter DATA=/path/to/folder (see data/README.md)"; exit 2; }
	@$(BIN)/python -m solesearch.slot chapter "$(DATA)"
	@$(BIN)/python -m solesearch.repro chapter

add: $(READY) ## make add DATA=folder: new photos for a profile (PROFILE=sample, STEPS, NAME); the pipeline's files stay
	@test -n "$(DATA)" || { echo "say where the new photos are: make add PROFILE=zappos DATA=/path/to/folder"; exit 2; }
	@$(BIN)/python -m solesearch.growth $(or $(PROFILE),sample) "$(DATA)" $(if $(STEPS),--steps $(STEPS)) $(if $(NAME),--name "$(NAME)")

speed: $(READY) ## training steps against a plain loop, some minutes on an idle machine (PROFILE=sample)
	@$(BIN)/python -m solesearch.training_benchmark $(or $(PROFILE),sample)

weights: $(READY) ## look for ImageNet weights again, or fetch them; then make repro uses them
	@$(BIN)/python -m solesearch.weights

lint: $(READY) ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

lock: ## resolve pyproject.toml anew into requirements.lock (hashes, no host names) and environment.yml
	@$(BIN)/uv pip compile pyproject.toml --extra test --extra stores --generate-hashes --no-emit-index-url --universal \
		--python-version 3.11 --upgrade --output-file requirements.lock --quiet
	@printf 'annoy==1.17.3\nhnswlib==0.8.0\n' | $(BIN)/uv pip compile - --no-deps --generate-hashes --no-emit-index-url --universal \
		--python-version 3.11 --no-header --output-file requirements-peers.lock --quiet
	@$(BIN)/python -m solesearch.environment --write-conda

clean: ## delete the environment and the stripped notebooks; results and runs stay
	@rm -rf $(VENV) .nb

# uv comes from the lock, too: its lines are cut out and installed by pip, and uv installs the rest.
$(READY): requirements.lock requirements-peers.lock pyproject.toml
	@python=""; for candidate in python3.11 python3 python; do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; done; \
	test -n "$$python" || { echo "Python 3.11 is needed and none was found; install it, or use environment.yml with conda"; exit 2; }; \
	echo "Making $(VENV) (about a minute, 2.5 GB) ..."; \
	$$python -m venv --clear $(VENV) || { echo "python -m venv failed; on Debian: apt install python3-venv"; exit 2; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --require-hashes -r requirements-peers.lock \
		2>/dev/null || echo "Annoy and hnswlib need a C++ compiler and were left out; the index benchmark goes on without."
	@test -e .git || $(BIN)/dvc config --local core.no_scm true  # a ZIP without .git
	@touch $(READY)
