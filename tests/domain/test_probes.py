"""Probes: the Job they are, and what their answers may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.manifests import key_of
from controlplane.domain.names import STEP_ANNOTATION
from controlplane.domain.probes import JOB_LABEL, ProbeSpec, message_of, numbers_of, probe_job, probe_name, probe_step
from controlplane.domain.walls import _check_pod
from tests.support.charts import IMAGE

SPEC = ProbeSpec.model_validate(
    {
        "image": IMAGE,
        "command": ["/bin/count"],
        "env": {"QUERY": "select 1"},
        "secrets": {"PGPASSWORD": {"secret": "odoo-db", "key": "password"}},
        "annotations": {"sidecar.istio.io/inject": "false"},
        "deadline": "PT90S",
    }
)


def test_the_job_has_one_attempt_a_deadline_no_token_and_nothing_that_the_walls_refuse() -> None:
    job = probe_job(SPEC, "probe-stock-ab12", "ab12", "acme", "production", "seawall-gold-100")
    pod = job["spec"]["template"]["spec"]
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 90)
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert (pod["restartPolicy"], pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (
        "Never",
        False,
        "app",
    )
    assert pod["priorityClassName"] == "seawall-gold-100"
    assert job["metadata"]["annotations"][STEP_ANNOTATION] == "ab12"
    assert job["metadata"]["labels"]["seawall.dev/tenant"] == "acme"
    assert pod["containers"][0]["env"][1]["valueFrom"] == {"secretKeyRef": {"name": "odoo-db", "key": "password"}}
    bare = probe_job(SPEC, "probe-stock-ab12", "ab12", "acme", "production")
    assert list(_check_pod(key_of(bare), "/spec/template", bare["spec"]["template"])) == []


def test_names_are_the_same_for_whoever_asks_the_same_and_fit() -> None:
    step = probe_step("r", "acme", "stock", "before")
    assert step == probe_step("r", "acme", "stock", "before") != probe_step("r", "acme", "stock", "after")
    assert len(probe_name("a" * 63, step)) <= 63
    assert probe_name("stock", step) == f"probe-stock-{step}"


def pod(job: str, state: dict[str, Any], label: str = JOB_LABEL) -> dict[str, Any]:
    return {"metadata": {"labels": {label: job}}, "status": {"containerStatuses": [{"state": state}]}}


def test_the_message_is_that_of_the_jobs_own_pod_once_it_ended() -> None:
    others = [pod("other", {"terminated": {"message": "no"}}), {"metadata": {}}, pod("mine", {"running": {}})]
    assert message_of(others, "mine") is None
    assert message_of([*others, pod("mine", {"terminated": {"message": "yes"}}, "job-name")], "mine") == "yes"


def test_an_answer_is_an_object_of_numbers() -> None:
    assert numbers_of('{"stock_total": 12.5, "orders": 3}') == {"stock_total": 12.5, "orders": 3.0}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("", "no JSON"),
        ("Traceback ...", "no JSON"),
        ("[1]", "no JSON object"),
        ("{}", "no JSON object"),
        ('{"a": "1"}', "'a' is no name of a number"),
        ('{"a": true}', "'a' is no name"),
        ('{"a": NaN}', "'a' is no name"),
        ('{"a": 1e999}', "'a' is no name"),
        ('{"a b": 1}', "'a b' is no name"),
        ('{"a": ' + "1" * 5000 + "}", "more than 4096 bytes"),
        ("[" * 2000, "no JSON"),
    ],
)
def test_any_other_answer_is_said_to_be_unusable(message: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        numbers_of(message)


def test_an_image_is_pinned() -> None:
    with pytest.raises(ValidationError, match="pinned by its digest"):
        ProbeSpec.model_validate({"image": "acme.example/count:1", "command": ["x"]})
