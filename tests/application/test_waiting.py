"""The line before the model: bounded, in order, and nobody is forgotten in it."""

from __future__ import annotations

import threading

import pytest

from ixc.application.waiting import WaitingLine, page_caller
from ixc.errors import EngineBusy
from ixc.settings import Settings


def test_one_is_served_and_as_many_wait_as_may():
    line = WaitingLine(max_waiting=2)
    tickets = [line.enter() for _ in range(3)]
    assert [ticket.wait(0) for ticket in tickets] == [0, 1, 2]
    with pytest.raises(EngineBusy, match="All 2 waiting places are taken"):
        line.enter()
    tickets[1].leave()  # gave up
    assert [tickets[0].wait(0), tickets[2].wait(0)] == [0, 1]
    line.enter()


def test_one_program_cannot_take_every_place():
    line = WaitingLine(max_waiting=4)
    tickets = [line.enter("program") for _ in range(4)]  # one is served, three of four places
    with pytest.raises(EngineBusy, match="4 of your questions, or of your network, are under way already"):
        line.enter("program")
    tickets.append(line.enter("another"))
    with pytest.raises(EngineBusy, match="All 4 waiting places"):
        line.enter()
    assert line.num_refused == 2
    tickets[0].leave()
    tickets[0] = line.enter("program")
    for ticket in tickets:
        ticket.leave()
    assert len([line.enter() for _ in range(5)]) == 5, "whose share is not bounded"


def test_a_page_elsewhere_may_send_as_many_questions_as_it_does_by_default():
    """As README's two machines: no key, ``--backend`` on the other one."""
    settings = Settings()
    line = WaitingLine(settings.max_waiting)
    assert len([line.enter("the page's server") for _ in range(settings.backend_parallel)]) == 16


def test_leaving_twice_or_by_an_error_frees_one_place_once():
    line = WaitingLine(max_waiting=5)
    first, second = line.enter(), line.enter()
    first.leave()
    first.leave()
    assert line.num_inside == 1
    assert second.wait(0) == 0
    with pytest.raises(RuntimeError), second:
        raise RuntimeError
    assert line.num_inside == 0


def test_a_waiting_one_wakes_when_it_moves_up():
    line = WaitingLine(max_waiting=5)
    first, second = line.enter(), line.enter()
    woken = []
    waiter = threading.Thread(target=lambda: woken.append(second.wait(timeout_s=30)))
    waiter.start()
    first.leave()
    waiter.join(10)
    assert woken == [0]


def test_all_are_served_in_the_order_they_came():
    line = WaitingLine(max_waiting=50)
    tickets = [line.enter() for _ in range(30)]
    served: list[int] = []

    def be_served(number: int) -> None:
        with tickets[number] as ticket:
            while ticket.wait(5):
                pass
            served.append(number)

    threads = [threading.Thread(target=be_served, args=(number,)) for number in range(30)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join(30)
    assert served == list(range(30))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("testclient", "testclient", True),
        ("", "", True),
    ],
)
def test_pages_of_one_network_share_places_and_known_users_share_none(one, other, is_same):
    assert (page_caller(None, one) == page_caller(None, other)) is is_same
    assert page_caller("anna", one) is None
