from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.formats import RenderInputs, check_registration, format_for
from controlplane.formats.helm import HelmFormat, first_difference
from controlplane.formats.sandbox import Sandbox
from tests.support.charts import IMAGE, chart, job, release

INPUTS = RenderInputs(app="demo", namespace="acme-fr", values={"replicas": 1, "images": {"web": IMAGE}})


@pytest.fixture(scope="module")
def helm() -> Iterator[HelmFormat]:
    sandbox = Sandbox(1)
    yield HelmFormat(sandbox)
    sandbox.close()


async def refused(helm: HelmFormat, archive: bytes, inputs: RenderInputs = INPUTS) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        await helm.render(archive, inputs)
    return caught.value


async def test_a_chart_renders_to_objects_in_apply_order_in_the_environments_namespace(helm: HelmFormat) -> None:
    rendered = await helm.render(chart(), INPUTS)
    assert [str(key) for key in rendered.object_keys()] == ["Service/web", "Deployment/web"]
    assert {item["metadata"]["namespace"] for item in rendered.objects} == {"acme-fr"}
    assert rendered.objects[1]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE


async def test_the_same_inputs_give_the_same_content_and_other_values_another(helm: HelmFormat) -> None:
    one = await helm.render(chart(), INPUTS)
    fresh = HelmFormat(Sandbox(1))
    assert (await fresh.render(chart(), INPUTS)).content_hash == one.content_hash
    other = RenderInputs("demo", "acme-fr", {"replicas": 2, "images": {"web": IMAGE}})
    assert (await helm.render(chart(), other)).content_hash != one.content_hash


async def test_a_default_that_a_layer_deleted_stays_deleted_in_the_rendering(helm: HelmFormat) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: {{ .Values.extra | toJson | quote }}}\n"
    archive = chart({"c.yaml": text}, values={"extra": {"a": 1, "b": 2}})
    effective = INPUTS.values | {"extra": {"b": 3}}
    rendered = await helm.render(archive, RenderInputs("demo", "acme-fr", effective))
    assert rendered.objects[0]["data"]["x"] == '{"b":3}'


async def test_capabilities_are_the_ones_that_are_said_not_those_of_a_cluster(helm: HelmFormat) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {v: {{ .Capabilities.KubeVersion.Version }}}\n"
    archive = chart({"c.yaml": text})
    rendered = await helm.render(archive, RenderInputs("demo", "acme-fr", INPUTS.values, kube_version="v1.31.4"))
    assert rendered.objects[0]["data"]["v"] == "v1.31.4"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("{{ randAlphaNum 8 }}", "chance"),
        ("{{ uuidv4 }}", "chance"),
        ('{{ now | date "20060102150405" }}', "time"),
        ('{{ now | date "2006" }}', "time, even when it changes once a year"),
        ("{{ .Release.Revision }}", "history"),
        ("{{ .Release.IsInstall }}", "history"),
        ('{{ tpl "{{ now }}" . }}', "time, in a template made from a text"),
    ],
)
async def test_a_chart_that_renders_differently_is_refused_with_object_and_path(
    helm: HelmFormat, expression: str, why: str
) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  at: 'x{expression}'\n"
    error = await refused(helm, chart({"c.yaml": text}))
    assert error.code == "chart-renders-differently", why
    assert error.errors[0].pointer == "/ConfigMap/c/data/at"


async def test_a_clock_that_is_called_but_not_rendered_does_no_harm(helm: HelmFormat) -> None:
    text = (
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: "{{ if .Values.stamp }}{{ now }}{{ end }}"}\n'
    )
    assert (await helm.render(chart({"c.yaml": text}), INPUTS)).objects[0]["data"] == {"a": ""}


async def test_ago_is_refused_where_it_stands(helm: HelmFormat) -> None:
    error = await refused(helm, chart({"c.yaml": '{{ ago (toDate "2006" "2020") }}'}))
    assert error.code == "chart-renders-differently"


@pytest.mark.parametrize("where", ["templates/_helpers.tpl", "files/later.tpl"])
async def test_lookup_is_refused_wherever_it_stands(helm: HelmFormat, where: str) -> None:
    source = b'{{ define "x" }}{{- with (lookup "v1" "Secret" .Release.Namespace "db") }}{{ end }}{{ end }}'
    error = await refused(helm, chart(files={where: source}))
    assert error.code == "chart-uses-lookup"
    assert where in error.detail


