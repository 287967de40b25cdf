from __future__ import annotations

import os
import signal
import sys
import weakref

import pytest

from search.interrupts import Interrupts


class Thing:
    """Something that can die."""


def send(ending: signal.Signals) -> None:
    os.kill(os.getpid(), ending)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_met_later_and_the_second_at_once(ending: signal.Signals) -> None:
    before, hook = signal.getsignal(ending), sys.unraisablehook
    with Interrupts() as interrupts:
        interrupts.meet()
        send(ending)  # in the midst of a step
        with pytest.raises(KeyboardInterrupt):
            interrupts.meet()
        with pytest.raises(KeyboardInterrupt):
            send(ending)
    assert (signal.getsignal(ending), sys.unraisablehook) == (before, hook)


def test_a_second_signal_where_nothing_can_be_raised_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda found: print(found.exc_type.__name__))
    thing = Thing()
    watched = weakref.ref(thing, lambda _: send(signal.SIGINT))
    with Interrupts() as interrupts:
        send(signal.SIGINT)
        del thing  # the callback of its death gets the second signal
        assert watched() is None
        with pytest.raises(KeyboardInterrupt):
            interrupts.meet()
        other = Thing()
        watched = weakref.ref(other, lambda _: 1 / 0)  # any other fault is told as ever
        del other
    assert capsys.readouterr().out == "ZeroDivisionError\n"
