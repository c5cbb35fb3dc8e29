"""`engram keys`: everything secret that a cluster needs, made once, each host's part in a file of its own."""
