# `make demo` and `make test` need Python 3.11, pip and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
BACKENDS = tensorflow jax torch
# What is imported is compiled then; the rest of TensorFlow never is.
# CONSTRAINTS= takes the newest of everything.
CONSTRAINTS ?= constraints.txt
PIP = $(BIN)/python -m pip install -qq --no-compile $(addprefix -c ,$(CONSTRAINTS))
RUN ?= runs/demo
# What says most about other versions of what we stand on: the step and the formulas against the
# oracles; training, saving and loading; files of earlier versions. Data frames, too: where pandas is
# installed Keras imports it, which costs each of the many processes that other tests start.
OLDEST = .venv-oldest
OLDEST_TESTS = $(addprefix tests/,test_loss.py test_formulas.py test_models.py test_frames.py golden)

.PHONY: demo docs mobile test $(BACKENDS:%=test-%) test-oldest test-slow test-web coverage lint wheel release-check clean

demo: $(VENV)/demo
	@$(BIN)/python examples/demo.py $(if $(filter runs/demo,$(RUN)),--overwrite) $(RUN)

# The page with the models that come along, or with a run of your own: make mobile MODEL=runs/mine
# Of a file that Python made, too: make mobile MODEL=mine.keras. What takes data is then rounded by
# what the model makes; or by data, as train takes them: make mobile MODEL=mine.keras DATA=mine.npz
mobile: $(VENV)/demo
	@[ -z "$(MODEL)" ] || $(BIN)/python -m export --format tflite,onnx --graph all \
		--quantize none,int8 --model "$(MODEL)" $(if $(DATA),--data "$(DATA)")
	@npm install --no-package-lock --no-audit --no-fund --prefix mobile_demo/web
	@MODELS="$(if $(MODEL),$(abspath $(MODEL:%.keras=%.keras/..))/export,$(CURDIR)/mobile_demo/models)" \
		npm run build --prefix mobile_demo/web
	@npm run serve --prefix mobile_demo/web

# One process a backend, all at once: two in a row each import it, compile and export anew. That of
# TensorFlow, which exports, takes longest and goes first; PyTorch's and JAX' are to end together.
NICE_tensorflow = 0
NICE_torch = 4
NICE_jax = 5
test: lint
	@$(MAKE) --no-print-directory --keep-going --jobs $(BACKENDS:%=test-%)

test-tensorflow test-jax test-torch: SHELL = bash -o pipefail
test-tensorflow test-jax test-torch: test-%: $(VENV)/dev
	@KERAS_BACKEND=$* nice -n $(NICE_$*) $(BIN)/python -m pytest -q | sed -u "s/^/$*: /"

# A part of the tests on the oldest versions that pyproject.toml allows, with one backend.
test-oldest: $(OLDEST)/installed
	@KERAS_BACKEND=jax $(OLDEST)/bin/python -m pytest -q $(OLDEST_TESTS)

test-slow: $(VENV)/dev
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q tests/test_properties.py \
			-m "slow or not slow" --hypothesis-profile=slow || exit 1; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -m slow; \
		status=$$?; [ $$status -eq 0 ] || [ $$status -eq 5 ] || exit $$status; \
	done

# Lines and branches that the tests run, on all three backends and in the processes that they start,
# with the slower ones of export and evaluation.
coverage: $(VENV)/dev
	@$(BIN)/python -m coverage erase
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m coverage run -m pytest -q || exit 1; \
	done
	@KERAS_BACKEND=tensorflow $(BIN)/python -m coverage run -m pytest -q -m slow \
		tests/export/test_quantization.py tests/test_evaluation.py
	@$(BIN)/python -m coverage combine -q
	@$(BIN)/python -m coverage report --skip-covered

# Needs Node and Chromium (Debian: apt-get install chromium).
test-web:
	@npm install --no-package-lock --no-audit --no-fund --prefix mobile_demo/web
	@npm test --prefix mobile_demo/web
	@npm run e2e --prefix mobile_demo/web

# The site, in build/site. A warning is an error. NOTEBOOKS=off does not execute them.
NOTEBOOKS ?= force
SPHINX = $(BIN)/python -m sphinx -q -W --keep-going -D nb_execution_mode=$(NOTEBOOKS)
docs: $(VENV)/docs
	@KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 $(SPHINX) -d build/doctrees docs build/site
	@echo "Written: build/site/index.html"

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/zizmor --offline --quiet .github/workflows

wheel: $(VENV)/dev
	@$(BIN)/python -m build --wheel --no-isolation

# Source archive and wheel in dist/: the same bytes twice, checked, installed and tried.
release-check: $(VENV)/dev
	@$(BIN)/python -m tests.release $(if $(TAG),--tag "$(TAG)")

# One environment; `dev` holds all that `demo` needs and more.
$(VENV)/demo: pyproject.toml constraints.txt
	@[ -d $(VENV) ] || { $(PYTHON) -m venv $(VENV) && touch $(VENV)/made_by_make; }
	@echo "Installing keras-vae with TensorFlow and the export runtimes (minutes, once) ..."
	@$(PIP) -e ".[tensorflow,cli,export]"
	@touch $@

# All extras with dependency groups, which pip knows from 25.1 on. One call, for one pip settles what
# several need of a third; torch before, so that it is the build that constraints.txt names.
EXTRAS = tensorflow,jax,torch,cli,export,export-lite,export-onnx,music,tfp
define install_groups
	@[ -d $(VENV) ] || { $(PYTHON) -m venv $(VENV) && touch $(VENV)/made_by_make; }
	@echo "Installing keras-vae with all backends and $(1) (minutes, once) ..."
	@$(PIP) --upgrade "pip>=25.1"
	@$(PIP) torch
	@$(PIP) -e ".[$(EXTRAS)]" $(2)
	@$(PIP) "tflite-micro>=0.dev0" pyyaml bitarray || echo "No TFLite Micro here: its tests are skipped."
endef

$(VENV)/dev: pyproject.toml constraints.txt
	$(call install_groups,test tools,--group dev)
	@touch $@ $(VENV)/demo

$(VENV)/docs: pyproject.toml constraints.txt
	$(call install_groups,what tests and documentation need,--group dev --group docs)
	@touch $@ $(VENV)/dev $(VENV)/demo

$(OLDEST)/installed: pyproject.toml constraints-oldest.txt
	@[ -d $(OLDEST) ] || { $(PYTHON) -m venv $(OLDEST) && touch $(OLDEST)/made_by_make; }
	@echo "Installing the oldest versions that keras-vae works with (a minute, once) ..."
	@$(OLDEST)/bin/pip install --quiet --no-compile -c constraints-oldest.txt -e ".[jax,cli]" \
		hypothesis pandas polars pytest
	@touch $@

# What make made: never runs, nor an environment that was there before.
clean:
	@for folder in $(VENV) $(OLDEST); do \
		[ ! -e $$folder/made_by_make ] || rm -rf $$folder; \
	done
	rm -rf build keras_vae.egg-info
	rm -f dist/keras_vae-*.whl
