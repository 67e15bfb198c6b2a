# make demo: the complete study on synthetic radiographs.   make test: the checks.   make help: the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
JAXCXR := $(BIN)/jaxcxr
DEMO := demo

# Compiled networks are kept between runs.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.5
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help demo test test-all test-torch test-export test-viewer test-newest test-lowest torture docs wheel lint lock clean

help:
	@echo "make demo   train and score a small network on synthetic radiographs, write a report"
	@echo "make test   the tests that need neither PyTorch nor a GPU, but for slow ones"
	@echo "make test-all  those, and the slow ones"
	@echo "make test-torch  the comparisons with PyTorch and TorchXRayVision; installs them into .venv first"
	@echo "make test-export  exports to ONNX, TensorFlow and others, in an environment of its own"
	@echo "make test-viewer  jaxcxr view in a browser, in an environment of its own; needs Chromium"
	@echo "make docs   the documentation as a site, into site/, in an environment of its own"
	@echo "make torture  kills a training 50 times, gives the readers 20,000 invalid inputs; 20 minutes"
	@echo "make test-newest PYTHON=python3.13  the tests with the newest packages, on a Python of choice"
	@echo "make test-lowest PYTHON=python3.11  the tests with the oldest packages that pyproject.toml allows"
	@echo "make wheel  build the wheel into dist/ and try it in an empty environment"
	@echo "make lint   ruff and pyright"
	@echo "make lock   update constraints.txt from pyproject.toml"
	@echo "make clean  remove the demo; .venv and caches stay"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); jaxcxr needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing the packages of constraints.txt into $(VENV); this takes a minute or two"
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

# Large pages for glibc, where programs have to ask for them: a training step on a CPU is faster.
# The second phantom chooses where heat maps are cut: the boxes to be scored must not.
demo: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
demo: $(VENV)/installed
	$(JAXCXR) make_phantom --out=$(DEMO)/release --images=3000 --image_size=128 --seed=0
	$(JAXCXR) make_phantom --out=$(DEMO)/tuning/release --images=3000 --image_size=128 --seed=1
	$(JAXCXR) prepare --release=$(DEMO)/release --data_dir=$(DEMO)/datasets --image_size=96
	$(JAXCXR) prepare --release=$(DEMO)/tuning/release --data_dir=$(DEMO)/tuning/datasets --image_size=96
	$(JAXCXR) train --config=demo --data_dir=$(DEMO)/datasets --workdir=$(DEMO)/localizer
	$(JAXCXR) train --config=demo_baseline --data_dir=$(DEMO)/datasets --workdir=$(DEMO)/baseline
	@$(MAKE) --no-print-directory $(foreach run,localizer baseline,$(foreach table,auc localization,\
	  $(DEMO)/$(run)/evaluation/$(table).csv))
	$(JAXCXR) report --workdirs=$(DEMO)/localizer,$(DEMO)/baseline --out=$(DEMO)/report.html
	@echo "Next: $(JAXCXR) predict --workdir=$(DEMO)/localizer --out=$(DEMO)/predicted $(DEMO)/release/images/0000000*.png"

$(DEMO)/%/evaluation/auc.csv: $(DEMO)/%/history.csv
	$(JAXCXR) evaluate_auc --workdir=$(DEMO)/$* --data_dir=$(DEMO)/datasets

$(DEMO)/%/evaluation/localization.csv: $(DEMO)/%/history.csv
	$(JAXCXR) evaluate_boxes --workdir=$(DEMO)/$* --data_dir=$(DEMO)/datasets

$(DEMO)/localizer/evaluation/localization.csv: $(DEMO)/localizer/box_rule.csv

$(DEMO)/localizer/box_rule.csv: $(DEMO)/localizer/history.csv
	$(JAXCXR) tune_boxes --workdir=$(@D) --data_dir=$(DEMO)/tuning/datasets \
	  --heatmap=layer_cam --stage=1 --stage=2 --flip --size_factor=1 --size_factor=1.25

test-torch: $(VENV)/installed-test
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[torch]' \
		'torch==2.13.0' 'torchvision==0.28.0' 'torchxrayvision==1.5.7'
	$(RUN) -m pytest --numprocesses=auto --dist=loadfile tests/torch

