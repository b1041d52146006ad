"""Raw data sets as they are published, each read as a :class:`datasets.sources.source.Source` of samples to pack."""
