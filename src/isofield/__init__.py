"""isofield: isotropic volumes from anisotropic 3-D microscopy."""

__version__ = "0.1.0"
