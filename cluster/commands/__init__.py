"""The commands of ``unbraid``, one module each, and what they share."""
