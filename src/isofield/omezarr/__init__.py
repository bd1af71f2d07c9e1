"""The output image: NGFF 0.5 metadata, shards that one writer each writes whole, and the pyramid."""
