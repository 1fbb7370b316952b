# `make help` lists what there is. Everything runs in .venv, from requirements.lock, without a network after it;
# with GPU=1 in .venv-gpu, from requirements-gpu.lock.
.DEFAULT_GOAL := help
.PHONY: help repro test lab app figures readme verify paper chapter photos add learn export speed weights book lint lock clean seen-gpu needed-gpu

# A variable that a command does not take, or a misspelt one, would be ignored in silence; names with an
# underscore belong to other programs.
TAKES := VENV BIN PATH SHELL LANG TZ TMPDIR CC CXX CFLAGS
TAKES_repro := PROFILE
TAKES_app := PROFILE HOST PORT
TAKES_figures := PROFILE
TAKES_verify := PROFILE FULL
TAKES_paper := DATA ACCEPT
TAKES_chapter := DATA
TAKES_photos := DATA
TAKES_add := PROFILE DATA MODEL STEPS NAME
TAKES_learn := DATA NAME
TAKES_speed := PROFILE
TAKES_export := PROFILE MODEL
TAKES_book := PROFILE SOURCE
GOALS := $(or $(MAKECMDGOALS),help)
TAKEN := $(foreach goal,$(GOALS),$(TAKES_$(goal))) GPU
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(filter-out $(TAKES) $(TAKEN),$(GIVEN)),$(if $(findstring _,$(name)),,$(error \
	make $(GOALS) takes no $(name); it takes $(strip $(TAKEN)))))

# Shells and images set these for themselves; they count where they are said to make.
$(foreach name,HOST NAME PORT GPU,$(if $(findstring environment,$(origin $(name))),$(eval override $(name) :=)))
$(if $(subst 1,,$(GPU)),$(error GPU=$(GPU): GPU=1 takes the environment with CUDA; leave it out for the processor))
MAKEOVERRIDES := # what make was told is not told to a make that a test starts

VENV := .venv$(if $(GPU),-gpu)
LOCK := requirements$(if $(GPU),-gpu).lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready
USERS_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What the user's variables may not aim, and what is the same everywhere: the table says it, with the reasons.
table = $(shell awk -F, '$$2 == "$1" { print $2 }' src/solesearch/core/surroundings.csv)
unexport $(filter-out $(call table,keep,$$1),$(filter $(call table,remove,$$1) $(call table,outside,$$1),$(.VARIABLES)))
export SOLESEARCH_KERAS_HOME := $(KERAS_HOME)
$(foreach line,$(call table,set,$$1":="$$3),$(eval export $(subst {prefix},$(CURDIR)/$(VENV),$(line))))

# The environment knows its folder and its pins: copied, moved or out of date, it is made anew.
MARK := $(CURDIR) $(shell cat $(LOCK) requirements-peers.lock pyproject.toml | cksum)
ifneq ($(MARK),$(shell cat $(READY) 2>/dev/null))
.PHONY: $(READY)
endif

# With GPU=1 one line says what TensorFlow and FAISS see; what would compute for hours stops where that is nothing.
ifneq ($(GPU),)
$(filter repro paper chapter photos add speed $(if $(FULL),verify),$(GOALS)): needed-gpu
$(filter test lab app,$(GOALS)): seen-gpu
endif

needed-gpu: $(READY)
	@$(BIN)/python -m solesearch.core.gpu --needed

seen-gpu: $(READY)
	@$(BIN)/python -m solesearch.core.gpu

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1	/' | expand -t 18
	@echo "  with GPU=1 all of them compute on NVIDIA GPUs (Linux): docs/gpu.md"

repro: $(READY) ## photos to figures for the profiles in params.yaml, or PROFILE; goes on where a killed run stopped
	@$(BIN)/python -m solesearch.pipeline.repro $(PROFILE)

test: $(READY) ## the tests, a process a core; the pipeline runs in a temporary clone
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# In a container one is often root, which Jupyter refuses unless told.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab --log-level=WARN --notebook-dir=. $(AS_ROOT) notebooks/01_prepare_data.ipynb

app: $(READY) ## the web page of a profile (PROFILE=sample) at 127.0.0.1:7860 (PORT, HOST)
	@$(BIN)/python -m solesearch.page.web_page $(or $(PROFILE),sample) --host $(or $(HOST),127.0.0.1) --port $(or $(PORT),7860)