async def test_lookup_in_a_packed_subchart_is_found(helm: HelmFormat) -> None:
    inner = chart({"l.yaml": '{{ lookup "v1" "Secret" "" "" }}'}, name="inner")
    error = await refused(helm, chart(files={"charts/inner-1.0.0.tgz": inner}))
    assert error.code == "chart-uses-lookup"


async def test_the_word_lookup_in_a_field_a_text_or_a_comment_is_no_call(helm: HelmFormat) -> None:
    text = '{{/* lookup now */}}{{ $lookup := .Values.lookup }}{{ print "lookup" | quote }}'
    archive = chart({"c.yaml": f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: {text}}}\n"})
    assert (await helm.render(archive, INPUTS)).objects[0]["data"] == {"a": "lookup"}


async def test_crds_are_refused_also_in_a_subchart(helm: HelmFormat) -> None:
    inner = chart(files={"crds/x.yaml": b"kind: CustomResourceDefinition"}, name="inner")
    for archive in (chart(files={"crds/x.yaml": b"a: 1"}), chart(files={"charts/inner-1.0.0.tgz": inner})):
        assert (await refused(helm, archive)).code == "chart-has-crds"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ .Values.a.b.c }}", "nil pointer"),
        ("{{ if }}", "c.yaml"),
        ('{{ fail "choose a size" }}', "choose a size"),
        ("{{ nofunction }}", "nofunction"),
        ('{{ include "nothing" . }}', "nothing"),
        ("kind: [", "c.yaml"),
        ("- a\n- list", "c.yaml"),
    ],
)
async def test_a_chart_that_does_not_render_says_where(helm: HelmFormat, template: str, words: str) -> None:
    error = await refused(helm, chart({"c.yaml": template}))
    assert error.code == "chart-does-not-render"
    assert words in error.detail


async def test_a_template_that_calls_itself_forever_is_refused_in_a_short_sentence(helm: HelmFormat) -> None:
    template = '{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}'
    error = await refused(helm, chart({"c.yaml": template}))
    assert error.code == "chart-does-not-render"
    assert len(error.detail) < 600


async def test_a_template_that_grows_without_bound_is_stopped_and_the_next_chart_still_renders(
    helm: HelmFormat,
) -> None:
    grow = '{{ $x := "aaaaaaaa" }}{{ range until 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ $x }}'
    error = await refused(helm, chart({"c.yaml": grow}))
    assert error.code == "chart-does-not-render"
    assert "stopped" in error.detail
    assert (await helm.render(chart(version="1.0.1"), INPUTS)).objects


async def test_in_a_batch_only_the_one_that_is_stopped_fails(helm: HelmFormat) -> None:
    grow = '{{ $x := "aaaa" }}{{ range until (int .Values.n) }}{{ $x = printf "%s%s" $x $x }}{{ end }}'
    archive = chart({"c.yaml": grow}, values={"n": 1})
    inputs = [RenderInputs("demo", f"t{n}", INPUTS.values | {"n": n}) for n in (1, 40, 2)]
    results = await helm.render_many(archive, inputs)
    assert [type(result).__name__ for result in results] == ["Rendered", "InvalidError", "Rendered"]


async def test_something_that_is_no_archive_is_refused(helm: HelmFormat) -> None:
    assert (await refused(helm, b"not a chart")).code == "artifact-invalid"


async def test_a_subchart_that_is_named_but_not_packed_is_refused(helm: HelmFormat) -> None:
    metadata = (
        b"apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: ''}]\n"
    )
    error = await refused(helm, chart(files={"Chart.yaml": metadata}))
    assert "redis" in error.detail


async def test_a_pre_install_and_pre_upgrade_job_becomes_the_migration(helm: HelmFormat) -> None:
    archive = chart(
        {
            "a.yaml": job("late", hook="pre-upgrade", hook_weight="5"),
            "b.yaml": job("early", hook="pre-install,pre-upgrade"),
        }
    )
    rendered = await helm.render(archive, INPUTS)
    found = [(j.manifest["metadata"]["name"], j.on_install, j.on_upgrade, j.weight) for j in rendered.jobs]
    assert found == [("early", True, True, 0), ("late", False, True, 5)]
    assert all("Job" not in key.kind for key in rendered.object_keys())
    assert rendered.jobs[0].manifest["metadata"]["annotations"] == {}


