"""Fixtures for every test: one torch thread each, because the suite itself runs in parallel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real speech corpora that lies beside a checkout in CI."""
    if not CORPORA.is_dir():
        pytest.skip(f"real speech corpora are not at {CORPORA}")
    return CORPORA
