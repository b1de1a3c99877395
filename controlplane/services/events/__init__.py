"""Events in: stored before they are answered, matched, and turned into plans and rollouts."""
