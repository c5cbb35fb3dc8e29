"""Numbers that show a collapsing or stiffening network: of features, and of the network that makes them."""
