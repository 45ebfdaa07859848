# `make` alone lists the targets. Needs make, awk and Python 3.11 or later, or uv; everything else is set up here.

PYTHON ?= python3
VENV   ?= .venv

bin   := $(VENV)/bin
ready := $(VENV)/.ready
locks := requirements-dev.txt requirements-build.txt
uv    := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(bin)/uv)

# The newest Python for which every locked package has a wheel; a later one is not refused.
newest := 3.14

QUESTION := What happens when an exception is raised, and how do try, except and finally handle it?

# No tool reaches for the network, or asks anything, behind our back.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Bytecode is kept, whatever is set outside: a service starts in a third of the time.
export PYTHONDONTWRITEBYTECODE :=
export UV_PYTHON_DOWNLOADS := never
export UV_VENV_CLEAR := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint types evals chaos soak docs bench lock environment

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  With another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13'

setup: $(ready) ## Install everything into .venv; does nothing where nothing changed

demo: $(ready) ## Ask one question and print the cited report; needs no key and no Docker
	@$(bin)/dossier ask "$(QUESTION)" --yes

run: $(ready) ## Start NATS and the four services
	@$(bin)/dossier up

test: $(ready) $(bin)/promtool ## Run every test, on all cores
	@$(bin)/pytest -n auto --durations 10

lint: $(ready) ## ruff, pyright and import-linter
	@$(bin)/ruff check
	@$(bin)/ruff format --check
	@$(bin)/pyright --pythonpath $(bin)/python
	@$(bin)/lint-imports --no-logo
	@$(bin)/python -m tests.measures

types: $(ready) ## pyright once more, for the newest Python that is supported; `make lint` takes the oldest
	@$(bin)/pyright --pythonpath $(bin)/python --pythonversion $(newest)

evals: $(ready) ## Replay recorded runs and ask a corpus with today's prompts and code, offline; KEEP=1 keeps the figures
	@$(bin)/python -m tests.evals $(if $(KEEP),--keep)

chaos: $(ready) ## Kill everything at random for a while, then check the log; SECONDS=, SEED=, SCENARIO=single|cluster
	@$(bin)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SCENARIO),--scenario $(SCENARIO))

soak: $(ready) ## Replace every service while 500 runs are in flight and 500 on hold, then check the log; RUNS=
	@$(bin)/python -m tests.upgrade $(if $(RUNS),--runs $(RUNS))

docs: $(ready) ## Generate docs/reference/ from the code
	@$(bin)/python -m tests.docs.reference

bench: $(ready) ## Measure runs a second, latency, CPU, memory; FLOOR=script.py measures that beside
	@$(bin)/python -m tests.bench $(if $(FLOOR),--floor $(FLOOR))

# Pins stay as they are unless pyproject.toml asks otherwise, or with UPGRADE=1.
compile = $(uv) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

lock: environment ## Pin all dependencies again, with hashes; UPGRADE=1 takes the newest
	@$(compile) pyproject.toml -o requirements.txt
	@$(compile) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	@printf '%s\n' 'hatchling>=1.27' editables setuptools uv | $(compile) - -c requirements-dev.txt -o requirements-build.txt

# The environment is exactly what the locks say, then the project itself, built with what they pinned; so is nkeys, which
# has no wheel.
$(ready): $(locks) pyproject.toml | environment
	@$(uv) pip install --quiet --python $(bin)/python --require-hashes -r requirements-build.txt
	@$(uv) pip sync --quiet --python $(bin)/python --require-hashes --no-build-isolation $(locks)
	@$(uv) pip install --quiet --python $(bin)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Prometheus' own tool for its rules: the one on PATH, else that of Debian's package, of which nothing is installed.
$(bin)/promtool: | environment
	@tool="$$(command -v promtool)" || { \
	  cd $(VENV) && rm -rf promtool && mkdir promtool && cd promtool \
	  && apt-get download -qq -o APT::Sandbox::User=root prometheus >/dev/null && dpkg -x prometheus_*.deb . \
	  && mv usr/bin/promtool . && rm -r etc lib usr var prometheus_*.deb; tool="$$PWD/promtool"; }; \
	test -x "$$tool" && ln -sf "$$tool" $(CURDIR)/$@ \
	  || echo 'There is no promtool, so the alert rules cannot be tested: install the package prometheus.' >&2

# uv as it is pinned, with the Python `$1`, and what it takes to install it.
pinned_uv = awk '/^[a-z]/ { on = /^uv==/ } on' requirements-build.txt > $2/uv.txt \
	&& $1 -m pip install --quiet --require-hashes -r $2/uv.txt

# $(PYTHON) is missing or too old: uv takes a newer Python of this machine, $(newest) at most, and else fetches one. Without
# a uv on PATH, the old Python brings one, for as long as this takes.
define newer_python
	echo "$(PYTHON) is not Python 3.11 or later: uv looks for one on this machine, and fetches one if there is none"; \
	old="$$(mktemp -d)" && trap 'rm -rf "$$old"' EXIT; \
	if [ "$(uv)" = uv ]; then uv=uv; \
	else uv="$$old/bin/uv"; $(PYTHON) -m venv "$$old" && $(call pinned_uv,"$$old/bin/python","$$old"); fi \
	&& UV_PYTHON_DOWNLOADS=automatic "$$uv" venv --quiet --python '>=3.11,<=$(newest).99' $(VENV) \
	&& { [ "$(uv)" = uv ] || "$$uv" pip install --quiet --python $(bin)/python --require-hashes -r "$$old/uv.txt"; } || { \
	  echo "No Python 3.11 or later was found or fetched. Install one, and name it: make PYTHON=python$(newest)" >&2; exit 1; }
endef

# An interpreter and uv: the one on PATH, else one of the environment's own.
environment:
	@test -x $(bin)/python || { \
	  echo "Setting up $(VENV), once"; \
	  if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then $(newer_python); \
	  elif [ "$(uv)" = uv ]; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	  else $(PYTHON) -m venv $(VENV); fi \
	  && echo '*' > $(VENV)/.gitignore; }
	@$(uv) --version >/dev/null 2>&1 || { $(call pinned_uv,$(bin)/python,$(VENV)); }
