"""What flows put into the environment before any library reads it."""

from __future__ import annotations

import os
import urllib.request

import httpx
import pytest
import requests

from flows.environment import prepare_environment

PROXY = "http://proxy.example:3128"
PROXIES = [name for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())]
TRACKERS = ("PREFECT_SERVER_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")


@pytest.fixture
def environment(monkeypatch):
    """The process's environment without the variables that are tested; all is as before after the test."""
    for name in (*PROXIES, "no_proxy", "NO_PROXY", "DO_NOT_TRACK", *TRACKERS):
        monkeypatch.setenv(name, "")  # so that what the test sets is taken back
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("no_proxy", ["", "example.org, 127.0.0.1"])
def test_servers_on_this_machine_are_reached_without_the_proxy_and_others_with_it(name, no_proxy, environment):
    environment.setenv(name, PROXY)
    environment.setenv("NO_PROXY", no_proxy)
    prepare_environment()
    with httpx.Client() as client:
        direct = client._transport
        for host in ("127.0.0.1:4200", "localhost:5000", "[::1]:5000"):
            assert client._transport_for_url(httpx.URL(f"http://{host}/api")) is direct
            assert requests.utils.should_bypass_proxies(f"http://{host}", None)
            assert urllib.request.proxy_bypass(host.replace("[::1]:5000", "::1"))
        scheme = "https" if "https" in name.lower() else "http"
        assert client._transport_for_url(httpx.URL(f"{scheme}://elsewhere.example")) is not direct
    assert bool(urllib.request.proxy_bypass("example.org")) == bool(no_proxy)


def test_no_proxy_for_anything_stays_so(environment):
    environment.setenv("HTTPS_PROXY", PROXY)
    environment.setenv("NO_PROXY", "*")
    prepare_environment()
    assert urllib.request.proxy_bypass("elsewhere.example")


def test_without_a_proxy_none_is_ruled_out(environment):
    prepare_environment()
    assert "no" not in urllib.request.getproxies_environment()


@pytest.mark.parametrize("said", [None, "1", "true"])
def test_telemetry_is_off_unless_asked_for(said, environment):
    if said is not None:
        environment.setenv("DO_NOT_TRACK", said)
    environment.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    prepare_environment()
    assert [os.environ[name] for name in TRACKERS] == ["false", "true", "1"]


def test_telemetry_that_is_asked_for_is_left_to_each_library(environment):
    environment.setenv("DO_NOT_TRACK", "0")
    prepare_environment()
    assert not set(TRACKERS) & set(os.environ)
