"""What the curious agent is made of: imagination, and the gathering of rollouts."""
