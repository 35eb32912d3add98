# make demo   the whole path on a real CT, with a report to open in a browser
# make test   everything that must hold before a change is merged
# make reproduce-smoke   every table and figure of three papers, as small as possible
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

REAL ?= ../shared/data

.PHONY: demo reproduce-smoke test lint types imports docs nnunet unit install clean

demo: $(VENV)/ready
	$(BIN)/oncoseg demo --out runs/demo

# Real cases take the place of some phantoms where REAL is there; nnU-Net's cells are left out without `make nnunet`.
reproduce-smoke: $(VENV)/ready
	for paper in lung-ct-benchmark m-sam gtv-samgan; do \
	  $(BIN)/oncoseg reproduce $$paper --scale smoke --workers 2 --out runs/reproduce/$$paper-smoke \
	    $(if $(wildcard $(REAL)),--data $(REAL)) || exit 1; \
	done

test: lint types imports nnunet unit

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

imports: $(VENV)/ready
	$(BIN)/lint-imports --no-logo

# nnU-Net in an environment of its own, in the cache folder; without it its trainings are not tested.
nnunet: $(VENV)/ready
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/oncoseg fetch nnunet

unit: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --doctest-modules src tests

install: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "oncoseg needs Python 3.11 or newer; set it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python cannot make environments here; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
