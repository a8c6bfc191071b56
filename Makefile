# make quickstart   the whole loop on generated scenes, about 10 minutes on two cores
# make transfers    a table: the quickstart's student, its teachers and random weights, fine-tuned on six tasks of another look
# make cross        the recipe across datasets: three datasets, each completed by the teachers of the others; one student
# make thresholds   a student trained at several thresholds of the pseudo labels; SEEDS=3: three times each
# make verdicts     the verdicts on a good teacher, an untrained one, and one that learned shifted boxes
# make test         format, lint, types and all tests
# make test-beam    the converter on Apache Beam, in an environment of its own
# make release-check  builds the wheel and tries it in clean environments of each Python (PYTHONS="python3.11 ...")
# make docs         the documentation as a site in build/docs; fails on a broken link
# make real DATA=…  the whole loop on small real photos
# make study DATA=…  students, teachers and their start on real photos, fine-tuned on other datasets; hours, resumes
# make bench-serve  images/s and latency of must serve beside a bare loop (EXPORT=exports/student)
# make bench        time and memory compared with Model Garden, about an hour on two cores (DATA=… ROWS=input,memory ROUNDS=1)

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13 3.10,$(shell command -v python$(v) >/dev/null 2>&1 && python$(v) -c '' >/dev/null 2>&1 && echo python$(v))) python3)
BIN := .venv/bin
READY := .venv/.ready
CODE := must_tf tfrecords_tools experiments benchmarks tests setup.py train.py export.py

.PHONY: quickstart transfers cross thresholds verdicts test test-beam release-check docs real study bench bench-serve format clean
SEEDS ?= 1
TEACHERS := $(addprefix teacher-,classification masks segmentation depth normals)

quickstart: $(READY)
	$(BIN)/must run experiments/quickstart.yaml --force --jobs 2

transfers: $(READY)
	test -e runs/quickstart/report.html || $(BIN)/must run experiments/quickstart.yaml --force --jobs 2
	$(BIN)/python -m must_tf.transfers --table experiments/transfers_scenes.yaml --scratch \
	    $(foreach row,student $(TEACHERS),--checkpoint $(row)=runs/quickstart/$(row)) \
	    --gains_of student --seeds $(SEEDS) --jobs 2 --out runs/quickstart/table

cross: $(READY)
	$(BIN)/must run experiments/cross.yaml --force

thresholds: $(READY)
	$(BIN)/python -m experiments.threshold_study --seeds $(SEEDS)

real: $(READY)
	@test -n "$(DATA)" || { echo "error: no photos given. Run make real DATA=folder; experiments/real.yaml describes the folder." >&2; exit 2; }
	DATA=$(DATA) $(BIN)/must run experiments/real.yaml --force

study: $(READY)
	@test -n "$(DATA)" -a -n "$(MODELS)" || { echo "error: no photos given. Run make study DATA=folder MODELS=folder; experiments/study.yaml describes both." >&2; exit 2; }
	DATA=$(DATA) MODELS=$(MODELS) $(BIN)/must run experiments/study.yaml --force

verdicts: $(READY)
	$(BIN)/python -m experiments.verdicts

bench: $(READY)
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA)) $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-serve: $(READY)
	@test -n "$(EXPORT)" || { echo "error: no export given. Run make bench-serve EXPORT=folder; must export writes one." >&2; exit 2; }
	$(BIN)/python -m benchmarks.serving $(EXPORT)

# The types are checked beside the tests, and reported after them. A file's tests share one process and its fixtures.
test: $(READY)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	log=$$(mktemp); $(BIN)/mypy > $$log 2>&1 & types=$$!; \
	$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$types; types=$$?; cat $$log; rm $$log; exit $$((tests + types))

# Beam needs older versions of other packages, such as protobuf, so it has its own environment.
test-beam: .venv-beam/.ready
	.venv-beam/bin/pytest -q tests/tfrecords_tools/writing/test_beam.py

.venv-beam/.ready: setup.py constraints-beam.txt
	test -x .venv-beam/bin/python || $(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --upgrade pip
	.venv-beam/bin/python -m pip install --quiet -c constraints-beam.txt -e '.[dev,beam]'
	touch $@

release-check:
	$(PYTHON) tests/tools/release_check.py $(PYTHONS)

# The site is built from the Markdown pages only. Its environment has MkDocs and none of the project's packages.
docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/.ready: constraints-docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --upgrade pip
	.venv-docs/bin/python -m pip install --quiet -c constraints-docs.txt mkdocs-material
	touch $@

format: $(READY)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

$(READY): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "error: Python 3.10 to 3.13 is needed, this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf runs build dist *.egg-info
