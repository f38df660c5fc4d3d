"""One file for each layout on disk: a folder goes in, a ``Dataset`` comes out.

May use the ground and ``data.tracklets``.
Files: sequences, matlab -> prid2011, ilids_vid, dukemtmc, mars, ward, market1501,
folder.
"""