async def test_test_hooks_are_dropped_and_listed(helm: HelmFormat) -> None:
    rendered = await helm.render(chart({"t.yaml": job("smoke", hook="test")}), INPUTS)
    assert [str(key) for key in rendered.dropped] == ["Job/smoke"]
    assert rendered.jobs == ()


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("post-install", "only before it applies"),
        ("pre-upgrade,post-upgrade", "only before it applies"),
        ("pre-rollback", "only before it applies"),
        ("crd-install", "not a hook Helm knows"),
        ("pre-upgrade,test", "object of its own"),
    ],
)
async def test_a_hook_that_cannot_be_honoured_is_refused_with_the_reason(
    helm: HelmFormat, hook: str, words: str
) -> None:
    error = await refused(helm, chart({"h.yaml": job(hook=hook)}))
    assert error.code == "chart-unknown-hook"
    assert words in error.detail


async def test_a_hook_that_is_no_job_is_refused(helm: HelmFormat) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {helm.sh/hook: pre-install}}\n"
    assert (await refused(helm, chart({"h.yaml": text}))).code == "chart-unknown-hook"


async def test_a_plain_job_is_refused(helm: HelmFormat) -> None:
    assert (await refused(helm, chart({"j.yaml": job()}))).code == "job-without-hook"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: x}\n", "chart-has-secret"),
        ("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: c}\n", "cluster-scoped"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: other}\n", "foreign-namespace"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {a: 1}}\n", "manifest-invalid"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: c-}\n", "manifest-invalid"),
        ("kind: ConfigMap\nmetadata: {name: c}\n", "manifest-invalid"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", "duplicate-object"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: text}\n", "manifest-invalid"),
    ],
)
async def test_what_a_chart_may_not_hold_is_refused_with_its_code(helm: HelmFormat, text: str, code: str) -> None:
    assert (await refused(helm, chart({"x.yaml": text}))).code == code


async def test_an_image_by_tag_is_refused(helm: HelmFormat) -> None:
    error = await refused(helm, chart(), RenderInputs("demo", "a", {"replicas": 1, "images": {"web": "odoo:17"}}))
    assert error.code == "image-not-pinned"
    assert error.errors[0].pointer == "/Deployment/web/spec/template/spec/containers/0/image"


async def test_values_that_break_the_schema_are_refused_by_pointer(helm: HelmFormat) -> None:
    schema = {"type": "object", "properties": {"replicas": {"type": "integer"}, "web": {"required": ["size"]}}}
    archive = chart(schema=schema, values={"web": {"size": 1}})
    await helm.check_values(archive, INPUTS.values | {"web": {"size": 2}})
    with pytest.raises(InvalidError) as caught:
        await helm.check_values(archive, INPUTS.values | {"replicas": "two", "web": {"size": 1}})
    assert caught.value.code == "values-refused"
    assert [e.pointer for e in caught.value.errors] == ["/replicas"]


async def test_a_registration_is_rendered_with_the_charts_defaults_and_the_releases_images() -> None:
    archive = chart(values={"images": {"web": "replaced-by-the-release"}})
    rendered: Rendered = await check_registration(release(archive), archive)
    assert rendered.objects[1]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"images": {"web": "odoo:17"}}, "image-not-pinned"),
        ({"source": {"format": "helm", "artifact": "sha256:" + "0" * 64}}, "artifact-mismatch"),
        ({"upgradeFrom": "soon"}, "version-range-invalid"),
    ],
)
async def test_a_registration_that_is_wrong_in_itself_is_refused(change: dict[str, Any], code: str) -> None:
    archive = chart()
    with pytest.raises(InvalidError) as caught:
        await check_registration(release(archive, **change), archive)
    assert caught.value.code == code


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidError) as caught:
        format_for("kustomize")
    assert "helm" in caught.value.detail


def test_the_first_difference_is_found_as_a_pointer() -> None:
    assert first_difference({"a": [1, {"b/c": 2}]}, {"a": [1, {"b/c": 3}]}) == "/a/1/b~1c"
    assert first_difference({"a": 1}, {"a": 1}) is None
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == "/b"
