"""gradclip: does gradient clipping help here?"""

__version__ = "0.1.0"
