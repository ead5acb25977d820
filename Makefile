.DEFAULT_GOAL := help
.PHONY: help install demo test slow lint format types smoke benchmark

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install the tool with what tests need, editable
	pip install -e '.[test]'

demo: ## Run the whole pipeline on procedural streets
	clouds demo

smoke: ## Run the whole pipeline on tiny models in seconds
	clouds tiny runs/tiny
	clouds run configs/smoke.yaml

test: ## Run the fast tests
	pytest

slow: ## Run the tests that take minutes
	pytest -m slow

lint: ## Check style
	ruff check .
	ruff format --check .

format: ## Bring the code into its format
	ruff check --fix .
	ruff format .

types: ## Check types
	mypy

benchmark: ## Measure the engine alone
	python benchmarks/engine.py
