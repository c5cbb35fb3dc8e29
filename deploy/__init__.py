"""The one place that wires everything: command line, driver, Ray, live view, summary."""
