"""Services that several files share, because they take a while to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.inbound import inbound_settings

from pipeline.services import Supervisor


@pytest.fixture(scope="session")
def inbound_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """Broker, worker with the embedded model, reconciler and database."""
    with Supervisor(inbound_settings(tmp_path_factory.mktemp("inbound"))) as running:
        yield running
