"""What an audit measures of a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from audiocls.audit.census import Census
from audiocls.audit.confounds import Predictability
from audiocls.audit.duplicates import Duplicates, NearDuplicate
from audiocls.waveforms import Counts


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """The measurements that findings and both forms of the report are based on."""

    census: Census
    counts: Counts
    duplicates: Duplicates
    near_duplicates: list[NearDuplicate]
    confounds: list[Predictability]
