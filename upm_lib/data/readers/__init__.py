"""One file for each layout on disk: a folder goes in, a ``Dataset`` comes out.

May use the ground and ``data.tracklets``.
Files: sequences, dukemtmc, matlab -> mars, ward, market1501, folder.
"""
