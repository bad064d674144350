PYTHON ?= python3

# In order: what builds mmcv (the first block of the file), the rest, and this package. mmcv's
# operators take 12 minutes on 2 cores with these flags and 23 with its own.
define environment
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install $$(sed '/^#/d; /^$$/q' $(2))
	CFLAGS='-g0 -O1' MMCV_WITH_OPS=1 $(1)/bin/python -m pip install --no-build-isolation -r $(2)
	$(1)/bin/python -m pip install --no-build-isolation --no-deps --editable .
	@$(1)/bin/python -c 'from mmcv.ops import nms' || { echo 'error: mmcv has no operators, or \
	those of another torch. Remove the old build and try again: \
	$(1)/bin/python -m pip cache remove "*mmcv*"; rm -r $(1)' >&2; exit 1; }
	touch $(1)/.installed
endef

.PHONY: demo test test-upstream lint

demo: .venv/.installed
	.venv/bin/python tools/make_demo_data.py data/demo
	COCO_ROOT=data/demo .venv/bin/python tools/train.py $(DEMO) --work-dir work_dirs/demo
	.venv/bin/python tools/plot_curves.py work_dirs/demo
	COCO_ROOT=data/demo .venv/bin/python tools/test.py $(DEMO) \
		work_dirs/demo/epoch_$(DEMO_EPOCHS).pth --work-dir work_dirs/demo --show-dir pictures

test: .venv/.installed
	.venv/bin/python -m pytest

# The same tests with OpenMMLab's own releases.
test-upstream: .venv-upstream/.installed
	.venv-upstream/bin/python -m pytest

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.venv/.installed: requirements.txt pyproject.toml
	$(call environment,.venv,requirements.txt)

.venv-upstream/.installed: requirements-upstream.txt pyproject.toml
	$(call environment,.venv-upstream,requirements-upstream.txt)
