"""Who is refused is seen by those who run the server: wrong keys and logins, and whatever is answered with an error."""

from __future__ import annotations

import json

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ixc.benchmarks.app_process import AppProcess

LOGIN = ("alice", "correct horse")
KEY = "sixteen-signs-or-more"
WRONG_KEY, WRONG_PASSWORD, WRONG_NAME = "fifteen-signs-or-less", "incorrect horse", "mallory"


def metrics(app: AppProcess) -> dict[str, float]:
    """Samples by name and labels."""
    told = httpx.get(f"{app.url}/metrics", auth=LOGIN, headers={"Accept": "text/plain"}).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
    return {",".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_wrong_keys_and_logins_are_logged_and_counted():
    env = {"IXC_AUTH": ":".join(LOGIN), "IXC_API_KEY": KEY, "IXC_MODEL": "no-such-model", "IXC_LOG_FORMAT": "json"}
    with AppProcess(env) as app:
        before = metrics(app)
        assert before["ixc_wrong_guesses_total"] == 0
        httpx.get(f"{app.url}/v1/models", headers={"authorization": f"Bearer {KEY}"}).raise_for_status()
        for _ in range(3):
            refused = httpx.get(f"{app.url}/v1/models", headers={"authorization": f"Bearer {WRONG_KEY}"})
            assert refused.status_code == 401
        for name, password in ((LOGIN[0], WRONG_PASSWORD), (WRONG_NAME, LOGIN[1])):
            assert httpx.post(f"{app.url}/login", data={"username": name, "password": password}).status_code == 400
        assert httpx.get(f"{app.url}/v1/models").status_code == 401  # nobody guessed
        after, log = metrics(app), app.log()
    assert after["ixc_wrong_guesses_total"] == 5
    assert after["ixc_refused_requests_total,401"] - before.get("ixc_refused_requests_total,401", 0) == 4
    assert after["ixc_refused_requests_total,400"] - before.get("ixc_refused_requests_total,400", 0) == 2
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line["message"] == "a wrong key or password"]  # once a minute
    assert (line["level"], line["logger"], line["address"]) == ("warning", "ixc.hosting.access", "127.0.0.1")
    assert not [secret for secret in (*LOGIN, KEY, WRONG_KEY, WRONG_PASSWORD, WRONG_NAME) if secret in log]
