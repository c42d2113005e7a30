"""One thread, no real network, hypothesis without deadlines."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# A dead loopback port: a test that forgets to serve its own index fails at once instead of reaching a registry.
os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
os.environ["PIP_CONFIG_FILE"] = os.devnull

import hypothesis
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("anchorbench", deadline=None, max_examples=30, derandomize=True)
hypothesis.settings.load_profile("anchorbench")
