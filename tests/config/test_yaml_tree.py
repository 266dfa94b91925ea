"""YAML that wants to be more than a config is refused quickly: aliases, depth, size."""

from __future__ import annotations

import time

import pytest
from conftest import Writer, mistakes


def test_alias_bomb_is_refused_quickly(write_config: Writer) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "after expanding its aliases" in mistakes(write_config("\n".join(lines)))[0]


def test_recursive_alias_is_refused(write_config: Writer) -> None:
    assert "after expanding its aliases" in mistakes(write_config("model: &m {regularizer: *m}"))[0]


@pytest.mark.parametrize("text", ["name: " + "[" * 30_000, "{a: " * 30_000, "- " * 30_000, "? " * 30_000, "a: &a [\n" * 30_000])
def test_deep_nesting_is_refused(text: str, write_config: Writer) -> None:
    (told,) = mistakes(write_config(text))
    assert "nested over 50 deep" in told


def test_aliases_that_nest_ever_deeper_are_refused(write_config: Writer) -> None:
    lines = ["a0: &a0 x"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 9000)]
    assert "after expanding its aliases" in mistakes(write_config("\n".join(lines)))[0]


def test_very_many_values_are_refused_before_they_are_read(write_config: Writer) -> None:
    clock = time.perf_counter()
    (many,) = mistakes(write_config("".join(f"k{number}: 1\n" for number in range(60_000))))
    assert "over 10,000 values" in many
    (large,) = mistakes(write_config("".join(f"k{number}: 1\n" for number in range(2_000_000))))
    assert "over 1,000,000 bytes" in large
    assert time.perf_counter() - clock < 6  # mostly to write the file
