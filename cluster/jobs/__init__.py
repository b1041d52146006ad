"""Jobs on a cluster: job servers, the uploaded tree, the RayJob."""
