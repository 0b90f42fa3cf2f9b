"""The packages of other people, unmodified, against a whole sidecar on a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import openai
import pytest
import pytest_asyncio

from tests.clients import npm
from tests.fakes.laboratory import Laboratory, laboratory
from tests.fakes.sidecar import TOKEN


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with laboratory(tmp_path_factory.mktemp("lab"), settings={"max_streams": 16}) as lab:
        yield lab


@pytest.fixture
def lab(running: Laboratory) -> Laboratory:
    running.reset()
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def client(lab: Laboratory) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{lab.sidecar.url}/v1", api_key=TOKEN, timeout=30) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def claude(lab: Laboratory) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=lab.sidecar.url, api_key=TOKEN, timeout=30) as claude:
        yield claude


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript client's folder, with its `dist`."""
    return npm.built_client(npm.shared_folder(tmp_path_factory))
