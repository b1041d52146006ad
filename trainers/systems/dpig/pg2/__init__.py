"""PG², the baseline of DPIG: a person in another pose, by one network without embeddings."""
