"""The process that learns: from the stream into a replay buffer, from there into the weights, from there to all."""
