from __future__ import annotations

import pytest
from made_evaluations import record_clips


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, fill_store):
    """Data with a few chirps in the waveform store."""
    return record_clips(tmp_path_factory.mktemp("recorded"), fill_store)
