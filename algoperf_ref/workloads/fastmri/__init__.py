"""The magnetic resonance imaging workload: accelerated knee images, U-Net."""
