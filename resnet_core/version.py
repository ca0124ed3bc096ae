"""The version of the installed distribution; reading it costs what a small module does."""

from importlib.metadata import version

__version__ = version("resnet-core")
