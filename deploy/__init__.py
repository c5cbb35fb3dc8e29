"""The one place that wires everything: command line, driver, Ray, live view, summary."""

import os
import sys

if "ray" not in sys.modules:  # which reads it once, when it is imported; a private Ray asks for its token anyhow
    os.environ.setdefault("RAY_AUTH_MODE", "token")