figures: $(READY) ## every chart as PNG and PDF into figures/<profile>/all/, from the committed tables alone
	@$(BIN)/python -m solesearch.pipeline.charts $(PROFILE)

readme: $(READY) ## write the tables of the README and of docs/ again from the results
	@$(BIN)/python -m solesearch.pipeline.report

verify: $(READY) ## compare a profile with its committed results (PROFILE=sample); FULL=1 runs it again
	@$(BIN)/python -m solesearch.pipeline.verify $(or $(PROFILE),sample) $(if $(FULL),--full)

paper: $(READY) ## UT-Zap50K from data/paper, DATA=folder-or-zip, or fetched once its terms are accepted (ACCEPT=yes); run
	@$(BIN)/python -m solesearch.pipeline.repro paper $(if $(DATA),--data "$(DATA)",--fetch $(if $(filter yes,$(ACCEPT)),--accept))

chapter: $(READY) ## make chapter DATA=folder: real shoes and bags named by a labels.csv, linked and run
	@test -n "$(DATA)" || { echo "say where labels.csv and its photographs are: make chapter DATA=/path/to/folder (see data/README.md)"; exit 2; }
	@$(BIN)/python -m solesearch.pipeline.repro chapter --data "$(DATA)"

photos: $(READY) ## make photos DATA=folder: your photographs in class folders, linked and run
	@test -n "$(DATA)" || { echo "say where the photographs are: make photos DATA=/path/to/folder (see data/README.md)"; exit 2; }
	@$(BIN)/python -m solesearch.pipeline.repro photos --data "$(DATA)"

add: $(READY) ## make add DATA=folder: new photos for a profile (PROFILE=sample, MODEL, STEPS, NAME); the pipeline's files stay
	@test -n "$(DATA)" || { echo "say where the new photos are: make add PROFILE=paper DATA=/path/to/folder"; exit 2; }
	@$(BIN)/python -m solesearch.beyond.growth $(or $(PROFILE),sample) "$(DATA)" $(if $(MODEL),--model "$(MODEL)") $(if $(STEPS),--steps $(STEPS)) $(if $(NAME),--name "$(NAME)")

learn: $(READY) ## make learn DATA=folder: the best kind of model, learned from your photos alone, in a minute (NAME)
	@test -n "$(DATA)" || { echo "say where the photos are: make learn DATA=/path/to/folder"; exit 2; }
	@$(BIN)/python -m solesearch.beyond.own_photos "$(DATA)" $(if $(NAME),--name "$(NAME)")

export: $(READY) ## a model as one ONNX file with a card: MODEL=best, without labels, or infogan (PROFILE=sample)
	@$(BIN)/python -m solesearch.pipeline.export $(or $(PROFILE),sample) $(MODEL)

book: $(READY) ## a site of a profile's executed notebooks and docs/, to read without running (PROFILE=sample, SOURCE=address)
	@$(BIN)/python -m solesearch.pipeline.book $(or $(PROFILE),sample) $(if $(SOURCE),--source "$(SOURCE)")

speed: $(READY) ## training steps against a plain loop, some minutes on an idle machine (PROFILE=sample)
	@$(BIN)/python -m solesearch.cost.training_benchmark $(or $(PROFILE),sample)

weights: $(READY) ## look for ImageNet weights again, or fetch them; then make repro uses them
	@$(BIN)/python -m solesearch.networks.weights

lint: $(READY) ## ruff, and that rooms import only the rooms below them
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

lock: ## resolve pyproject.toml anew into the locks (hashes, no host names)
	@$(BIN)/python -m solesearch.core.install --lock $(if $(GPU),--gpu)

clean: ## delete both environments and the stripped notebooks; results and runs stay
	@rm -rf .venv .venv-gpu .nb

$(READY):
	@export PATH='$(subst ','\'',$(USERS_PATH))'; \
	for python in python3.11 python3 python; do \
		if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
		PYTHONPATH=src exec $$python -m solesearch.core.install $(if $(GPU),--gpu )'$(subst ','\'',$(MARK))'; fi; done; \
	echo "Python 3.11 is needed and none was found; install it, or use environment.yml with conda"; exit 2
