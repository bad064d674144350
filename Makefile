PYTHON ?= python3
DEMO := configs/detection/ssdlite_edgenext_xx_small_demo.py
DEMO_SEG := configs/segmentation/deeplabv3_edgenext_xx_small_demo.py
DEMO_CLS := configs/classification/edgenext_xx_small_demo.py
EXPORT := work_dirs/demo_export

# How the tests run: make test ARGS='tests/test_datasets -k image' WORKERS=4
# A test file stays in one of the worker processes, so that its fixtures are built once; the order
# of the files is that of tests/conftest.py. A worker that dies ends the run: with one in its place
# xdist would wait for ever.
WORKERS ?= 2
PYTEST = -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder \
	--max-worker-restart=0 $(ARGS)

.PHONY: help demo demo-seg demo-cls demo-export demo-page compare test test-all test-fast test-page \
	test-upstream coverage fuzz soak lint docs
.DEFAULT_GOAL := help

help: ## show what there is to make
	@sed -nE 's/^([a-z-]+):.* ## (.*)/  make \1\t\2/p' Makefile | expand -t 22

demo: .venv/.installed ## draw a dataset, train SSDLite EdgeNeXt-XX-S on it, test it, draw results
	.venv/bin/python tools/make_demo_data.py data/demo
	COCO_ROOT=data/demo .venv/bin/python tools/train.py $(DEMO) --work-dir work_dirs/demo
	COCO_ROOT=data/demo .venv/bin/python tools/test.py $(DEMO) "$$(cat work_dirs/demo/last_checkpoint)" \
		--work-dir work_dirs/demo --show-dir $(CURDIR)/work_dirs/demo/pictures
	.venv/bin/python tools/analysis/plot_run.py work_dirs/demo

demo-seg: .venv/.installed ## the same with DeepLabv3, on masks of the same scenes
	.venv/bin/python tools/make_demo_data.py data/demo
	VOC_ROOT=data/demo/VOC2012 .venv/bin/python tools/train.py $(DEMO_SEG) --work-dir work_dirs/demo_seg
	VOC_ROOT=data/demo/VOC2012 .venv/bin/python tools/test.py $(DEMO_SEG) \
		"$$(cat work_dirs/demo_seg/last_checkpoint)" \
		--work-dir work_dirs/demo_seg --show-dir work_dirs/demo_seg/pictures
	.venv/bin/python tools/analysis/plot_run.py work_dirs/demo_seg

demo-cls: .venv/.installed ## the same with a classifier, on crops of the objects
	.venv/bin/python tools/make_demo_data.py data/demo
	IMAGENET_ROOT=data/demo/imagenet .venv/bin/python tools/train.py $(DEMO_CLS) --work-dir work_dirs/demo_cls
	IMAGENET_ROOT=data/demo/imagenet .venv/bin/python tools/test.py $(DEMO_CLS) \
		"$$(cat work_dirs/demo_cls/last_checkpoint)" \
		--work-dir work_dirs/demo_cls --show-dir work_dirs/demo_cls/pictures
	.venv/bin/python tools/analysis/plot_run.py work_dirs/demo_cls

# Their mAP stands beside that of the checkpoint, and their time beside that of torchvision's
# detector.
demo-export: .venv/.installed work_dirs/demo/last_checkpoint ## ONNX files of the demo's detector
	rm -f $(EXPORT)/*.json
	COCO_ROOT=data/demo .venv/bin/python tools/export.py $(DEMO) "$$(cat work_dirs/demo/last_checkpoint)" \
		--out $(EXPORT)/float32.onnx
	COCO_ROOT=data/demo .venv/bin/python tools/export.py $(DEMO) "$$(cat work_dirs/demo/last_checkpoint)" \
		--int8 --out $(EXPORT)/int8.onnx
	for file in "$$(cat work_dirs/demo/last_checkpoint)" $(EXPORT)/float32.onnx $(EXPORT)/int8.onnx; do \
		COCO_ROOT=data/demo .venv/bin/python tools/test.py $(DEMO) "$$file" --work-dir $(EXPORT) \
			--json "$(EXPORT)/$$(basename "$$file").json" || exit 1; \
	done
	.venv/bin/python tools/benchmark.py $(DEMO) --exported $(EXPORT)/float32.onnx $(EXPORT)/int8.onnx \
		--metrics $(EXPORT)/*.json

demo-page: .venv-demo/.installed work_dirs/demo/last_checkpoint ## a page in the browser to try the demo's detector
	.venv-demo/bin/python tools/demo.py $(DEMO) --checkpoint "$$(cat work_dirs/demo/last_checkpoint)"

# Small images, for all of it to be done in hours on two cores. A run that was stopped goes on.
SEEDS ?= 0 1 2
RATE ?= 1e-2
HEADS ?= ssdlite deeplabv3
BACKBONES ?= edgenext_xx_small edgenext_x_small mobilenet_v2_050 mobilenet_v2 mobilevit_xx_small
SSDLITE ?= input_size=128,128 max_epochs=30 train_cfg.val_interval=30
DEEPLABV3 ?= size=128 max_iters=400 train_cfg.val_interval=400 default_hooks.checkpoint.interval=50 \
	custom_hooks.0.momentum=0.02
COMPARE := work_dirs/compare_$(RATE)
# A seed after the other, and so a table of one seed soon.
RUNS = $(foreach seed,$(SEEDS),$(foreach head,$(HEADS),$(foreach backbone,$(BACKBONES),\
	$(COMPARE)/$(head)_$(backbone)/seed_$(seed))))

compare: $(RUNS:=/.trained) ## train EdgeNeXt and its rivals alike on the drawn scenes, print a table
	.venv/bin/python tools/analysis/compare_runs.py $(RUNS) --threads 1 --calls 60

$(COMPARE)/ssdlite_%/.trained: | data/demo/demo_data.json
	COCO_ROOT=data/demo $(call train,ssdlite,$(SSDLITE))

$(COMPARE)/deeplabv3_%/.trained: | data/demo/demo_data.json
	VOC_ROOT=data/demo/VOC2012 $(call train,deeplabv3,$(DEEPLABV3))

define train
.venv/bin/python tools/train.py configs/*/$(1)_$(*D)_demo.py --work-dir $(@D) --resume \
		--cfg-options $(2) randomness.seed=$(subst seed_,,$(*F)) optim_wrapper.optimizer.lr=$(RATE)
	touch $@
