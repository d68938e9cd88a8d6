"""Small photographs of the development workload cifar: CIFAR-10, from the user's files."""
