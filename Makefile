# make demo   plays a recording through the node over DDS and shows what comes out (out/latest)
#             SCENE=<DGP scene or rosbag2>  OUT=<result folder>  MODEL=<file.onnx>  BASE_FRAME=<frame>
# make test   sets everything up and runs linters, types, contracts and tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
INPUTS := setup.py constraints.txt tools/tf2_msgs/requirements.txt tools/build_tf2_msgs.py Makefile

.PHONY: demo test clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@$(BIN)/python -m semi_smd_ros.cli.main demo $(if $(SCENE),--scene '$(SCENE)') $(if $(OUT),--out '$(OUT)') \
	  $(if $(MODEL),--model '$(MODEL)') $(if $(BASE_FRAME),--base-frame '$(BASE_FRAME)')

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# Tests of the node skip where there is no ROS; here there must be.
	$(BIN)/python -c 'import rclpy, sensor_msgs.msg, tf2_msgs.msg'
	$(BIN)/python -m pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(INPUTS) | $(VENV)/bin/python
	@echo 'installing what the demo needs (ROS 2 from wheels, ONNX Runtime, OpenCV) ...'
	$(PIP) --editable '.[demo]' --requirement tools/tf2_msgs/requirements.txt
	$(BIN)/python tools/build_tf2_msgs.py
	@touch $@

# torch first: what is installed after it must not pull in another build.
$(VENV)/.test: $(VENV)/.demo
	@echo 'installing what the tests need (torch, linters, pytest) ...'
	$(PIP) torch
	$(PIP) --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build install log
