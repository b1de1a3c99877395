"""What kwok plays: the healthy life of nodes and pods, and the faults that a broken release shows.

A pod template asks for a fault by its annotation `seawall.test/fault`:

| value | what the pod does |
|---|---|
| `never-ready` | 0/1 CrashLoopBackOff from the beginning; the old pod of a rolling update keeps serving |
| `slow-start` | ready only after `seawall.test/delay` (a Go duration, default `5s`) |
| `crash-after-ready` | ready, and after `seawall.test/delay` (default `1s`) 0/1 CrashLoopBackOff |
| `job-fails` | the pod of a Job exits with 1 |

The pod of a Job that has the annotation `seawall.test/message` ends well and says that text as its termination message; one that has
`seawall.test/kubelet` stays running until somebody else writes how it ended: a test that runs its command as a process.
"""

from __future__ import annotations

from pathlib import Path

FAULT_ANNOTATION = "seawall.test/fault"
DELAY_ANNOTATION = "seawall.test/delay"
KUBELET_ANNOTATION = "seawall.test/kubelet"

NEVER_READY = "never-ready"
SLOW_START = "slow-start"
CRASH_AFTER_READY = "crash-after-ready"
JOB_FAILS = "job-fails"

_FOLDER = Path(__file__).parent / "stages"


def stage_files() -> list[Path]:
    """One file per kwok Stage, in a stable order."""
    return sorted(_FOLDER.glob("*.yaml"))
