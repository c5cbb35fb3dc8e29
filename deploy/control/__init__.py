"""Steering a run from outside: pause, resume, save, shut down, on all of its parts at once."""
