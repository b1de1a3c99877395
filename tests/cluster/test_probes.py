"""A probe on a real kube-apiserver: its Job passes the fence, the walls, Pod Security and the quota, and its pod's message is read.

kwok plays the pod: the message comes from an annotation (stage `job-says`), no container runs and no network policy drops anything.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.names import FENCED_LABEL
from controlplane.domain.probes import ProbeSpec
from controlplane.ports.probes import ProbePlace
from controlplane.services.probing import FleetProbes
from tests.cluster.objects import fresh_name
from tests.cluster.test_onboarding import Real, real
from tests.support.charts import IMAGE

__all__ = ["real"]


async def test_a_probe_counts_in_a_walled_namespace_under_its_epoch_and_leaves_nothing_behind(real: Real) -> None:
    name = fresh_name("books")
    assert (await real.onboard(name)).state == "succeeded"
    epoch = real.rows.ask("select epoch from environments where tenant = %s", name)[0][0]
    probes = FleetProbes(real.tools.fleet)
    says = {"seawall.test/message": '{"stock_total": 120.5, "orders": 7}'}
    spec = ProbeSpec(image=IMAGE, command=("/bin/count",), annotations=says)
    place = ProbePlace(name, "production", "aks-1", name, epoch, "ab12cd34ef56")
    counted = await probes.run("stock", spec, place)
    assert (counted.error, counted.numbers) == ("", {"stock_total": 120.5, "orders": 7.0})
    assert real.admin.read(f"/apis/batch/v1/namespaces/{name}/jobs")["items"] == []
    labels = real.admin.read(f"/api/v1/namespaces/{name}")["metadata"]["labels"]
    assert labels[FENCED_LABEL] == "true"
    late = await probes.run("stock", spec, replace(place, epoch=epoch - 1, step="ab12cd34ef57"))
    assert late.error.startswith("fenced: ")
    silent = await probes.run("stock", replace_annotations(spec), replace(place, step="ab12cd34ef58"))
    assert silent.error == "it ended and said nothing"
    fails = ProbeSpec(image=IMAGE, command=("/bin/count",), annotations={"seawall.test/fault": "job-fails"})
    failed = await probes.run("stock", fails, replace(place, step="ab12cd34ef59"))
    assert failed.error.startswith("its Job failed: ")


def replace_annotations(spec: ProbeSpec) -> ProbeSpec:
    """The same without a message."""
    return spec.model_copy(update={"annotations": {}})
