from .models import download_model as download_model, log_logged_model as log_logged_model
from .runs import (
    NestedRun as NestedRun,
    TrackedRun as TrackedRun,
    describe_run as describe_run,
    log_artifacts as log_artifacts,
    log_dataset as log_dataset,
    log_json as log_json,
    log_metrics as log_metrics,
    log_nested_runs as log_nested_runs,
    log_tags as log_tags,
    tracked_run as tracked_run,
)
