"""Raw data sets as they are published: one module lists the samples of each as a ``Source``, which packing writes as shards."""
