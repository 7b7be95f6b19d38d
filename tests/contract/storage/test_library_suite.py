"""The event-sourcing library's own suites, on every recorder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import uuid4

from eventsourcing.persistence import ApplicationRecorder
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.tests import persistence as library

from adapters.storage.sqlite import SQLiteLedgerFactory


class _OnSQLite:
    def create_recorder(self) -> ApplicationRecorder:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)  # type: ignore[attr-defined]
        factory = SQLiteLedgerFactory({"SQLITE_DBNAME": str(Path(folder.name) / "ledger.db")})
        self.addCleanup(factory.close)  # type: ignore[attr-defined]
        return factory.application_recorder()

    def new_originator_id(self) -> str:
        return str(uuid4())


class _InMemory:
    def create_recorder(self) -> ApplicationRecorder:
        return POPOApplicationRecorder()

    def new_originator_id(self) -> str:
        return str(uuid4())


class TestSQLiteRecorder(_OnSQLite, library.ApplicationRecorderTestCase):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestInMemoryRecorder(_InMemory, library.ApplicationRecorderTestCase):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestSQLitePositionsDoNotInterleave(_OnSQLite, library.NonInterleavingNotificationIDsBaseCase):
    pass


class TestInMemoryPositionsDoNotInterleave(_InMemory, library.NonInterleavingNotificationIDsBaseCase):
    pass
