"""`engram doctor`: what this machine, and the cluster, lack for a configuration, one line each, with the fix."""
