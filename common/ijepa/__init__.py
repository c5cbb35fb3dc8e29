"""The I-JEPA network and its masks (Assran et al. 2023, arXiv:2301.08243), in pure torch."""