endef

data/demo/demo_data.json: | .venv/.installed
	.venv/bin/python tools/make_demo_data.py data/demo

work_dirs/demo/last_checkpoint:
	@echo 'error: there is no $@: run make demo first' >&2; exit 1

# Workers that share the cores have one OpenMP thread each, unless the environment says otherwise.
test test-all test-fast test-page test-upstream coverage fuzz soak: export OMP_NUM_THREADS ?= 1

test: .venv/.installed ## run the tests
	.venv/bin/python $(PYTEST)

test-all: .venv/.installed ## and those that take minutes, such as runs killed again and again
	.venv/bin/python $(PYTEST) -m '' -o faulthandler_timeout=7200

test-fast: .venv/.installed ## without the tests that take seconds, for the daily loop
	.venv/bin/python $(PYTEST) -m 'not slow and not soak'

test-page: .venv-demo/.installed ## the tests of the page to try models, in Chromium if there is one
	.venv-demo/bin/python -m pytest $(ARGS) tests/test_analysis/test_page.py edgenext_mm/analysis/page.py

test-upstream: .venv-upstream/.installed ## run the tests with OpenMMLab's own releases
	.venv-upstream/bin/python $(PYTEST)

coverage: .venv/.installed ## run the tests and print which lines they do not reach
	.venv/bin/python $(PYTEST) --cov --cov-report=term-missing:skip-covered

# Without the limit on a test's time.
soak: .venv/.installed ## train the demos for two hours, stopped at random again and again
	SOAK_MINUTES=$${SOAK_MINUTES:-120} .venv/bin/python -m pytest -m soak -s \
		-o faulthandler_timeout=0 tests/test_soak.py $(ARGS)

fuzz: .venv/.installed ## try ten times as many spoiled datasets as make test, other ones each time
	FUZZ_CASES=20000 .venv/bin/python -m pytest --numprocesses=$(WORKERS) \
		tests/test_datasets/test_fuzz.py $(ARGS)

lint: .venv/.installed ## check style, import layers and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

# Material's advertisement of its successor is no fault of the docs.
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/.installed ## build the site of docs/, README.md and the docstrings: build/site/index.html
	.venv/bin/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

.venv/.installed: requirements.txt requirements-export.txt pyproject.toml
	$(call install,.venv,requirements.txt)

.venv-upstream/.installed: requirements-upstream.txt pyproject.toml
	$(call install,.venv-upstream,requirements-upstream.txt)

# On top of .venv, what does not fit into it: LiteRT's converter for tools/export.py --format litert,
# and Gradio for tools/demo.py.
.PHONY: .venv-litert .venv-demo
.venv-litert: .venv-litert/.installed
.venv-demo: .venv-demo/.installed

.venv-litert/.installed: requirements-litert.txt .venv/.installed
	$(call above,.venv-litert)
	.venv-litert/bin/python -m pip install --no-deps -r requirements-litert.txt
	.venv-litert/bin/python -c 'import litert_torch'
	touch $@

.venv-demo/.installed: requirements-demo.txt .venv/.installed
	$(call above,.venv-demo)
	.venv-demo/bin/python -m pip install -r requirements-demo.txt
	.venv-demo/bin/python -c 'import gradio'
	touch $@

# addsitedir, and not its path alone, of which Python would not read the .pth of this editable package.
define above
$(PYTHON) -m venv $(1)
.venv/bin/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
	> "$$($(1)/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth"
endef

# In order: what builds mmcv (the first block of the file), the rest, and this package. The flags
# halve the build time of mmcv's operators, of which only NMS is in use here, at evaluation.
define install
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install $$(sed '/^#/d; /^$$/q' $(2))
CFLAGS='-g0 -O1' MMCV_WITH_OPS=1 $(1)/bin/python -m pip install --no-build-isolation -r $(2)
$(1)/bin/python -m pip install --no-build-isolation --no-deps --editable .
@$(1)/bin/python -c 'from mmcv.ops import nms' || { echo '$(no_operators)' >&2; exit 1; }
touch $@
endef
no_operators = error: mmcv has no operators, or those of another torch. Remove its old build and \
	try again: $(1)/bin/python -m pip cache remove "*mmcv*"; rm -r $(1)
