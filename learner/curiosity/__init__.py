"""Trainers of the curious agent's networks, as pamiq-core trainers; `system` puts them together."""
