"""Small convolutional networks for MNIST: designs, rules, data and training."""
