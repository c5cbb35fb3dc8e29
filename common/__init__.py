"""What two or more sides of the system must agree on."""
