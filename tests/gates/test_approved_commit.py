"""The approved commit, with real git: the script of evidence-gates.md speaks for what the protected branch has, and for nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from controlplane.domain.gating import Verdict
from tests.gates.test_provenance import KEY, OTHER, Registry, built, look, spec_of
from tests.support.signing import sign

PAGE = Path(__file__).parents[2] / "docs/explanation/evidence-gates.md"
APPROVED = {"trust": "acme", "signers": ["ci"], "approvedCommit": {"trust": "acme", "signers": ["nightly"]}}
ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    **{f"GIT_{who}_{what}": "mia" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Repository:
    """A clone of a bare repository whose `main` is the protected branch."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        script = re.search(r"```sh\n(# approved-commit\.sh.*?)```", PAGE.read_text(), re.DOTALL)
        assert script is not None
        self.script = folder / "approved-commit.sh"
        self.script.write_text(script[1])
        self._run(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin"))
        self._run(folder, "clone", "--quiet", str(folder / "origin"), str(self.clone))
        self.git("switch", "--quiet", "--create", "main")
        self.commit("first")

    def git(self, *words: str) -> str:
        return self._run(self.clone, *words)

    def commit(self, message: str, branch: str = "main") -> str:
        """One more commit, pushed; gives its hash."""
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self.git("push", "--quiet", "origin", f"HEAD:{branch}")
        return self.git("rev-parse", "HEAD").strip()

    def statement_of(self, commit: str) -> subprocess.CompletedProcess[str]:
        """Run the page's script."""
        words = ["sh", str(self.script), commit]
        return subprocess.run(words, cwd=self.clone, env=ENV, text=True, capture_output=True, check=False)

    @staticmethod
    def _run(folder: Path, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, env=ENV, text=True, capture_output=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


async def test_a_commit_of_the_protected_branch_passes_and_one_that_was_never_merged_waits(
    repository: Repository,
) -> None:
    merged = repository.commit("a reviewed change")
    repository.git("switch", "--quiet", "--create", "feature")
    unmerged = repository.commit("not reviewed", branch="feature")
    attested = {}
    for commit in (merged, unmerged):
        registry = Registry(spec_of(provenance={"commit": commit}))
        registry.attest(sign(KEY, built(commit=commit)))
        said = repository.statement_of(commit)
        if said.returncode == 0:
            registry.attest(sign(OTHER, json.loads(said.stdout)), "commit")
        attested[commit] = await look(registry, **APPROVED)
    assert attested[merged].verdict is Verdict.PASS
    assert attested[merged].reason.endswith("from an approved commit")
    assert attested[unmerged].verdict is Verdict.WAIT
    assert attested[unmerged].reason.endswith(f"nobody attested that commit {unmerged} is approved")


async def test_an_approval_that_somebody_else_signed_fails(repository: Repository) -> None:
    commit = repository.commit("a reviewed change")
    registry = Registry(spec_of(provenance={"commit": commit}))
    registry.attest(sign(KEY, built(commit=commit)))
    registry.attest(sign(KEY, json.loads(repository.statement_of(commit).stdout)), "commit")
    assert (await look(registry, **APPROVED)).verdict is Verdict.FAIL


def test_the_script_says_nothing_of_an_unknown_commit(repository: Repository) -> None:
    said = repository.statement_of("4c1d" * 10)
    assert (said.returncode, said.stdout) == (1, "")
