"""What is said of settings that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from avdetect.errors import UsageError
from avdetect.training.config import parse_config, parse_text_config

FILES = {"manifest": "a.csv", "output": "b"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipe": {"name": "product", "epoch": 3}}, "recipe.epoch: is no setting; did you mean recipe.epochs?"),
        ({"epochs": 3}, "epochs: is no setting; did you mean recipe.epochs?"),
        ({"shedule": "fixed"}, "shedule: is no setting; did you mean schedule?"),
        ({"run": {"acelerator": "cpu"}}, "run.acelerator: is no setting; did you mean run.accelerator?"),
        (
            {"recipe": {"name": "macil-sd", "learnin_rate": 1}},
            "recipe.learnin_rate: is no setting; did you mean recipe.learning_rate?",
        ),
        ({"recipe": {"name": "macil-sd", "crosed": True}}, "did you mean recipe.crossed?"),
        ({"recipe": {"name": "product", "zzz": 1}}, "recipe.zzz: is no setting."),
        ({"recipe": {"name": "product", "epochs": 0}}, "recipe.epochs: Input should be greater than 0"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(FILES | values)

    assert said in str(caught.value)


def test_a_setting_of_another_recipe_is_not_proposed() -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(FILES | {"recipe": {"name": "product", "crosed": True}})

    assert str(caught.value).endswith("recipe.crosed: is no setting.")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"did you mean recipe\.stage_a_steps\?; .*did you mean text_encoder\?"):
        parse_text_config(FILES | {"recipe": {"stage_a_step": 3}, "text_encode": "x"})
