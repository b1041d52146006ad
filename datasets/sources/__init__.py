"""Raw data sets as they are published, each read as a :class:`unbraid.datasets.sources.source.Source` of samples to pack."""
