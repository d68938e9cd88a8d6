"""Knee scans of fastMRI: preparation, masks, transforms, and slices ready for batches."""
