"""The image classification workloads: ImageNet, ResNet-50 and ViT."""
