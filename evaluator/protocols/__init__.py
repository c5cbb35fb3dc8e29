"""Offline protocols that grade a frozen encoder: labelled pictures (`ijepa`, `fast`), and what it keeps of its input.

Pure torch and NumPy, on any device; nothing here knows where weights come from.
"""
