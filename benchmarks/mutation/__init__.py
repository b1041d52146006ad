"""Mutation testing: small faults in a module's source, and whether the tests that guard it see them."""
