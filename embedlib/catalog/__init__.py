"""Where audio comes from: listing sources, reading manifests, cutting catalogues into shards."""
