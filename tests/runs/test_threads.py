"""How many threads a run has: what was asked, what the environment says, what is free."""

from __future__ import annotations

import pytest
import torch

from anchorbench.runs.session import set_threads, threads_each


@pytest.mark.parametrize(
    ("said", "workers", "expected"), [("3", 1, 3), ("3", 2, 3), ("", 2, 2), ("0", 4, 1), ("two", 8, 1)]
)
def test_the_environment_comes_before_the_cores_shared_out(said, workers, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr("anchorbench.runs.session.cores", lambda: 4)
    assert threads_each(workers) == expected


def test_what_is_asked_for_comes_first_and_a_loaded_machine_gets_one(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert (set_threads(2), torch.get_num_threads()) == (2, 2)
        assert set_threads(None) == 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        monkeypatch.setattr("anchorbench.runs.session.cores", lambda: 4)
        monkeypatch.setattr("os.getloadavg", lambda: (9.0, 0.0, 0.0))
        assert set_threads(None) == 1
    finally:
        torch.set_num_threads(before)
