"""Processes that live in a world: they see, encode, decide, act, and send what they saw to the stream."""
