"""Numbers that other people's programs gave, pinned as data, and the scripts that asked them."""
