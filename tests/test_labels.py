"""Short labels: what names share is said once, what tells them apart stays, and no two become one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradclip_cli.labels import ELLIPSIS, elided, split_beginning, split_pattern, wrapped

NAMES = st.text("ab1e-+=,./ _x", min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("names", "shared", "short"),
    [
        (["none", "clipnorm", "clipvalue"], "", ["none", "clipnorm", "clipvalue"]),
        (["adam-none", "adam-clipnorm"], "", ["adam-none", "adam-clipnorm"]),  # short enough
        ([], "", []),
        (["a" * 40], "", ["a" * 40]),
        (["a" * 40] * 2, "", ["a" * 40] * 2),
        (
            ["none+optimizer.learning_rate=0.01", "none+optimizer.learning_rate=0.1"],
            "none+optimizer.learning_rate=",
            ["0.01", "0.1"],
        ),
        (
            ["none+optimizer.learning_rate=1e-05", "none+optimizer.learning_rate=1e-3"],
            "none+optimizer.learning_rate=",
            ["1e-05", "1e-3"],
        ),
        (["clipvalue+model.some_setting=-1", "clipvalue+model.some_setting=-2"], "clipvalue+model.some_setting=", ["-1", "-2"]),
        (["explode-none-with-a-long-name", "explode-clipnorm"], "explode-", ["none-with-a-long-name", "clipnorm"]),
        (
            ["clipvalue-with-a-long-name", "clipnorm-with-a-long-name"],
            "",
            ["clipvalue-with-a-long-name", "clipnorm-with-a-long-name"],
        ),
        (["none", "none+optimizer.learning_rate=0.01"], "", ["none", "none+optimizer.learning_rate=0.01"]),
        (["none+", "none+optimizer.learning_rate=0.01"], "", ["none+", "none+optimizer.learning_rate=0.01"]),
    ],
)
def test_what_long_names_begin_with_is_told_once(names: list[str], shared: str, short: list[str]) -> None:
    assert split_beginning(names) == (shared, short)


@given(st.lists(NAMES))
def test_shared_and_short_make_the_name(names: list[str]) -> None:
    shared, short = split_beginning(names, 5)
    assert [shared + rest for rest in short] == names
    assert all(short)


@given(
    st.lists(
        NAMES | st.builds("".join, st.lists(st.sampled_from(["optimizer.rate=", "0.1", "+", "model.units=", "32"]), min_size=1))
    ),
    st.integers(12, 50),
)
def test_elided_names_fit_and_stay_apart(names: list[str], most: int) -> None:
    told = elided(names, most)
    assert all(len(label) <= most for label in told)
    assert len(set(told)) == len(set(names))
    assert all(label == name for name, label in zip(names, told, strict=True) if len(name) <= most)


def test_an_elided_name_shows_where_it_differs() -> None:
    first, second = ("a" * 60 + middle + "z" * 60 for middle in ("+rate=1", "+rate=2"))
    told = elided([first, second, "short"], 30)
    assert "rate=1" in told[0]
    assert "rate=2" in told[1]
    assert told[2] == "short"
    assert elided([first], 11)[0] == "aaaaa…zzzzz"


def test_only_what_nothing_else_tells_apart_is_numbered() -> None:
    names = [f"{'a' * 40}{left}{'b' * 80}{right}{'c' * 40}" for left in "xy" for right in "xy"]
    told = elided(names, 20)
    assert len(set(told)) == 4
    assert all(ELLIPSIS in label for label in told)


@given(st.text("ab+, =", max_size=80), st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text: str, most: int) -> None:
    lines = wrapped(text, most)
    assert all(len(line) <= most for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_after_a_plus_or_a_comma_or_at_a_space() -> None:
    assert wrapped("clipvalue+model.units=32,16+clipping.threshold=0.1", 28) == [
        "clipvalue+model.units=32,16+",
        "clipping.threshold=0.1",
    ]
    assert wrapped("difference in test accuracy from none", 20) == ["difference in test", "accuracy from none"]
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert wrapped("", 10) == [""]


def test_a_pattern_says_what_names_share_wherever_it_stands() -> None:
    assert split_pattern(["explode-none", "explode-clipnorm"]) == ("explode-*", ["none", "clipnorm"])
    rates = ["none+optimizer.learning_rate=1", "agc-0.1+optimizer.learning_rate=3"]
    assert split_pattern(rates) == ("*+optimizer.learning_rate=*", ["none, 1", "agc-0.1, 3"])
    assert split_pattern(["none+a=1+b=2", "agc+a=1+b=2"]) == ("*+a=1+b=2", ["none", "agc"])
    for names in (["none", "clipnorm"], ["none", "none+a=1"], ["none"], ["none", "none"], ["a-1", "a-2"], []):
        assert split_pattern(names) == ("", names)


def test_lines_are_broken_at_signs_between_words_before_letters_are_parted() -> None:
    assert wrapped("global_clipnorm-0.5, 0.01", 17) == ["global_clipnorm-", "0.5,", "0.01"]
    assert wrapped("a-" + "x" * 20, 8) == ["a-xxxxxx", "x" * 8, "x" * 6]  # or the first line would be nearly empty
    assert wrapped("x" * 20, 8) == ["x" * 8, "x" * 8, "x" * 4]
    assert wrapped("", 8) == [""]
