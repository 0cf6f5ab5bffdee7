.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install:  ## Install the package with its development tools, and the pre-commit hooks
	pip install -e ".[dev,cuda13]"
	pre-commit install

lint:  ## Run the linters, the type checker and the import contracts
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:  ## Run the tests that protect every commit
	pytest -n auto

nightly:  ## Run the long proofs
	pytest -n auto -m nightly

train:  ## Train a small RedNet on the embedded images
	python train.py experiment=fashion_mnist

bench:  ## Measure the operator and the networks on this machine
	python scripts/benchmark.py

ci:  ## Run everything, from a fresh environment
	bash .ci/run

.PHONY: help install lint test nightly train bench ci
