"""The moments that these tests begin from, and processes that can be doomed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.scenes import Scenes, mortal
from tests.evm.fixtures import Deployed, deployed

__all__ = ["deployed"]


@pytest.fixture(scope="session")
def scenes(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    folder = tmp_path_factory.mktemp("scenes")
    with pytest.MonkeyPatch.context() as patch:
        mortal(patch, folder)
        made = Scenes(deployed, folder)
        try:
            yield made
        finally:
            made.close()
