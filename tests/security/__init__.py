"""Attacks: each test does what a stranger could do, and would succeed on code that trusts what it reads."""
