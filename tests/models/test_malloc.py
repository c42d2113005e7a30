"""Raising glibc's thresholds: done where it can be, and said truly."""

from __future__ import annotations

import ctypes

import pytest

from anchorbench.models.malloc import VARIABLES, raise_malloc_thresholds


@pytest.fixture(autouse=True)
def _no_thresholds_in_the_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Library:
    def __init__(self, answer: int) -> None:
        self.answer, self.asked = answer, []
        self.gnu_get_libc_version = None

    def mallopt(self, parameter: int, value: int) -> int:
        self.asked.append((parameter, value))
        return self.answer


def test_both_thresholds_are_raised_on_glibc(monkeypatch):
    library = Library(1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert raise_malloc_thresholds().raised
    assert library.asked == [(-3, 1 << 30), (-1, 2**31 - 1)]


def test_a_refusal_is_not_called_a_success(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library(0))
    state = raise_malloc_thresholds()
    assert (state.raised, state.why) == (False, "glibc refused the thresholds")


def test_nothing_is_done_without_glibc(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    state = raise_malloc_thresholds()
    assert (state.raised, state.why) == (False, "the C library is not glibc")


def test_what_the_environment_sets_is_left(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    state = raise_malloc_thresholds()
    assert not state.raised
    assert "MALLOC_MMAP_THRESHOLD_" in state.why
