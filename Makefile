# Two commands do everything: `make book` and `make test`.
PYTHON  ?= python3
PROFILE ?= laptop
BIN     := .venv/bin
RUN     := $(BIN)/python -m replication

.PHONY: book test smoke lab benchmark picture install verify clean

book: install ## install, compute every run of the profile, execute the notebooks, build the book
	$(RUN) build --profile $(PROFILE)

test: install ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

smoke: install ## every notebook within two minutes; the numbers mean nothing
	$(RUN) build --profile smoke

lab: install ## the notebooks, to be worked with
	$(BIN)/jupyter lab notebooks

benchmark: install ## speed, as ratios from one run
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/storage.py
	$(BIN)/python tests/benchmarks/loading.py
	$(BIN)/python tests/benchmarks/book.py

picture: install ## the first figure of the built book, as README.md shows it
	$(BIN)/python book/readme_picture.py

verify: install ## data, store and environment
	$(RUN) verify

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
	  --no-build-isolation --editable '.[test]'
	touch $@

clean: ## built pages and the book; runs and the environment stay
	rm -rf book/_build book/pages book/extra
