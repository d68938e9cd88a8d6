"""Images of ImageNet: reading, decoding, augmentation, batches; preparation of both tiers."""
