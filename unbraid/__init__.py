"""unbraid: trains disentangled image generators (InfoGAN, DPIG, CDD) on a Ray cluster, from shards on S3.

The subpackages are the folders ``models``, ``datasets``, ``trainers`` and ``cluster`` of the source tree. Symbolic links beside
this file give them the names under which they are installed and imported, so that an installation puts nothing called
``datasets`` or ``models`` at the top of an environment. Importing this package imports none of them.

Attributes:
    __version__: of the installed distribution; ``0+unknown`` where the source tree runs without being installed.
"""

TYPE_CHECKING = False  # the constant of ``typing``, which takes longer to import than this package

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Look up the version when it is read: ``importlib.metadata``, too, takes longer to import."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("unbraid")
        except PackageNotFoundError:
            return "0+unknown"
