# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
# Without this, Apple's make runs simple lines itself and looks for programs in its own PATH.
SHELL := /bin/bash
OUTSIDE := PATH='$(PATH)'
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Nothing below needs the network after set-up.
export NO_ALBUMENTATIONS_UPDATE := 1
READY := .venv/.ready
VERSION := import sys; print("%d.%d" % sys.version_info[:2])

# If the command line names a PYTHON of another version, .venv is made anew with it.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(OUTSIDE) $(PYTHON) -c '$(VERSION)' 2>&1),$(shell .venv/bin/python -c '$(VERSION)' 2>&1))
.PHONY: $(READY)
endif
endif

.PHONY: help demo repro quick best predict app test test-all check same-bits bench figures lock
help:
	@echo "make demo      the whole pipeline on the built-in sample, in minutes, on a CPU"
	@echo "make repro     the whole pipeline on CIFAR-10: 93.6%, in minutes on a GPU, in hours on a CPU"
	@echo "make quick     a recipe for two CPU cores: 87% in 13 to 65 minutes"
	@echo "make best      a recipe for accuracy, on a GPU; nobody has run it to its end yet"
	@echo "make predict IMAGE=photo.jpg   what the trained network takes a picture for"
	@echo "make app       a page on this machine to drop pictures on"
	@echo "make test      checks and tests, 3 to 7 minutes on two cores; make test-all adds the exhaustive tests"
	@echo "make same-bits BASE=<commit>   check that this working copy computes what that commit computes"
	@echo "make bench     compare images a second with the usual script's, on this machine"
	@echo "make figures   copy the last run's pictures and log of epochs into docs"
	@echo "make lock      pin the newest dependencies in requirements.txt"

$(READY): requirements.txt
	@$(OUTSIDE) $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 …"; exit 1; }
	@echo "$(PYTHON) -m venv --clear .venv"
	@$(OUTSIDE) $(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip sync --quiet --python .venv/bin/python requirements.txt
	@touch $@

demo: $(READY)
	cd demo && dvc repro
	@python demo/summary.py

repro: $(READY)
	dvc repro

# params.yaml is the default recipe; the others are experiments beside it.
quick best: $(READY)
	python recipes/run.py $@

# IMAGE: a file, a folder or a pattern; WEIGHTS: another file than models/model.safetensors.
predict: $(READY)
	@python -m src.predict $(if $(WEIGHTS),--weights "$(WEIGHTS)") "$(or $(IMAGE),$(error say which \
	  picture: make predict IMAGE=photo.jpg))"

# It needs nothing that the pipeline does not: the lock has its server for DVC anyhow.
app: $(READY)
	@python -m src.app $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(PORT),--port "$(PORT)")

check: $(READY)
	ruff check .
	ruff format --check .
	lint-imports --no-logo --no-cache
	mypy

test: check
	pytest -m "not slow"

test-all: check
	pytest

same-bits: $(READY)
	@python -m benchmarks.same_bits $(BASE)

bench: $(READY)
	python -m benchmarks.training
	python -m benchmarks.costs

figures: $(READY)
	python docs/figures.py

lock: $(READY)
	printf 'torch==2.11.0\ntorchvision==0.26.0\n' | uv pip compile --quiet --universal --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --python-version 3.11 --group dev --group app \
	  --constraint - pyproject.toml --output-file requirements.txt --upgrade
