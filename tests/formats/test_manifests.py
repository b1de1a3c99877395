from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.errors import InvalidError
from controlplane.formats import RenderInputs, check_registration, format_for
from controlplane.formats.archive import write_tar
from tests.support.charts import IMAGE, job, manifests, release

INPUTS = RenderInputs(app="demo", namespace="acme-fr")


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} | more


async def refusal(artifact: bytes, inputs: RenderInputs = INPUTS) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        await format_for("manifests").render(artifact, inputs)
    return caught.value


async def test_a_yaml_stream_is_taken_as_it_is() -> None:
    rendered = await format_for("manifests").render(manifests(config("b"), config("a", data={"x": "${HOME}"})), INPUTS)
    assert [key.name for key in rendered.object_keys()] == ["a", "b"]
    assert rendered.objects[0]["data"] == {"x": "${HOME}"}
    assert rendered.objects[0]["metadata"]["namespace"] == "acme-fr"


async def test_an_archive_of_yaml_files_is_read_whole_and_other_files_are_left() -> None:
    artifact = write_tar(
        {"app/one.yaml": manifests(config("one")), "app/two.yml": manifests(config("two")), "README.md": b"kind: ["}
    )
    assert [key.name for key in (await format_for("manifests").render(artifact, INPUTS)).object_keys()] == [
        "one",
        "two",
    ]


async def test_a_list_object_is_taken_apart() -> None:
    artifact = manifests({"apiVersion": "v1", "kind": "List", "items": [config("a"), config("b")]})
    assert len((await format_for("manifests").render(artifact, INPUTS)).objects) == 2


async def test_yaml_means_what_it_means_to_kubernetes() -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {d: 2026-01-01}\nimmutable: yes\nbinaryData: null\n"
    item = (await format_for("manifests").render(text, INPUTS)).objects[0]
    assert item["data"] == {"d": "2026-01-01"}
    assert item["immutable"] is True
    assert "binaryData" not in item


async def test_a_job_marked_as_hook_is_the_migration() -> None:
    artifact = manifests(config("a")) + b"\n---\n" + job(hook="pre-upgrade").encode()
    rendered = await format_for("manifests").render(artifact, INPUTS)
    assert [j.manifest["metadata"]["name"] for j in rendered.jobs] == ["migrate"]


async def test_values_are_refused_because_they_would_do_nothing() -> None:
    error = await refusal(manifests(config("a")), RenderInputs("demo", "n", {"web": {"workers": 2}, "images": {}}))
    assert error.code == "values-not-supported"
    assert error.errors[0].pointer == "/web"


@pytest.mark.parametrize(
    ("artifact", "code"),
    [
        (b"a: [", "manifest-invalid"),
        (b"- a\n- b\n", "manifest-invalid"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: " + b"[" * 900 + b"]" * 900, "manifest-invalid"),
        (b"kind: x\n", "manifest-invalid"),
        (b"apiVersion: v1\nkind: 3\nmetadata: {name: a}\n", "manifest-invalid"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: text\n", "manifest-invalid"),
        (b"", "renders-empty"),
        (b"# only a comment\n---\n", "renders-empty"),
        (b"\xff\xfe\x00", "artifact-invalid"),
        (b"\x1f\x8bbroken", "artifact-invalid"),
        (manifests({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}), "cluster-scoped"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_its_code(artifact: bytes, code: str) -> None:
    assert (await refusal(artifact)).code == code


async def test_a_yaml_that_explodes_is_stopped() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert (await refusal("\n".join(lines).encode())).code in ("chart-does-not-render", "manifest-invalid")


async def test_many_environments_get_the_same_objects_and_one_bad_one_fails_alone() -> None:
    inputs = [INPUTS, RenderInputs("demo", "other", {"x": 1}), RenderInputs("demo", "third")]
    results = await format_for("manifests").render_many(manifests(config("a")), inputs)
    assert [type(result).__name__ for result in results] == ["Rendered", "InvalidError", "Rendered"]


async def test_manifests_are_registered_like_charts() -> None:
    artifact = manifests(config("a"))
    assert (await check_registration(release(artifact, fmt="manifests"), artifact)).objects
    assert IMAGE in release(artifact, fmt="manifests").images.values()
