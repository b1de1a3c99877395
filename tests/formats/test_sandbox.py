from __future__ import annotations

import threading
from pathlib import Path

import pytest

from controlplane.domain.errors import DependencyError, InvalidError
from controlplane.formats import sandbox as module
from controlplane.formats.sandbox import Sandbox
from tests.support.charts import chart

PARSE = {"op": "parse", "name": "x", "text": "a: 1\n---\nb: 2\n"}


def test_a_batch_is_answered_in_order_by_a_process_that_is_kept() -> None:
    sandbox = Sandbox(1)
    answers = sandbox.call([PARSE, {**PARSE, "text": "- no"}])
    assert [d["object"] for d in answers[0]["documents"]] == [{"a": 1}, {"b": 2}]
    assert answers[1]["error"] == "document"
    process = sandbox._idle.queue[0]
    sandbox.call([PARSE])
    assert sandbox._idle.queue[0] is process
    sandbox.close()


def test_callers_on_many_threads_share_the_pool() -> None:
    sandbox = Sandbox(2)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(len(sandbox.call([PARSE])))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 8
    assert sandbox._idle.qsize() <= 2
    sandbox.close()


def test_a_process_that_died_is_an_error_once_and_then_replaced() -> None:
    sandbox = Sandbox(1)
    sandbox.call([PARSE])
    sandbox._idle.queue[0]._process.kill()
    with pytest.raises(InvalidError):
        sandbox.call([PARSE])
    assert sandbox.call([PARSE])
    sandbox.close()


def test_a_renderer_that_cannot_start_is_a_dependency_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broken = tmp_path_factory.mktemp("worker") / "worker.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(module, "_WORKER", broken)
    with pytest.raises(DependencyError) as caught:
        Sandbox(1).call([PARSE])
    assert caught.value.code == "renderer-unavailable"


def test_the_process_sees_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAWALL_PLANTED", "a secret")
    sandbox = Sandbox(1)
    sandbox.call([PARSE])
    pid = sandbox._idle.queue[0]._process.pid
    assert b"SEAWALL" not in Path(f"/proc/{pid}/environ").read_bytes()
    sandbox.close()


def test_a_template_that_never_ends_is_stopped_by_its_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_SECONDS", 1)
    endless = (
        "{{ range $a := until 5000 }}{{ range $b := until 5000 }}{{ range until 5000 }}{{ end }}{{ end }}{{ end }}"
    )
    archive = chart({"x.yaml": endless})
    request = {"op": "render", "chart": "c", "first": "c", "second": "c", "name": "n", "namespace": "n", "values": {}}
    sandbox = Sandbox(1)
    with pytest.raises(InvalidError, match="stopped"):
        sandbox.call([{**request, "kubeVersion": "v1.33.0"}], {"c": archive})
    assert sandbox.call([PARSE]), "the next one is answered by a new process"
    sandbox.close()


def test_the_process_says_truly_whether_it_has_a_network() -> None:
    sandbox = Sandbox(1)
    sandbox.call([PARSE])
    process = sandbox._idle.queue[0]
    apart = Path(f"/proc/{process._process.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    assert process.isolated is apart
    sandbox.close()
