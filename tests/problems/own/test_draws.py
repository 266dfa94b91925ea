"""A thread's draws from Python's random numbers are its own while a model is built, whoever else draws."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradclip_cli.problems.own.draws import FUNCTIONS, draws_of_this_thread


@contextmanager
def another_thread_that_draws() -> Iterator[list[float]]:
    """It draws all the time; what it drew."""
    stop, drawn = threading.Event(), list[float]()

    def draw() -> None:
        while not stop.is_set():
            drawn.append(random.random())
            stop.wait(1e-5)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield drawn
    finally:
        stop.set()
        thread.join()


def built() -> list[int]:
    """What a build of many layers draws."""
    return [random.randint(1, 10**9) for _ in range(20_000)]


def test_others_do_not_change_what_is_drawn() -> None:
    random.seed(3)
    alone = built()
    with another_thread_that_draws() as drawn, draws_of_this_thread():
        random.seed(3)
        assert built() == alone
    assert drawn


def test_it_begins_and_ends_as_without() -> None:
    random.seed(5)
    expected = [random.random() for _ in range(3)]
    random.seed(5)
    before = {name: getattr(random, name) for name in FUNCTIONS}
    first = random.random()
    with draws_of_this_thread():
        second = random.random()
    assert [first, second, random.random()] == expected
    assert {name: getattr(random, name) for name in FUNCTIONS} == before


def test_other_threads_go_on_from_the_shared_state() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    with draws_of_this_thread():
        random.seed(1)
        found: list[float] = []
        thread = threading.Thread(target=lambda: found.append(random.random()))
        thread.start()
        thread.join()
    assert found == [expected]
