"""Read models: what the ledger's events come to, in plain SQLite tables that are always ready to be asked.

`ProjectionRunner` keeps them up to date in a live process, `catch_up` and `rebuild` do so once, `Views`
answers questions with typed rows.
"""

from projections.building import OnProgress, are_current, catch_up, rebuild
from projections.canonical import views_digest
from projections.differences import Differences, OrderChange, PositionChange, differences
from projections.errors import (
    AmbiguousOrderError,
    DamagedViewsError,
    NewerViewsError,
    NotViewsError,
    OrderNotInViewsError,
    OtherLedgerError,
    PositionNotInViewsError,
    TimeBeforeLedgerError,
    ViewsBusyError,
    ViewsError,
    ViewsMissingError,
    ViewsUnavailableError,
)
from projections.event_source import (
    EventSource,
    EventSubscription,
    OnUnreadable,
    PastEventSource,
    PositionedEvent,
    UnreadableEvent,
)
from projections.explaining import Doubt, Explanation, Step, explain
from projections.filters import Filter
from projections.profit import PnlRow, pnl, pnl_between, pnl_totals
from projections.queries import Views
from projections.rows import (
    DiscrepancyRow,
    DiscrepancyStatus,
    FillRow,
    FundingRow,
    OrderHistory,
    OrderRow,
    ParkedRow,
    PositionRow,
    TimelineRow,
)
from projections.runner import ProjectionRunner
from projections.shared_building import Helpers
from projections.statistics import Latency, StatsRow, stats
from projections.views_file import views_path_for

__all__ = [
    "AmbiguousOrderError",
    "DamagedViewsError",
    "Differences",
    "DiscrepancyRow",
    "DiscrepancyStatus",
    "Doubt",
    "EventSource",
    "EventSubscription",
    "Explanation",
    "FillRow",
    "Filter",
    "FundingRow",
    "Helpers",
    "Latency",
    "NewerViewsError",
    "NotViewsError",
    "OnProgress",
    "OnUnreadable",
    "OrderChange",
    "OrderHistory",
    "OrderNotInViewsError",
    "OrderRow",
    "OtherLedgerError",
    "ParkedRow",
    "PastEventSource",
    "PnlRow",
    "PositionChange",
    "PositionNotInViewsError",
    "PositionRow",
    "PositionedEvent",
    "ProjectionRunner",
    "StatsRow",
    "Step",
    "TimeBeforeLedgerError",
    "TimelineRow",
    "UnreadableEvent",
    "Views",
    "ViewsBusyError",
    "ViewsError",
    "ViewsMissingError",
    "ViewsUnavailableError",
    "are_current",
    "catch_up",
    "differences",
    "explain",
    "pnl",
    "pnl_between",
    "pnl_totals",
    "rebuild",
    "stats",
    "views_digest",
    "views_path_for",
]
