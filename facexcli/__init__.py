"""facex edits faces in video: swap, reenact, edit."""

__version__ = "0.1.0"
