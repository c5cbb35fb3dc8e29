"""The world `vrchat`."""
