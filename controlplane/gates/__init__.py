"""One file per gate: spec, observe(ports) -> Evidence, judge(evidence, now) -> Verdict."""
