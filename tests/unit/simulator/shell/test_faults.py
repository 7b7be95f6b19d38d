"""The board: which faults wait, when they happen, and what is refused at injection (sheet 12.10)."""

from typing import Any

import pytest

from adapters.simulator.faults import KINDS, Fault, FaultBoard, Occasion, Scope, fault_from_json
from adapters.simulator.inputs import BadInput

USER = "0x" + "aa" * 20
OTHER = "0x" + "bb" * 20
CLOID = "0x" + "0c" * 16


def order(user: str = USER, cloids: tuple[str, ...] = ()) -> Occasion:
    return Occasion(Scope.ACTION, "order", user, cloids)


def happened(board: FaultBoard, occasion: Occasion) -> list[str]:
    return [fault.kind for _, fault in board.take(occasion)]


def test_a_fault_happens_once_and_then_leaves_the_board() -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("answer_lost"))
    assert happened(board, order()) == ["answer_lost"]
    assert happened(board, order()) == []
    assert board.is_empty


def test_a_fault_waits_for_its_nth_match_and_then_happens_count_times() -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("answer_lost", nth=3, count=2))
    assert [bool(happened(board, order())) for _ in range(6)] == [False, False, True, True, False, False]


def test_without_a_count_a_fault_happens_until_cleared() -> None:
    board = FaultBoard(seed=1)
    fault_id = board.inject(Fault("answer_lost", count=None))
    assert all(happened(board, order()) for _ in range(5))
    assert board.clear(fault_id) == 1
    assert board.clear(fault_id) == 0
    assert happened(board, order()) == []


@pytest.mark.parametrize(
    ("members", "matches"),
    [
        ({"action": "order"}, True),
        ({"action": "cancel"}, False),
        ({"user": USER.upper().replace("X", "x")}, True),
        ({"user": OTHER}, False),
        ({"cloid": CLOID}, True),
        ({"cloid": "0x" + "0d" * 16}, False),
        ({"info": "orderStatus"}, False),
    ],
)
def test_a_fault_happens_only_to_what_its_members_select(members: dict[str, Any], matches: bool) -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("answer_lost", **members))
    assert bool(happened(board, order(cloids=(CLOID,)))) is matches


def test_a_request_fault_with_info_happens_to_reads_and_without_it_to_actions() -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("http_status", info="orderStatus", params={"status": 502}))
    assert happened(board, Occasion(Scope.READ, "openOrders", USER)) == []
    assert happened(board, Occasion(Scope.READ, "orderStatus", USER)) == ["http_status"]


def test_a_fault_of_one_message_type_happens_to_no_other() -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("unknown_status"))
    assert happened(board, Occasion(Scope.STREAM, "userFills", USER)) == []
    assert happened(board, Occasion(Scope.STREAM, "orderUpdates", USER)) == ["unknown_status"]


def test_several_faults_happen_to_one_request_in_the_order_they_were_pinned() -> None:
    board = FaultBoard(seed=1)
    board.inject(Fault("answer_delay", params={"ms": 5}))
    board.inject(Fault("answer_lost"))
    assert happened(board, order()) == ["answer_delay", "answer_lost"]


def test_chance_is_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[bool]:
        board = FaultBoard(seed=seed)
        board.inject(Fault("answer_lost", count=None, probability=0.5))
        return [bool(happened(board, order())) for _ in range(64)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert {True, False} == set(drawn(1))


def test_a_socket_fault_is_announced_at_once_and_does_not_wait() -> None:
    announced: list[str] = []
    board = FaultBoard(seed=1, on_inject=lambda _, fault: announced.append(fault.kind))
    board.inject(Fault("drop_sockets", user=USER))
    assert announced == ["drop_sockets"]
    assert board.is_empty


def test_the_board_lists_what_waits_with_how_often_it_matched_and_happened() -> None:
    board = FaultBoard(seed=1)
    fault_id = board.inject(Fault("fill_before_cancel", nth=2, count=2, params={"fraction": "0.25"}))
    board.take(Occasion(Scope.ACTION, "cancel", USER))
    board.take(Occasion(Scope.ACTION, "cancel", USER))
    (listed,) = board.waiting()
    assert (listed["id"], listed["matched"], listed["happened"]) == (fault_id, 2, 1)
    assert listed["params"] == {"fraction": "0.25", "stream_delay_ms": 0}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "expected an object"),
        ({}, "kind: required"),
        ({"kind": "gremlin"}, "unknown fault kind 'gremlin'"),
        ({"kind": 3}, "kind: expected str"),
        ({"kind": "answer_lost", "colour": "red"}, "unknown member colour"),
        ({"kind": "answer_lost", "count": 0}, "count: must be 1 or more"),
        ({"kind": "answer_lost", "count": True}, "count: expected int"),
        ({"kind": "answer_lost", "nth": 0}, "nth: the first match has number 1"),
        ({"kind": "answer_lost", "probability": 0}, "probability"),
        ({"kind": "answer_lost", "action": "order", "info": "meta"}, "give either info or"),
        ({"kind": "answer_lost", "channel": "userFills"}, "channel: answer_lost cannot be selected by it"),
        ({"kind": "answer_lost", "params": {"how": "softly"}}, "params.how: expected one of reset, hang"),
        ({"kind": "answer_lost", "params": {"why": 1}}, "answer_lost has no why; it takes: how"),
        ({"kind": "answer_lost", "params": []}, "params: expected an object"),
        ({"kind": "answer_delay"}, "params.ms: required"),
        ({"kind": "answer_delay", "params": {"ms": -1}}, "params.ms: expected a number of milliseconds"),
        ({"kind": "http_status", "params": {"status": 418}}, "params.status: expected one of 400"),
        ({"kind": "fill_before_cancel", "params": {"fraction": "1.5"}}, "params.fraction"),
        ({"kind": "fill_before_cancel", "action": "order"}, "happens to cancel, cancelByCloid only"),
        ({"kind": "stale_open_orders"}, "user: stale_open_orders needs"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_what_to_change(given: Any, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        fault_from_json(given)
    assert says in str(refused.value)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_injected_from_json_with_the_params_it_documents(kind: str) -> None:
    required = {"ms": 1, "status": 502, "text": "Trading is halted.", "first": "fills"}
    params = {
        name: required[name] for name, parameter in KINDS[kind].params.items() if parameter.default is None
    }
    user = {"user": USER} if kind == "stale_open_orders" else {}
    fault = fault_from_json({"kind": kind, "params": params, "count": None, **user})
    assert fault.count is None
    assert set(fault.params) == set(KINDS[kind].params)
