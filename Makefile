# imgtool on a Debian or Ubuntu machine with nothing but apt, make and python3.
#
#   make check                    build a real Debian image and check it
#   make check IMAGE=disk.qcow2   check your own image; more arguments: ARGS='--lang zh --format json'
#                                 (make ends with 2 for whatever is no pass; .venv/bin/imgtool check tells more)
#   make demo                     the whole way, from a broken image to one that is NORMAL, in a local cloud
#   make test                     run every test; some: ARGS='tests/disk -k gpt'

.PHONY: help check demo test lint fixtures docs bench clean distclean
.DEFAULT_GOAL := help

# Kept as typed, whatever characters the path holds.
override export IMAGE := $(value IMAGE)
ARGS =

help:
	@sed -n 's/^#   //p' Makefile
	@echo "make lint                     ruff and mypy"
	@echo "make fixtures                 build the disk images that tests, check and bench use"
	@echo "make docs                     write docs/checks.md anew from the rules"
	@echo "make bench                    measure; results go to docs/benchmarks.md"
	@echo "make clean                    remove what tests and builds left here; make distclean: .venv too"

ifdef IMAGE
check:
	@tools/setup.sh run
	@.venv/bin/imgtool check $(ARGS) -- "$$IMAGE"
else
check:
	@tools/setup.sh run fixtures
	@image=$$(.venv/bin/python -m fixtures path debian12-bios) && .venv/bin/imgtool check $(ARGS) -- "$$image"
endif

demo:
	@tools/setup.sh --dev run fixtures demo
	@tools/demo.sh

test:
	@tools/setup.sh --dev run fixtures test
	@.venv/bin/python -m pytest -n auto --dist loadgroup --no-loadscope-reorder $(ARGS)

lint:
	@tools/setup.sh --dev lint
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

fixtures:
	@tools/setup.sh run fixtures
	@.venv/bin/python -m fixtures build $(ARGS)

docs:
	@tools/setup.sh run
	@.venv/bin/python -m imgtool.report.catalogue -o docs/checks.md

bench:
	@tools/setup.sh --dev run fixtures test
	@.venv/bin/python -m bench $(ARGS)

clean:
	rm -rf build dist imgtool.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv
