"""The command line `resnet`."""
