"""A campaign's file, its search space and its journal."""
