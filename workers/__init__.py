"""The workers door: claim, call, acknowledge, back off, drain."""
