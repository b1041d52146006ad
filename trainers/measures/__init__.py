"""Measures as functions of tensors and arrays; no system in them."""
