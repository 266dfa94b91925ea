"""A rule taken through recorded steps acts where it would have."""

from __future__ import annotations

import numpy as np

from gradclip_cli.gradients import replay
from gradclip_cli.gradients.rules.adagc import AdaGC
from gradclip_cli.gradients.rules.median import MedianClip


def test_a_rule_by_joint_norm_needs_that_alone() -> None:
    norms = np.array([1.0, 1.0, 3.0, 1.0, 1.9, 2.1])
    assert replay.acted(MedianClip(), norms[:, None]).tolist() == [False, False, True, False, False, True]


def test_a_rule_by_variable_remembers_each() -> None:
    norms = np.array([[0.3, 0.6], [0.3, 0.5], [0.3, 0.6], [0.6, 0.5], [0.3, 0.5]])
    rule = AdaGC(warmup=2)
    assert replay.acted(rule, norms).tolist() == [False, False, True, True, False]
    assert replay.acted(rule, norms[:, :1]).tolist() == [False, False, False, True, False]
