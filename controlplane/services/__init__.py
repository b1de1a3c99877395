"""One transaction each: load, decide (pure), write."""
