"""`anchorbench choose` as a person types it."""

from __future__ import annotations

import pytest

WORDS = ("--size", "tiny", "--draws", "2", "--set", "model.width=4", "--set", "model.layers=1")


def test_choose_names_the_setting_of_least_distance_and_the_words_that_train_with_it(cli):
    said = cli("choose", "method.waves=1,3", "--method", "frl", *WORDS, "--json")
    assert said.code == 0, said.err
    found = said.json
    best = min(zip(found["distance"], found["settings"], strict=True))[1]
    assert found["chosen"] == best
    shown = cli("choose", "method.waves=1,3", "--method", "frl", *WORDS)
    assert f"--set method.waves={best}" in shown.out
    assert shown.out.count("chosen") == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("method.waves=3",), "no option with several values"),
        (("method.waves=1,3", "--method", "frl", "--spectrum", "round"), "no form of spectrum 'round'"),
        (("method.waves=1,3", "--task", "represent"), "chooses within a run"),
    ],
)
def test_what_cannot_be_chosen_is_one_line_and_exit_code_2(cli, words, why):
    said = cli("choose", *words, "--size", "tiny")
    assert said.code == 2
    assert why in said.err
    assert "Traceback" not in said.err
