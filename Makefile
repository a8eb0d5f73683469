# Every target sets up .venv first. `make quickstart` and `make test` are all a newcomer needs.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: setup quickstart test check format plan

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python %d.%d is too old: posttrain_jax needs 3.11 or newer; run make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --constraint constraints.txt --group dev --editable .
	@touch $@

quickstart: setup
	$(RUN) experiments/quickstart.py

test: setup
	$(RUN) -m pytest --quiet --numprocesses auto --maxprocesses 4 --dist worksteal

check: test
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m pyright --pythonpath $(RUN)

plan: setup
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[tpu]'
	$(RUN) tpu/plan.py --model tpu/shapes/qwen2.5-7b.json --topology v5p:4x4x4 --groups 64 --group-size 8 \
		--prompt-len 512 --completion-len 1024 --mesh.tensor 4

format: setup
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
