"""Stage II: noise to the embeddings of stage I."""
