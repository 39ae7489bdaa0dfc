from __future__ import annotations

import base64
import http.server
import threading
import traceback

import pytest
from hypothesis import given, strategies as st

from audiocls import tracking
from audiocls.errors import ParamsError, TrackingError
from audiocls.files.masking import masked, masked_values, without_user
from audiocls.params.run import RunParams
from audiocls.params_file.reading import load_params


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/a.csv", "https://me:***@host/a.csv"),
        ("https://me:se@cr:et@host:8080/a@b.csv", "https://me:***@host:8080/a@b.csv"),
        ("postgresql+psycopg2://me:se/cr@et@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("https://:secret@host", "https://:***@host"),
        ("https://token@host/x", "https://***@host/x"),
        ("zip://a.csv::https://me:secret@host/a.zip", "zip://a.csv::https://me:***@host/a.zip"),
        ("https://host/a?page=2&access_token=secret&X-Amz-Signature=ab", None),
        ("see 'http://a:b@c/d' and http://e:f@g.", "see 'http://a:***@c/d' and http://e:***@g."),
        ("abfs://container@account.dfs.core.windows.net/a.wav", "abfs://container@account.dfs.core.windows.net/a.wav"),
    ],
)
def test_what_is_secret_in_a_uri_is_masked_and_the_rest_stays(text, shown):
    shown = shown or "https://host/a?page=2&access_token=***&X-Amz-Signature=***"
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "clips/a@b.wav", "me:you@host", "s3://bucket/a:b@c.wav", "http://host:8080/a@b.wav", "file:///home/me@host/a",
        "sqlite:////tmp/mlflow.db", "16:30 at https://host/a?b=c#d", "",
    ],
)  # fmt: skip
def test_what_holds_no_secret_stays_as_it_is(text):
    assert masked(text) == text


words = st.text(st.sampled_from("abcXYZ0189-_.~!$&()*+,;=%"), min_size=6, max_size=12)


@given(user=words, password=words, host=st.sampled_from(["host", "127.0.0.1:5000", "a.b.c"]), path=words)
def test_no_password_survives(user, password, host, path):
    uri = f"https://{user}:secret{password}@{host}/{path}"
    assert "secret" not in masked(f"it fails: {uri}: really")
    assert without_user(uri) == (f"https://{host}/{path}", f"{user}:secret{password}")


def test_masking_goes_to_the_bottom_of_nested_values():
    values = {"a": [{"uri": "http://a:secret@b"}, 3, None], "b": "http://a:secret@b"}
    assert masked_values(values) == {"a": [{"uri": "http://a:***@b"}, 3, None], "b": "http://a:***@b"}


# Where runs are written down


@pytest.fixture
def guarded():
    """The address of a server that lets in who knows the password, and is no MLflow server; and what it was sent."""
    sent = []

    class Guarded(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            sent.append((self.path, self.headers.get("Authorization")))
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", sent
        server.shutdown()


def test_a_server_is_asked_with_the_password_and_its_errors_do_not_show_it(tmp_path, guarded):
    address, sent = guarded
    tracked = {"uri": f"http://me:hush-hush@{address}"}
    data = {"source": "folder", "path": "x"}
    params = RunParams.model_validate({"workspace": str(tmp_path), "data": data, "tracking": tracked})
    with pytest.raises(TrackingError, match=r"tracking\.uri = http://me:\*\*\*@127") as caught:
        tracking.start_run(params, "nobody", {})
    assert "hush-hush" not in "".join(traceback.format_exception(caught.value))
    credentials = f"Basic {base64.b64encode(b'me:hush-hush').decode()}"
    assert sent[0] == ("/health", credentials)
    assert {header for _, header in sent} == {credentials}


def test_a_link_to_a_run_leads_there_without_the_password(tmp_path):
    run = tracking.TrackedRun("https://me:hush-hush@host:5000/mlflow/", "1", "abc", tmp_path)
    assert run.url == "https://host:5000/mlflow/#/experiments/1/runs/abc?workflowType=machine_learning"


def test_a_mistake_in_the_params_does_not_show_the_password(tmp_path):
    file = tmp_path / "run.yaml"
    long = "http://me:" + "hush-hush" * 30 + "@host"
    file.write_text(f"data: {{source: table, path: a, uri: '{long}'}}\ntracking: '{long}'\n")
    with pytest.raises(ParamsError) as caught:
        load_params(file, [f"tracking.address={long}", f"data.sources=[{long}"])
    assert "hush" not in str(caught.value)
    assert "http://me:***@host" in str(caught.value)
