"""Other systems that benchmarks compare with; they run in an environment of their own and import nothing of unbraid."""
