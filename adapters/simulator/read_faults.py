"""Faults of reads: answers that lag behind, hide or distort what the exchange knows."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.simulator.distortions import DISTORTIONS, distorted
from adapters.simulator.faults import Fault
from adapters.simulator.stream_faults import StreamFaults

_FILL_READS = frozenset({"userFills", "userFillsByTime"})
_OPEN_ORDER_READS = ("openOrders", "frontendOpenOrders")

Read = Callable[[dict[str, Any]], Any]
"""Answers an info request from the exchange as it is now."""


class ReadFaults:
    """Changes the answers of reads; keeps the open orders that stale reads are answered from."""

    def __init__(self, read: Read, stream: StreamFaults) -> None:
        self._read = read
        self._stream = stream
        self._frozen: dict[tuple[int, str, str], Any] = {}

    def freeze(self, fault_id: int, fault: Fault) -> None:
        """Remember the open orders of this moment for a `stale_open_orders` fault."""
        for kind in _OPEN_ORDER_READS:
            self._frozen[fault_id, kind, ""] = self._read({"type": kind, "user": fault.user, "dex": ""})

    def applied(self, faults: Sequence[tuple[int, Fault]], request: Mapping[str, Any], answer: Any) -> Any:
        """Return what the client is told instead of `answer`."""
        kind = request["type"]
        for fault_id, fault in faults:
            match fault.kind:
                case "unknown_oid":
                    answer = {"status": "unknownOid"}
                case "stale_open_orders":
                    answer = self._frozen.get((fault_id, kind, request.get("dex") or ""), answer)
                case "odd_ioc_size":
                    answer = _with_full_size(answer)
                case distortion if distortion in DISTORTIONS:
                    answer = distorted(fault_id, fault, answer)
        if kind in _FILL_READS:
            hidden = self._stream.hidden_tids()
            if hidden:
                answer = [fill for fill in answer if fill["tid"] not in hidden]
        return answer


def _with_full_size(answer: Any) -> Any:
    if answer.get("status") != "order" or answer["order"]["status"] == "open":
        return answer
    odd = copy.deepcopy(answer)
    odd["order"]["order"]["sz"] = odd["order"]["order"]["origSz"]
    return odd
