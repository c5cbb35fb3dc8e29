"""What the curious agent and its trainers agree on: controls, networks, rollouts. Pure torch."""
