# `make demo` and `make test` need Python 3.11, pip and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BACKENDS = tensorflow jax torch
PIP = $(BIN)/pip install --quiet -c constraints.txt
RUN ?= runs/demo

.PHONY: demo test test-slow lint wheel clean

demo: $(VENV)/demo
	@rm -rf $(RUN)
	@$(BIN)/python examples/demo.py $(RUN)

test: $(VENV)/dev lint
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -n 2 --dist worksteal || exit 1; \
	done

test-slow: $(VENV)/dev
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -m slow; \
		status=$$?; [ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; \
	done

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

wheel: $(VENV)/dev
	@$(BIN)/python -m build --wheel --no-isolation

# One environment; `dev` holds all that `demo` needs and more.
$(VENV)/demo: pyproject.toml constraints.txt
	@[ -d $(VENV) ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing keras-vae with TensorFlow and the export runtimes (minutes, once) ..."
	@$(PIP) -e ".[tensorflow,cli,export]"
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt
	@[ -d $(VENV) ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing keras-vae with all backends and test tools (minutes, once) ..."
	@$(PIP) torch
	@$(PIP) -e ".[dev]"
	@$(PIP) "tflite-micro>=0.dev0" pyyaml bitarray || echo "No TFLite Micro here: its tests are skipped."
	@touch $@ $(VENV)/demo

clean:
	rm -rf $(VENV) runs build dist *.egg-info