# Gradio wants older packages than constraints.txt has.
test-viewer: $(VENV)-viewer/installed
	$(<D)/bin/python -m pytest tests/viewer

$(VENV)-viewer/installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[test,viewer]' playwright
	@touch $@

# Warnings are errors: links, anchors, names of the reference. Material warns of MkDocs 2, which is not used.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)-docs/installed
	$(<D)/bin/mkdocs build --quiet --strict
	@echo "written to site/; to read it: python3 -m http.server --directory site"

$(VENV)-docs/installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[docs]'
	@touch $@

# Everything from a seed; what the campaigns print stays in .cache/torture.
KILLS ?= 50
INPUTS ?= 20000
SEED ?= 0
torture: $(VENV)/installed-test
	@mkdir -p .cache/torture
	$(RUN) -m tests.torture.kill --kills $(KILLS) --seed $(SEED) --programs train > .cache/torture/kills.json; \
	  status=$$?; cat .cache/torture/kills.json; exit $$status
	FUZZ_INPUTS=$(INPUTS) $(RUN) -m pytest --numprocesses=auto --hypothesis-seed=$(SEED) \
	  --hypothesis-show-statistics --ignore=tests/torture/test_campaigns.py tests/torture \
	  > .cache/torture/fuzz.txt; status=$$?; tail -n 20 .cache/torture/fuzz.txt; exit $$status

# The networks of the tests are tiny: compiling them takes longer than running them. make test-torch,
# make demo and make torture run what users run.
test test-all test-export test-viewer test-newest test-lowest: export JAX_DISABLE_MOST_OPTIMIZATIONS ?= 1

# Environments of their own, without constraints.txt.
test-newest: $(VENV)-newest-$(notdir $(PYTHON))/installed
	$(<D)/bin/python -m pytest --numprocesses=auto --dist=loadfile

# Newer Pythons have no wheels of packages that old.
test-lowest: $(VENV)-lowest/installed
	$(<D)/bin/python -m pytest --numprocesses=auto --dist=loadfile

# jax2onnx needs an older Orbax than constraints.txt has.
test-export: $(VENV)-export/installed
	$(<D)/bin/python -m pytest --numprocesses=auto --dist=worksteal tests/export

$(VENV)-export/installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[test,onnx,tflite,torch]'
	@touch $@

$(VENV)-newest-%/installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[test]'
	@touch $@

$(VENV)-lowest/installed: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --resolution lowest-direct --editable '.[test]'
	@touch $@

$(BIN)/uv: | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check uv

# A slow test is left out where a quicker one holds the same promise; its docstring names that one.
test: lint
	$(RUN) -m pytest --numprocesses=auto --dist=loadfile -m 'not slow'

test-all: lint
	$(RUN) -m pytest --numprocesses=auto --dist=loadfile

# Outside of the clone, without constraints.txt: what `pip install` gives.
wheel: | $(BIN)/uv
	rm -rf dist $(VENV)-wheel
	$(BIN)/uv build --quiet --out-dir dist .
	$(BIN)/uv venv --quiet --python $(PYTHON) $(VENV)-wheel
	$(BIN)/uv pip install --quiet --python $(VENV)-wheel/bin/python dist/*.whl
	cd / && $(CURDIR)/$(VENV)-wheel/bin/jaxcxr --help
	cd "$$(mktemp -d)" && $(CURDIR)/$(VENV)-wheel/bin/jaxcxr make_phantom --out=release --images=60 --image_size=64 && \
	  $(CURDIR)/$(VENV)-wheel/bin/jaxcxr prepare --release=release --data_dir=datasets --image_size=96 && \
	  $(CURDIR)/$(VENV)-wheel/bin/jaxcxr train --config=demo --data_dir=datasets --workdir=run --config.epochs=1 && \
	  $(CURDIR)/$(VENV)-wheel/bin/jaxcxr predict --workdir=run --out=predicted release/images/0000000*.png && \
	  rm -r "$$PWD"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

lock: | $(BIN)/uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	  --extra test --quiet --upgrade --custom-compile-command "make lock" --output-file constraints.txt

clean:
	rm -rf $(DEMO)
