"""The environment variables of every flow and its child processes.

Settings in pyproject.toml apply only to commands that run in this checkout. These apply in any folder, because
`flows/__init__.py` sets them before Prefect, MLflow and huggingface_hub are imported and read them.
"""

from __future__ import annotations

import os
from typing import Final

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_YES: Final = ("1", "true", "yes")
# Prefect's timeout is 20 s, which a busy machine or a cold disk exceeds.
_START_SECONDS: Final = "300"


def prepare_environment() -> None:
    """Turn off telemetry, bypass proxies for servers on this machine, and extend the timeout of their start."""
    _do_not_track()
    _spare_loopback_the_proxy()
    for name, value in {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": _START_SECONDS,
        "PREFECT_LOGGING_EXTRA_LOGGERS": "audiocls",
        # The library also logs outside of flows, which needs no warning.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }.items():
        os.environ.setdefault(name, value)


def _do_not_track() -> None:
    """Turn telemetry off unless DO_NOT_TRACK is false; each library reads a different variable or value."""
    if os.environ.setdefault("DO_NOT_TRACK", "1").lower() not in _YES:
        return
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"  # the server does not read DO_NOT_TRACK
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow 3.17 reads DO_NOT_TRACK=true, but not =1
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def _spare_loopback_the_proxy() -> None:
    """Add this machine to NO_PROXY if a proxy is set; httpx, requests, websockets and urllib read it.

    Without a proxy, NO_PROXY stays unset: on some systems it would override the desktop's proxy settings.
    """
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    if not any(os.environ.get(name) for proxy in proxies for name in (proxy, proxy.upper())):
        return
    # The lower-case name has precedence.
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in _LOOPBACK if host not in hosts]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)
