from .client import make_ready as make_ready, open_client as open_client
from .entries import (
    describe_run as describe_run,
    log_artifacts as log_artifacts,
    log_dataset as log_dataset,
    log_json as log_json,
    log_metrics as log_metrics,
    log_nested_runs as log_nested_runs,
    log_split_dataset as log_split_dataset,
    log_tags as log_tags,
)
from .environment import git_revision as git_revision
from .known_runs import KnownRun as KnownRun, download_file as download_file, find_run as find_run
from .models import download_model as download_model, log_logged_model as log_logged_model
from .names import flatten as flatten
from .run import NestedRun as NestedRun, TrackedRun as TrackedRun
from .runs import start_run as start_run, tracked_run as tracked_run
from .synchronisation import Synced as Synced, Unsent as Unsent, sync as sync, unsent as unsent
from .system_metrics import SystemMetrics as SystemMetrics
