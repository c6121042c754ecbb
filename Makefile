# Every target sets up what it needs, on a fresh Debian machine too. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PIP := $(PY) -m pip --disable-pip-version-check
SEEDS ?= 1000
PYTEST_ARGS ?=
# Processes of `make test`, on two cores: a test with a real Slurm mostly waits, and each has ports and a folder of its own.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup-system demo test test-slurm-releases test-pyslurm test-cookbooks test-images test-kernel-nfs image image-bundle lint format sim scenarios bench docs lock clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup-system:  ## Debian packages that are missing (sudo if you are not root)
	@PYTHON="$(PYTHON)" tools/setup-system

# Made anew only when what is to be installed changed. The stamp is written last, so that a broken install is repeated.
$(INSTALLED): requirements.lock pyproject.toml | setup-system
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --require-hashes -r requirements.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV): $(INSTALLED)  ## The virtual environment, from requirements.lock

demo: setup-system $(INSTALLED)  ## A cluster on this machine runs three jobs and goes away again
	$(VENV)/bin/clustermgtd lab demo

test: setup-system $(INSTALLED)  ## All tests (PYTEST_ARGS="-k word" for some)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=30 $(PYTEST_ARGS)

# Folders of Debian are made once, in build/slurm-releases (SUITES="sid" for one of them).
test-slurm-releases: setup-system $(INSTALLED)  ## What users' releases of Slurm do differently: a matrix (as root)
	$(PY) -m tests.slurm_releases $(SUITES)

# PYSLURM is a checkout of the pyslurm that fits SUITE's Slurm (docs/how-to/pyslurm.md).
SUITE ?= trixie
test-pyslurm: setup-system $(INSTALLED)  ## The adapters' contract over a real pyslurm (PYSLURM=../pyslurm SUITE=trixie; as root)
	tools/test-pyslurm "$(SUITE)" "$(PYSLURM)" $(PYTEST_ARGS)

# Namespaces of their own take every mount and process of the machines with them, however the command ends.
IN_NAMESPACES = unshare --mount --pid --fork --kill-child --mount-proc $(PY) -m pytest -s
test-cookbooks: setup-system $(INSTALLED)  ## Plays make a cluster of containers that runs a job (PYTEST_ARGS="-k trixie"; as root)
	tools/setup-containers
	$(IN_NAMESPACES) tests/cookbooks/story.py tests/cookbooks/images.py $(PYTEST_ARGS)

test-images: setup-system $(INSTALLED)  ## Of those, images alone (PYTEST_ARGS="-k trixie"; as root)
	tools/setup-containers
	$(IN_NAMESPACES) tests/cookbooks/images.py $(PYTEST_ARGS)

# docs/how-to/images.md. VARIABLES is a file of further variables of the roles; STEPS=install,configure for one cluster's.
CLUSTER ?= cluster.yaml
KIND ?= compute
GROUP ?=
VARIABLES ?=
STEPS ?= install
SLURM_RELEASE ?=
PACKER_ARGS ?=
image: $(INSTALLED)  ## An AMI, by Packer (KIND=compute GROUP=q1 CLUSTER=cluster.yaml SLURM_RELEASE=23.11)
	@CLUSTER="$(CLUSTER)" PYTHON="$(PY)" tools/image "$(KIND)" "$(GROUP)" "$(VARIABLES)" "$(STEPS)" "$(SLURM_RELEASE)" \
		$(PACKER_ARGS)

image-bundle: $(INSTALLED)  ## What an image is made of, for EC2 Image Builder (KIND=compute GROUP=q1 CLUSTER=cluster.yaml)
	@CLUSTER="$(CLUSTER)" PYTHON="$(PY)" tools/image-bundle "$(KIND)" "$(GROUP)" "$(VARIABLES)"

test-kernel-nfs: setup-system $(INSTALLED)  ## The kernel's NFS, disks and arrays on virtual machines (slow; as root)
	tools/setup-containers qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs
	$(IN_NAMESPACES) tests/cookbooks/kernel_nfs.py $(PYTEST_ARGS)

lint: $(INSTALLED)  ## ruff, mypy, import contracts
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(INSTALLED)  ## Let ruff write the files anew
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

sim: $(INSTALLED)  ## The long simulation (SEEDS=10000)
	$(PY) -m tests.simulation --seeds $(SEEDS)

scenarios: setup-system $(INSTALLED)  ## What goes wrong in a cluster's life, on real Slurm
	$(VENV)/bin/clustermgtd lab rehearse --write build/scenarios.json

bench: setup-system $(INSTALLED)  ## Measurements, printed
	$(PY) -m tests.benchmarks

docs: $(INSTALLED)  ## Pages that are made from the code
	@mkdir -p build docs/reference
	$(PY) -m clustermgtd.telemetry.reference > build/page.md && mv build/page.md docs/reference/metrics.md
	$(PY) -m clustermgtd.settings.reference > build/page.md && mv build/page.md docs/reference/cluster-yaml.md
	$(PY) -m clustermgtd.telemetry.dashboards cookbooks/roles/monitoring/files/dashboards
	$(PY) -m clustermgtd.decide.node_states > build/page.md && mv build/page.md docs/reference/node-states.md

# uv resolves for every platform and Python from 3.11 on at once. It lives in an environment that is thrown away.
lock: | setup-system  ## requirements.lock from pyproject.toml
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --disable-pip-version-check install -q uv
	build/lock/bin/uv pip compile pyproject.toml --extra lab --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements.lock
	rm -rf build/lock

clean:  ## Everything that was made, the virtual environment included
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
