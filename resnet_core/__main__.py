"""`python -m resnet_core` is `resnet`."""

from resnet_core.cli.commands import main

if __name__ == "__main__":
    main()
