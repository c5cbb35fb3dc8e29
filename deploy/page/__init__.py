"""The live page of a run, on the control API's own server: what a browser on this machine can watch and press."""
