"""The process that learns: from the stream into a replay ring, from there into the weights, from there to all."""
