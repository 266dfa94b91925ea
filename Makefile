# One-word targets for people and CI alike; `make help` lists them.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RESULTS ?= results
SEEDS ?= 10
PAGES := README.md $(wildcard docs/*.md)

.DEFAULT_GOAL := help
.PHONY: venv-without-ensurepip help install install-pytorch install-all data reproduce run test test-all test-quick test-endurance check format bench docs site dist clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed 's/:.*  ## /\t/' | expand -t 14

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gradclip needs Python 3.11 or newer; say which: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(MAKE) --no-print-directory venv-without-ensurepip

# Debian's Python has no pip for its venvs unless python3-venv is installed. The same pip comes in python3-pip-whl, which
# apt can fetch and dpkg unpack without root.
venv-without-ensurepip:
	@rm -rf $(VENV)
	@$(PYTHON) -m venv --without-pip $(VENV)
	@set -e; work=$$(mktemp -d); trap 'rm -rf '$$work EXIT; here=$$PWD; mkdir -p $$work/lists/partial $$work/archives/partial; cd $$work; \
	apt="apt-get -q -oDir::State::Lists=$$work/lists -oDir::Cache=$$work -oAPT::Sandbox::User="; \
	{ $$apt update && $$apt download python3-pip-whl && dpkg-deb --extract python3-pip-whl_*.deb .; } >/dev/null 2>&1 || \
	{ rm -rf $$here/$(VENV); echo "Python's venv has no pip. On Debian: apt-get install python3-venv, then the same make again."; exit 1; }; \
	PYTHONPATH=$$(echo usr/share/python-wheels/pip-*.whl) $$here/$(BIN)/python -m pip install --quiet --disable-pip-version-check pip

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $@

install: $(VENV)/.installed  ## Make .venv and install gradclip into it

install-pytorch: $(VENV)/.installed  ## PyTorch too, as pip finds it (its CPU build is far smaller: install that one first)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pytorch]'

# JAX in a folder of its own, for the tests that train with it: Keras imports it wherever it finds it, into all that trains.
$(VENV)/jax: $(VENV)/.installed-dev constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps -c constraints.txt --target $@ jax jaxlib
	@touch $@

install-all: $(VENV)/.installed-dev $(VENV)/jax  ## All that is tested: PyTorch, JAX, Lightning and Hugging Face's Transformers too
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,pytorch,recorders]'

data: install  ## Find or fetch Fashion-MNIST, and verify it
	$(BIN)/gradclip data --fetch

reproduce: data  ## The article's claims, with 10 seeds (SEEDS=30 for more): train, compare, report
	$(BIN)/gradclip reproduce --seeds $(SEEDS) --results $(RESULTS)/reproduce

run: data  ## The article with one seed: train none, clipnorm and clipvalue, and compare them
	$(BIN)/gradclip run none clipnorm clipvalue --results $(RESULTS)
	$(BIN)/gradclip compare none clipnorm clipvalue --results $(RESULTS)

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/.installed-dev data  ## What a change can break, in a few minutes (PyTorch's too, where it is installed)
	$(PYTEST) -m 'not slow and not endurance'

test-all: install-all test  ## All tests but the endurance ones: test, then the slow ones
	$(PYTEST) -m 'slow and not endurance'

test-endurance: $(VENV)/.installed-dev data  ## What takes many minutes: runs killed again and again, thousands of hostile inputs
	$(BIN)/python -m pytest -m 'endurance'

test-quick: $(VENV)/.installed-dev  ## What takes a minute: no training, no processes that train
	$(PYTEST) -m 'not trains and not slow and not endurance'

check: $(VENV)/.installed-dev  ## Lint, formatting, types, and generated text that must be fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/gradclip schema | cmp - configs/schema.json
	$(BIN)/cog --check -I . $(PAGES)
	$(BIN)/python docs/make_frameworks.py --check
	$(BIN)/python docs/make_recording.py --check

format: $(VENV)/.installed-dev  ## Put the code in its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev  ## Write the generated parts of README and docs anew (which needs install-all), and build the site
	$(BIN)/gradclip schema > configs/schema.json
	$(BIN)/cog -r -I . $(PAGES)
	$(BIN)/python docs/make_frameworks.py
	$(BIN)/python docs/make_recording.py
	$(BIN)/python docs/make_picture.py
	$(BIN)/python docs/make_rules_picture.py
	$(BIN)/python docs/make_fall_picture.py
	@$(MAKE) --no-print-directory site

site: $(VENV)/.installed-dev  ## Build the documentation in build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f docs/site/mkdocs.yml

dist: $(VENV)/.installed-dev  ## Build the sdist, and from it the wheel, into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

bench: data  ## Time the engine and the pool beside the article's model.fit (about an hour)
	$(BIN)/python benchmarks/bench.py

clean:  ## Remove .venv and caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
