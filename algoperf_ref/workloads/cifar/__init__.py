"""The CIFAR-10 development workload: small photographs, ResNet-18."""
