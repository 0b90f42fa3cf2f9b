"""A laboratory for a whole module, as each test of it finds it: with nothing scripted and nothing asked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.laboratory import Laboratory, laboratory


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    """A module that needs another one gives its own under this name."""
    async with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(shared: Laboratory) -> Laboratory:
    shared.reset()
    return shared
