"""The development workload mnist: handwritten digits, a perceptron with one hidden layer."""
