"""Data that nobody expects: statuses, members and elements a client has never heard of (sheet 12.10)."""

import copy
from typing import Any

from adapters.simulator.faults import Fault

DISTORTIONS = frozenset({"unknown_status", "unknown_dir", "extra_fields", "garbage_element"})
"""The kinds of fault that change data rather than its delivery."""

_GARBAGE: dict[str, Any] = {"coin": None, "order": 17, "px": {}, "oid": "not a number"}
_LISTS = (
    "fills",
    "fundings",
    "nonFundingLedgerUpdates",
    "orderHistory",
    "nonUserCancel",
    "orders",
    "assetPositions",
)


def rows_of(data: Any) -> list[dict[str, Any]]:
    """The elements of a message or an answer: orders, fills, fundings and the like; [] if it has none."""
    found = _list_in(data)
    if found is not None:
        return [row for row in found if isinstance(row, dict)]
    if isinstance(data, dict) and isinstance(data.get("order"), dict):
        return [data["order"]]  # the answer of orderStatus
    return []


def distorted(fault_id: int, fault: Fault, data: Any) -> Any:
    """A copy of `data` with all its elements, or one more of them, as no client expects."""
    changed = copy.deepcopy(data)
    if fault.kind == "garbage_element":
        elements = _list_in(changed)
        if elements is not None:
            elements.insert(0, dict(_GARBAGE))
        return changed
    for row in rows_of(changed):
        match fault.kind:
            case "unknown_status" if "status" in row:
                row["status"] = fault.params["text"]
            case "unknown_dir" if "dir" in row:
                row["dir"] = fault.params["text"]
            case "extra_fields":
                row["simulatorExtra"] = {"fault": fault_id, "nested": [None, "0.0"]}
    return changed


def _list_in(data: Any) -> list[Any] | None:
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        return None
    return next((data[member] for member in _LISTS if isinstance(data.get(member), list)), None)
