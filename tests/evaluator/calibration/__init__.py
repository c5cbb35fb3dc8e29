"""Does the chain find what was planted?"""
