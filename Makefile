# Needs Python 3.11 or later and make; everything else is installed into .venv.
#   make demo     install, then train on WordNet and compare (a few minutes)
#   make test     install with the development tools, then run every test
#   make lint     ruff and strict types
#   make bench    speed of counting, GloVe and the graph; TEXT, GLOVE and GRAPH say on what
# PIP_ARGS is passed to pip: an index with a CPU build of torch, say, where the default one brings CUDA.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
OUT ?= demo
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.PHONY: demo test lint format docs bench clean
.DEFAULT_GOAL := demo

demo: .venv/demo.installed
	$(BIN)/distjoint demo --out $(OUT)

# The quick tests two at a time; the others start processes, and want the machine to themselves.
test: .venv/dev.installed
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	$(BIN)/python -m pytest -q -n 2 -m unit
	$(BIN)/python -m pytest -q -m "not unit"
endif

lint: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The configuration's page repeats what `distjoint config show` prints.
docs: .venv/dev.installed
	sed '/^```yaml/q' docs/configuration.md > docs/configuration.md.part
	$(BIN)/distjoint config show >> docs/configuration.md.part
	echo '```' >> docs/configuration.md.part
	mv docs/configuration.md.part docs/configuration.md

# TEXT: a corpus file; GLOVE: a built checkout of Stanford's GloVe; GRAPH: a folder with train.txt, valid.txt, test.txt
bench: .venv/demo.installed
	$(if $(TEXT),$(BIN)/python scripts/bench/counting.py --corpus $(TEXT) $(if $(GLOVE),--glove-build $(GLOVE)/build))
	$(BIN)/python scripts/bench/glove.py $(if $(TEXT),--text $(TEXT)) $(if $(GLOVE),--stanford $(GLOVE))
	$(BIN)/python scripts/bench/kge.py $(GRAPH)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@echo "Installing into .venv (once; a minute or two)"
	$(PYTHON) -m venv .venv

.venv/demo.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[demo]'
	@touch $@

.venv/dev.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[dev,demo]'
	@touch $@ .venv/demo.installed
